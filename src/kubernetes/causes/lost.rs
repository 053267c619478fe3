//! Why a session has lost its pod, by what the cluster says of that.

use k8s_openapi::api::core::v1::Pod;
use mcp_berth::session::upstream::Exit;

use super::refused::Asked;
use super::stuck::node;
use crate::nodes::is_disrupted;
use crate::pod::end_of_server;

/// A pod's name and its namespace.
pub(crate) type Named<'a> = (&'a str, &'a str);

/// `looked` is what the cluster has said last, and `link` how the way to the server ended.
pub(crate) fn exit(looked: Option<&kube::Result<Option<Pod>>>, named: Named<'_>, link: &str) -> Exit {
    let (name, namespace) = named;
    let (why, next) = match looked {
        Some(Ok(Some(pod))) => of_pod(pod, named, link),
        Some(Ok(None)) => (
            format!("the pod `{name}` is no longer there"),
            format!("look who deleted it: `kubectl get events -n {namespace}`"),
        ),
        Some(Err(error)) => {
            let asked = Asked { verb: "get", resource: "pods", namespace };
            let failure = mcp_berth::failure::Failure::from(asked.refused(error));
            (format!("{link}; {}", failure.text), failure.next.unwrap_or_default())
        }
        None => (
            format!("{link}; the cluster says nothing of the pod `{name}`"),
            "try `kubectl get --raw /readyz`".to_owned(),
        ),
    };
    Exit::LostAs { why, next }
}

/// Whether somebody but its server has ended a pod, or is about to.
pub(crate) fn is_taken(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some() || is_by_cluster(pod)
}

/// Whether it was its node, or the cluster: by a drain, a taint, or for another pod.
pub(crate) fn is_by_cluster(pod: &Pod) -> bool {
    pod.status.as_ref().is_some_and(|status| status.reason.is_some()) || is_disrupted(pod)
}

fn of_pod(pod: &Pod, (name, namespace): Named<'_>, link: &str) -> (String, String) {
    let node = node(pod);
    let describe = format!("type `kubectl describe pod {name} -n {namespace}`");
    let status = pod.status.clone().unwrap_or_default();
    let said = |reason: Option<String>, message: Option<String>| {
        [reason, message].into_iter().flatten().collect::<Vec<_>>().join(": ")
    };
    if status.reason.is_some() {
        let why = said(status.reason, status.message);
        return (format!("the node `{node}` ended the pod `{name}`: {why}"), describe);
    }
    // By a drain, a taint or another pod's greater importance.
    let mut conditions = status.conditions.into_iter().flatten();
    if let Some(disrupted) = conditions.find(|it| it.type_ == "DisruptionTarget" && it.status == "True") {
        let why = said(disrupted.reason, disrupted.message);
        return (format!("the cluster ended the pod `{name}` on the node `{node}`: {why}"), describe);
    }
    if pod.metadata.deletion_timestamp.is_some() {
        let next = format!("look who deleted it: `kubectl get events -n {namespace}`");
        return (format!("somebody deleted the pod `{name}` on the node `{node}`"), next);
    }
    if let Some(ended) = end_of_server(pod) {
        let why = ended.reason.as_deref().unwrap_or_default();
        let code = ended.exit_code;
        let text =
            format!("the container of the pod `{name}` ended on the node `{node}` with code {code} ({why})");
        return (text, describe);
    }
    let next = format!("look whether the node is there: `kubectl get node {node}`");
    (format!("there is no way to the pod `{name}` on the node `{node}`: {link}"), next)
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use serde_json::{Value, json};

    use super::*;

    fn told(looked: Option<&kube::Result<Option<Pod>>>) -> String {
        match exit(looked, ("p", "team"), "no stream for 15 s") {
            Exit::LostAs { why, next } => format!("{why}; {next}"),
            other => panic!("{other:?}"),
        }
    }

    fn of(metadata: &Value, status: &Value) -> String {
        let spec = json!({ "nodeName": "n1", "containers": [] });
        let pod = json!({ "metadata": metadata, "spec": spec, "status": status });
        told(Some(&Ok(Some(serde_json::from_value(pod).unwrap()))))
    }

    #[test]
    fn a_lost_pod_is_told_with_its_node_and_whose_doing_it_was() {
        let none = json!({});
        let low = json!({ "phase": "Failed", "reason": "Evicted", "message": "The node was low on memory." });
        assert_eq!(
            of(&none, &low),
            "the node `n1` ended the pod `p`: Evicted: The node was low on memory.; type `kubectl describe pod p -n team`"
        );
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "evicting",
        });
        let going = json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" });
        let drained = of(&going, &json!({ "phase": "Running", "conditions": [condition] }));
        let start = "the cluster ended the pod `p` on the node `n1`: EvictionByEvictionAPI: evicting; ";
        assert!(drained.starts_with(start), "{drained}");
        let deleted = of(&going, &json!({ "phase": "Running" }));
        assert!(deleted.starts_with("somebody deleted the pod `p` on the node `n1`; "), "{deleted}");
        let state = json!({ "terminated": { "exitCode": 137, "reason": "Error" } });
        let ended = of(
            &none,
            &json!({ "phase": "Running", "containerStatuses": [{
            "name": "server", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state,
        }] }),
        );
        assert!(ended.contains("ended on the node `n1` with code 137 (Error)"), "{ended}");
        let cut = of(&none, &json!({ "phase": "Running" }));
        assert_eq!(
            cut,
            "there is no way to the pod `p` on the node `n1`: no stream for 15 s; look whether the node is there: \
             `kubectl get node n1`"
        );
    }

    #[test]
    fn a_pod_that_nobody_sees_is_told_as_far_as_it_is_known() {
        assert!(told(Some(&Ok(None))).starts_with("the pod `p` is no longer there; look who deleted it"));
        assert!(told(None).starts_with("no stream for 15 s; the cluster says nothing of the pod `p`; try"));
        let error = kube::Error::Api(Status::failure("away", "").with_code(503).boxed());
        let text = told(Some(&Err(error)));
        assert!(text.starts_with("no stream for 15 s; the cluster cannot get pods"), "{text}");
    }
}
