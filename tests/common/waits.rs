//! Waiting for what happens, and doing things at once.

use std::path::Path;
use std::time::{Duration, Instant};

use super::containers_of;

/// Longer than anything takes on a slow machine; only a defect waits this long.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A container is gone this soon after its session (the promise of the design).
pub(crate) const GONE_WITHIN: Duration = Duration::from_secs(5);

/// Runs `work` on each item at once, and gives the results in the items' order.
pub(crate) fn at_once<T: Send, R: Send>(items: Vec<T>, work: impl Fn(usize, T) -> R + Sync) -> Vec<R> {
    let work = &work;
    std::thread::scope(|scope| {
        let started: Vec<_> =
            items.into_iter().enumerate().map(|(n, item)| scope.spawn(move || work(n, item))).collect();
        started.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

/// Waits until `done` gives something.
pub(crate) fn eventually<T>(what: &str, within: Duration, mut done: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        let asked = Instant::now();
        if let Some(value) = done() {
            return value;
        }
        assert!(began.elapsed() < within, "{what} did not happen within {within:?}");
        // Who asks by the docker command has a processor busy meanwhile, which what is waited for needs.
        std::thread::sleep(asked.elapsed().mul_f32(2.0).max(Duration::from_millis(20)));
    }
}

/// Waits until a trace says one of these; looks more often than [`eventually`], for what is killed then is about to go on.
pub(crate) fn until_traced(file: &Path, marks: &[&str]) {
    let began = Instant::now();
    while !std::fs::read_to_string(file).is_ok_and(|said| marks.iter().any(|mark| said.contains(mark))) {
        assert!(began.elapsed() < PATIENCE, "none of {marks:?} in {}", file.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until a client has no container, and fails if that takes longer than promised.
pub(crate) fn expect_gone(client: &str) {
    eventually(&format!("the end of {client}'s containers"), GONE_WITHIN, || {
        containers_of(client).is_empty().then_some(())
    });
}
