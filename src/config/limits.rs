//! What all sessions of a daemon may use together.

use super::error::ConfigError;
use super::key::Key;
use super::reader::Section;
use super::settings::definition::DefaultValue;
use crate::values::StandbyLimit;

/// The `[limits]` table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Containers on standby in the daemon; `None`: by its memory.
    pub standby: Option<u32>,
}

/// The keys of the table.
pub const KEYS: [Key; 1] = [Key::new(
    "standby",
    DefaultValue::Words("by the memory"),
    "containers on standby in the daemon, at the most; the default is a container for each 128 MiB of the daemon's memory, \
     from 4 to 32",
)];

impl Limits {
    pub(super) fn read(mut section: Section) -> Result<Self, ConfigError> {
        let standby = section.take("standby")?.map(StandbyLimit::count);
        section.finish()?;
        Ok(Self { standby })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Config, Home};

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
}
