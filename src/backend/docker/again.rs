//! A start that is tried again. What a bad moment has spoilt is no reason to fail: the daemon restarts, or this process
//! stood still until its container had given it up.

use std::time::Duration;

use tokio::time::Instant;

use crate::dock::LeaseError;
use crate::dock::docker::DockerError;
use crate::failure::Failure;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Why a start came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Setback {
    /// The same may succeed a moment later.
    Passing(Failure),
    Lasting(Failure),
}

impl From<Failure> for Setback {
    fn from(failure: Failure) -> Self {
        Self::Lasting(failure)
    }
}

impl From<DockerError> for Setback {
    fn from(error: DockerError) -> Self {
        if error.is_passing() { Self::Passing(error.into()) } else { Self::Lasting(error.into()) }
    }
}

impl From<LeaseError> for Setback {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Docker(error) => error.into(),
            error => Self::Lasting(error.into()),
        }
    }
}

impl From<Setback> for Failure {
    fn from(setback: Setback) -> Self {
        let (Setback::Passing(failure) | Setback::Lasting(failure)) = setback;
        failure
    }
}

/// Does `work` until it succeeds, or a setback lasts, or the setbacks have gone on for `within`. The time before the first
/// one does not count: a process that stood still has had none of it.
pub(super) async fn until_done<T>(
    within: Duration,
    mut work: impl AsyncFnMut() -> Result<T, Setback>,
) -> Result<T, Failure> {
    let mut until = None;
    let mut pause = FIRST_PAUSE;
    loop {
        let failure = match work().await {
            Ok(done) => return Ok(done),
            Err(Setback::Lasting(failure)) => return Err(failure),
            Err(Setback::Passing(failure)) => failure,
        };
        if Instant::now() + pause > *until.get_or_insert_with(|| Instant::now() + within) {
            return Err(failure);
        }
        tracing::info!("the start is tried again: {failure}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Code;

    const WITHIN: Duration = Duration::from_secs(10);

    fn failure() -> Failure {
        Failure { code: Code::Unavailable, text: "gone".to_owned(), next: None }
    }

    /// Passing setbacks, so many, of tries that take so long, and then what there is; after how many tries and seconds.
    async fn tried(setbacks: u32, takes: Duration, then: Result<(), Setback>) -> (bool, u32, u64) {
        let (began, mut tries) = (Instant::now(), 0);
        let done = until_done(WITHIN, async || {
            tokio::time::sleep(takes).await;
            tries += 1;
            if tries <= setbacks { Err(Setback::Passing(failure())) } else { then.clone() }
        });
        (done.await.is_ok(), tries, began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_tried_again_and_what_lasts_is_not() {
        assert_eq!(tried(0, Duration::ZERO, Ok(())).await, (true, 1, 0));
        assert_eq!(tried(3, Duration::ZERO, Ok(())).await, (true, 4, 0));
        assert_eq!(tried(0, Duration::ZERO, Err(Setback::Lasting(failure()))).await, (false, 1, 0));
        assert_eq!(tried(2, Duration::ZERO, Err(Setback::Lasting(failure()))).await, (false, 3, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_tries_end_and_a_process_that_stood_still_has_had_none() {
        let (done, tries, seconds) = tried(u32::MAX, Duration::ZERO, Ok(())).await;
        assert!(!done && (8..12).contains(&tries) && seconds == 9, "{tries} tries in {seconds} s");
        // As long as that took, it is tried once more.
        assert!(tried(1, Duration::from_mins(1), Ok(())).await.0);
    }
}
