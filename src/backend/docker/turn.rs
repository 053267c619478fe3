//! Whose turn it is to put containers on standby: one session's at a time, and while no other session starts.
//!
//! Two files of the state folder are locked for that. Each session has one of them together with others for as long as it
//! starts; whoever replenishes has the other one alone. The kernel frees both at any death. A home whose folder cannot be
//! written has no turns, and nobody waits.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// In the folder of berth's state.
pub(super) const FOLDER: &str = "standby";
const STARTING: &str = "starting";
const REPLENISHING: &str = "replenishing";

/// Starts that never pause are not waited for any longer.
const QUIET_WITHIN: Duration = Duration::from_secs(10);
/// Nor is anybody who has the turn.
const TURN_WITHIN: Duration = Duration::from_mins(2);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Whoever looks whether a session starts has the lock for some microseconds.
const TRIES: usize = 50;

/// A session that starts, until it is dropped.
#[derive(Debug)]
pub(super) struct Starting(Option<File>);

impl Starting {
    pub(super) fn begin(state: &Path) -> Self {
        let Ok(file) = open(state, STARTING) else { return Self(None) };
        for _ in 0..TRIES {
            match file.try_lock_shared() {
                Err(TryLockError::WouldBlock) => std::thread::yield_now(),
                Ok(()) => return Self(Some(file)),
                Err(TryLockError::Error(_)) => break,
            }
        }
        // Nobody gives way to it.
        Self(None)
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        // A process that is being started has the file, too, until it becomes its program.
        drop(self.0.as_ref().map(File::unlock));
    }
}

/// The turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn(Option<File>);

impl Turn {
    /// Waits for it; `None` for a session that leaves meanwhile, and where it does not come. Cancel safe.
    pub(super) async fn wait(state: &Path, leave: &CancellationToken) -> Option<Self> {
        let began = Instant::now();
        loop {
            if let Some(turn) = Self::have(state, began.elapsed() < QUIET_WITHIN) {
                return Some(turn);
            }
            if began.elapsed() >= TURN_WITHIN {
                tracing::debug!("others replenish for so long that this session leaves it to them");
                return None;
            }
            tokio::select! {
                () = leave.cancelled() => return None,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// The turn, if it can be had at once.
    fn have(state: &Path, gives_way: bool) -> Option<Self> {
        let Ok(file) = open(state, REPLENISHING) else { return Some(Self(None)) };
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return None;
        }
        let turn = Self(Some(file));
        (!gives_way || !is_anybody_starting(state)).then_some(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.0.as_ref().map(File::unlock));
    }
}

fn is_anybody_starting(state: &Path) -> bool {
    let locked = open(state, STARTING).map(|file| {
        let locked = file.try_lock();
        drop(file.unlock());
        locked
    });
    matches!(locked, Ok(Err(TryLockError::WouldBlock)))
}

fn open(state: &Path, name: &str) -> io::Result<File> {
    let folder = state.join(FOLDER);
    let open = || File::options().read(true).create(true).append(true).mode(0o600).open(folder.join(name));
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(&folder)?;
            open()
        }
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long the turn was waited for, if it came.
    async fn waited(state: &Path, leave: &CancellationToken) -> Option<(Turn, Duration)> {
        let began = Instant::now();
        Turn::wait(state, leave).await.map(|turn| (turn, began.elapsed()))
    }

    #[tokio::test(start_paused = true)]
    async fn it_comes_at_once_where_nobody_starts_or_replenishes() {
        let state = tempfile::tempdir().unwrap();
        let left = CancellationToken::new();
        left.cancel();
        for _ in 0..2 {
            let (_turn, time) = waited(state.path(), &left).await.unwrap();
            assert_eq!(time, Duration::ZERO, "even for a session that is leaving");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn starts_come_first_and_one_follows_another() {
        let state = tempfile::tempdir().unwrap();
        let (stay, left) = (CancellationToken::new(), CancellationToken::new());
        left.cancel();
        let starts = [Starting::begin(state.path()), Starting::begin(state.path())];
        assert!(waited(state.path(), &left).await.is_none(), "who leaves does not wait");
        let started = async {
            for start in starts {
                tokio::time::sleep(Duration::from_secs(1)).await;
                drop(start);
            }
        };
        let (first, ()) = tokio::join!(waited(state.path(), &stay), started);
        let (turn, time) = first.unwrap();
        assert!(time >= Duration::from_secs(2) && time < Duration::from_millis(2100), "{time:?}");
        let done = async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            drop(turn);
        };
        let (second, ()) = tokio::join!(waited(state.path(), &stay), done);
        let (_turn, time) = second.unwrap();
        assert!(time >= Duration::from_secs(20) && time < Duration::from_millis(20_100), "{time:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn starts_without_end_are_waited_for_within_bounds_and_still_one_has_the_turn() {
        let state = tempfile::tempdir().unwrap();
        let stay = CancellationToken::new();
        let _start = Starting::begin(state.path());
        let (_turn, time) = waited(state.path(), &stay).await.unwrap();
        assert!(time >= QUIET_WITHIN && time < QUIET_WITHIN + Duration::from_millis(100), "{time:?}");
        assert!(waited(state.path(), &stay).await.is_none(), "the other one has it for ever");
    }

    #[tokio::test(start_paused = true)]
    async fn a_home_that_cannot_be_written_has_no_turns() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let _start = Starting::begin(&file);
        let stay = CancellationToken::new();
        let (_first, _) = waited(&file, &stay).await.unwrap();
        assert!(waited(&file, &stay).await.is_some_and(|(_, time)| time.is_zero()));
    }
}
