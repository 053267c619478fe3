//! How many pods stand by for the next sessions of a kind: what is missing is made, and what is too many goes.
//!
//! Several sessions may replenish at the same moment, and no lock keeps them apart. So each looks again when its own pods are
//! there: the last one sees all. By the order of their creation all agree which ones are too many. That look is the sweep's,
//! which sees all pods that do not run yet; those that ran before were known.

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
};

impl Plan<'_> {
    /// What pods have that may stand by for the same sessions.
    pub(crate) fn kind(&self) -> String {
        targets::kind(&names::label(&self.spec.client), &self.hash())
    }
}

/// How many are to stand by: of a kind, and in all of the namespace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Most {
    pub(crate) wanted: u32,
    pub(crate) limit: Option<u32>,
}

impl Most {
    fn numbers(self) -> (usize, usize) {
        (self.wanted as usize, self.limit.unwrap_or(STANDBY_AT_MOST) as usize)
    }
}

/// What was made.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) names: Vec<String>,
    /// What stood by before.
    known: Vec<Pod>,
}

/// Makes one more; gives its name. Whoever has just taken one leaves the namespace with no more than before.
pub(crate) async fn add(cluster: &Cluster, plan: &Plan<'_>) -> Result<String, Failure> {
    let name = names::pod(&plan.spec.client, &new_session()?);
    let body = plan
        .standby(&name)
        .map_err(|error| Failure::new(Code::Internal, &error, "report this, with the server's settings"))?;
    cluster.pods().create(&PostParams::default(), &body).await.map_err(|error| {
        let asked = Asked { verb: "create", resource: "pods", namespace: &cluster.namespace };
        Failure::from(asked.refused(&error))
    })?;
    Ok(name)
}

/// Makes as many pods as are missing.
pub(crate) async fn make(cluster: &Cluster, plan: &Plan<'_>, most: Most) -> Result<Made, Failure> {
    let known = on_standby(&cluster.pods()).await.map_err(|error| {
        let asked = Asked { verb: "list", resource: "pods", namespace: &cluster.namespace };
        Failure::from(asked.refused(&error))
    })?;
    let missing = missing(of_kind(&known, &plan.kind()).len(), known.len(), most);
    let mut names = Vec::new();
    for _ in 0..missing {
        names.push(add(cluster, plan).await?);
    }
    Ok(Made { names, known })
}

/// Takes back what is too many, now that there is what was made and what others have made: `seen` are the pods that do not
/// run yet, or all, not from a cache.
pub(crate) async fn level(cluster: &Cluster, plan: &Plan<'_>, most: Most, made: &mut Made, seen: &[Pod]) {
    let known = made.known.iter().filter(|pod| !seen.iter().any(|seen| seen.name_any() == pod.name_any()));
    let stands_by = |pod: &&Pod| pod.labels().get(LABEL_STATE).is_some_and(|state| state == STANDBY);
    let mut all: Vec<Pod> = known.chain(seen.iter().filter(stands_by)).cloned().collect();
    put_in_order(&mut all);
    for name in give_back(cluster, surplus(&of_kind(&all, &plan.kind()), all.len(), most)).await {
        made.names.retain(|made| *made != name);
    }
}

/// Has those give way that are beyond what is wanted of each kind; gives their names.
pub(crate) async fn trim(cluster: &Cluster, targets: &BTreeMap<String, u32>) -> kube::Result<Vec<String>> {
    if targets.is_empty() {
        return Ok(Vec::new());
    }
    let all = on_standby(&cluster.pods()).await?;
    let beyond = |(kind, wanted): (&String, &u32)| {
        surplus(&of_kind(&all, kind), all.len(), Most { wanted: *wanted, limit: Some(u32::MAX) })
    };
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
    // It is nobody's then, so it goes even where this is broken off.
    let Some(hold) = claim::withdraw(cluster, &name).await? else { return Ok(false) };
    let this_one = Preconditions { resource_version: None, uid: pod.uid() };
    cluster.pods().delete(&name, &DeleteParams::default().preconditions(this_one)).await?;
    hold.let_be();
    Ok(true)
}

/// Those that somebody may claim, or soon, as the API server's cache has them.
async fn on_standby(pods: &Api<Pod>) -> kube::Result<Vec<Pod>> {
    let params =
        ListParams::default().labels(&format!("{LABEL_MANAGED_BY}={MANAGER},{LABEL_STATE}={STANDBY}"));
    let mut found = pods.list(&params.match_any()).await?.items;
    put_in_order(&mut found);
    Ok(found)
}

