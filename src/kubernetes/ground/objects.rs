//! What a namespace of sessions has: pure, from the configuration to the objects.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mcp_berth::config::{Config, Settings};
use mcp_berth::values::Backend;
use serde_json::{Value, json};

use super::super::keeper::{self, Keeper};
use super::kind::CONFIG_MAP;
use super::security::Profile;
use super::wanted::Wanted;
use super::{LABEL_MANAGED_BY, MANAGER, STANDBY_AT_MOST, forwarder, network, roles, security};

/// The role of agents that run in the cluster, and their service account.
pub(crate) const AGENT: &str = "berth-agent";
/// The role of people; who they are, the cluster's administrator says.
pub(crate) const USER: &str = "berth-user";
/// The quota, and the limit range.
pub(crate) const LIMITS: &str = "berth";
/// The quota of `doctor`'s pods, which have a deadline: no session's has one.
const PROBES: &str = "berth-probes";
/// So many nodes `doctor` looks at, each with three pods, and one more for all.
pub(crate) const PROBED_NODES: usize = 8;
/// What each of them may have, in bytes.
pub(crate) const PROBE_MEMORY: u64 = 32 << 20;

/// The namespace itself.
pub(super) fn namespace(config: &Config, name: &str) -> (Wanted, Profile) {
    let profile = security::profile(config);
    let mut why = vec![format!("Sessions' pods. Pod Security is `{}`.", profile.name)];
    if !profile.why.is_empty() {
        why.push("`restricted` would refuse:".to_owned());
        why.extend(profile.why.iter().cloned());
    }
    let object = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": {
                LABEL_MANAGED_BY: MANAGER,
                "pod-security.kubernetes.io/enforce": profile.name,
            },
        },
    });
    (Wanted { why, object }, profile)
}

/// What concerns berth's own pods alone: roles and policies.
pub(super) fn own(config: &Config, namespace: &str) -> Vec<Wanted> {
    let rbac = "rbac.authorization.k8s.io/v1";
    let role = |name: &str, why: &str| {
        let rules = json!({ "rules": roles::rules(config) });
        let mut role = Wanted::new((rbac, "Role"), (namespace, name), why, rules);
        role.why.extend(roles::reasons(config));
        role
    };
    let binding = json!({
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": AGENT },
        "subjects": [{ "kind": "ServiceAccount", "name": AGENT, "namespace": namespace }],
    });
    let mut all = vec![
        Wanted::new(
            ("v1", "ServiceAccount"),
            (namespace, AGENT),
            "For pods whose agents run berth: `serviceAccountName: berth-agent`.",
            json!({}),
        ),
        role(AGENT, "What a session of such an agent needs, and no more:"),
        Wanted::new((rbac, "RoleBinding"), (namespace, AGENT), "Gives the agents their role.", binding),
        role(USER, "What a session of a person needs, and no more. Bind it: `kubectl create rolebinding`."),
    ];
    all.extend(network::policies().into_iter().map(|(name, spec, why)| {
        let kind = ("networking.k8s.io/v1", "NetworkPolicy");
        Wanted::new(kind, (namespace, name), why, json!({ "spec": spec }))
    }));
    all
}

/// The keeper, where a config map brings it.
pub(super) fn keeper(config: &Config, namespace: &str) -> Option<Wanted> {
    let why =
        "The program that holds a session's pod: of this version of berth, which looks for it by its name.";
    let rest = json!({ "immutable": true, "binaryData": { keeper::FILE: STANDARD.encode(keeper::PROGRAM) } });
    let made = || Wanted::new(("v1", CONFIG_MAP), (namespace, keeper::CONFIG_MAP), why, rest);
    (Keeper::of(&config.kubernetes) == Keeper::ConfigMap).then(made)
}

/// What holds for all pods of the namespace: quota and limits.
pub(super) fn limits(config: &Config, namespace: &str) -> Vec<Wanted> {
    let mut all = Vec::new();
    if let Some(hard) = quota(config) {
        let why = "The most that all sessions have together, by `[limits]`, with room for pods on standby.";
        let kind = ("v1", "ResourceQuota");
        let of = |scope: &str, hard: Value| json!({ "spec": { "hard": hard, "scopes": [scope] } });
        all.push(Wanted::new(kind, (namespace, LIMITS), why, of("NotTerminating", hard)));
        let why = "The most that pods with a deadline have: those of `doctor`, which take no session's room.";
        let most = 1 + 3 * PROBED_NODES as u64;
        let hard = json!({ "pods": most.to_string(), "limits.memory": bytes(most * PROBE_MEMORY) });
        all.push(Wanted::new(kind, (namespace, PROBES), why, of("Terminating", hard)));
    }
    let Settings { memory, nano_cpus, .. } = config.defaults;
    let each = json!({ "memory": bytes(memory), "cpu": format!("{}m", nano_cpus / 1_000_000) });
    let range = json!([{ "type": "Container", "default": each, "defaultRequest": each }]);
    let why =
        "For containers that name no limits, such as sidecars of a pod template: those of `[defaults]`.";
    all.push(Wanted::new(
        ("v1", "LimitRange"),
        (namespace, LIMITS),
        why,
        json!({ "spec": { "limits": range } }),
    ));
    all
}

