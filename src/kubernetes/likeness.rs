//! Whether a pod of the cluster is the one that was asked for.
//!
//! Labels and names are anybody's to write. What stands by is given a session's secrets only if nothing runs in it but what
//! berth would have made itself. An API server adds to what it was asked: those defaults are no difference.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Where whatever is beyond the asked could read what the server reads, or run beside it.
const STRICT: [&str; 7] =
    ["spec", "containers", "initContainers", "securityContext", "volumes", "volumeMounts", "configMap"];
/// What an API server and its admission write there by themselves.
const DEFAULTS: [&str; 22] = [
    "affinity",
    "dnsPolicy",
    "fsGroup",
    "imagePullPolicy",
    "imagePullSecrets",
    "nodeName",
    "nodeSelector",
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "procMount",
    "resources",
    "runAsUser",
    "runtimeClassName",
    "schedulerName",
    "seLinuxOptions",
    "serviceAccount",
    "serviceAccountName",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "tolerations",
];
/// Lists that may have more than was asked for.
const OPEN: [&str; 2] = ["imagePullSecrets", "tolerations"];
/// Quantities, which an API server writes in its own way; none of them gives anybody access.
const QUANTITIES: [&str; 2] = ["resources", "sizeLimit"];

/// What differs, as the path of a field; `None`: nothing does. Both are a pod's `spec`.
pub(crate) fn difference(asked: &Value, found: &Value) -> Option<String> {
    differs(asked, found, "spec").map(|path| format!("spec{path}"))
}

/// A field of the first that the second has not, as its path.
pub(crate) fn lacking(said: &Value, known: &Value) -> Option<String> {
    match (said, known) {
        (Value::Object(said), known) => said.iter().find_map(|(key, said)| match known.get(key) {
            Some(known) => lacking(said, known).map(|path| format!(".{key}{path}")),
            None => (!said.is_null()).then(|| format!(".{key}")),
        }),
        (Value::Array(said), Value::Array(known)) => {
            let mut pairs = said.iter().zip(known).enumerate();
            pairs.find_map(|(number, (said, known))| Some(format!("[{number}]{}", lacking(said, known)?)))
        }
        _ => None,
    }
}

/// `key`: of the object, or of the list that it is in.
fn differs(asked: &Value, found: &Value, key: &str) -> Option<String> {
    match (asked, found) {
        (asked, found) if is_empty(asked) && is_empty(found) => None,
        (Value::Object(asked), Value::Object(found)) => object_differs(asked, found, key),
        (Value::Array(asked), Value::Array(found)) => list_differs(asked, found, key),
        _ => (asked != found).then(String::new),
    }
}

fn object_differs(asked: &Map<String, Value>, found: &Map<String, Value>, key: &str) -> Option<String> {
    let keys: BTreeSet<&String> = asked.keys().chain(found.keys()).collect();
    keys.into_iter().filter(|inner| !QUANTITIES.contains(&inner.as_str())).find_map(|inner| {
        let (asked, found) = (asked.get(inner), found.get(inner));
        let may_be_more = !STRICT.contains(&key) || DEFAULTS.contains(&inner.as_str());
        if asked.is_none_or(is_empty) && may_be_more {
            return None;
        }
        let inside = differs(asked.unwrap_or(&Value::Null), found.unwrap_or(&Value::Null), inner)?;
        Some(format!(".{inner}{inside}"))
    })
}

fn list_differs(asked: &[Value], found: &[Value], key: &str) -> Option<String> {
    if OPEN.contains(&key) {
        return asked.iter().position(|item| !found.contains(item)).map(|number| format!("[{number}]"));
    }
    (0..asked.len().max(found.len())).find_map(|number| {
        let item = |list: &[Value]| list.get(number).cloned().unwrap_or_default();
        let inside = differs(&item(asked), &item(found), key)?;
        Some(format!("[{number}]{inside}"))
    })
}

