//! What the probe pods saw, judged: pure.

use std::net::{IpAddr, SocketAddr};

use mcp_berth::doctor::line::{Line, Seen};

use super::probes::{OnNode, Probes};
use super::reach::Tried;

const IMAGE: &str = "keeper";
const NETWORK: &str = "network";
const PLUGIN: &str = "install a network plug-in that enforces policies, such as Calico, Cilium or kube-router; until \
                      then every session reaches all of this";

/// Whether policies are enforced; `None` where that cannot be told. One node where they are not is enough.
pub(super) fn holds(nodes: &[OnNode]) -> Option<bool> {
    let each = || nodes.iter().map(|node| (leaks_of_none(node), unsure(node)));
    if each().any(|(leaks, _)| !leaks.is_empty()) {
        return Some(false);
    }
    (!nodes.is_empty() && each().all(|(_, unsure)| unsure.is_none())).then_some(true)
}

pub(super) fn judge(seen: &Seen<Probes>, image: &str) -> Vec<Line> {
    let line = |name: &'static str| match seen {
        Seen::NotApplicable(why) => Line::not_applicable(name, why),
        _ => Line::not_applicable(name, "the probe pods have to run first"),
    };
    let probes = match seen {
        Seen::Found(probes) => probes,
        Seen::Failed { why, next } => return vec![Line::failed(IMAGE, why, next).of(image), line(NETWORK)],
        Seen::NotApplicable(_) => return vec![line(IMAGE).of(image), line(NETWORK)],
    };
    vec![
        Line::ok(IMAGE, format!("runs on {}", names(&probes.nodes))).of(image),
        none(probes).of("none"),
        egress(probes).of("egress"),
    ]
}

fn names(nodes: &[OnNode]) -> String {
    let names: Vec<String> = nodes.iter().map(named).collect();
    names.join(", ")
}

fn named(node: &OnNode) -> String {
    node.node.as_ref().map_or_else(|| "a node".to_owned(), |node| format!("`{node}`"))
}

/// What a pod without a network reached, or who reached it.
fn leaks_of_none(node: &OnNode) -> Vec<&'static str> {
    let all = [
        (&node.none.pod, "it reached another pod"),
        (&node.to_none, "another pod reached it"),
        (&node.none.api, "it reached the API server"),
        (&node.none.metadata, "it reached the metadata address"),
        (&node.none.world, "it reached the world"),
    ];
    all.into_iter().filter(|(tried, _)| **tried == Tried::Reached).map(|(_, said)| said).collect()
}

/// Why a node's pods prove nothing.
fn unsure(node: &OnNode) -> Option<String> {
    let why = |tried: &Tried, what: &str| match tried {
        Tried::Unknown(why) => Some(format!("{what}: {why}")),
        _ => None,
    };
    for (tried, what) in [(&node.open.pod, "from an open pod"), (&node.to_open, "to an open pod")] {
        match tried {
            Tried::Reached => {}
            Tried::Kept => {
                return Some(format!("nothing arrives {what} either, which no policy of berth's is for"));
            }
            Tried::Unknown(_) => return why(tried, what),
        }
    }
    why(&node.none.pod, "from a pod without a network")
        .or_else(|| why(&node.to_none, "to a pod without a network"))
}

fn none(probes: &Probes) -> Line {
    let nodes = &probes.nodes;
    let mut leaks: Vec<String> = Vec::new();
    for node in nodes {
        let of = leaks_of_none(node);
        if !of.is_empty() {
            leaks.push(format!("{} ({})", named(node), of.join(", ")));
        }
    }
    if !leaks.is_empty() {
        let fact = format!("NOT ENFORCED: a policy that denies all does nothing on {}", leaks.join("; "));
        return Line::failed(NETWORK, fact, PLUGIN);
    }
    if let Some((node, why)) = nodes.iter().find_map(|node| Some((node, unsure(node)?))) {
        let fact = format!("it cannot be told whether policies are enforced on {}: {why}", named(node));
        return Line::warning(
            NETWORK,
            fact,
            "kubectl get networkpolicies -A; look at the cluster's network plug-in",
        );
    }
    let mut tried = vec!["other pods"];
    let any = |reached: fn(&OnNode) -> &Tried| nodes.iter().any(|node| *reached(node) == Tried::Reached);
    tried.extend(any(|node| &node.open.api).then_some("the API server"));
    tried.extend(any(|node| &node.open.metadata).then_some("the metadata address"));
    tried.extend(any(|node| &node.open.world).then_some("the world"));
    let others = match probes.others {
        0 => String::new(),
        others => format!("; {others} more nodes were not looked at"),
    };
    let reached = tried.join(", ");
    let fact =
        format!("enforced on {}: an open pod reaches {reached}, and a closed one none{others}", names(nodes));
    Line::ok(NETWORK, fact)
}

/// One of the ways that were tried on a node.
type Of = fn(&OnNode) -> &Tried;

