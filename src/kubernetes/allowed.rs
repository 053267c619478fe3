//! What the pod of a server with a list of names has beside others: the list, for the forwarder to read, and names that are
//! asked of the pod itself (`keeper near`).

use std::net::SocketAddr;

use mcp_berth::config::Settings;
use mcp_berth::values::Network;
use serde_json::{Value, json};

/// The list, an entry a line.
pub(crate) const ANNOTATION_ALLOW: &str = "mcp-berth.io/allow";
/// Where names are asked in such a pod (`keeper/egress/names.rs`).
const NAMES: &str = "127.18.0.1";

fn entries(settings: &Settings) -> Option<Vec<String>> {
    match &settings.network {
        Network::Allow(entries) => Some(entries.iter().map(ToString::to_string).collect()),
        Network::Egress | Network::Lan | Network::None => None,
    }
}

pub(crate) fn annotation(settings: &Settings) -> Option<(&'static str, String)> {
    Some((ANNOTATION_ALLOW, entries(settings)?.join("\n")))
}

/// Adds to a pod's specification.
pub(crate) fn complete(spec: &mut Value, settings: &Settings) {
    if entries(settings).is_none() {
        return;
    }
    spec["dnsPolicy"] = "None".into();
    spec["dnsConfig"] = json!({ "nameservers": [NAMES], "options": [{ "name": "ndots", "value": "1" }] });
    // For no privilege at all: the server's user listens where names and the web are asked for.
    spec["securityContext"]["sysctls"] =
        json!([{ "name": "net.ipv4.ip_unprivileged_port_start", "value": "0" }]);
}

/// What the server's helper is told.
pub(crate) fn options(settings: &Settings, forwarder: Option<SocketAddr>) -> Vec<String> {
    let (Some(entries), Some(forwarder)) = (entries(settings), forwarder) else { return Vec::new() };
    let entries = entries.into_iter().flat_map(|entry| ["--allow".to_owned(), entry]);
    ["--forwarder".to_owned(), forwarder.to_string()].into_iter().chain(entries).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;

    #[test]
    fn a_list_stands_on_its_pod_and_others_have_nothing_of_it() {
        let mut settings = fake::settings();
        let mut spec = json!({ "containers": [] });
        complete(&mut spec, &settings);
        assert_eq!((&spec, annotation(&settings)), (&json!({ "containers": [] }), None));
        let forwarder = Some("10.0.0.9:3128".parse().unwrap());
        assert!(options(&settings, forwarder).is_empty());
        settings.network = "allow=a.org,*.b.org:443".parse().unwrap();
        complete(&mut spec, &settings);
        assert_eq!(spec["dnsPolicy"], "None");
        assert_eq!(annotation(&settings).unwrap().1, "a.org\n*.b.org:443");
        assert_eq!(
            options(&settings, forwarder),
            ["--forwarder", "10.0.0.9:3128", "--allow", "a.org", "--allow", "*.b.org:443"]
        );
    }
}
