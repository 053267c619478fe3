//! A server's `volumes` in a cluster: claims that outlive their sessions.
//!
//! A claim is made at its first use. One session at a time writes it: which one stands on the claim, and is tested and
//! changed in one JSON Patch. The holder is a pod, and its hold ends with that pod: nobody has to give it back, whatever
//! crashes. A pod is made before it asks for the hold, so a holder that is not there is gone. Its server starts after that.
//!
//! A claim that somebody else has made (`:claim`) is mounted as it is, and never changed.

use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::PostParams;
use mcp_berth::config::{Kubernetes, Settings, Volume};
use mcp_berth::dock::spec::Spec;
use mcp_berth::failure::{Code, Failure};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::causes::refused::{Asked, Refused};
use super::cluster::Cluster;
use super::mounted::claim;
use super::names;
use super::pod::{ANNOTATION_CLIENT_SESSION, LABEL_CLIENT, LABEL_MANAGED_BY, MANAGER, end_of_server};

/// On a claim of berth's: what the configuration calls it.
pub(crate) const LABEL_VOLUME: &str = "mcp-berth.io/volume";
/// On a claim of berth's: the pod whose session may write it.
const ANNOTATION_HOLDER: &str = "mcp-berth.io/holder";
const RESOURCE: &str = "persistentvolumeclaims";

/// How often a hold is asked for while somebody else has it.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// A session that is ending is gone this long after its server's grace.
const GONE_AFTER: Duration = Duration::from_secs(2);

/// A claim as berth makes it.
fn body(volume: &Volume, client: &str, kubernetes: &Kubernetes) -> Value {
    let mut labels = json!({ LABEL_MANAGED_BY: MANAGER, LABEL_VOLUME: names::label(&volume.name) });
    if !volume.shared {
        labels[LABEL_CLIENT] = names::label(client).into();
    }
    // Several may be on several nodes.
    let mode = if volume.concurrent { "ReadWriteMany" } else { "ReadWriteOnce" };
    let mut body = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        // There is always a holder, so that a patch can test it.
        "metadata": { "name": claim(volume, client), "labels": labels, "annotations": { ANNOTATION_HOLDER: "" } },
        "spec": {
            "accessModes": [mode],
            "resources": { "requests": { "storage": kubernetes.storage_size().to_string() } },
        },
    });
    if let Some(class) = &kubernetes.storage_class {
        body["spec"]["storageClassName"] = class.as_str().into();
    }
    body
}

/// Makes the claims that are missing.
pub(crate) async fn ensure(cluster: &Cluster, spec: &Spec) -> Result<(), Refused> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    for volume in spec.server.settings.volumes.iter().filter(|volume| !volume.claim) {
        let refused = |verb| move |error: kube::Error| asked(cluster, verb).refused(&error);
        let name = claim(volume, &spec.client);
        match claims.get_opt(&name).await.map_err(refused("get"))? {
            Some(found) if found.metadata.deletion_timestamp.is_some() => {
                return Err(Refused::Passing(Failure {
                    code: Code::Unavailable,
                    text: format!("the volume `{}` is being deleted (the claim `{name}`)", volume.name),
                    next: Some("start again when it is gone: the next session makes a new one".to_owned()),
                }));
            }
            Some(found) if !is_ours(&found) => {
                return Err(Refused::Lasting(Failure {
                    code: Code::Configuration,
                    text: format!("the claim `{name}` of the volume `{}` is not berth's", volume.name),
                    next: Some(format!("write `\"{name}:{}:claim\"` to use it as it is", volume.target)),
                }));
            }
            Some(_) => continue,
            None => {}
        }
        let body =
            serde_json::from_value(body(volume, &spec.client, &cluster.settings)).map_err(|error| {
                Refused::Lasting(Failure::new(
                    Code::Internal,
                    &error,
                    "report this, with the server's settings",
                ))
            })?;
        match claims.create(&PostParams::default(), &body).await {
            Ok(_) => tracing::info!("made the claim `{name}` for the volume `{}`", volume.name),
            // Another session was faster.
            Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {}
            Err(error) => return Err(refused("create")(error)),
        }
    }
    Ok(())
}

fn is_ours(claim: &PersistentVolumeClaim) -> bool {
    claim
        .metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get(LABEL_MANAGED_BY))
        .is_some_and(|it| it == MANAGER)
}

fn asked<'a>(cluster: &'a Cluster, verb: &'a str) -> Asked<'a> {
    Asked { verb, resource: RESOURCE, namespace: &cluster.namespace }
}

/// The volumes that only one session at a time may write.
fn exclusive(settings: &Settings) -> impl Iterator<Item = &Volume> {
    settings.volumes.iter().filter(|volume| volume.writable && !volume.concurrent && !volume.claim)
}