fn egress(probes: &Probes) -> Line {
    let nodes = &probes.nodes;
    let reached = |of: Of| nodes.iter().find(|node| *of(node) == Tried::Reached);
    let closed: [(Of, &str); 2] =
        [(|node| &node.egress.pod, "another pod"), (|node| &node.egress.metadata, "the metadata address")];
    for (of, what) in closed {
        if let Some(node) = reached(of) {
            return Line::failed(
                NETWORK,
                format!("NOT ENFORCED: it reached {what} on {}", named(node)),
                PLUGIN,
            );
        }
    }
    if let Some(node) = reached(|node| &node.egress.api) {
        if probes.api.iter().all(|address| is_local(address.ip())) {
            let fact = format!("NOT ENFORCED: it reached the API server on {}", named(node));
            return Line::failed(NETWORK, fact, PLUGIN);
        }
        let said: Vec<String> = probes.api.iter().map(SocketAddr::to_string).collect();
        let fact =
            format!("it reaches the API server ({}), which has an address of the world", said.join(", "));
        return Line::warning(NETWORK, fact, "set `network = \"none\"` for servers that must not reach it");
    }
    let of = |which: fn(&OnNode) -> &Tried| {
        nodes.iter().find_map(|node| match which(node) {
            Tried::Unknown(why) => Some(why),
            _ => None,
        })
    };
    if let Some(why) = of(|node| &node.egress.pod).or_else(|| of(|node| &node.egress.world)) {
        return Line::warning(NETWORK, format!("it cannot be told: {why}"), "berth kubernetes doctor");
    }
    let world = probes.world;
    if let Some(node) =
        nodes.iter().find(|node| node.open.world == Tried::Reached && node.egress.world == Tried::Kept)
    {
        let fact =
            format!("{world} is reached from an open pod on {}, and not from one of berth's", named(node));
        return Line::warning(NETWORK, fact, "look for other policies: kubectl get networkpolicies -A");
    }
    if reached(|node| &node.egress.world).is_none() {
        let fact = format!("{world} is reached from no pod at all");
        return Line::warning(
            NETWORK,
            fact,
            "try another address: berth kubernetes doctor --world ADDRESS:PORT",
        );
    }
    Line::ok(
        NETWORK,
        format!("{world} is reached; other pods, the API server and the metadata address are not"),
    )
}

/// Whether the policy for «egress» closes it.
fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            address.is_private() || address.is_link_local() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(address) => (address.segments()[0] & 0xfe00) == 0xfc00,
    }
}

#[cfg(test)]
mod tests {
    use mcp_berth::doctor::line::State;

    use super::super::probes::Ways;
    use super::Tried::{Kept, Reached};
    use super::*;

    fn node() -> OnNode {
        let ways = |pod, rest| Ways { pod, api: Kept, metadata: Kept, world: rest };
        OnNode {
            node: Some("n1".to_owned()),
            open: Ways { api: Reached, ..ways(Reached, Reached) },
            none: ways(Kept, Kept),
            egress: ways(Kept, Reached),
            to_open: Reached,
            to_none: Kept,
        }
    }

    fn probes(nodes: Vec<OnNode>) -> Probes {
        let api = vec!["10.0.0.1:443".parse().unwrap()];
        Probes { nodes, others: 0, api, world: "198.51.100.1:443".parse().unwrap() }
    }

    fn states(node: OnNode) -> (State, State, Option<bool>) {
        let probes = probes(vec![self::node(), node]);
        (none(&probes).state, egress(&probes).state, holds(&probes.nodes))
    }

    #[test]
    fn policies_that_hold_are_told_with_what_was_tried() {
        assert_eq!(states(node()), (State::Ok, State::Ok, Some(true)));
        let fact = none(&probes(vec![node()])).fact;
        assert!(
            fact.contains("other pods, the API server, the world") && !fact.contains("metadata"),
            "{fact}"
        );
    }

    #[test]
    fn one_leak_on_one_node_is_told_loudly_and_refutes() {
        let ways = node().none;
        for (leak, said) in [
            (OnNode { none: Ways { pod: Reached, ..ways.clone() }, ..node() }, "it reached another pod"),
            (OnNode { to_none: Reached, ..node() }, "another pod reached it"),
            (OnNode { none: Ways { api: Reached, ..ways.clone() }, ..node() }, "the API server"),
            (OnNode { none: Ways { metadata: Reached, ..ways.clone() }, ..node() }, "the metadata"),
            (OnNode { none: Ways { world: Reached, ..ways.clone() }, ..node() }, "the world"),
        ] {
            let line = none(&probes(vec![node(), leak.clone()]));
            assert!(line.fact.starts_with("NOT ENFORCED") && line.fact.contains(said), "{line:?}");
            assert_eq!((line.state, holds(&[node(), leak])), (State::Failed, Some(false)));
        }
    }

    #[test]
    fn where_nothing_arrives_at_all_nothing_is_proved() {
        let deaf = OnNode { to_open: Kept, ..node() };
        assert_eq!(states(deaf), (State::Warning, State::Ok, None));
        let mut broken = node();
        broken.none.pod = Tried::Unknown("no answer".to_owned());
        assert_eq!(states(broken), (State::Warning, State::Ok, None));
        assert_eq!(holds(&[]), None);
    }

    #[test]
    fn egress_reaches_the_world_and_nothing_else() {
        let with = |change: fn(&mut Ways)| {
            let mut node = node();
            change(&mut node.egress);
            states(node).1
        };
        assert_eq!(with(|ways| ways.pod = Reached), State::Failed);
        assert_eq!(with(|ways| ways.metadata = Reached), State::Failed);
        assert_eq!(with(|ways| ways.api = Reached), State::Failed);
        assert_eq!(with(|ways| ways.world = Kept), State::Warning);
        let mut public = node();
        public.egress.api = Reached;
        let mut probes = probes(vec![public]);
        probes.api = vec!["203.0.113.7:443".parse().unwrap()];
        assert_eq!(egress(&probes).state, State::Warning, "its address is the world's");
    }

    #[test]
    fn an_image_that_cannot_be_had_is_the_only_failure() {
        let seen = Seen::failed("ErrImagePull: x", "push it");
        let states: Vec<State> = judge(&seen, "k:1").into_iter().map(|line| line.state).collect();
        assert_eq!(states, [State::Failed, State::NotApplicable]);
    }
}
