//! What all sessions may use together.

use std::collections::BTreeMap;

use super::error::ConfigError;
use super::key::Key;
use super::reader::Section;
use super::settings::definition::DefaultValue;
use crate::values::{ByteSize, Memory, OverLimit, SessionLimit, StandbyLimit};

/// The `[limits]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Containers on standby in the daemon; `None`: by its memory.
    pub standby: Option<u32>,
    /// What the daemon's images may take together (bytes) before those go that nobody needs.
    pub disk: Option<u64>,
    pub all: Ceiling,
    /// Of a kind of client, by the name that berth has for it.
    pub clients: BTreeMap<String, Ceiling>,
    pub over: OverLimit,
}

/// The most that sessions may have at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ceiling {
    pub sessions: Option<u32>,
    /// Of all their containers' limits together (bytes).
    pub memory: Option<u64>,
}

/// The keys of the table.
pub const KEYS: [Key; 6] = [
    Key::new(
        "standby",
        DefaultValue::Words("by the memory"),
        "containers on standby in the daemon, at the most; the default is a container for each 128 MiB of the daemon's \
         memory, from 4 to 32",
    ),
    Key::new(
        "sessions",
        DefaultValue::Words("none"),
        "sessions at once, at the most; a session of several servers counts once",
    ),
    Key::new(
        "memory",
        DefaultValue::Words("none"),
        "the most that the servers' `memory` may come to together: `\"8g\"`",
    ),
    Key::new(
        "over_limit",
        DefaultValue::Value("\"refuse\""),
        "the reaction to a session beyond a ceiling: `refuse` tells its client why, `wait` starts it once there is room, \
         within 10 minutes",
    ),
    Key::new(
        "disk",
        DefaultValue::Words("none"),
        "what the daemon's images may take together before a bake or a pull removes those that no server needs, the least \
         recently used first: `\"20g\"`",
    ),
    Key::new(
        "clients",
        DefaultValue::Words("none"),
        "the same ceilings for a kind of client: `[limits.clients.codex]` with `sessions` and `memory`",
    ),
];

impl Limits {
    pub(super) fn read(mut section: Section) -> Result<Self, ConfigError> {
        let standby = section.take("standby")?.map(StandbyLimit::count);
        let all = Ceiling::read(&mut section)?;
        let over = section.take("over_limit")?.unwrap_or_default();
        let disk = section.take::<ByteSize>("disk")?.map(ByteSize::bytes);
        let clients = section.take_item("clients");
        section.finish()?;
        let mut limits = Self { standby, disk, all, over, clients: BTreeMap::new() };
        if let Some(clients) = clients {
            for item in clients.section("[limits.clients]".to_owned())?.entries() {
                let name = item.name.clone();
                let mut section = item.section(format!("[limits.clients.{name}]"))?;
                let ceiling = Ceiling::read(&mut section)?;
                section.finish()?;
                limits.clients.insert(name, ceiling);
            }
        }
        Ok(limits)
    }
}

impl Ceiling {
    fn read(section: &mut Section) -> Result<Self, ConfigError> {
        Ok(Self {
            sessions: section.take("sessions")?.map(SessionLimit::count),
            memory: section.take::<Memory>("memory")?.map(Memory::bytes),
        })
    }

    pub fn is_any(&self) -> bool {
        self.sessions.is_some() || self.memory.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Ceiling;
    use crate::config::{Config, Home};
    use crate::values::OverLimit;

    #[test]
    fn a_cap_is_a_number_that_a_daemon_can_have() {
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        let parse = |limits: &str| Config::parse(limits, Path::new("b.toml"), &home);
        let standby = |limits: &str| parse(limits).unwrap().limits.standby;
        assert_eq!(
            [standby(""), standby("[limits]\n"), standby("[limits]\nstandby = 0")],
            [None, None, Some(0)]
        );
        assert_eq!(standby("[limits]\nstandby = 1000"), Some(1000));
        for wrong in ["-1", "1001", "\"all\"", "1.5"] {
            let error = parse(&format!("[limits]\nstandby = {wrong}")).unwrap_err().to_string();
            assert!(
                error.starts_with("b.toml:2: `standby` must be a number of containers from 0 to 1000"),
                "{error}"
            );
        }
    }

    #[test]
    fn ceilings_hold_for_all_and_for_a_kind_of_client() {
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        let parse =
            |limits: &str| Config::parse(limits, Path::new("b.toml"), &home).map(|config| config.limits);
        let limits = parse(
            "[limits]\nsessions = 10\nmemory = \"8g\"\nover_limit = \"wait\"\n[limits.clients.codex]\nsessions = 2",
        )
        .unwrap();
        assert_eq!(limits.all, Ceiling { sessions: Some(10), memory: Some(8 << 30) });
        assert_eq!(limits.clients["codex"], Ceiling { sessions: Some(2), memory: None });
        assert_eq!(limits.over, OverLimit::Wait);
        assert_eq!(parse("[limits]\ndisk = \"20g\"").unwrap().disk, Some(20 << 30));
        let error = |limits: &str| parse(limits).unwrap_err().to_string();
        assert!(
            error("[limits]\nsessions = 0").starts_with("b.toml:2: `sessions` must be a number of sessions")
        );
        assert!(error("[limits]\nover_limit = \"queue\"").contains("\"refuse\" or \"wait\""));
        let unknown = error("[limits.clients.codex]\nsesions = 2");
        assert!(unknown.contains("did you mean `sessions`?"), "{unknown}");
    }
}
