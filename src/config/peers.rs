//! `peers` of a profile: its servers share one network, which is then the same for all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::error::ConfigError;
use super::profile::Profile;
use super::server::Server;
use crate::values::{Isolation, Standby};

/// They rule a network.
const MIGHTY: [&str; 2] = ["NET_ADMIN", "NET_RAW"];

impl Profile {
    /// Its `servers` as they are in a session of it. Where they share a network, that is the profile's own, unless a command
    /// line has `asked` for another; and no container was there before.
    ///
    /// # Errors
    /// Where they cannot share one.
    pub fn of_session(&self, mut servers: Vec<Server>, asked: bool) -> Result<Vec<Server>, ConfigError> {
        if !self.peers {
            return Ok(servers);
        }
        for server in &mut servers {
            if let Some(network) = self.network.as_ref().filter(|_| !asked) {
                server.settings.network.clone_from(network);
            }
            // Whoever waits for a session has a network of its own.
            (server.settings.standby, server.settings.prestart) = (Standby::NONE, false);
        }
        self.share_network(&servers)?;
        self.share_ports(&servers)?;
        servers.iter().try_for_each(Server::check)?;
        Ok(servers)
    }

    fn share_network(&self, servers: &[Server]) -> Result<(), ConfigError> {
        let apart = servers.iter().find(|server| server.settings.isolation == Isolation::Gvisor);
        if let Some(Server { name, .. }) = apart {
            return Err(self.refused(
                &format!("server `{name}` has a kernel of its own, and shares no network"),
                &format!("set `isolation = \"container\"` for `{name}`, or remove `peers`"),
            ));
        }
        let rules_it =
            |server: &&Server| server.settings.cap_add.iter().any(|added| MIGHTY.contains(&added.as_str()));
        if let Some(Server { name, .. }) = servers.iter().find(rules_it) {
            return Err(self.refused(
                &format!("server `{name}` has a capability over the network that all of its servers share"),
                &format!("take `NET_ADMIN` and `NET_RAW` out of `cap_add` of `{name}`, or remove `peers`"),
            ));
        }
        let mut pairs = servers.iter().zip(servers.iter().skip(1));
        let other = pairs.find(|(one, other)| one.settings.network != other.settings.network);
        let Some((one, other)) = other else { return Ok(()) };
        let network = |server: &Server| format!("`{}` has `{}`", server.name, server.settings.network);
        Err(self.refused(
            &format!("its servers share one network, but {} and {}", network(one), network(other)),
            &format!("set `network` in [profiles.{}]", self.name),
        ))
    }

    /// One port of the network has one listener.
    fn share_ports(&self, servers: &[Server]) -> Result<(), ConfigError> {
        let mut services = BTreeMap::<u16, &str>::new();
        for Server { name, settings, .. } in servers {
            for port in settings.service_ports() {
                if let Some(other) = services.insert(port, name) {
                    return Err(self.refused(
                        &format!("servers `{other}` and `{name}` both have port {port} in `host_services`"),
                        &format!("keep it for one of them: `{other}` and `{name}` reach it at 127.0.0.1"),
                    ));
                }
            }
        }
        for Server { name, settings, .. } in servers {
            let published: BTreeSet<u16> = settings.publish.iter().map(|port| port.container).collect();
            if let Some((port, other)) = services.iter().find(|(port, _)| published.contains(port)) {
                return Err(self.refused(
                    &format!("server `{name}` publishes port {port}, where `{other}` has a service"),
                    "take it out of `host_services` or `publish`",
                ));
            }
        }
        Ok(())
    }

