//! A node dies, and what the sessions of the other one notice of it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{percentile, tell};
use crate::harness::{Fault, PATIENCE, Place, Session, at_once, eventually, is_ready};
use crate::own_cluster::nodes::{next_process, place};
use crate::sessions::tally;

const SESSIONS: usize = 10;
/// By default.
const RECONNECT: Duration = Duration::from_secs(15);
const BEYOND: Duration = Duration::from_secs(2);
/// Of each side of a pair.
const WINDOW: Duration = Duration::from_secs(20);
const BOUND: f64 = 1.05;

fn rounds() -> usize {
    std::env::var("BERTH_EXAM_ROUNDS").map_or(11, |rounds| rounds.parse().expect("a number"))
}

/// One process, one pod, one node.
struct Worker {
    session: Session,
    process: serde_json::Value,
    pod: String,
    node: String,
}

fn worker(place: &Place, client: &str) -> Worker {
    let mut session = place.run("lasting").client(client).started();
    let process = tally(&mut session, "before", 1)["process"].clone();
    let pod = session.container();
    let node = place.node_of(&pod);
    Worker { session, process, pod, node }
}

/// When each answer came, and after how long.
type Answers = Mutex<Vec<(Instant, Duration)>>;

fn measure(worker: &mut Worker, stopped: &AtomicBool, answers: &Answers) {
    while !stopped.load(Ordering::Relaxed) {
        let asked = Instant::now();
        worker.session.call_text("echo", json!({ "text": "still there" }));
        answers.lock().expect("no panic").push((asked, asked.elapsed()));
        thread::sleep(Duration::from_millis(5));
    }
}

/// Gives how long the slowest recovery took, beyond a cold start, and the p99 of the others before and after.
fn round(number: usize) -> (Duration, Duration, f64, f64) {
    let place = place(&format!("x-node-{number}"));
    let began = Instant::now();
    drop(worker(&place, &format!("x-node-{number}-cold")));
    let cold = began.elapsed();
    let clients: Vec<String> = (0..SESSIONS).map(|n| format!("x-node-{number}-{n}")).collect();
    let workers = at_once(clients, |_, client| worker(&place, &client));
    let dying = workers[0].node.clone();
    let (mut dying, mut others): (Vec<Worker>, Vec<Worker>) =
        workers.into_iter().partition(|worker| worker.node == dying);
    assert!(!others.is_empty(), "they are spread");
    let node = dying[0].node.clone();
    let (stopped, answers) = (AtomicBool::new(false), Answers::default());
    let (died, slowest, power) = thread::scope(|scope| {
        for other in &mut others {
            scope.spawn(|| measure(other, &stopped, &answers));
        }
        thread::sleep(WINDOW);
        let died = Instant::now();
        let power = Fault::power(node.trim_start_matches('n'));
        let took = at_once(dying.iter_mut().collect(), |_, worker: &mut Worker| {
            while next_process(&mut worker.session, PATIENCE) == worker.process {}
            died.elapsed()
        });
        thread::sleep(WINDOW.saturating_sub(died.elapsed()));
        stopped.store(true, Ordering::Relaxed);
        (died, took.into_iter().max().expect("sessions"), power)
    });
    for worker in &dying {
        assert!(place.pod(&worker.pod).is_none(), "{} would stay", worker.pod);
    }
    for other in &mut others {
        assert_eq!(tally(&mut other.session, "after", 1)["process"], other.process);
    }
    drop(power);
    eventually("the node's return", PATIENCE, || is_ready(&node).then_some(()));
    let answers = answers.into_inner().expect("no panic");
    let of = |is_wanted: &dyn Fn(Instant) -> bool| -> f64 {
        let mut those: Vec<Duration> =
            answers.iter().filter(|(at, _)| is_wanted(*at)).map(|(_, took)| *took).collect();
        percentile(&mut those, 0.99)
    };
    let before = of(&|at| at < died);
    let after = of(&|at| at >= died && at < died + WINDOW);
    tell(&format!(
        "node dead, round {number}: {} of {} sessions were there, the slowest answered after {slowest:?} (cold start \
         {cold:?}); the others' p99 {before:.2} ms before, {after:.2} ms after",
        dying.len(),
        SESSIONS
    ));
    (slowest, cold, before, after)
}

#[test]
#[ignore = "needs a cluster"]
fn a_node_dies_and_its_sessions_go_on_elsewhere() {
    let all: Vec<_> = (0..rounds()).map(round).collect();
    let mut ratios: Vec<f64> = all.iter().map(|(.., before, after)| after / before).collect();
    ratios.sort_by(f64::total_cmp);
    // Of 11 the interval of 90 % around the median ends with the ninth.
    let upper = ratios[(ratios.len() * 9).div_ceil(11).clamp(1, ratios.len()) - 1];
    tell(&format!(
        "others' p99, after/before: median {:.3}, upper end of its 90 % interval {upper:.3} (wanted: {BOUND}), all {ratios:.3?}",
        ratios[ratios.len() / 2]
    ));
    for (slowest, cold, ..) in all {
        assert!(
            slowest <= RECONNECT + cold + BEYOND,
            "{slowest:?} is more than {RECONNECT:?} + {cold:?} + {BEYOND:?}"
        );
    }
}
