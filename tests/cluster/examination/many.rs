//! Many sessions on two nodes, one of which takes no more in the middle.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::tell;
use crate::harness::{Cluster, Cordon, Place, at_once};
use crate::sessions::tally;

const HALF: usize = 30;
/// So many start at once.
const AT_ONCE: usize = 6;
const CALLS: usize = 5;

#[test]
#[ignore = "needs a cluster"]
fn sixty_sessions_and_a_node_that_is_cordoned_in_the_middle() {
    Cluster::of_this_machine();
    let place = Place::alone("x-sixty");
    let mut sessions = Vec::new();
    let mut start = |from: usize| {
        let clients: Vec<String> = (from..from + HALF).map(|n| format!("x-sixty-{n}")).collect();
        for clients in clients.chunks(AT_ONCE) {
            sessions
                .extend(at_once(clients.to_vec(), |_, client| place.run("ready").client(&client).started()));
        }
    };
    start(0);
    let on = |place: &Place| -> BTreeMap<String, BTreeSet<String>> {
        let mut on: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for pod in place.pods().iter().filter(|pod| is_sessions(pod)) {
            let name = pod.metadata.name.clone().expect("a name");
            on.entry(node(pod)).or_default().insert(name);
        }
        on
    };
    let before = on(&place);
    let _cordon = Cordon::around("n2");
    start(HALF);
    let after = on(&place);
    assert_eq!(before["n2"], after["n2"], "no new session is there");
    assert_eq!(after.values().map(BTreeSet::len).sum::<usize>(), 2 * HALF, "none waits");
    let processes = Mutex::new(BTreeSet::new());
    at_once(sessions, |number, mut session| {
        for call in 0..CALLS {
            let token = format!("{number}-{call}");
            let answer = tally(&mut session, &token, 20);
            assert_eq!((&answer["times"], &answer["token"]), (&json!(1), &json!(token)), "{answer}");
            processes.lock().expect("no panic").insert(answer["process"].to_string());
        }
        session.close();
        assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
    });
    assert_eq!(processes.into_inner().expect("no panic").len(), 2 * HALF, "each has a server of its own");
    let counts = |on: &BTreeMap<String, BTreeSet<String>>| {
        on.iter().map(|(node, pods)| format!("{node}: {}", pods.len())).collect::<Vec<_>>().join(", ")
    };
    tell(&format!(
        "60 sessions, n2 cordoned after 30 ({}): none of the others there ({}), none waited, {} of {} answers right",
        counts(&before),
        counts(&after),
        2 * HALF * CALLS,
        2 * HALF * CALLS
    ));
}

fn node(pod: &Pod) -> String {
    pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).expect("it has a node")
}

fn is_sessions(pod: &Pod) -> bool {
    pod.metadata
        .labels
        .as_ref()
        .is_some_and(|labels| labels.get("mcp-berth.io/state").is_some_and(|it| it == "active"))
}
