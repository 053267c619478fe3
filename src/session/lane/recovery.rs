//! When a lost server is replaced, and how long berth tries.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::failure::Failure;
use crate::values::OnFailure;

/// A server that is lost more often than this in [`WINDOW`] is not worth another container.
const LOSSES: usize = 5;
const WINDOW: Duration = Duration::from_mins(1);

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What a session remembers of its losses.
#[derive(Debug)]
pub(in crate::session) struct Recovery {
    on_failure: OnFailure,
    /// How long a replacement is tried for.
    within: Duration,
    losses: VecDeque<Instant>,
    /// Some server of this session has said something.
    has_spoken: bool,
}

impl Recovery {
    pub(in crate::session) fn new(on_failure: OnFailure, within: Duration) -> Self {
        Self { on_failure, within, losses: VecDeque::new(), has_spoken: false }
    }

    /// Whether another server may take the place of one that has ended. Not where no server has ever said a word and this
    /// one has `ended_itself`, as the next one would be like it.
    pub(in crate::session) fn may_go_on(&mut self, has_spoken: bool, ended_itself: bool) -> bool {
        self.has_spoken |= has_spoken;
        self.on_failure == OnFailure::Restart && (self.has_spoken || !ended_itself)
    }

    /// A server is lost. Whether a replacement is to be tried: not for a server that is lost again and again.
    pub(in crate::session) fn lost(&mut self, has_spoken: bool, ended_itself: bool) -> bool {
        if !self.may_go_on(has_spoken, ended_itself) {
            return false;
        }
        let now = Instant::now();
        self.losses.retain(|loss| now.duration_since(*loss) < WINDOW);
        if self.losses.len() == LOSSES {
            return false;
        }
        self.losses.push_back(now);
        true
    }

    /// The tries of one replacement, from now on.
    pub(in crate::session) fn tries(&self) -> Tries {
        Tries { within: self.within, until: None, pause: None }
    }
}

/// The tries of one replacement.
#[derive(Debug)]
pub(in crate::session) struct Tries {
    within: Duration,
    /// Known with the first one.
    until: Option<Instant>,
    pause: Option<Duration>,
}

impl Tries {
    /// When the last one is over, whatever has become of it.
    pub(in crate::session) fn until(&mut self) -> Instant {
        *self.until.get_or_insert_with(|| Instant::now() + self.within)
    }

    /// Waits before the next try, longer each time; false when it is over. The first one is at once.
    pub(in crate::session) async fn next(&mut self) -> bool {
        let until = self.until();
        let Some(pause) = self.pause else {
            self.pause = Some(FIRST_PAUSE);
            return true;
        };
        if Instant::now() + pause > until {
            return false;
        }
        tokio::time::sleep(pause).await;
        self.pause = Some((pause * 2).min(LONGEST_PAUSE));
        true
    }
}

/// Tries to get another server until there is one, or no more try.
pub(super) async fn replace<U, F, S>(
    start: &mut S,
    mut tries: Tries,
    said: Option<String>,
    lost: Failure,
) -> Result<U, Failure>
where
    S: FnMut(oneshot::Receiver<Option<String>>) -> F,
    F: Future<Output = Result<U, Failure>>,
{
    let mut why = lost;
    while tries.next().await {
        let (hello, heard) = oneshot::channel();
        let _ = hello.send(said.clone());
        match tokio::time::timeout_at(tries.until(), start(heard)).await {
            Ok(Ok(upstream)) => return Ok(upstream),
            Ok(Err(failure)) => {
                tracing::info!("cannot start a new server yet: {failure}");
                why = failure;
            }
            // The reason before it says more than the time.
            Err(_) => break,
        }
    }
    Err(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_end() {
        let mut recovery = Recovery::new(OnFailure::Restart, Duration::from_secs(10));
        let began = Instant::now();
        assert!(recovery.lost(true, true));
        let mut tries = recovery.tries();
        let mut at = Vec::new();
        while tries.next().await {
            at.push(began.elapsed().as_millis());
        }
        assert_eq!(at, [0, 100, 300, 700, 1500, 3100, 5100, 7100, 9100]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_lost_again_and_again_is_given_up() {
        let mut recovery = Recovery::new(OnFailure::Restart, Duration::from_secs(10));
        for _ in 0..LOSSES {
            assert!(recovery.lost(true, true));
        }
        assert!(!recovery.lost(true, true));
        tokio::time::sleep(WINDOW).await;
        assert!(recovery.lost(true, true), "it has been well for a while");
    }

    #[test]
    fn a_server_that_never_spoke_is_not_tried_again_unless_its_container_was_lost() {
        assert!(!Recovery::new(OnFailure::Restart, WINDOW).lost(false, true));
        assert!(Recovery::new(OnFailure::Restart, WINDOW).lost(false, false));
        assert!(!Recovery::new(OnFailure::Exit, WINDOW).lost(true, false));
    }

    #[test]
    fn one_that_was_lost_before_anybody_asked_it_is_tried_again() {
        let mut recovery = Recovery::new(OnFailure::Restart, WINDOW);
        assert!(recovery.lost(true, true));
        assert!(recovery.lost(false, true), "the one before has spoken");
    }
}
