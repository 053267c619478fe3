//! What each pod has beside berth's own: the file of `pod_template`.
//!
//! berth's own goes over it, so that no template takes a session's confinement away from the server's container. Objects are
//! merged key by key, and lists of things that have names by those names. Of other lists of objects a pod has both, and of
//! lists of words berth's. How pods are spread over nodes a template says alone, if it says it: two rules for one topology
//! are refused.

use std::path::Path;

use k8s_openapi::api::core::v1::Pod;
use mcp_berth::failure::{Code, Failure};
use serde_json::{Map, Value, json};

use super::likeness;

/// The server's own, as in `pod.rs`.
const CONTAINER: &str = "server";
/// By one of these the items of a list are told apart; mounts have a name that others may have, too.
const NAMES: [&str; 2] = ["mountPath", "name"];

/// A template's own takes the place of berth's.
const SPREAD: &str = "topologySpreadConstraints";

/// A pod's object without what is berth's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Value);

impl Template {
    /// YAML or JSON.
    pub(crate) fn read(file: &Path) -> Result<Self, Failure> {
        let unusable = |why: &str, next: &str| Failure {
            code: Code::Configuration,
            text: format!("cannot use the `pod_template` {}: {why}", file.display()),
            next: Some(next.to_owned()),
        };
        let text = std::fs::read_to_string(file)
            .map_err(|error| unusable(&error.to_string(), "set `pod_template` in [kubernetes] to a file"))?;
        Self::parse(&text).map_err(|why| {
            unusable(&why, "write `metadata` (labels, annotations) and `spec` as in a pod's manifest")
        })
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let template: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let fields = template.as_object().ok_or("it is no object")?;
        if let Some(key) =
            fields.keys().find(|key| !["apiVersion", "kind", "metadata", "spec"].contains(&key.as_str()))
        {
            return Err(format!("`{key}` is no part of a template"));
        }
        let metadata = fields.get("metadata").and_then(Value::as_object);
        let mut named = metadata.into_iter().flat_map(Map::keys);
        if let Some(key) = named.find(|key| !["labels", "annotations"].contains(&key.as_str())) {
            return Err(format!("`metadata.{key}` is berth's to set"));
        }
        // What Kubernetes does not know would be left out without a word.
        let pod = serde_json::from_value::<Pod>(template.clone()).map_err(|error| error.to_string())?;
        let known = serde_json::to_value(pod).map_err(|error| error.to_string())?;
        for part in ["metadata", "spec"] {
            let (said, known) = (&template[part], &known[part]);
            if let Some(path) = likeness::lacking(said, known) {
                return Err(format!("`{part}{path}` is nothing that a pod has"));
            }
        }
        Ok(Self(json!({ "metadata": template["metadata"], "spec": template["spec"] })))
    }

    /// berth's own over what everybody has; `part`: `spec`, or what else a pod's object has.
    pub(crate) fn under(&self, part: &str, mut own: Value) -> Value {
        let under = self.0[part].clone();
        if let Some(own) = own.as_object_mut()
            && under[SPREAD].is_array()
        {
            own.remove(SPREAD);
        }
        merged(under, own)
    }

    /// Whether a pod's loopback is its node's.
    pub(crate) fn is_on_the_nodes_network(&self) -> bool {
        self.0["spec"]["hostNetwork"] == true
    }

    /// Whether a pod goes on when its server's container has ended.
    pub(crate) fn has_sidecars(&self) -> bool {
        self.0["spec"]["containers"]
            .as_array()
            .is_some_and(|containers| containers.iter().any(|it| it["name"] != CONTAINER))
    }
}

fn merged(under: Value, over: Value) -> Value {
    match (under, over) {
        (Value::Object(mut under), Value::Object(over)) => {
            for (key, value) in over {
                let below = under.remove(&key).unwrap_or_default();
                under.insert(key, merged(below, value));
            }
            Value::Object(under)
        }
        (Value::Array(under), Value::Array(over)) if under.iter().all(Value::is_object) => {
            let mut list = over;
            for item in under {
                match list.iter_mut().find(|own| name(own).is_some() && name(own) == name(&item)) {
                    Some(own) => *own = merged(item, own.take()),
                    None => list.push(item),
                }
            }
            Value::Array(list)
        }
        (under, Value::Null) => under,
        (_, over) => over,
    }
}

