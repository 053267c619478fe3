//! A cut is not a death: sessions go on with the same servers when a part of the cluster, or the network, comes back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Berth, Cluster, Fault, PATIENCE, Place, eventually};
use crate::sessions::tally;

const CLIENTS: usize = 4;
/// A call of each is at work nearly always.
const WORK_MS: u64 = 50;
/// One was under way before, and the others were asked afterwards.
const MORE: usize = 3;

/// Ends the work of the others however it comes to its own end.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Calls until it is told to stop. Each answer is of the same process, and the first of its call.
fn work(berth: Berth, answered: &AtomicUsize, stopped: &AtomicBool) {
    let mut session = berth.started();
    let mut process = None;
    while !stopped.load(Ordering::Relaxed) {
        let count = answered.load(Ordering::Relaxed);
        let answer = tally(&mut session, &format!("call-{count}"), WORK_MS);
        assert_eq!(answer["times"], 1, "{answer}");
        let answering = process.get_or_insert_with(|| answer["process"].clone());
        assert_eq!(&answer["process"], answering, "another process answers");
        answered.fetch_add(1, Ordering::Relaxed);
    }
    let said: Value = serde_json::from_str(&session.call_text("tallied", json!({}))).expect("JSON");
    let wanted: BTreeMap<String, u64> =
        (0..answered.load(Ordering::Relaxed)).map(|count| (format!("call-{count}"), 1)).collect();
    assert_eq!(said["times"], json!(wanted), "each call was executed once");
}

/// What happens amid busy sessions costs none of them anything but time.
pub(crate) fn expect_only_a_pause(name: &str, clients: usize, happens: impl FnOnce(&Place)) {
    let place = Place::alone(name);
    let answered: Vec<AtomicUsize> = (0..clients).map(|_| AtomicUsize::new(0)).collect();
    let stopped = AtomicBool::new(false);
    thread::scope(|scope| {
        let stop = Stop(&stopped);
        let workers: Vec<_> = answered
            .iter()
            .enumerate()
            .map(|(n, answered)| {
                let berth = place.run("fixture").client(&format!("{name}-{n}"));
                scope.spawn(|| work(berth, answered, &stopped))
            })
            .collect();
        let further = |what: &str| {
            let before: Vec<usize> = answered.iter().map(|count| count.load(Ordering::Relaxed)).collect();
            eventually(what, PATIENCE, || {
                assert!(!workers.iter().any(thread::ScopedJoinHandle::is_finished), "a client has failed");
                let mut pairs = answered.iter().zip(&before);
                pairs.all(|(count, before)| count.load(Ordering::Relaxed) >= before + MORE).then_some(())
            });
        };
        further("work before anything happens");
        happens(&place);
        further("work after it");
        drop(stop);
    });
}

#[test]
#[ignore = "needs a cluster"]
fn an_api_server_that_dies_and_comes_back_costs_no_call() {
    Cluster::of_this_machine();
    expect_only_a_pause("apiserver", CLIENTS, |_| {
        let _dead = Fault::kill("apiserver");
        thread::sleep(Duration::from_secs(4));
    });
}

#[test]
#[ignore = "needs a cluster"]
fn a_kubelet_that_dies_and_comes_back_costs_no_call() {
    Cluster::of_this_machine();
    expect_only_a_pause("kubelet", CLIENTS, |place| {
        let nodes = place.pods().into_iter().filter_map(|pod| pod.spec?.node_name);
        let busy = nodes.max().expect("a node with a session");
        let _dead = Fault::kill(&format!("kubelet {}", busy.trim_start_matches('n')));
        thread::sleep(Duration::from_secs(3));
    });
}

#[test]
#[ignore = "needs a cluster"]
fn a_network_that_drops_everything_for_ten_seconds_costs_no_call() {
    Cluster::of_this_machine();
    expect_only_a_pause("cut", CLIENTS, |_| {
        let _cut = Fault::cut("machine");
        thread::sleep(Duration::from_secs(10));
    });
}