/// Whether a server has volumes that no other session may write meanwhile.
pub(crate) fn is_for_one(settings: &Settings) -> bool {
    exclusive(settings).next().is_some()
}

/// Waits until the session of `pod` is the one that may write its volumes; fails where another one keeps them.
pub(crate) async fn enter(cluster: &Cluster, spec: &Spec, pod: &str) -> Result<(), Failure> {
    let settings = &spec.server.settings;
    let patience = (settings.stop_grace + GONE_AFTER).min(settings.start_timeout / 2);
    let until = Instant::now() + patience;
    for volume in exclusive(settings) {
        let name = claim(volume, &spec.client);
        loop {
            let Some(holder) = take(cluster, &name, pod).await? else { break };
            if Instant::now() >= until {
                return Err(held(volume, &holder));
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
    Ok(())
}

fn held(volume: &Volume, holder: &Pod) -> Failure {
    let name = holder.metadata.name.as_deref().unwrap_or_default();
    let about = holder.metadata.annotations.as_ref();
    let of = about.and_then(|about| about.get(ANNOTATION_CLIENT_SESSION));
    let of = of.map(|session| format!(" of the client's session `{session}`")).unwrap_or_default();
    let node = holder.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    let node = node.map(|node| format!(" on the node `{node}`")).unwrap_or_default();
    let namespace = holder.metadata.namespace.as_deref().unwrap_or("default");
    // Only its node can say that it has ended.
    let next = if holder.metadata.deletion_timestamp.is_some() {
        format!(
            "wait until the node has ended it; where that node never comes back, \
             type `kubectl delete pod {name} -n {namespace} --force`"
        )
    } else {
        format!("wait until that session ends, or end it with `berth kill {name}`")
    };
    Failure {
        code: Code::Unavailable,
        text: format!(
            "the volume `{}` is in use by `{name}`{of}{node}; it allows one session at a time",
            volume.name
        ),
        next: Some(next),
    }
}

/// Makes a pod the holder of a claim; gives the holder where that is another pod which still runs.
async fn take(cluster: &Cluster, claim: &str, pod: &str) -> Result<Option<Pod>, Failure> {
    let failed = |verb, error: &kube::Error| Failure::from(asked(cluster, verb).refused(error));
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    loop {
        let found = claims.get(claim).await.map_err(|error| failed("get", &error))?;
        let said = found.metadata.annotations.unwrap_or_default();
        let holder = said.get(ANNOTATION_HOLDER).map(String::as_str);
        if holder == Some(pod) {
            return Ok(None);
        }
        if let Some(holder) = holder.filter(|holder| !holder.is_empty()) {
            let looked = cluster.pods().get_opt(holder).await;
            let asked = Asked { verb: "get", resource: "pods", namespace: &cluster.namespace };
            let holder = looked.map_err(|error| Failure::from(asked.refused(&error)))?;
            if let Some(holder) = holder.filter(may_write) {
                return Ok(Some(holder));
            }
        }
        let patch = change(holder, pod);
        match request(cluster, claim, &patch).await {
            Ok(()) => return Ok(None),
            // Another session was faster.
            Err(kube::Error::Api(status)) if status.code == 422 => {}
            Err(error) => return Err(failed("patch", &error)),
        }
    }
}

/// Whether a pod's server may still write a volume.
pub(crate) fn may_write_any(pod: &Pod) -> bool {
    let mut volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.any(|volume| volume.persistent_volume_claim.is_some()) && may_write(pod)
}

/// Whether its server may still run. A node that does not answer may go on for long.
fn may_write(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed")) && end_of_server(pod).is_none()
}

fn change(from: Option<&str>, to: &str) -> Value {
    let path = format!("/metadata/annotations/{}", ANNOTATION_HOLDER.replace('/', "~1"));
    // Whoever has taken the annotation away has taken all that could be tested.
    let test = json!({ "op": "test", "path": path, "value": from });
    let test = from.map(|_| test);
    let change = json!({ "op": "add", "path": path, "value": to });
    test.into_iter().chain([change]).collect()
}

async fn request(cluster: &Cluster, claim: &str, patch: &Value) -> kube::Result<()> {
    let uri = format!("/api/v1/namespaces/{}/{RESOURCE}/{claim}", cluster.namespace);
    let request = http::Request::patch(uri)
        .header(http::header::CONTENT_TYPE, "application/json-patch+json")
        .body(patch.to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    cluster.client.request::<PersistentVolumeClaim>(request).await.map(drop)
}

#[cfg(test)]
mod tests;
