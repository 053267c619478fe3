//! Pods that were started ahead of their sessions, and how one of them becomes a session's own.
//!
//! **Claiming** is one JSON Patch that tests the label of the state and changes it: of all who want a pod one gets it, and
//! the others hear that the test failed. A kubelet that writes the pod's status in between costs nobody anything. Looking for
//! a pod is no claim: a list may be old.
//!
//! A claimant speaks to the keeper before it claims. From then on the keeper waits for its owner for no longer than a cut
//! may last, so who is killed in between leaves nothing. A loser's word does no harm: the winner speaks, too.

use bytes::Bytes;
use futures::SinkExt;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use kube::api::ListParams;
use mcp_berth::dock::owner::Owner;
use mcp_berth::human::hex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::allowed::{self, ANNOTATION_ALLOW};
use super::cluster::Cluster;
use super::likeness;
use super::names;
use super::nodes;
use super::pod::{
    self, ACTIVE, LABEL_CLIENT, LABEL_MANAGED_BY, LABEL_SPEC, LABEL_STATE, MANAGER, Plan, STANDBY,
};
use super::pump::{From, To, What};

/// Any byte that is no command.
const ALIVE: &[u8] = b".";
/// What the API server answers where a test of a patch fails.
const TEST_FAILED: u16 = 422;

/// What became of a claim.
pub(crate) enum Claim {
    /// Ours; the stream over which its keeper was told.
    Won((To, From)),
    /// Somebody else's, or gone.
    Lost,
}

/// A pod that stands by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) node: String,
}

/// What stands by for a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The pods that can be claimed.
    pub(crate) ready: Vec<Found>,
    /// How many there are with those that start.
    pub(crate) count: usize,
}

/// The pods that stand by for a session; each session has an order of its own, so that not all want the same one. From the API
/// server's cache.
pub(crate) async fn find(cluster: &Cluster, plan: &Plan<'_>) -> kube::Result<Standing> {
    let client = names::label(&plan.spec.client);
    let hash = plan.hash();
    let labels = format!(
        "{LABEL_MANAGED_BY}={MANAGER},{LABEL_STATE}={STANDBY},{LABEL_CLIENT}={client},{LABEL_SPEC}={hash}"
    );
    let pods = cluster.pods().list(&ListParams::default().labels(&labels).match_any()).await?;
    let all: Vec<&Pod> = pods.items.iter().filter(|pod| is_to_come(pod) && is_as_asked(pod, plan)).collect();
    let ready = all.iter().filter(|pod| is_ready(pod));
    let mut ready: Vec<Found> =
        ready.map(|pod| Found { name: pod.name_any(), node: nodes::node_of(pod).to_owned() }).collect();
    ready.sort_by_cached_key(|pod| hex(&Sha256::digest(format!("{}{}", plan.spec.session, pod.name))));
    Ok(Standing { ready, count: all.len() })
}

/// Whether a pod runs, its server's container too, and is to go on.
fn is_ready(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let has_ended = pod.metadata.deletion_timestamp.is_some() || pod::end_of_server(pod).is_some();
    phase == Some("Running") && !has_ended && !nodes::is_disrupted(pod) && !nodes::is_unheard(pod)
}

/// Whether a pod stands by, or will in a moment.
pub(crate) fn is_to_come(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let has_ended = matches!(phase, Some("Succeeded" | "Failed")) || pod::end_of_server(pod).is_some();
    pod.metadata.deletion_timestamp.is_none() && !has_ended
}

/// Whether a pod is what berth would make: whoever may make pods may give them any label.
pub(crate) fn is_as_asked(pod: &Pod, plan: &Plan<'_>) -> bool {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let spec = |pod: &Pod| serde_json::to_value(&pod.spec);
    let difference = plan
        .standby(name)
        .and_then(|asked| Ok(likeness::difference(&spec(&asked)?, &spec(pod)?)))
        .unwrap_or_else(|error| Some(error.to_string()));
    let list = |pod: &Pod| pod.metadata.annotations.as_ref()?.get(ANNOTATION_ALLOW).cloned();
    let asked = allowed::annotation(&plan.spec.server.settings).map(|(_, list)| list);
    let difference = difference.or_else(|| (list(pod) != asked).then(|| ANNOTATION_ALLOW.to_owned()));
    let Some(difference) = difference else { return true };
    tracing::warn!(
        "the pod `{name}` stands by and is not as berth makes it (`{difference}`): it is not used; \
         look at it with `kubectl get pod {name} -n {} -o yaml`",
        pod.metadata.namespace.as_deref().unwrap_or("default")
    );
    false
}