/// Those that may be claimed, the oldest first.
fn put_in_order(pods: &mut Vec<Pod>) {
    pods.retain(claim::is_to_come);
    pods.sort_by_cached_key(|pod| (pod.creation_timestamp(), pod.name_any()));
}

/// Those of a kind, by their labels. One that a session would not use counts, too: where the cluster changes each pod, others
/// would only be as useless.
fn of_kind<'a>(all: &'a [Pod], kind: &str) -> Vec<&'a Pod> {
    all.iter().filter(|pod| is_of(pod, kind)).collect()
}

fn is_of(pod: &Pod, kind: &str) -> bool {
    let label = |name| pod.labels().get(name).map_or("", String::as_str);
    targets::kind(label(LABEL_CLIENT), label(LABEL_SPEC)) == kind
}

/// How many of a kind are to be made.
fn missing(of_kind: usize, all: usize, most: Most) -> usize {
    let (wanted, limit) = most.numbers();
    wanted.saturating_sub(of_kind).min(limit.saturating_sub(all))
}

/// The newest of a kind that are too many, for the kind or for the namespace.
fn surplus<'a>(of_kind: &[&'a Pod], all: usize, most: Most) -> Vec<&'a Pod> {
    let (wanted, limit) = most.numbers();
    let too_many = of_kind.len().saturating_sub(wanted).max(all.saturating_sub(limit));
    of_kind.iter().rev().take(too_many).copied().collect()
}

#[cfg(test)]
mod tests {
    use mcp_berth::config::Server;
    use mcp_berth::dock::spec::Spec;
    use serde_json::{Value, json};

    use super::*;
    use crate::fake;
    use crate::keeper::Keeper;

    fn spec() -> Spec {
        let server = Server::from_image("i".parse().unwrap(), Vec::new(), &fake::settings());
        Spec::new(server, "a", "s")
    }

    fn most(wanted: u32, limit: Option<u32>) -> Most {
        Most { wanted, limit }
    }

