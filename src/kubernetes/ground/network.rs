//! What a session's pod may reach: its label, and the network policies that go by it.
//!
//! A policy counts for berth's own pods alone. All of them reach nothing and nobody reaches them; a label adds what is
//! allowed. So a pod whose label is missing or unknown reaches nothing.

use std::net::{Ipv4Addr, Ipv6Addr};

use mcp_berth::config::{Profile, Settings};
use mcp_berth::failure::{Code, Failure};
use mcp_berth::values::Network;
use serde_json::{Value, json};

use super::{LABEL_MANAGED_BY, MANAGER};

/// What the forwarder of lists of names is called, and all of its objects.
pub(super) const FORWARDER: &str = "berth-forwarder";
/// The policy that closes everything.
pub(super) const DENY: &str = "berth-deny";
/// The pods of the cluster's DNS, in nearly all clusters.
const DNS_PODS: (&str, &str) = ("k8s-app", "kube-dns");
/// Where a node's own cache of it listens.
const DNS_OF_NODE: &str = "169.254.20.10/32";

/// Link-local addresses and the metadata of clouds: a node's own credentials are there.
const METADATA: [&str; 4] = ["169.254.0.0/16", "168.63.129.16/32", "192.0.0.0/24", "100.100.100.200/32"];
const METADATA_V6: [&str; 3] = ["fe80::/10", "fd00:ec2::254/128", "fd20:ce::254/128"];
/// Teredo: what it leads to cannot be told.
const TUNNELLED: &str = "2001::/32";
/// What is no world, as with the Docker backend (`keeper/egress/reach.rs`).
const LOCAL: [&str; 7] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "0.0.0.0/8",
    "224.0.0.0/4",
    "240.0.0.0/4",
];
/// With somebody's own NAT64.
const LOCAL_V6: [&str; 5] = ["fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "64:ff9b:1::/48"];

/// Each pod of one look of `doctor` has it.
pub(super) const LABEL_PROBE: &str = "mcp-berth.io/probe";

/// What the policies know a pod's network by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PolicyLabel {
    None,
    Egress,
    Lan,
    /// A list of names.
    Allow,
}

impl PolicyLabel {
    /// The label's name; each pod of a session has it.
    pub(crate) const KEY: &str = "mcp-berth.io/network";

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Egress => "egress",
            Self::Lan => "lan",
            Self::Allow => "allow",
        }
    }
}

/// The label of a server's pods.
pub(crate) const fn network_of(settings: &Settings) -> PolicyLabel {
    match settings.network {
        Network::None => PolicyLabel::None,
        Network::Egress => PolicyLabel::Egress,
        Network::Lan => PolicyLabel::Lan,
        Network::Allow(_) => PolicyLabel::Allow,
    }
}

/// Whether the servers of a profile can be pods.
///
/// # Errors
/// Where they share one network.
pub(super) fn allows(profile: &Profile) -> Result<(), Failure> {
    if !profile.peers {
        return Ok(());
    }
    Err(Failure {
        code: Code::Configuration,
        text: format!("`peers` of [profiles.{}] cannot be had in a cluster yet", profile.name),
        next: Some("remove it, or set `backend = \"docker\"` for its servers".to_owned()),
    })
}

pub(super) fn selector(network: Option<PolicyLabel>) -> Value {
    let mut labels = json!({ LABEL_MANAGED_BY: MANAGER });
    if let Some(network) = network {
        labels[PolicyLabel::KEY] = network.as_str().into();
    }
    json!({ "matchLabels": labels })
}

pub(super) fn dns() -> Value {
    json!({
        "to": [
            {
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "kube-system" } },
                "podSelector": { "matchLabels": { DNS_PODS.0: DNS_PODS.1 } },
            },
            { "ipBlock": { "cidr": DNS_OF_NODE } },
        ],
        "ports": [{ "protocol": "UDP", "port": 53 }, { "protocol": "TCP", "port": 53 }],
    })
}

/// The IPv6 networks that stand for an IPv4 one: by NAT64, and by 6to4.
fn translated(network: &str) -> Option<[String; 2]> {
    let (address, bits) = network.split_once('/')?;
    let [a, b, c, d] = address.parse::<Ipv4Addr>().ok()?.octets();
    let (high, low, bits) =
        (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]), bits.parse::<u8>().ok()?);
    let nat64 = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low);
    let six_to_four = Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 0);
    Some([format!("{nat64}/{}", 96 + bits), format!("{six_to_four}/{}", 16 + bits)])
}

/// All but the cloud's metadata.
pub(super) fn all_but_metadata() -> Value {
    out(&METADATA, &METADATA_V6)
}

/// All but these networks, whatever way they are written.
fn out(v4: &[&str], v6: &[&str]) -> Value {
    let v6: Vec<String> = v6
        .iter()
        .chain([&TUNNELLED])
        .map(|&network| network.to_owned())
        .chain(v4.iter().copied().filter_map(translated).flatten())
        .collect();
    json!({ "to": [
        { "ipBlock": { "cidr": "0.0.0.0/0", "except": v4 } },
        { "ipBlock": { "cidr": "::/0", "except": v6 } },
    ] })
}