/// A session has a pod for each of its servers. Pods on standby have room beside them, as they count in no ceiling.
fn quota(config: &Config) -> Option<Value> {
    let servers = || config.servers.values().filter(|server| server.settings.backend == Backend::Kubernetes);
    let waiting = || servers().filter(|server| !server.settings.standby.is_none());
    let standby = waiting().next().map_or(0, |_| config.limits.standby.unwrap_or(STANDBY_AT_MOST));
    let mut hard = json!({});
    if let Some(sessions) = config.limits.all.sessions {
        let of = |names: &[String]| servers().filter(|server| names.contains(&server.name)).count();
        let most = config.profiles.values().map(|profile| of(&profile.servers)).max().unwrap_or(1).max(1);
        let beside = if forwarder::is_wanted(config) { forwarder::PODS } else { 0 };
        let pods = u64::from(sessions).saturating_mul(most as u64).saturating_add(standby.into());
        let pods = pods.saturating_add(beside);
        hard["pods"] = pods.to_string().into();
    }
    if let Some(memory) = config.limits.all.memory {
        let largest = waiting().map(|server| server.settings.memory).max().unwrap_or(0);
        let beside = if forwarder::is_wanted(config) { forwarder::PODS * forwarder::MEMORY } else { 0 };
        let all = memory.saturating_add(largest.saturating_mul(standby.into())).saturating_add(beside);
        hard["limits.memory"] = bytes(all).into();
    }
    hard.as_object().is_some_and(|hard| !hard.is_empty()).then_some(hard)
}

/// As Kubernetes writes it.
fn bytes(count: u64) -> String {
    let units = [("Gi", 30), ("Mi", 20), ("Ki", 10)];
    let whole = units.into_iter().find(|(_, bits)| count > 0 && count.trailing_zeros() >= *bits);
    whole.map_or_else(|| count.to_string(), |(unit, bits)| format!("{}{unit}", count >> bits))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mcp_berth::config::Home;

    use super::*;

    fn config(text: &str) -> Config {
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        Config::parse(text, Path::new("b.toml"), &home).unwrap()
    }

    fn hard(text: &str) -> Option<Value> {
        let wanted =
            limits(&config(text), "n").into_iter().find(|wanted| wanted.kind() == "ResourceQuota")?;
        Some(wanted.object["spec"]["hard"].clone())
    }

    #[test]
    fn a_quota_has_room_for_all_sessions_pods_and_for_those_on_standby() {
        let server = |name: &str, keys: &str| {
            format!("[servers.{name}]\nimage = \"i\"\nbackend = \"kubernetes\"\nmemory = \"1g\"\n{keys}\n")
        };
        assert_eq!(hard(""), None, "nobody has set a ceiling");
        assert_eq!(
            hard("[limits]\nsessions = 5\nmemory = \"8g\""),
            Some(json!({ "pods": "5", "limits.memory": "8Gi" }))
        );
        let two = format!(
            "[limits]\nsessions = 5\nmemory = \"8g\"\nstandby = 3\n{}{}[profiles.p]\nservers = [\"a\", \"b\"]",
            server("a", "standby = 1"),
            server("b", "")
        );
        assert_eq!(hard(&two), Some(json!({ "pods": "13", "limits.memory": "11Gi" })));
        let uncapped = format!("[limits]\nsessions = 5\n{}", server("a", "standby = 1"));
        assert_eq!(hard(&uncapped), Some(json!({ "pods": "69" })), "as many as sessions ever make");
    }

    #[test]
    fn doctors_pods_have_a_quota_of_their_own() {
        let quotas: Vec<Value> = limits(&config("[limits]\nsessions = 1"), "n")
            .into_iter()
            .filter(|wanted| wanted.kind() == "ResourceQuota")
            .map(|wanted| wanted.object["spec"].clone())
            .collect();
        let probes = json!({ "hard": { "pods": "25", "limits.memory": "800Mi" }, "scopes": ["Terminating"] });
        assert_eq!(quotas, [json!({ "hard": { "pods": "1" }, "scopes": ["NotTerminating"] }), probes]);
    }

    #[test]
    fn each_object_is_marked_as_berths_and_stands_in_the_namespace() {
        let config = config("[limits]\nsessions = 1");
        let (itself, profile) = namespace(&config, "n");
        assert_eq!(profile.name, "restricted");
        assert_eq!(itself.object["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
        let all: Vec<Wanted> = own(&config, "n").into_iter().chain(limits(&config, "n")).collect();
        let names: Vec<String> = all.iter().map(|it| format!("{} {}", it.kind(), it.name())).collect();
        assert_eq!(
            names,
            [
                "ServiceAccount berth-agent",
                "Role berth-agent",
                "RoleBinding berth-agent",
                "Role berth-user",
                "NetworkPolicy berth-deny",
                "NetworkPolicy berth-egress",
                "NetworkPolicy berth-lan",
                "ResourceQuota berth",
                "ResourceQuota berth-probes",
                "LimitRange berth",
            ]
        );
        for wanted in &all {
            assert_eq!(wanted.object["metadata"]["namespace"], "n");
            assert_eq!(wanted.object["metadata"]["labels"][LABEL_MANAGED_BY], MANAGER, "{wanted:?}");
            assert!(!wanted.why.is_empty());
        }
    }

    #[test]
    fn bytes_are_written_as_the_api_server_writes_them() {
        assert_eq!([1 << 30, 3 << 29, 1536, 1000, 0].map(bytes), ["1Gi", "1536Mi", "1536", "1000", "0"]);
    }
}