    /// As berth makes it.
    fn pod(plan: &Plan<'_>, name: &str, second: u32) -> Pod {
        let mut pod = plan.standby(name).unwrap();
        pod.metadata.uid = Some(format!("uid-{name}"));
        let made = format!("2026-01-01T00:00:{second:02}Z");
        pod.metadata.creation_timestamp = Some(serde_json::from_value(made.into()).unwrap());
        pod
    }

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
        let missing = |wanted, limit| super::missing(3, 4, most(wanted, limit));
        assert_eq!([2, 3, 5].map(|wanted| missing(wanted, None)), [0, 0, 2]);
        assert_eq!([0, 4, 5, 6].map(|limit| missing(7, Some(limit))), [0, 0, 1, 2]);
        let spec = spec();
        let plan = Plan { spec: &spec, keeper: &Keeper::ConfigMap, template: None };
        let all = [("a", 1), ("c", 3), ("d", 4)].map(|(name, second)| pod(&plan, name, second));
        let gone = |wanted, limit| -> Vec<String> {
            let gone = surplus(&of_kind(&all, &plan.kind()), 4, most(wanted, limit));
            gone.into_iter().map(ResourceExt::name_any).collect()
        };
        assert!(gone(3, None).is_empty());
        assert_eq!(gone(1, None), ["d", "c"]);
        assert_eq!(gone(3, Some(3)), ["d"], "another kind's are not ours to end");
    }

    #[tokio::test]
    async fn where_the_cluster_changes_each_pod_no_more_are_made_than_are_wanted() {
        let spec = spec();
        let plan = Plan { spec: &spec, keeper: &Keeper::ConfigMap, template: None };
        let mut changed = pod(&plan, "changed", 1);
        changed.spec.as_mut().unwrap().containers[0].image_pull_policy = Some("Always".to_owned());
        assert!(!claim::is_as_asked(&changed, &plan));
        let list = json!({ "metadata": {}, "items": [changed] });
        let (cluster, seen) = fake::cluster(move |(method, _, body)| match method.as_str() {
            "POST" => (201, body.clone()),
            _ => (200, list.clone()),
        });
        assert!(make(&cluster, &plan, most(1, None)).await.unwrap().names.is_empty());
        assert_eq!(make(&cluster, &plan, most(2, None)).await.unwrap().names.len(), 1);
        assert_eq!(fake::told(&seen), ["GET ", "GET ", "POST "]);
    }

    #[test]
    fn another_kind_does_not_count() {
        let spec = spec();
        let plan = Plan { spec: &spec, keeper: &Keeper::ConfigMap, template: None };
        let mut other = pod(&plan, "other", 1);
        other.labels_mut().insert(LABEL_SPEC.to_owned(), "another".to_owned());
        let mut anothers = pod(&plan, "another's", 1);
        anothers.labels_mut().insert(LABEL_CLIENT.to_owned(), "another".to_owned());
        let all = [other, anothers, pod(&plan, "ours", 1)];
        let names: Vec<String> = of_kind(&all, &plan.kind()).into_iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, ["ours"]);
    }

    #[test]
    fn who_has_ended_or_is_about_to_is_none() {
        let spec = spec();
        let mut pod = pod(&Plan { spec: &spec, keeper: &Keeper::ConfigMap, template: None }, "a", 1);
        assert!(claim::is_to_come(&pod));
        pod.status = serde_json::from_value(json!({ "phase": "Failed" })).unwrap();
        assert!(!claim::is_to_come(&pod));
        let mut beside = json!({ "phase": "Running" });
        beside["containerStatuses"] = fake::ended("sidecar", "2026-01-01T00:00:00Z");
        pod.status = serde_json::from_value(beside.clone()).unwrap();
        assert!(claim::is_to_come(&pod));
        beside["containerStatuses"] = fake::ended("server", "2026-01-01T00:00:00Z");
        pod.status = serde_json::from_value(beside).unwrap();
        assert!(!claim::is_to_come(&pod), "a sidecar goes on without it");
        pod.status = None;
        pod.metadata.deletion_timestamp = pod.metadata.creation_timestamp.clone();
        assert!(!claim::is_to_come(&pod));
    }

    #[tokio::test]
    async fn each_looks_again_and_takes_back_what_is_too_many() {
        let spec = spec();
        let plan = Plan { spec: &spec, keeper: &Keeper::ConfigMap, template: None };
        // It runs, and the second look does not see it.
        let before = serde_json::to_value(pod(&plan, "mcp-0", 1)).unwrap();
        let (cluster, seen) = fake::cluster(move |(method, _, body)| match method.as_str() {
            "POST" => (201, body.clone()),
            "DELETE" => (200, json!({ "kind": "Status", "status": "Success" })),
            "PATCH" => (200, json!({ "metadata": {} })),
            _ => (200, json!({ "metadata": {}, "items": [before] })),
        });
        let mut made = make(&cluster, &plan, most(2, None)).await.unwrap();
        assert_eq!((fake::told(&seen), made.names.len()), (vec!["GET ".to_owned(), "POST ".to_owned()], 1));
        // Another session has done the same at that moment.
        let ours = pod(&plan, &made.names[0], 5);
        let theirs = pod(&plan, "mcp-zz", 5);
        level(&cluster, &plan, most(2, None), &mut made, &[theirs, ours]).await;
        let told = fake::told(&seen);
        assert_eq!(&told[2..], ["PATCH /mcp-zz", "DELETE /mcp-zz"], "anybody's goes, the newest first");
        assert_eq!(made.names.len(), 1);
        let seen = seen.lock().unwrap();
        assert!(seen[0].1.contains("resourceVersion=0"), "{}", seen[0].1);
        assert_eq!(seen[1].2["metadata"]["labels"][LABEL_STATE], STANDBY);
        assert_eq!(seen[2].2[0]["op"], "test", "unless it was claimed");
        let this_one: Value = json!({ "uid": "uid-mcp-zz" });
        assert_eq!(seen[3].2["preconditions"], this_one, "its version changes as it starts");
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

    #[tokio::test(start_paused = true)]
    async fn what_was_withdrawn_goes_even_if_nobody_waits_for_it() {
        let late = std::time::Duration::from_millis(100);
        let (cluster, seen) = fake::slow(late, |_| (200, json!({ "metadata": {} })));
        let spec = spec();
        let plan = Plan { spec: &spec, keeper: &Keeper::ConfigMap, template: None };
        let pod = pod(&plan, "a", 1);
        // The session ends between both.
        assert!(tokio::time::timeout(late * 3 / 2, take_back(&cluster, &pod)).await.is_err());
        crate::hold::settled().await;
        assert_eq!(fake::told(&seen), ["PATCH /a", "DELETE /a"]);
    }

    #[tokio::test]
    async fn what_was_claimed_meanwhile_stays() {
        let (cluster, seen) = fake::cluster(|_| (422, fake::status(422, "the test failed")));
        let spec = spec();
        let plan = Plan { spec: &spec, keeper: &Keeper::ConfigMap, template: None };
        assert!(!take_back(&cluster, &pod(&plan, "a", 1)).await.unwrap());
        assert_eq!(fake::told(&seen), ["PATCH /a"]);
    }
}
