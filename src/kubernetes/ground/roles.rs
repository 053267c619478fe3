//! The rights that a session needs, each with its reason. `up` makes roles of them, and `doctor` asks for each.

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
pub(super) fn rules() -> Vec<Value> {
    let all = |rule: &Rule| rule.object(&rule.verbs.iter().map(|(verb, _)| *verb).collect::<Vec<_>>());
    RULES.iter().map(all).collect()
}

/// Why a role has what it has, line by line.
pub(super) fn reasons() -> Vec<String> {
    let of = |rule: &Rule| {
        let resource = rule.resource;
        rule.verbs.iter().map(move |(verb, why)| format!("{resource}: {verb}: {why}"))
    };
    RULES.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(json!(rules()), expected);
        assert_eq!(reasons().len(), 15);
        assert_eq!(RULES[1].line("get"), r#"{"apiGroups":[""],"resources":["pods/attach"],"verbs":["get"]}"#);
    }
}
