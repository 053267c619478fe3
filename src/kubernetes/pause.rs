//! How long to wait between two tries: in proportion to how long it takes anyhow, so that whoever comes is found without
//! much delay and few tries.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

const SHORTEST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_millis(500);
/// A pause is this part of the time since the first try.
const PART: u32 = 8;

#[derive(Debug)]
pub(crate) struct Pause {
    since: Instant,
}

impl Pause {
    /// The first try is now.
    pub(crate) fn new() -> Self {
        Self { since: Instant::now() }
    }

    pub(crate) async fn wait(&self) {
        sleep_until(self.next()).await;
    }

    /// The last try is at `until`.
    pub(crate) async fn wait_until(&self, until: Instant) {
        sleep_until(self.next().min(until)).await;
    }

    fn next(&self) -> Instant {
        let now = Instant::now();
        now + ((now - self.since) / PART).clamp(SHORTEST, LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tries_are_close_together_at_first() {
        let (began, pause) = (Instant::now(), Pause::new());
        let mut tries = Vec::new();
        while began.elapsed() < Duration::from_secs(10) {
            tries.push(began.elapsed());
            pause.wait().await;
        }
        assert_eq!(tries[1], SHORTEST);
        for pair in tries.windows(2) {
            let (pause, part) = (pair[1].abs_diff(pair[0]), pair[0] / PART + Duration::from_millis(1));
            assert!(pause <= part.max(SHORTEST + Duration::from_millis(1)) && pause <= LONGEST, "{pair:?}");
        }
        assert!(tries.len() < 60, "{}", tries.len());
        pause.wait_until(began).await;
        assert!(began.elapsed() < Duration::from_millis(10_600), "the last try is not put off");
    }
}
