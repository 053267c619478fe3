//! A place for one session after another: when a session ends, for any reason, the next begins.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use super::live::Live;
use super::{CLIENT, LANES};

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) number: usize,
    /// What its sessions call themselves; so their containers are known.
    pub(super) client: String,
    pub(super) config: PathBuf,
    /// Its sessions speak the revision without `initialize`.
    pub(super) is_modern: bool,
    /// Its sessions have several servers, which start at their first calls.
    pub(super) has_lanes: bool,
    live: Mutex<Option<Live>>,
    /// The place in the run's order of the last call that had a result.
    well: watch::Sender<u64>,
}

/// What a slot's sessions call themselves.
pub(super) fn client(number: usize) -> String {
    format!("{CLIENT}{number}")
}

impl Slot {
    pub(super) fn new(number: usize, config: PathBuf) -> Self {
        Self {
            number,
            client: client(number),
            config,
            is_modern: number % 3 == 1,
            has_lanes: number % 3 == 2,
            live: Mutex::default(),
            well: watch::Sender::new(0),
        }
    }

    /// The servers of its sessions.
    pub(super) fn servers(&self) -> &'static [&'static str] {
        if self.has_lanes { &LANES } else { &LANES[..1] }
    }

    /// The server that the call of this number goes to, and what its tool is called.
    pub(super) fn tool(&self, number: u64, tool: &str) -> (&'static str, String) {
        let servers = self.servers();
        let lane = servers[usize::try_from(number).unwrap_or_default() % servers.len()];
        (lane, if self.has_lanes { format!("{lane}__{tool}") } else { tool.to_owned() })
    }

    /// A call had its result.
    pub(super) fn well(&self, sent: u64) {
        self.well.send_modify(|last| *last = sent.max(*last));
    }

    /// Resolves when a call that was sent after `mark` has had its result.
    pub(super) async fn is_well_after(&self, mark: u64) {
        // The sender is ours, and can't be gone.
        let _ = self.well.subscribe().wait_for(|last| *last > mark).await;
    }

    /// The session that runs at the moment.
    pub(super) fn live(&self) -> Option<Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_live(&self, live: Option<Live>) {
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = live;
    }
}
