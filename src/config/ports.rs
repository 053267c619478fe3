//! `host_services` and `publish`: the ports that a session's own stream joins with this machine's loopback.
//!
//! Each server names its own, in the person's file alone: there is no option for them, and no default.

use std::collections::BTreeSet;

use super::error::ConfigError;
use super::settings::Settings;
use super::settings::definition::{DefaultValue, Setting};
use crate::values::{HostService, PublishedPort};

/// The keys that no default may have: another server would get what was written for one.
pub(super) const OF_ONE_SERVER: [&str; 2] = ["host_services", "publish"];

/// A list of more is no list of services.
const MOST: usize = 32;

pub(super) fn settings() -> [Setting; 2] {
    [
        Setting::list::<HostService>(
            "host_services",
            DefaultValue::Words("none"),
            "ports of this machine's loopback that the server reaches at its own `127.0.0.1`: `[\"5432\", \"redis:6379\"]`; \
             see [network](network.md)",
            |settings, services| settings.host_services = services,
        ),
        Setting::list::<PublishedPort>(
            "publish",
            DefaultValue::Words("none"),
            "ports of the session's container on this machine's loopback, such as a log-in's callback: `[\"8085\"]` or \
             `[\"HOST:CONTAINER\"]`; see [network](network.md)",
            |settings, ports| settings.publish = ports,
        ),
    ]
}

impl Settings {
    /// Whether all of them can be had at once.
    pub(super) fn check_ports(&self, server: &str) -> Result<(), ConfigError> {
        let refused = |what: String, next: &str| {
            Err(ConfigError::new(format!("server `{server}` {what}")).with_hint(next.to_owned()))
        };
        for (key, count) in [("host_services", self.host_services.len()), ("publish", self.publish.len())] {
            if count > MOST {
                return refused(format!("has {count} entries in `{key}`"), "name no more than 32");
            }
        }
        let mut hosts = BTreeSet::new();
        if let Some(port) = self.publish.iter().find(|port| !hosts.insert(port.host)) {
            return refused(
                format!("publishes port {} twice", port.host),
                "keep one of the two in `publish`",
            );
        }
        let forwarded = self.network.forwarded();
        let services = self.host_services.iter().map(|service| ("host_services", service.port));
        let mut ports = services.chain(self.publish.iter().map(|port| ("publish", port.container)));
        if let Some((key, port)) = ports.find(|(_, port)| forwarded.contains(port)) {
            return refused(
                format!("cannot have port {port} in `{key}` with `network = {{ allow = [...] }}`"),
                "the list's forwarder listens there: take the port out, or choose another `network`",
            );
        }
        let services: BTreeSet<u16> = self.host_services.iter().map(|service| service.port).collect();
        if let Some(port) = self.publish.iter().find(|port| services.contains(&port.container)) {
            return refused(
                format!("cannot both reach and publish port {}", port.container),
                "one port of a container has one listener: take it out of `host_services` or `publish`",
            );
        }
        Ok(())
    }

    /// The ports of this machine's loopback that the server reaches, each once.
    pub fn service_ports(&self) -> BTreeSet<u16> {
        self.host_services.iter().map(|service| service.port).collect()
    }

    /// Whether a session has a stream for ports.
    pub fn has_ports(&self) -> bool {
        !self.host_services.is_empty() || !self.publish.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Config, Home, Server};

    fn parse(text: &str) -> Result<Server, String> {
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        let config = Config::parse(text, Path::new("b.toml"), &home).map_err(|error| error.to_string())?;
        Ok(config.server("a").unwrap().clone())
    }

    fn server(keys: &str) -> Result<Server, String> {
        parse(&format!("[servers.a]\nimage = \"i\"\n{keys}\n"))
    }

    #[test]
    fn a_server_has_none_by_default_and_those_of_its_own_lines() {
        let settings = server("").unwrap().settings;
        assert!(!settings.has_ports());
        let settings =
            server("host_services = [5432, \"redis:6379\", \"6379\"]\npublish = [\"8085\", \"81:80\"]");
        let settings = settings.unwrap().settings;
        assert!(settings.has_ports());
        assert_eq!(settings.service_ports().into_iter().collect::<Vec<_>>(), [5432, 6379]);
        assert_eq!(settings.publish[1].to_string(), "81:80");
    }

    #[test]
    fn no_default_gives_them_to_every_server() {
        for key in ["host_services", "publish"] {
            let error = parse(&format!("[defaults]\n{key} = [\"5432\"]\n[servers.a]\nimage = \"i\"\n"));
            let error = error.unwrap_err();
            assert!(error.contains(&format!("`{key}` is not allowed in [defaults]")), "{error}");
        }
    }

    #[test]
    fn a_list_of_names_has_its_own_ports() {
        let list = "network = { allow = [\"api.example.org\", \"db.example.org:5432\"] }";
        for port in [80, 443, 3128, 5432] {
            let said = server(&format!("{list}\nhost_services = [{port}]")).unwrap_err();
            assert!(
                said.contains(&format!("server `a` cannot have port {port} in `host_services`")),
                "{said}"
            );
            let said = server(&format!("{list}\npublish = [\"8080:{port}\"]")).unwrap_err();
            assert!(said.contains(&format!("server `a` cannot have port {port} in `publish`")), "{said}");
            assert!(server(&format!("network = \"none\"\nhost_services = [{port}]")).is_ok());
        }
        assert!(server(&format!("{list}\nhost_services = [6379]\npublish = [\"443:8080\"]")).is_ok());
    }

    #[test]
    fn what_cannot_be_is_told() {
        let error = |keys: &str| server(keys).unwrap_err();
        let said = error("host_services = [\"80\"]\npublish = [\"8080:80\"]");
        assert!(said.contains("cannot both reach and publish port 80"), "{said}");
        assert!(error("publish = [\"80\", \"80:81\"]").contains("publishes port 80 twice"));
        assert!(error("host_services = [\"10.0.0.5:5432\"]").contains("must be a port such as \"5432\""));
        assert!(error("publish = [\"0.0.0.0:80:80\"]").contains("must be a port such as \"8085\""));
        let many: Vec<String> = (1..=33).map(|port| port.to_string()).collect();
        assert!(error(&format!("host_services = [{}]", many.join(", "))).contains("has 33 entries"));
    }
}