    fn refused(&self, why: &str, next: &str) -> ConfigError {
        ConfigError::new(format!("profile `{}`: {why}", self.name)).with_hint(next.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Home, Overrides};
    use crate::values::Network;

    fn config(keys: &str, a: &str, b: &str) -> Result<Config, String> {
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        let text = format!(
            "[profiles.work]\nservers = [\"a\", \"b\"]\n{keys}\n[servers.a]\nimage = \"i\"\n{a}\n[servers.b]\nimage = \"i\"\n{b}\n"
        );
        Config::parse(&text, Path::new("b.toml"), &home).map_err(|error| error.to_string())
    }

    fn error(keys: &str, a: &str, b: &str) -> String {
        config(keys, a, b).unwrap_err()
    }

    /// The servers of a session with these options.
    fn servers(config: &Config, overrides: &Overrides) -> Result<Vec<Server>, String> {
        let profile = config.profile("work").unwrap();
        let servers =
            profile.servers.iter().map(|name| config.server(name).unwrap().with_overrides(overrides));
        let asked = overrides.says("network");
        profile.of_session(servers.collect(), asked).map_err(|error| error.to_string())
    }

    const PEERS: &str = "peers = true";
    const SEPARATE: &str = "network = \"none\"";

    #[test]
    fn the_network_is_the_profiles_or_what_all_of_them_have() {
        let network = |keys: &str, a: &str, b: &str, overrides: &Overrides| {
            let servers = servers(&config(keys, a, b).unwrap(), overrides).unwrap();
            let networks: Vec<_> = servers.iter().map(|server| server.settings.network.to_string()).collect();
            networks.join(" ")
        };
        let none = Overrides::default();
        assert_eq!(network("", SEPARATE, "", &none), "none egress", "each has its own");
        assert_eq!(network(PEERS, "", "", &none), "egress egress");
        assert_eq!(network(PEERS, SEPARATE, SEPARATE, &none), "none none");
        let own = "peers = true\nnetwork = { allow = [\"a.org\"] }";
        assert_eq!(network(own, SEPARATE, "", &none), "allow=a.org allow=a.org");
        let asked = Overrides::default().with("network", &["lan"]);
        assert_eq!(network(own, "", "", &asked), "lan lan");
        let refused = error(PEERS, SEPARATE, "");
        assert_eq!(
            refused,
            "profile `work`: its servers share one network, but `a` has `none` and `b` has `egress`; \
             set `network` in [profiles.work]"
        );
        assert_eq!(
            error(SEPARATE, "", ""),
            "b.toml:3: profile `work`: `network` is for servers that share one; set `peers = true`, or set `network` for each server"
        );
    }

    #[test]
    fn none_of_them_was_there_before() {
        let config = config(PEERS, "standby = 3\nprestart = true", "").unwrap();
        let servers = servers(&config, &Overrides::default()).unwrap();
        let kept = |server: &Server| (server.settings.standby, server.settings.prestart);
        assert_eq!(servers.iter().map(kept).collect::<Vec<_>>(), [(Standby::NONE, false); 2]);
    }

    #[test]
    fn what_cannot_be_shared_is_told() {
        let mighty = error(PEERS, "cap_add = [\"NET_RAW\"]", "");
        assert!(mighty.contains("server `a` has a capability over the network"), "{mighty}");
        let gvisor = error(PEERS, "isolation = \"gvisor\"", "");
        assert_eq!(
            gvisor,
            "profile `work`: server `a` has a kernel of its own, and shares no network; \
             set `isolation = \"container\"` for `a`, or remove `peers`"
        );
        let service = "host_services = [5432]";
        assert!(config("", service, service).is_ok());
        let twice = error(PEERS, service, service);
        assert!(
            twice.contains("servers `a` and `b` both have port 5432 in `host_services`; keep it for one"),
            "{twice}"
        );
        let both = error(PEERS, service, "publish = [\"80:5432\"]");
        assert!(both.contains("server `b` publishes port 5432, where `a` has a service"), "{both}");
        let list = "peers = true\nnetwork = { allow = [\"a.org:5432\"] }";
        let forwarded = error(list, service, "");
        assert!(forwarded.contains("server `a` cannot have port 5432 in `host_services`"), "{forwarded}");
        let config = config(PEERS, "", "").unwrap();
        let gvisor = Overrides::default().with("isolation", &["gvisor"]);
        assert!(servers(&config, &gvisor).unwrap_err().contains("has a kernel of its own"));
        assert_eq!(config.profile("work").unwrap().network, None::<Network>);
    }
}
