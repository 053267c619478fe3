//! Agents that run in the cluster themselves, in the pod of the manual's example: their berth has their role, and no other.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::harness::{Berth, PATIENCE, Place, Session, eventually};

/// What Kubernetes takes with an owner is gone by then; a keeper waits longer for its berth.
const COLLECTED_WITHIN: Duration = Duration::from_secs(10);

/// The manual's own manifest, for this namespace and these images.
fn manifest(place: &Place) -> String {
    const MANUAL: &str = include_str!("../../src/help/kubernetes.md");
    let mut examples = MANUAL.split("```yaml\n").filter_map(|rest| rest.split("```").next());
    let example = examples.find(|example| example.contains("name: ci-agent")).expect("an example");
    let changed = [
        ("namespace: berth}", format!("namespace: {}}}", place.namespace())),
        ("registry.example/mcp/berth:0.1.0", Place::agent_image()),
        ("registry.example/ci-agent:1", Place::agent_image()),
        // The keeper comes by the config map, and the images are in the nodes.
        ("registry = \"registry.example/mcp\"", String::new()),
        (
            "image = \"mcp/everything\"",
            format!("image = \"{}\"\n    command = [\"/berth-fixture\"]", Place::fixture_image()),
        ),
    ];
    changed.iter().fold(example.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the manual's example has no {from}");
        text.replace(from, to)
    })
}

fn agent_of(place: &Place) -> Pod {
    place.pod("ci-agent").expect("the agent's pod")
}

/// Neither the agent's own pod nor one on standby.
fn pods_of_sessions(place: &Place) -> Vec<Pod> {
    let is_active = |pod: &Pod| {
        let state = pod.metadata.labels.as_ref().and_then(|labels| labels.get("mcp-berth.io/state"));
        state.is_some_and(|state| state == "active") && pod.metadata.deletion_timestamp.is_none()
    };
    place.pods().into_iter().filter(is_active).collect()
}

fn phase(pod: &Pod) -> String {
    pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default()
}

/// Starts the agent's pod, and speaks to its `berth run`.
fn started(place: &Place) -> Session {
    let (code, said, errors) = place.says(&["kubernetes", "up"]);
    assert_eq!(code, Some(0), "{said}{errors}");
    place.apply(&manifest(place), &[]);
    eventually("the agent's pod", PATIENCE, || (phase(&agent_of(place)) == "Running").then_some(()));
    let mut session =
        Berth::instead(place.kubectl(&["attach", "--quiet", "-i", "ci-agent", "-c", "agent"])).start();
    session.initialize();
    session
}

#[test]
#[ignore = "needs a cluster"]
fn an_agents_pod_has_sessions_with_its_role_alone_and_ends_in_order() {
    let place = Place::new("agent");
    let mut session = started(&place);
    for number in 0..20 {
        let text = format!("{number}");
        assert_eq!(session.call_text("echo", json!({ "text": text })), text);
    }
    let pods = pods_of_sessions(&place);
    let [pod] = pods.as_slice() else { panic!("{pods:?}") };
    let owners = json!(pod.metadata.owner_references);
    let (name, uid) = (json!("ci-agent"), json!(agent_of(&place).metadata.uid));
    let owner: &Value = &owners[0];
    assert_eq!((&owner["kind"], &owner["name"], &owner["uid"]), (&json!("Pod"), &name, &uid), "{owners}");
    // All that was done was done with these rights.
    let agent = place.agent();
    assert_eq!(agent.may_list("pods"), Ok(()));
    for plural in ["secrets", "configmaps", "services", "serviceaccounts"] {
        assert_eq!(agent.may_list(plural), Err(403), "{plural}");
    }
    session.close();
    eventually("the agent's end", PATIENCE, || (phase(&agent_of(&place)) == "Succeeded").then_some(()));
    assert_eq!(pods_of_sessions(&place), [], "its sessions ended before it");
}

#[test]
#[ignore = "needs a cluster"]
fn kubernetes_deletes_sessions_with_an_agents_pod_that_could_end_nothing() {
    let place = Place::new("agentless");
    let _session = started(&place);
    assert_eq!(pods_of_sessions(&place).len(), 1);
    // Its berth is gone before it could do anything.
    let deleted = place.kubectl(&["delete", "pod", "ci-agent", "--force", "--grace-period=0"]).output();
    assert!(deleted.expect("kubectl runs").status.success());
    eventually("the session's pod to be gone", COLLECTED_WITHIN, || {
        pods_of_sessions(&place).is_empty().then_some(())
    });
}
