//! Twenty busy sessions while a part of the cluster, or the network, is away.

use std::thread;
use std::time::{Duration, Instant};

use super::tell;
use crate::harness::{Cluster, Fault, PATIENCE, at_once, eventually, processes_of};
use crate::own_cluster::cuts::expect_only_a_pause;
use crate::own_cluster::nodes::{another_process, place};
use crate::sessions::tally;

const SESSIONS: usize = 20;
const AWAY: Duration = Duration::from_secs(5);

#[test]
#[ignore = "needs a cluster"]
fn an_api_server_that_is_away_for_five_seconds() {
    Cluster::of_this_machine();
    expect_only_a_pause("x-api", SESSIONS, |_| {
        let _dead = Fault::kill("apiserver");
        thread::sleep(AWAY);
    });
    tell("API server killed, back after 5 s: 20 sessions, no call lost or doubled, the same processes");
}

#[test]
#[ignore = "needs a cluster"]
fn a_kubelet_that_is_away_for_five_seconds() {
    Cluster::of_this_machine();
    expect_only_a_pause("x-kubelet", SESSIONS, |place| {
        let node = place.pods().into_iter().find_map(|pod| pod.spec?.node_name).expect("a node");
        let _dead = Fault::kill(&format!("kubelet {}", node.trim_start_matches('n')));
        thread::sleep(AWAY);
    });
    tell("kubelet killed, back after 5 s: 20 sessions, no call lost or doubled, the same processes");
}

#[test]
#[ignore = "needs a cluster"]
fn a_network_that_is_away_for_ten_seconds() {
    Cluster::of_this_machine();
    expect_only_a_pause("x-cut", SESSIONS, |_| {
        let _cut = Fault::cut("machine");
        thread::sleep(2 * AWAY);
    });
    tell("network cut for 10 s without FIN: 20 sessions, no call lost or doubled, the same processes");
}

/// Longer than a cut may last: each session gets another server, and of the old ones nothing stays.
#[test]
#[ignore = "needs a cluster"]
fn a_network_that_is_away_for_a_minute() {
    let place = place("x-minute");
    let clients: Vec<String> = (0..SESSIONS).map(|n| format!("x-minute-{n}")).collect();
    let mut sessions = at_once(clients, |_, client| {
        let mut session = place.run("lasting").client(&client).started();
        let process = tally(&mut session, "before", 1)["process"].clone();
        let pod = session.container();
        (session, process, pod)
    });
    let cut = Fault::cut("machine");
    thread::sleep(Duration::from_mins(1));
    drop(cut);
    let mended = Instant::now();
    let took = at_once(sessions.iter_mut().collect(), |_, (session, before, _)| {
        another_process(session, before, PATIENCE);
        mended.elapsed()
    });
    let latest = took.iter().max().expect("sessions");
    for (_, _, pod) in &sessions {
        eventually("the end of what was lost", PATIENCE, || place.pod(pod).is_none().then_some(()));
        assert_eq!(processes_of(pod), Vec::<u32>::new(), "{pod} goes on");
    }
    let count = place.pods().len();
    assert_eq!(count, SESSIONS, "one pod for each session");
    tell(&format!(
        "network cut for 60 s: 20 of 20 sessions answer by new servers within {latest:?} of its end; no old \
         pod and no process of one is left"
    ));
}
