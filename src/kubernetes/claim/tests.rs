use futures::future::join_all;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use mcp_berth::config::Kubernetes;
use mcp_berth::config::Server;
use mcp_berth::dock::spec::Spec;

use super::*;
use crate::keeper::Keeper;
use crate::{fake, hold};

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
        let found =
            find(&cluster, &Plan { spec: &spec, keeper: &Keeper::ConfigMap, template: None }).await.unwrap();
        // One is about to be ready; others are drained, silent, or not as they were made.
        assert_eq!(found.count, names.len() + 4);
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

/// What the API server is asked, where it answers a claim with this and shows the pod as it is then.
async fn asked_at_a_claim(answer: (u16, Value)) -> (bool, String) {
    let mut ours = pod("p", "Running");
    ours["metadata"]["labels"][LABEL_STATE] = ACTIVE.into();
    ours["metadata"]["annotations"][pod::ANNOTATION_SESSION] = "s".into();
    let (cluster, seen) = fake::cluster(move |(method, ..)| match method.as_str() {
        "PATCH" => answer.clone(),
        "GET" => (200, ours.clone()),
        _ => (200, json!({ "kind": "Status", "status": "Success" })),
    });
    let spec = spec("s");
    let plan = Plan { spec: &spec, keeper: &Keeper::ConfigMap, template: None };
    let claimed = own(&cluster, "p", &plan, &spec.owner()).await;
    let is_won = claimed.is_ok_and(|hold| hold.map(Hold::let_be).is_some());
    hold::settled().await;
    (is_won, fake::told(&seen).join(", "))
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_was_claimed_in_vain_goes() {
    let refused = |code| (code, fake::status(code, "no"));
    let told = |is_won, told: &str| (is_won, told.to_owned());
    assert_eq!(asked_at_a_claim((200, pod("p", "Running"))).await, told(true, "PATCH /p"));
    for code in [422, 404, 403] {
        assert_eq!(asked_at_a_claim(refused(code)).await, told(false, "PATCH /p"), "{code}");
    }
    assert_eq!(asked_at_a_claim((200, pod("p", "Failed"))).await, told(false, "PATCH /p, DELETE /p"));
    let mut changed = pod("p", "Running");
    changed["spec"]["shareProcessNamespace"] = json!(true);
    assert_eq!(asked_at_a_claim((200, changed)).await, told(false, "PATCH /p, DELETE /p"));
    // It was claimed, and the answer does not say so.
    assert_eq!(asked_at_a_claim(refused(504)).await, told(false, "PATCH /p, GET /p, DELETE /p"));
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_nobody_waits_for_is_looked_after() {
    let (cluster, seen) = fake::slow(std::time::Duration::from_millis(100), |_| fake::not_found());
    let spec = spec("s");
    let plan = Plan { spec: &spec, keeper: &Keeper::ConfigMap, template: None };
    let owner = spec.owner();
    let claiming = own(&cluster, "p", &plan, &owner);
    assert!(tokio::time::timeout(std::time::Duration::from_millis(50), claiming).await.is_err());
    hold::settled().await;
    assert_eq!(fake::told(&seen), ["GET /p"]);
}

/// The API server's own word, for nothing else decides.
#[test]
fn a_claim_gives_a_pod_the_owner_that_its_session_has() {
    let parent = OwnerReference { name: "ci-7".to_owned(), uid: "u".to_owned(), ..Default::default() };
    let owner = Owner::new("s", None, None);
    let paths = |parent| {
        let patch = patch(Some(&owner), parent);
        patch.as_array().unwrap().iter().map(|op| op["path"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
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
