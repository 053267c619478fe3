//! Where the manager listens, how long it remembers, and whom it tells.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::error::ConfigError;
use super::key::Key;
use super::reader::Section;
use super::settings::definition::DefaultValue;
use crate::values::{Days, Value};

/// The `[manager]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manager {
    /// Of the API.
    pub api: SocketAddr,
    /// Of the metrics and the page.
    pub monitor: SocketAddr,
    /// Whether `/metrics` asks for the token.
    pub metrics_auth: bool,
    /// How long its index keeps a session after its end.
    pub retention: Duration,
    /// Who gets traces and metrics.
    pub otlp: Option<Collector>,
}

/// An OpenTelemetry collector's address, with nothing secret in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector(http::Uri);

impl Collector {
    /// The address of one kind of telemetry, such as `traces`.
    pub fn of(&self, signal: &str) -> String {
        format!("{}/v1/{signal}", self.to_string().trim_end_matches('/'))
    }

    pub fn is_tls(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Value for Collector {
    const EXPECTED: &'static str =
        "the address of a collector such as \"http://127.0.0.1:4318\", without a user or a password";

    fn from_text(text: &str) -> Option<Self> {
        let uri: http::Uri = text.parse().ok()?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let names_a_host = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        (is_http && names_a_host && uri.query().is_none()).then_some(Self(uri))
    }
}

impl Default for Manager {
    fn default() -> Self {
        Self {
            api: SocketAddr::from(([127, 0, 0, 1], 18080)),
            monitor: SocketAddr::from(([127, 0, 0, 1], 19090)),
            metrics_auth: true,
            retention: Duration::from_hours(90 * 24),
            otlp: None,
        }
    }
}

/// The keys of the table.
pub const KEYS: [Key; 5] = [
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
    Key::new(
        "otlp",
        DefaultValue::Words("none"),
        "the OpenTelemetry collector that gets traces and metrics (OTLP over HTTP), such as \
         `http://127.0.0.1:4318`; see [manager](manager.md)",
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
            otlp: section.take("otlp")?,
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
        for (address, expected) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://[::1]:4318/", "http://[::1]:4318/v1/traces"),
            ("https://example.org/otlp/", "https://example.org/otlp/v1/traces"),
        ] {
            let given = parse(&format!("[manager]\notlp = \"{address}\"")).unwrap().otlp.unwrap();
            assert_eq!(
                (given.of("traces").as_str(), given.is_tls()),
                (expected, address.starts_with("https"))
            );
        }
        for wrong in ["127.0.0.1:4318", "grpc://h:4317", "/v1", "http://u:p@h:4318", "http://h/?token=x"] {
            let told = error(&format!("otlp = \"{wrong}\""));
            assert!(told.contains("must be the address of a collector"), "{told}");
        }
        assert!(error("moniter = \"x\"").contains("did you mean `monitor`?"));
    }
}
