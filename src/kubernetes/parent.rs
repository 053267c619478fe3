//! The pod that berth itself runs in, where an agent's own pod is in the cluster. It owns its sessions' pods, so that
//! Kubernetes deletes them with it, whatever ended it.
//!
//! Only a pod's manifest can tell its name and its uid (the downward API). A wrong one would have a session's pod deleted
//! at once: so they count only where berth uses that pod's service account, in that pod's namespace.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

/// What the manifest calls them.
const NAME: &str = "POD_NAME";
const UID: &str = "POD_UID";

/// As the variables have it; `None` where one is missing.
pub(crate) fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Option<OwnerReference> {
    let set = |name| lookup(name).filter(|value| !value.is_empty());
    Some(OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        name: set(NAME)?,
        uid: set(UID)?,
        // The agent's pod waits for none of them, and that would be a right of its own.
        block_owner_deletion: None,
        controller: None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_owns_where_its_manifest_tells_both_its_name_and_its_uid() {
        let of = |env: &[(&str, &str)]| {
            from_env(|name| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        };
        let owner = of(&[("POD_NAME", "ci-7"), ("POD_UID", "u")]).unwrap();
        assert_eq!(json!(owner), json!({ "apiVersion": "v1", "kind": "Pod", "name": "ci-7", "uid": "u" }));
        assert_eq!(of(&[("POD_NAME", "ci-7")]), None);
        assert_eq!(of(&[("POD_NAME", "ci-7"), ("POD_UID", "")]), None);
    }
}
