//! How many pods stand by for the next sessions of a kind: what is missing is made, and what is too many goes.
//!
//! Several sessions may replenish at the same moment, and no lock keeps them apart. So each looks again when its own pods are
//! there: the last one sees all. By the order of their creation all agree which ones are too many.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use mcp_berth::backend::docker::targets;
use mcp_berth::dock::owner::new_session;
use mcp_berth::failure::{Code, Failure};

use super::causes::refused::Asked;
use super::claim;
use super::cluster::Cluster;
use super::names;
use super::pod::{
    LABEL_CLIENT, LABEL_MANAGED_BY, LABEL_SPEC, LABEL_STATE, MANAGER, Plan, STANDBY, STANDBY_AT_MOST,
    end_of_server,
};

impl Plan<'_> {
    /// What pods have that may stand by for the same sessions.
    pub(crate) fn kind(&self) -> String {
        targets::kind(&names::label(&self.spec.client), &self.hash())
    }
}

/// Makes as many pods as are missing to `wanted`; gives their names. The namespace has no more than `limit` on standby.
pub(crate) async fn replenish(
    cluster: &Cluster,
    plan: &Plan<'_>,
    wanted: u32,
    limit: Option<u32>,
) -> Result<Vec<String>, Failure> {
    let refused = |verb| {
        move |error: kube::Error| {
            let asked = Asked { verb, resource: "pods", namespace: &cluster.namespace };
            Failure::from(asked.refused(&error))
        }
    };
    let pods = cluster.pods();
    let (wanted, limit) = (wanted as usize, limit.unwrap_or(STANDBY_AT_MOST) as usize);
    let kind = plan.kind();
    let all = on_standby(&pods, true).await.map_err(refused("list"))?;
    let missing = missing(&all, &kind, wanted, limit);
    let mut made = Vec::new();
    for _ in 0..missing {
        let name = names::pod(&plan.spec.client, &new_session()?);
        let body = plan.standby(&name).map_err(|error| {
            Failure::new(Code::Internal, &error, "report this, with the server's settings")
        })?;
        pods.create(&PostParams::default(), &body).await.map_err(refused("create"))?;
        made.push(name);
    }
    if made.is_empty() {
        return Ok(made);
    }
    // Not from a cache: what others have just made counts.
    let all = on_standby(&pods, false).await.map_err(refused("list"))?;
    for name in give_back(cluster, surplus(&all, &kind, wanted, limit)).await {
        made.retain(|made| *made != name);
    }
    Ok(made)
}

/// Has those give way that are beyond what is wanted of each kind; gives their names.
pub(crate) async fn trim(cluster: &Cluster, targets: &BTreeMap<String, u32>) -> kube::Result<Vec<String>> {
    if targets.is_empty() {
        return Ok(Vec::new());
    }
    let all = on_standby(&cluster.pods(), true).await?;
    let beyond = |(kind, wanted): (&String, &u32)| surplus(&all, kind, *wanted as usize, usize::MAX);
    Ok(give_back(cluster, targets.iter().flat_map(beyond).collect()).await)
}

/// Those that nobody has claimed meanwhile.
async fn give_back(cluster: &Cluster, pods: Vec<&Pod>) -> Vec<String> {
    let mut gone = Vec::new();
    for pod in pods {
        let name = pod.name_any();
        match take_back(cluster, pod).await {
            Ok(true) => gone.push(name),
            Ok(false) => tracing::debug!("`{name}` has its session by now"),
            Err(error) => tracing::debug!("`{name}` stays on standby: {error}"),
        }
    }
    gone
}

/// Deletes a pod, unless somebody has claimed it. A new pod changes with each step of its start, so its version says nothing:
/// it is taken from the others by a claim of nobody's.
async fn take_back(cluster: &Cluster, pod: &Pod) -> kube::Result<bool> {
    let name = pod.name_any();
    if !claim::withdraw(cluster, &name).await? {
        return Ok(false);
    }
    let this_one = Preconditions { resource_version: None, uid: pod.uid() };
    cluster.pods().delete(&name, &DeleteParams::default().preconditions(this_one)).await?;
    Ok(true)
}

