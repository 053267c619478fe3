//! Where the manager listens, and how long it remembers.

use std::net::SocketAddr;
use std::time::Duration;

use super::error::ConfigError;
use super::key::Key;
use super::reader::Section;
use super::settings::definition::DefaultValue;
use crate::values::Days;

/// The `[manager]` table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manager {
    /// Of the API.
    pub api: SocketAddr,
    /// Of the metrics and the page.
    pub monitor: SocketAddr,
    /// Whether `/metrics` asks for the token.
    pub metrics_auth: bool,
    /// How long its index keeps a session after its end.
    pub retention: Duration,
}

impl Default for Manager {
    fn default() -> Self {
        Self {
            api: SocketAddr::from(([127, 0, 0, 1], 18080)),
            monitor: SocketAddr::from(([127, 0, 0, 1], 19090)),
            metrics_auth: true,
            retention: Duration::from_hours(90 * 24),
        }
    }
}

/// The keys of the table.
pub const KEYS: [Key; 4] = [
    Key::new("api", DefaultValue::Value("\"127.0.0.1:18080\""), "the address of the manager's API"),
    Key::new(
        "monitor",
        DefaultValue::Value("\"127.0.0.1:19090\""),
        "the address of the manager's metrics and its page",
    ),
    Key::new("metrics_auth", DefaultValue::Value("true"), "whether `/metrics` asks for the manager's token"),
    Key::new(
        "retention",
        DefaultValue::Value("\"90d\""),
        "how long the manager's index keeps a session after its end, in days",
    ),
];

impl Manager {
    pub(super) fn read(mut section: Section) -> Result<Self, ConfigError> {
        let default = Self::default();
        let manager = Self {
            api: section.take("api")?.unwrap_or(default.api),
            monitor: section.take("monitor")?.unwrap_or(default.monitor),
            metrics_auth: section.take("metrics_auth")?.unwrap_or(default.metrics_auth),
            retention: section.take("retention")?.map_or(default.retention, Days::duration),
        };
        section.finish()?;
        Ok(manager)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Home};

    #[test]
    fn addresses_and_days_are_read() {
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        let parse = |text: &str| Config::parse(text, Path::new("b.toml"), &home).map(|config| config.manager);
        assert_eq!(parse("").unwrap(), Manager::default());
        let given = parse("[manager]\napi = \"[::1]:0\"\nmetrics_auth = false\nretention = \"7d\"").unwrap();
        assert_eq!((given.api.port(), given.metrics_auth), (0, false));
        assert_eq!(given.retention, Duration::from_hours(7 * 24));
        let error = |text: &str| parse(&format!("[manager]\n{text}")).unwrap_err().to_string();
        assert!(error("api = 18080").starts_with("b.toml:2: `api` must be an address with a port"));
        assert!(error("retention = \"0d\"").contains("a number of days"));
        assert!(error("moniter = \"x\"").contains("did you mean `monitor`?"));
    }
}