/// An API server leaves out what is empty.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use mcp_berth::config::Server;
    use mcp_berth::dock::spec::Spec;
    use serde_json::json;

    use super::*;
    use crate::fake;
    use crate::keeper::Keeper;
    use crate::pod::Plan;

    fn asked() -> Value {
        asked_by(&Keeper::Image("k".to_owned()))
    }

    fn asked_by(keeper: &Keeper) -> Value {
        let server = Server::from_image("i".parse().unwrap(), Vec::new(), &fake::settings());
        let spec = Spec::new(server, "a", "s");
        serde_json::to_value(Plan { spec: &spec, keeper, template: None }.standby("p").unwrap().spec).unwrap()
    }

    /// As Kubernetes 1.34 has answered.
    fn answered() -> Value {
        let mut pod = asked();
        for list in ["containers", "initContainers"] {
            let container = &mut pod[list][0];
            container["terminationMessagePath"] = json!("/dev/termination-log");
            container["terminationMessagePolicy"] = json!("File");
            container["resources"]["limits"]["cpu"] = json!("1");
            container["securityContext"]["capabilities"].as_object_mut().unwrap().remove("add");
        }
        pod["containers"][0].as_object_mut().unwrap().remove("stdinOnce");
        pod["dnsPolicy"] = json!("ClusterFirst");
        pod["schedulerName"] = json!("default-scheduler");
        pod["securityContext"] = json!({});
        pod["serviceAccountName"] = json!("default");
        pod["nodeName"] = json!("n");
        pod["priority"] = json!(0);
        pod["tolerations"] =
            json!([{ "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute" }]);
        pod
    }

    fn with(change: impl FnOnce(&mut Value)) -> Option<String> {
        let mut pod = answered();
        change(&mut pod);
        difference(&asked(), &pod)
    }

    #[test]
    fn what_a_cluster_adds_by_itself_is_no_difference() {
        assert_eq!(with(|_| ()), None);
        assert_eq!(difference(&asked(), &asked()), None);
    }

    #[test]
    fn another_keeper_is_one() {
        let asked = asked_by(&Keeper::ConfigMap);
        let differs = |change: fn(&mut Value)| {
            let mut pod = asked.clone();
            change(&mut pod);
            difference(&asked, &pod)
        };
        assert_eq!(differs(|_| ()), None);
        let other = differs(|pod| pod["volumes"][0]["configMap"]["name"] = json!("berth-keeper-x"));
        assert_eq!(other.as_deref(), Some("spec.volumes[0].configMap.name"));
        let items = differs(|pod| {
            pod["volumes"][0]["configMap"]["items"] = json!([{ "key": "x", "path": "keeper" }]);
        });
        assert_eq!(items.as_deref(), Some("spec.volumes[0].configMap.items"));
        let writable = differs(|pod| pod["containers"][0]["volumeMounts"][0]["readOnly"] = json!(false));
        assert_eq!(writable.as_deref(), Some("spec.containers[0].volumeMounts[0].readOnly"));
    }

    #[test]
    fn whoever_could_read_with_the_server_is_one() {
        type Change = fn(&mut Value);
        let cases: [(&str, Change); 12] = [
            ("spec.containers[0].image", |pod| pod["containers"][0]["image"] = json!("other")),
            ("spec.containers[0].command[1]", |pod| pod["containers"][0]["command"][1] = json!("x")),
            ("spec.containers[0].args", |pod| pod["containers"][0]["args"] = json!(["x"])),
            ("spec.containers[0].lifecycle", |pod| {
                pod["containers"][0]["lifecycle"] = json!({ "postStart": { "exec": { "command": ["x"] } } });
            }),
            ("spec.containers[0].env", |pod| {
                pod["containers"][0]["env"] = json!([{ "name": "A", "value": "b" }]);
            }),
            ("spec.containers[0].securityContext.privileged", |pod| {
                pod["containers"][0]["securityContext"]["privileged"] = json!(true);
            }),
            ("spec.containers[1]", |pod| {
                pod["containers"].as_array_mut().unwrap().push(json!({ "name": "x", "image": "x" }));
            }),
            ("spec.initContainers[0].image", |pod| pod["initContainers"][0]["image"] = json!("other")),
            ("spec.shareProcessNamespace", |pod| pod["shareProcessNamespace"] = json!(true)),
            ("spec.hostPID", |pod| pod["hostPID"] = json!(true)),
            ("spec.volumes[0].emptyDir", |pod| {
                pod["volumes"][0] = json!({ "name": "berth", "hostPath": { "path": "/" } });
            }),
            ("spec.ephemeralContainers", |pod| {
                pod["ephemeralContainers"] = json!([{ "name": "x", "image": "x" }]);
            }),
        ];
        for (path, change) in cases {
            assert_eq!(with(change).as_deref(), Some(path));
        }
    }
}