/// Those that somebody may claim, or soon.
async fn on_standby(pods: &Api<Pod>, may_be_old: bool) -> kube::Result<Vec<Pod>> {
    let params =
        ListParams::default().labels(&format!("{LABEL_MANAGED_BY}={MANAGER},{LABEL_STATE}={STANDBY}"));
    let params = if may_be_old { params.match_any() } else { params };
    let mut found = pods.list(&params).await?.items;
    found.retain(is_to_come);
    found.sort_by_cached_key(|pod| (pod.creation_timestamp(), pod.name_any()));
    Ok(found)
}

fn is_to_come(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let has_ended = matches!(phase, Some("Succeeded" | "Failed")) || end_of_server(pod).is_some();
    pod.metadata.deletion_timestamp.is_none() && !has_ended
}

fn is_of(pod: &Pod, kind: &str) -> bool {
    let label = |name| pod.labels().get(name).map_or("", String::as_str);
    targets::kind(label(LABEL_CLIENT), label(LABEL_SPEC)) == kind
}

/// How many of a kind are to be made.
fn missing(all: &[Pod], kind: &str, wanted: usize, limit: usize) -> usize {
    let there = all.iter().filter(|pod| is_of(pod, kind)).count();
    wanted.saturating_sub(there).min(limit.saturating_sub(all.len()))
}