/// Name, specification and reason of each policy.
pub(super) fn policies() -> [(&'static str, Value, &'static str); 3] {
    let world: Vec<&str> = LOCAL.iter().chain(&METADATA).copied().collect();
    [
        (
            DENY,
            json!({ "podSelector": selector(None), "policyTypes": ["Ingress", "Egress"] }),
            "Sessions reach nothing, and nobody reaches them: `network = \"none\"`, and what other labels add to.",
        ),
        (
            "berth-egress",
            json!({
                "podSelector": selector(Some(PolicyLabel::Egress)),
                "policyTypes": ["Egress"],
                "egress": [dns(), out(&world, &LOCAL_V6)],
            }),
            "`network = \"egress\"`: names, and the world but for private addresses and the cloud's metadata.",
        ),
        (
            "berth-lan",
            json!({
                "podSelector": selector(Some(PolicyLabel::Lan)),
                "policyTypes": ["Egress"],
                "egress": [dns(), all_but_metadata()],
            }),
            "`network = \"lan\"`: all but other sessions and the cloud's metadata.",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mcp_berth::config::{Config, Home};

    use super::*;

    fn config(text: &str) -> Config {
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        Config::parse(text, Path::new("b.toml"), &home).unwrap()
    }

    fn network(keys: &str) -> PolicyLabel {
        network_of(&config(&format!("[servers.x]\nimage = \"i\"\n{keys}")).servers["x"].settings)
    }

    #[test]
    fn a_network_is_a_label() {
        for label in [PolicyLabel::None, PolicyLabel::Egress, PolicyLabel::Lan] {
            assert_eq!(network(&format!("network = \"{}\"", label.as_str())), label);
        }
        assert_eq!(network(""), PolicyLabel::Egress, "the default");
        assert_eq!(network("host_services = [\"5432\"]\npublish = [\"8085\"]"), PolicyLabel::Egress);
        assert_eq!(network("network = { allow = [\"a.org\"] }"), PolicyLabel::Allow);
        let servers = "[servers.x]\nimage = \"i\"\n[profiles.p]\nservers = [\"x\"]\n";
        assert_eq!(allows(&config(servers).profiles["p"]), Ok(()));
        let failure = allows(&config(&format!("{servers}peers = true")).profiles["p"]).unwrap_err();
        assert!(failure.text.contains("[profiles.p]"), "{failure}");
    }

    #[test]
    fn all_of_berths_pods_are_closed_and_nobody_elses() {
        let [(_, deny, _), others @ ..] = policies();
        assert_eq!(
            deny["podSelector"],
            json!({ "matchLabels": { "app.kubernetes.io/managed-by": "mcp-berth" } })
        );
        assert_eq!(deny["policyTypes"], json!(["Ingress", "Egress"]));
        assert!(deny.get("ingress").is_none() && deny.get("egress").is_none(), "{deny}");
        for (name, policy, _) in others {
            assert_eq!(policy["policyTypes"], json!(["Egress"]), "{name} opens nothing inwards");
            assert_eq!(policy["podSelector"]["matchLabels"][LABEL_MANAGED_BY], MANAGER);
            assert_eq!(
                policy["podSelector"]["matchLabels"][PolicyLabel::KEY],
                name.trim_start_matches("berth-")
            );
        }
    }

    #[test]
    fn metadata_is_closed_to_all_and_the_local_network_to_egress() {
        let [_, (_, egress, _), (_, lan, _)] = policies();
        let except = |policy: &Value, family: usize| {
            serde_json::from_value::<Vec<String>>(
                policy["egress"][1]["to"][family]["ipBlock"]["except"].clone(),
            )
            .unwrap()
        };
        for policy in [&egress, &lan] {
            for network in ["169.254.0.0/16", "100.100.100.200/32"] {
                assert!(except(policy, 0).contains(&network.to_owned()), "{network}: {policy}");
            }
            for network in ["64:ff9b::a9fe:0/112", "2002:a9fe::/32", "2002:a83f:8110::/48", "2001::/32"] {
                assert!(except(policy, 1).contains(&network.to_owned()), "{network}: {policy}");
            }
        }
        assert!(except(&lan, 1).contains(&"fd20:ce::254/128".to_owned()));
        for network in ["64:ff9b::a00:0/104", "2002:a00::/24", "64:ff9b:1::/48"] {
            assert!(except(&egress, 1).contains(&network.to_owned()), "{network}");
            assert!(!except(&lan, 1).contains(&network.to_owned()), "{network}");
        }
        for network in ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"] {
            assert!(except(&egress, 0).contains(&network.to_owned()), "{network}");
            assert!(!except(&lan, 0).contains(&network.to_owned()), "{network}");
        }
        assert!(except(&egress, 1).contains(&"fc00::/7".to_owned()));
        assert_eq!(
            egress["egress"][0]["ports"][0]["port"], 53,
            "what leads to the cluster's DNS is for names"
        );
    }
}
