//! The rights that a session needs, each with its reason. `up` makes roles of them, and `doctor` asks for each.

use mcp_berth::config::{Config, Server};
use mcp_berth::values::Backend;
use serde_json::{Value, json};

use super::network::{DENY, FORWARDER};

/// One line of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(super) group: &'static str,
    pub(super) resource: &'static str,
    /// The only object that it is about.
    pub(super) name: Option<&'static str>,
    /// Each verb, and what a session needs it for.
    pub(super) verbs: &'static [(&'static str, &'static str)],
}

/// Nothing else of a namespace is any session's.
pub(crate) const RULES: [Rule; 7] = [
    Rule {
        group: "",
        resource: "pods",
        name: None,
        verbs: &[
            ("create", "a session has a pod of its own"),
            ("get", "a pod's end has a cause and a code"),
            ("list", "the search for a pod on standby, and what `berth ps` shows"),
            ("watch", "why a pod does not start"),
            ("patch", "the claim of a pod on standby"),
            ("delete", "the end of a session"),
        ],
    },
    Rule {
        group: "",
        resource: "pods/attach",
        name: None,
        verbs: &[
            ("get", "the heartbeat that keeps a pod, over a websocket"),
            ("create", "the same, since Kubernetes 1.35"),
        ],
    },
    Rule {
        group: "",
        resource: "pods/exec",
        name: None,
        verbs: &[
            ("get", "the server's messages, over a websocket"),
            ("create", "the same, since Kubernetes 1.35"),
        ],
    },
    Rule {
        group: "",
        resource: "events",
        name: None,
        verbs: &[("list", "why a pod does not start"), ("watch", "the same, as it happens")],
    },
    Rule {
        group: "networking.k8s.io",
        resource: "networkpolicies",
        name: Some(DENY),
        verbs: &[("get", "whether `network = \"none\"`, or a list of names, was proved to hold")],
    },
    Rule {
        group: "",
        resource: "services",
        name: Some(FORWARDER),
        verbs: &[("get", "where the forwarder of a list of names is")],
    },
    Rule {
        group: "apps",
        resource: "deployments",
        name: Some(FORWARDER),
        verbs: &[("get", "whether the forwarder of a list of names is ready")],
    },
];

/// Where a server of the configuration has volumes.
const CLAIMS: Rule = Rule {
    group: "",
    resource: "persistentvolumeclaims",
    name: None,
    verbs: &[
        ("get", "which session has a volume"),
        ("create", "a volume's first use"),
        ("patch", "the hold of a volume by one session"),
    ],
};

/// What the sessions of a configuration need.
pub(super) fn needed(config: &Config) -> impl Iterator<Item = &'static Rule> {
    let has_volumes = |server: &Server| {
        let settings = &server.settings;
        settings.backend == Backend::Kubernetes && settings.volumes.iter().any(|volume| !volume.claim)
    };
    RULES.iter().chain(config.servers.values().any(has_volumes).then_some(&CLAIMS))
}

impl Rule {
    /// As a role has it, with one of its verbs or all.
    fn object(&self, verbs: &[&str]) -> Value {
        let mut rule = json!({ "apiGroups": [self.group], "resources": [self.resource], "verbs": verbs });
        if let Some(name) = self.name {
            rule["resourceNames"] = json!([name]);
        }
        rule
    }

    /// The line of RBAC that gives one of its verbs.
    pub(super) fn line(&self, verb: &str) -> String {
        self.object(&[verb]).to_string()
    }
}

/// The rules of a role.
pub(super) fn rules(config: &Config) -> Vec<Value> {
    let all = |rule: &Rule| rule.object(&rule.verbs.iter().map(|(verb, _)| *verb).collect::<Vec<_>>());
    needed(config).map(all).collect()
}

/// Why a role has what it has, line by line.
pub(super) fn reasons(config: &Config) -> Vec<String> {
    let of = |rule: &Rule| {
        let resource = rule.resource;
        rule.verbs.iter().map(move |(verb, why)| format!("{resource}: {verb}: {why}"))
    };
    needed(config).flat_map(of).collect()
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

    #[test]
    fn claims_are_for_those_who_have_volumes_there() {
        let claims = |backend: &str, volume: &str| {
            let text =
                format!("[servers.a]\nimage = \"i\"\nbackend = \"{backend}\"\nvolumes = [\"{volume}\"]\n");
            rules(&config(&text))
                .into_iter()
                .find(|rule| rule["resources"] == json!(["persistentvolumeclaims"]))
        };
        let found = claims("kubernetes", "memory:/data").unwrap();
        assert_eq!(found["verbs"], json!(["get", "create", "patch"]));
        assert_eq!(claims("docker", "memory:/data"), None);
        assert_eq!(claims("kubernetes", "work:/data:claim"), None, "it is mounted as it is");
    }

    #[test]
    fn a_role_has_what_a_session_needs_and_no_verb_beside() {
        let expected = json!([
            { "apiGroups": [""], "resources": ["pods"], "verbs": ["create", "get", "list", "watch", "patch", "delete"] },
            { "apiGroups": [""], "resources": ["pods/attach"], "verbs": ["get", "create"] },
            { "apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get", "create"] },
            { "apiGroups": [""], "resources": ["events"], "verbs": ["list", "watch"] },
            {
                "apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["get"],
                "resourceNames": ["berth-deny"],
            },
            {
                "apiGroups": [""], "resources": ["services"], "verbs": ["get"],
                "resourceNames": ["berth-forwarder"],
            },
            {
                "apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"],
                "resourceNames": ["berth-forwarder"],
            },
        ]);
        assert_eq!(json!(rules(&config(""))), expected);
        assert_eq!(reasons(&config("")).len(), 15);
        assert_eq!(RULES[1].line("get"), r#"{"apiGroups":[""],"resources":["pods/attach"],"verbs":["get"]}"#);
    }
}