/// The newest of a kind that are too many, for the kind or for the namespace.
fn surplus<'a>(all: &'a [Pod], kind: &str, wanted: usize, limit: usize) -> Vec<&'a Pod> {
    let of_kind: Vec<&Pod> = all.iter().filter(|pod| is_of(pod, kind)).collect();
    let too_many = of_kind.len().saturating_sub(wanted).max(all.len().saturating_sub(limit));
    of_kind.into_iter().rev().take(too_many).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fake;

    fn pods(of: &[(&str, &str, u32)]) -> Vec<Pod> {
        let pod = |(name, hash, second): &(&str, &str, u32)| -> Value {
            json!({ "metadata": {
                "name": name, "labels": { LABEL_CLIENT: "c", LABEL_SPEC: hash },
                "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z"),
            } })
        };
        of.iter().map(|of| serde_json::from_value(pod(of)).unwrap()).collect()
    }

    #[test]
    fn what_is_missing_is_made_and_what_is_too_many_goes_the_newest_first() {
        let all = pods(&[("a", "x", 1), ("b", "y", 2), ("c", "x", 3), ("d", "x", 4)]);
        assert_eq!([2, 3, 5].map(|wanted| missing(&all, "c-x", wanted, 64)), [0, 0, 2]);
        assert_eq!([0, 4, 5, 6].map(|limit| missing(&all, "c-y", 4, limit)), [0, 0, 1, 2]);
        let gone = |wanted, limit| -> Vec<String> {
            surplus(&all, "c-x", wanted, limit).into_iter().map(ResourceExt::name_any).collect()
        };
        assert!(gone(3, 64).is_empty());
        assert_eq!(gone(1, 64), ["d", "c"]);
        assert_eq!(gone(3, 3), ["d"], "another kind's are not ours to end");
        assert_eq!(missing(&all, "b-x", 1, 64), 1, "a session claims none of another client's");
    }

    #[test]
    fn who_has_ended_or_is_about_to_is_none() {
        let mut pod = pods(&[("a", "x", 1)]).remove(0);
        assert!(is_to_come(&pod));
        pod.status = serde_json::from_value(json!({ "phase": "Failed" })).unwrap();
        assert!(!is_to_come(&pod));
        let mut beside = json!({ "phase": "Running" });
        beside["containerStatuses"] = fake::ended("sidecar", "2026-01-01T00:00:00Z");
        pod.status = serde_json::from_value(beside.clone()).unwrap();
        assert!(is_to_come(&pod));
        beside["containerStatuses"] = fake::ended("server", "2026-01-01T00:00:00Z");
        pod.status = serde_json::from_value(beside).unwrap();
        assert!(!is_to_come(&pod), "a sidecar goes on without it");
        pod.status = None;
        pod.metadata.deletion_timestamp = pod.metadata.creation_timestamp.clone();
        assert!(!is_to_come(&pod));
    }

    #[tokio::test]
    async fn each_looks_again_and_takes_back_what_is_too_many() {
        let server =
            mcp_berth::config::Server::from_image("i".parse().unwrap(), Vec::new(), &fake::settings());
        let spec = mcp_berth::dock::spec::Spec::new(server, "a", "s");
        let plan = Plan { spec: &spec, keeper_image: "k", template: None };
        let hash = plan.hash();
        let listed = {
            let hash = hash.clone();
            move |names: &[String]| -> Value {
                let of = |name: &String| {
                    json!({ "metadata": {
                        "name": name, "labels": { LABEL_CLIENT: "a", LABEL_SPEC: hash }, "uid": format!("uid-{name}"),
                        "resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z",
                    } })
                };
                json!({ "metadata": {}, "items": names.iter().map(of).collect::<Vec<_>>() })
            }
        };
        let made = std::sync::Mutex::new(Vec::<String>::new());
        let (cluster, seen) = fake::cluster(move |(method, _, body)| {
            let mut made = made.lock().unwrap();
            match method.as_str() {
                "POST" => {
                    made.push(body["metadata"]["name"].as_str().unwrap().to_owned());
                    (201, body.clone())
                }
                "DELETE" => (200, json!({ "kind": "Status", "status": "Success" })),
                "PATCH" => (200, json!({ "metadata": {} })),
                _ if made.is_empty() => (200, listed(&[])),
                // Another session has done the same.
                _ => (200, listed(&[&made[..], &["mcp-0".to_owned(), "mcp-zz".to_owned()]].concat())),
            }
        });
        let made = replenish(&cluster, &plan, 2, None).await.unwrap();
        assert_eq!(made.len(), 1, "the other one's first is older than both of ours by its name");
        let told = fake::told(&seen);
        assert_eq!(&told[..4], ["GET ", "POST ", "POST ", "GET "]);
        let gone = ["PATCH /mcp-zz", "DELETE /mcp-zz"];
        assert_eq!(&told[4..6], gone, "anybody's goes, the newest first");
        let seen = seen.lock().unwrap();
        assert!(seen[0].1.contains("resourceVersion=0") && !seen[3].1.contains("resourceVersion=0"));
        assert_eq!(seen[4].2[0]["op"], "test", "unless it was claimed");
        let this_one = json!({ "uid": "uid-mcp-zz" });
        assert_eq!(seen[5].2["preconditions"], this_one, "its version changes as it starts");
        assert_eq!(seen[1].2["metadata"]["labels"]["mcp-berth.io/state"], "standby");
        assert_eq!((seen.len(), hash.len()), (8, 12));
    }

    #[tokio::test]
    async fn what_is_beyond_a_managers_wish_gives_way() {
        let all = pods(&[("a", "x", 1), ("b", "x", 2), ("c", "y", 3)]);
        let list = json!({ "metadata": {}, "items": all });
        let (cluster, seen) = fake::cluster(move |(method, ..)| match method.as_str() {
            "GET" => (200, list.clone()),
            "PATCH" => (200, json!({ "metadata": {} })),
            _ => (200, json!({ "kind": "Status", "status": "Success" })),
        });
        let targets = BTreeMap::from([("c-x".to_owned(), 1), ("d-y".to_owned(), 0)]);
        assert_eq!(
            trim(&cluster, &targets).await.unwrap(),
            ["b"],
            "nothing was said of the third one's kind"
        );
        assert_eq!(fake::told(&seen), ["GET ", "PATCH /b", "DELETE /b"]);
        assert!(trim(&cluster, &BTreeMap::new()).await.unwrap().is_empty());
        assert_eq!(seen.lock().unwrap().len(), 3, "nothing was asked for");
    }

    #[tokio::test]
    async fn what_was_claimed_meanwhile_stays() {
        let (cluster, seen) = fake::cluster(|_| (422, fake::status(422, "the test failed")));
        assert!(!take_back(&cluster, &pods(&[("a", "x", 1)])[0]).await.unwrap());
        assert_eq!(fake::told(&seen), ["PATCH /a"]);
    }
}
