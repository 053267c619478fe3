//! Containers of one session that share a network, as those of a pod do: one that holds it, and those that join it.
//!
//! The holder has nothing in it but the keeper. What the network lets out, its names and its forwarder are the holder's. The
//! engine refuses all of these where a container has another's network.

use std::collections::BTreeSet;

use crate::config::Settings;
use crate::values::Network;

/// What stands before the profile's name where a holder says its server; no server's name has a colon.
pub const HOLDER: &str = "peers:";

/// By this name containers know the machine that they run on, wherever Docker Desktop is.
const HOST_NAME: &str = "host.docker.internal";

/// Whose network a container has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkOf {
    /// Its own. These names lead to its own loopback, beside those of its settings.
    Itself { names: BTreeSet<String> },
    /// That of the container with this id, which is empty until there is one.
    Holder(String),
}

impl Default for NetworkOf {
    fn default() -> Self {
        Self::Itself { names: BTreeSet::new() }
    }
}

impl NetworkOf {
    /// It has another's, whose id is not known yet.
    pub fn joined() -> Self {
        Self::Holder(String::new())
    }

    pub fn is_joined(&self) -> bool {
        matches!(self, Self::Holder(_))
    }

    /// The same of any other session.
    pub(super) fn like(&self) -> Self {
        if self.is_joined() { Self::joined() } else { self.clone() }
    }

    /// What the container itself sees to. The runtime closes the local network to each that does not ask for it, and that
    /// would close the holder's.
    pub(super) fn own<'a>(&self, network: &'a Network) -> &'a Network {
        if self.is_joined() && *network != Network::Lan { &Network::None } else { network }
    }

    /// As the engine is told it.
    pub(super) fn mode(&self, network: &Network) -> String {
        match self {
            Self::Holder(container) => format!("container:{container}"),
            Self::Itself { .. } if network.is_connected() => "bridge".to_owned(),
            Self::Itself { .. } => "none".to_owned(),
        }
    }

    /// The names that lead to the container's own loopback.
    pub(super) fn hosts(&self, settings: &Settings) -> Vec<String> {
        let Self::Itself { names } = self else { return Vec::new() };
        let names: BTreeSet<String> = names.iter().cloned().chain(service_names(settings)).collect();
        names.into_iter().map(|name| format!("{name}:127.0.0.1")).collect()
    }
}

/// The names by which a server with services of this machine knows it: its forwarder listens at the container's loopback.
pub fn service_names(settings: &Settings) -> impl Iterator<Item = String> {
    let names = settings.host_services.iter().filter_map(|service| service.name.as_deref());
    let host = (!settings.host_services.is_empty()).then_some(HOST_NAME);
    names.chain(host).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::{Overrides, Server};
    use crate::dock::place::Place;
    use crate::dock::spec::Spec;

    fn spec(network: &str, network_of: NetworkOf) -> Spec {
        let server = Server::from_image("i".parse().unwrap(), Vec::new(), &Settings::default());
        let mut server = server.with_overrides(&Overrides::default().with("network", &[network]));
        server.settings.host_services = vec!["redis:6379".parse().unwrap()];
        Spec { network_of, ..Spec::new(server, "x", "0123456789ab") }
    }

    fn body(spec: &Spec) -> Value {
        spec.create_body(&Place::example())
    }

    fn says(body: &Value, option: &str) -> bool {
        body["Cmd"].as_array().unwrap().contains(&json!(option))
    }

    #[test]
    fn who_joins_has_nothing_that_is_the_holders() {
        let joined = |network| body(&spec(network, NetworkOf::Holder("c0ffee".to_owned())));
        for network in ["egress", "none", "lan", "allow=a.org"] {
            let body = joined(network);
            let host = &body["HostConfig"];
            assert_eq!(host["NetworkMode"], "container:c0ffee", "{network}");
            assert_eq!(host["Runtime"], "berth-peers", "{network}");
            assert_eq!([&host["ExtraHosts"], &host["Dns"]], [&Value::Null; 2], "the engine refuses them");
            assert_eq!(host["Mounts"].as_array().unwrap().len(), 1, "{network}: its keeper alone");
            assert!(!says(&body, "--allow"), "{network}: one forwarder is enough");
            assert_eq!(says(&body, "--lan"), network == "lan", "else it would close the holder's");
        }
    }

    #[test]
    fn the_holder_has_the_names_of_all() {
        let names = ["git", "files"].map(str::to_owned).into();
        let holder = body(&spec("allow=a.org", NetworkOf::Itself { names }));
        let host = &holder["HostConfig"];
        let hosts = ["files", "git", "host.docker.internal", "redis"].map(|name| format!("{name}:127.0.0.1"));
        assert_eq!(host["ExtraHosts"], json!(hosts));
        assert_eq!((&host["NetworkMode"], &host["Dns"]), (&json!("none"), &json!(["198.18.0.1"])));
        assert!(says(&holder, "--allow"));
    }

    #[test]
    fn no_container_on_standby_stands_for_one_that_shares_a_network() {
        let of = |network, network_of| spec(network, network_of).hash();
        let joined = of("none", NetworkOf::joined());
        assert_ne!(joined, of("none", NetworkOf::default()));
        assert_ne!(joined, of("egress", NetworkOf::joined()));
        assert_eq!(joined, of("none", NetworkOf::Holder("c0ffee".to_owned())), "in whatever session");
    }
}