fn name(item: &Value) -> Option<&Value> {
    NAMES.iter().find_map(|key| item.get(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "
metadata:
  labels: { team: a, mine: theirs }
spec:
  nodeSelector: { disk: ssd }
  tolerations: [{ key: mcp, operator: Exists }]
  topologySpreadConstraints: [{ maxSkew: 2, topologyKey: host, whenUnsatisfiable: ScheduleAnyway }]
  volumes: [{ name: data, emptyDir: {} }]
  containers:
    - name: server
      command: [theirs]
      volumeMounts: [{ name: data, mountPath: /data }, { name: data, mountPath: /more }]
      securityContext: { privileged: true, capabilities: { drop: [] } }
    - { name: sidecar, image: s }
";

    #[test]
    fn berths_own_goes_over_a_template() {
        let template = Template::parse(TEMPLATE).unwrap();
        let own = json!({
            "topologySpreadConstraints": [{ "maxSkew": 1, "topologyKey": "host", "whenUnsatisfiable": "ScheduleAnyway" }],
            "volumes": [{ "name": "berth" }],
            "containers": [{
                "name": "server", "command": ["ours"], "volumeMounts": [{ "name": "berth", "mountPath": "/.berth" }],
                "securityContext": { "privileged": false, "capabilities": { "drop": ["ALL"] } },
            }],
        });
        let spec = template.under("spec", own);
        assert_eq!(spec["nodeSelector"], json!({ "disk": "ssd" }));
        assert_eq!(spec["tolerations"][0]["key"], "mcp");
        let lengths = ["topologySpreadConstraints", "volumes", "containers"]
            .map(|key| spec[key].as_array().unwrap().len());
        assert_eq!(lengths, [1, 2, 2]);
        assert_eq!(spec[SPREAD][0]["maxSkew"], 2, "two rules for one topology are refused");
        let server = &spec["containers"][0];
        assert_eq!((&server["name"], &server["command"]), (&json!("server"), &json!(["ours"])));
        assert_eq!(server["volumeMounts"].as_array().unwrap().len(), 3);
        assert_eq!(
            server["securityContext"],
            json!({ "privileged": false, "capabilities": { "drop": ["ALL"] } })
        );
        assert_eq!(spec["containers"][1]["name"], "sidecar");
        let labels = template.under("metadata", json!({ "labels": { "mine": "ours" } }));
        assert_eq!(labels["labels"], json!({ "team": "a", "mine": "ours" }));
        let plain = Template::parse("spec: { hostNetwork: true, containers: [{ name: server }] }").unwrap();
        assert_eq!(plain.under("metadata", json!({ "a": 1 })), json!({ "a": 1 }));
        assert_eq!(plain.under("spec", json!({ SPREAD: [1] }))[SPREAD], json!([1]), "berth's own");
        assert_eq!((template.has_sidecars(), plain.has_sidecars()), (true, false));
        assert_eq!([&template, &plain].map(Template::is_on_the_nodes_network), [false, true]);
    }

    #[test]
    fn what_no_pod_has_is_told() {
        let cases = [
            ("[]", "no object"),
            ("status: {}", "`status` is no part"),
            ("metadata: { name: x }", "`metadata.name` is berth's"),
            ("spec: { tolerationz: [{ key: a }] }", "`spec.tolerationz` is nothing"),
            ("spec: { containers: [{ name: server, imagee: i }] }", "`spec.containers[0].imagee` is nothing"),
            ("spec: { hostNetwork: 5 }", ""),
            ("spec: [", ""),
        ];
        for (text, why) in cases {
            let error = Template::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        let failure = Template::read(Path::new("/no/such")).unwrap_err();
        assert!(failure.text.starts_with("cannot use the `pod_template` /no/such: "), "{failure}");
    }
}
