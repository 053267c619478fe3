//! A node dies, and what the sessions of the other one notice of it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::interval::interval;
use super::{percentile, tell};
use crate::harness::{Berth, Fault, PATIENCE, Place, Session, at_once, eventually, is_ready};
use crate::own_cluster::nodes::{another_process, place};
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

/// When each answer was asked for, and how long it took.
type Answers = Mutex<Vec<(Instant, Duration)>>;

fn measure(session: &mut Session, stopped: &AtomicBool, answers: &Answers) {
    while !stopped.load(Ordering::Relaxed) {
        let asked = Instant::now();
        session.call_text("echo", json!({ "text": "still there" }));
        answers.lock().expect("no panic").push((asked, asked.elapsed()));
        thread::sleep(Duration::from_millis(5));
    }
}

/// The p99 (ms) before a node's death, while nobody knows of it, and while its sessions start elsewhere.
#[derive(Clone, Copy)]
struct Slowest {
    before: f64,
    unheard: f64,
    moving: f64,
    after: f64,
}

impl Slowest {
    fn of(answers: Answers, died: Instant) -> Self {
        let answers = answers.into_inner().expect("no panic");
        let within = |from: Instant, until: Instant| {
            let those = answers.iter().filter(|(at, _)| (from..until).contains(at));
            percentile(&mut those.map(|(_, took)| *took).collect::<Vec<_>>(), 0.99)
        };
        let (known, end) = (died + RECONNECT.saturating_sub(BEYOND), died + WINDOW);
        Self {
            before: within(died.checked_sub(WINDOW).expect("it was measured for so long"), died),
            unheard: within(died, known),
            moving: within(known, end),
            after: within(died, end),
        }
    }

    fn told(&self) -> String {
        let Self { before, unheard, moving, .. } = self;
        format!("p99 {before:.2} ms before, {unheard:.2} while nobody knew, {moving:.2} while they moved")
    }
}

/// Of the slowest of a time to that before.
type Ratio = fn(&Slowest) -> f64;

/// What a round has found.
struct Round {
    /// How long the slowest recovery took, and a cold start.
    slowest: Duration,
    cold: Duration,
    others: Slowest,
    /// The same way without berth: `kubectl exec -i` into a pod that stays.
    kubectl: Slowest,
}

fn round(number: usize) -> Round {
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
    let exec = place.kubectl(&["exec", "-i", &others[0].pod, "-c", "server", "--", "/berth-fixture"]);
    let mut control = Berth::instead(exec).start_without_daemon();
    control.initialize();
    let (stopped, answers, of_control) = (AtomicBool::new(false), Answers::default(), Answers::default());
    let (died, slowest, power) = thread::scope(|scope| {
        for other in &mut others {
            scope.spawn(|| measure(&mut other.session, &stopped, &answers));
        }
        scope.spawn(|| measure(&mut control, &stopped, &of_control));
        thread::sleep(WINDOW);
        let died = Instant::now();
        let power = Fault::power(node.trim_start_matches('n'));
        let took = at_once(dying.iter_mut().collect(), |_, worker: &mut Worker| {
            another_process(&mut worker.session, &worker.process, PATIENCE);
            died.elapsed()
        });
        thread::sleep(WINDOW.saturating_sub(died.elapsed()));
        stopped.store(true, Ordering::Relaxed);
        (died, took.into_iter().max().expect("sessions"), power)
    });
    control.close();
    control.wait();
    for worker in &dying {
        assert!(place.pod(&worker.pod).is_none(), "{} would stay", worker.pod);
    }
    for other in &mut others {
        assert_eq!(tally(&mut other.session, "after", 1)["process"], other.process);
    }
    drop(power);
    eventually("the node's return", PATIENCE, || is_ready(&node).then_some(()));
    let (others, kubectl) = (Slowest::of(answers, died), Slowest::of(of_control, died));
    tell(&format!(
        "node dead, round {number}: {} of {SESSIONS} sessions were there, the slowest answered after {slowest:?} (cold start \
         {cold:?}); the others: {}; kubectl exec: {}",
        dying.len(),
        others.told(),
        kubectl.told(),
    ));
    Round { slowest, cold, others, kubectl }
}

/// The median of ratios and the upper end of its interval of 90 %.
fn tell_ratios(what: &str, mut ratios: Vec<f64>) {
    ratios.sort_by(f64::total_cmp);
    let upper = ratios[interval(ratios.len()).1];
    let median = ratios[ratios.len() / 2];
    tell(&format!(
        "{what}: median {median:.3}, upper end of its 90 % interval {upper:.3} (wanted: {BOUND}), all {ratios:.3?}"
    ));
}

#[test]
#[ignore = "needs a cluster"]
fn a_node_dies_and_its_sessions_go_on_elsewhere() {
    let all: Vec<_> = (0..rounds()).map(round).collect();
    let spans: [(&str, Ratio); 3] = [
        ("while nobody knew", |slowest| slowest.unheard / slowest.before),
        ("while they moved", |slowest| slowest.moving / slowest.before),
        ("in all", |slowest| slowest.after / slowest.before),
    ];
    for (when, ratio) in spans {
        let [others, kubectl] = [|it: &Round| it.others, |it: &Round| it.kubectl]
            .map(|side| all.iter().map(|round| ratio(&side(round))).collect::<Vec<f64>>());
        let beside = others.iter().zip(&kubectl).map(|(others, kubectl)| others / kubectl).collect();
        tell_ratios(&format!("p99 of kubectl exec {when}, to before"), kubectl);
        tell_ratios(&format!("the others' p99 {when}, to before"), others);
        tell_ratios(&format!("the others' {when}, beside kubectl exec"), beside);
    }
    for Round { slowest, cold, .. } in all {
        assert!(
            slowest <= RECONNECT + cold + BEYOND,
            "{slowest:?} is more than {RECONNECT:?} + {cold:?} + {BEYOND:?}"
        );
    }
}