/// Claims a pod for its owner.
pub(crate) async fn claim(
    cluster: &Cluster,
    name: &str,
    plan: &Plan<'_>,
    owner: &Owner,
) -> kube::Result<Claim> {
    let (mut to, from) = match cluster.place(name).open(&cluster.client, What::Attach).await {
        Ok(stream) => stream,
        Err(kube::Error::Api(status)) if [400, 404].contains(&status.code) => return Ok(Claim::Lost),
        Err(error) => return Err(error),
    };
    if to.send(Bytes::from_static(ALIVE)).await.is_err() {
        return Ok(Claim::Lost);
    }
    let changed = change(cluster, name, &patch(Some(owner), cluster.parent.as_ref())).await?;
    // Somebody may have deleted it meanwhile, or have made another one of that name.
    let is_ours = changed.is_some_and(|pod| is_ready(&pod) && is_as_asked(&pod, plan));
    Ok(if is_ours { Claim::Won((to, from)) } else { Claim::Lost })
}

/// Takes a pod that nobody needs from those that stand by; `false`: it is somebody's, or gone.
pub(crate) async fn withdraw(cluster: &Cluster, name: &str) -> kube::Result<bool> {
    Ok(change(cluster, name, &patch(None, None)).await?.is_some())
}

/// The pod that is ours now; `None`: it is somebody else's, or gone.
async fn change(cluster: &Cluster, name: &str, patch: &Value) -> kube::Result<Option<Pod>> {
    let uri = format!("/api/v1/namespaces/{}/pods/{name}", cluster.namespace);
    let request = http::Request::patch(uri)
        .header(http::header::CONTENT_TYPE, "application/json-patch+json")
        .body(patch.to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    match cluster.client.request::<Pod>(request).await {
        Ok(pod) => Ok(Some(pod)),
        Err(kube::Error::Api(status)) if [TEST_FAILED, 404].contains(&status.code) => Ok(None),
        Err(error) => Err(error),
    }
}

fn patch(owner: Option<&Owner>, parent: Option<&OwnerReference>) -> Value {
    let state = format!("/metadata/labels/{}", escaped(LABEL_STATE));
    let mut patch = vec![
        json!({ "op": "test", "path": state, "value": STANDBY }),
        json!({ "op": "replace", "path": state, "value": ACTIVE }),
    ];
    patch.extend(owner.into_iter().flat_map(pod::owner).map(|(key, value)| {
        json!({ "op": "add", "path": format!("/metadata/annotations/{}", escaped(key)), "value": value })
    }));
    // A pod on standby has no owner yet.
    patch.extend(
        parent.map(|parent| json!({ "op": "add", "path": "/metadata/ownerReferences", "value": [parent] })),
    );
    patch.into()
}

/// As a part of a JSON pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use k8s_openapi::api::core::v1::Namespace;
    use kube::Api;
    use kube::api::{DeleteParams, PostParams};
    use mcp_berth::config::Kubernetes;
    use mcp_berth::config::Server;
    use mcp_berth::dock::spec::Spec;

    use super::*;
    use crate::fake;
    use crate::keeper::Keeper;

    fn spec(session: &str) -> Spec {
        let server = Server::from_image("i".parse().unwrap(), Vec::new(), &fake::settings());
        Spec::new(server, "claude-code", session)
    }

    fn pod(name: &str, phase: &str) -> Value {
        let spec = spec("s");
        let pod = Plan { spec: &spec, keeper: &Keeper::ConfigMap, template: None }.standby(name).unwrap();
        let mut pod = serde_json::to_value(pod).unwrap();
        pod["status"] = json!({ "phase": phase });
        pod
    }

    #[tokio::test]
    async fn one_list_from_the_cache_finds_those_that_run_and_each_session_has_its_order() {
        let names: Vec<String> = (0..9).map(|number| format!("p{number}")).collect();
        let mut items: Vec<Value> = names.iter().map(|name| pod(name, "Running")).collect();
        items.push(pod("starting", "Pending"));
        items.push(pod("ended", "Succeeded"));
        let mut going = pod("going", "Running");
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        items.push(going);
        let mut beside = pod("beside", "Running");
        beside["status"]["containerStatuses"] = fake::ended("server", "2026-01-01T00:00:00Z");
        items.push(beside);
        let mut unheard = pod("unheard", "Running");
        unheard["status"]["conditions"] = json!([{ "type": "Ready", "status": "False" }]);
        items.push(unheard);
        let mut drained = pod("drained", "Running");
        drained["status"]["conditions"] = json!([{ "type": "DisruptionTarget", "status": "True" }]);
        items.push(drained);
        let mut foreign = pod("foreign", "Running");
        foreign["spec"]["shareProcessNamespace"] = json!(true);
        items.push(foreign);
        let (cluster, seen) = fake::cluster(move |_| (200, json!({ "metadata": {}, "items": items })));
        let mut orders = std::collections::BTreeSet::new();
        for session in ["a", "b", "c"] {
            let spec = spec(session);
            let found = find(&cluster, &Plan { spec: &spec, keeper: &Keeper::ConfigMap, template: None })
                .await
                .unwrap();
            // One is about to be ready; others are drained, or silent.
            assert_eq!(found.count, names.len() + 3);
            let found: Vec<String> = found.ready.into_iter().map(|found| found.name).collect();
            let mut sorted = found.clone();
            sorted.sort();
            assert_eq!(sorted, names);
            orders.insert(found);
        }
        assert!(orders.len() > 1, "{orders:?}");
        let requests = seen.lock().unwrap();
        let (method, uri, _) = &requests[0];
        assert_eq!((requests.len(), method.as_str()), (3, "GET"));
        let hash = Plan { spec: &spec("a"), keeper: &Keeper::ConfigMap, template: None }.hash();
        for part in ["resourceVersion=0", "mcp-berth.io%2Fstate%3Dstandby", "client%3Dclaude-code", &hash] {
            assert!(uri.contains(part), "{part} in {uri}");
        }
    }

    #[tokio::test]
    async fn a_claim_is_one_patch_that_tests_the_state() {
        let owner = spec("s").owner();
        let (cluster, seen) = fake::cluster(|_| (200, pod("p", "Running")));
        assert!(change(&cluster, "p", &patch(Some(&owner), None)).await.unwrap().is_some());
        let (method, uri, body) = seen.lock().unwrap()[0].clone();
        assert_eq!((method.as_str(), uri.as_str()), ("PATCH", "/api/v1/namespaces/n/pods/p"));
        let state = "/metadata/labels/mcp-berth.io~1state";
        assert_eq!(
            body,
            json!([
                { "op": "test", "path": state, "value": "standby" },
                { "op": "replace", "path": state, "value": "active" },
                { "op": "add", "path": "/metadata/annotations/mcp-berth.io~1session", "value": "s" },
            ])
        );
        for (code, is_lost) in [(422, true), (404, true), (403, false)] {
            let (cluster, _) = fake::cluster(move |_| (code, fake::status(code, "no")));
            assert_eq!(
                change(&cluster, "p", &patch(Some(&owner), None)).await.is_ok_and(|pod| pod.is_none()),
                is_lost,
                "{code}"
            );
        }
    }

    /// The API server's own word, for nothing else decides.
    #[test]
    fn a_claim_gives_a_pod_the_owner_that_its_session_has() {
        let parent = OwnerReference { name: "ci-7".to_owned(), uid: "u".to_owned(), ..Default::default() };
        let owner = Owner::new("s", None, None);
        let paths = |parent| {
            let patch = patch(Some(&owner), parent);
            patch
                .as_array()
                .unwrap()
                .iter()
                .map(|op| op["path"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert!(paths(Some(&parent)).contains(&"/metadata/ownerReferences".to_owned()));
        assert!(!paths(None).contains(&"/metadata/ownerReferences".to_owned()));
    }

    #[tokio::test]
    #[ignore = "needs a cluster"]
    async fn of_24_who_claim_a_pod_at_once_one_gets_it() {
        let mut settings = Kubernetes::default();
        settings.kubeconfig = Some(std::env::var_os("BERTH_TEST_KUBECONFIG").unwrap().into());
        settings.namespace = Some(format!("t-claim-{}", std::process::id()));
        let cluster = Cluster::connect(&settings).await.unwrap();
        let namespaces = Api::<Namespace>::all(cluster.client.clone());
        let namespace = serde_json::from_value(json!({ "metadata": { "name": cluster.namespace } })).unwrap();
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
        for round in 0..5 {
            let (name, spec) = (format!("p{round}"), spec("s"));
            let mut pod =
                Plan { spec: &spec, keeper: &Keeper::ConfigMap, template: None }.standby(&name).unwrap();
            // It need not run.
            pod.spec.as_mut().unwrap().scheduling_gates =
                Some(vec![serde_json::from_value(json!({ "name": "test.example/never" })).unwrap()]);
            cluster.pods().create(&PostParams::default(), &pod).await.unwrap();
            let claims = (0..24).map(|number| {
                let (cluster, name) = (cluster.clone(), name.clone());
                let owner = Owner::new(&format!("s{number}"), None, None);
                tokio::spawn(async move { change(&cluster, &name, &patch(Some(&owner), None)).await })
            });
            let claims: Vec<_> =
                join_all(claims).await.into_iter().map(|claim| claim.unwrap().unwrap()).collect();
            let winner = claims.iter().position(Option::is_some).unwrap();
            assert_eq!(claims.iter().flatten().count(), 1);
            let session = cluster.pods().get(&name).await.unwrap().metadata.annotations.unwrap();
            assert_eq!(session[pod::ANNOTATION_SESSION], format!("s{winner}"));
        }
        namespaces.delete(&cluster.namespace, &DeleteParams::default()).await.unwrap();
    }
}
