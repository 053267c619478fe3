//! A place for one session after another: when one ends, for whatever reason, the next begins.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::Site;
use super::plan::Calls;
use super::relay::Relay;
use super::session::{End, Live, Session};

/// Before a session is tried again that was refused.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) number: usize,
    /// What its sessions call themselves; so their containers are known.
    pub(super) client: String,
    pub(super) config: PathBuf,
    /// Its sessions speak the revision without `initialize`.
    pub(super) is_modern: bool,
    pub(super) relay: Relay,
    live: Mutex<Option<Live>>,
    /// The place in the run's order of the last call that had a result.
    well: watch::Sender<u64>,
}

impl Slot {
    pub(super) fn new(number: usize, config: PathBuf, relay: Relay) -> Self {
        Self {
            number,
            client: format!("chaos-{number}"),
            config,
            is_modern: number % 3 == 1,
            relay,
            live: Mutex::default(),
            well: watch::Sender::new(0),
        }
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

    fn set_live(&self, live: Option<Live>) {
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = live;
    }

    /// Has sessions here until the run ends.
    pub(super) async fn keep(&self, site: &Site, seed: u64) -> std::io::Result<()> {
        let mut calls = Calls::new(seed, self.number);
        let mut generation = 0;
        while !site.stop.is_cancelled() {
            generation += 1;
            let name = format!("{}.{generation}", self.client);
            let (session, live, orders) = Session::spawn(site, self, name)?;
            self.set_live(Some(live));
            let end = Box::pin(session.run(&mut calls, orders)).await;
            self.set_live(None);
            site.count(end);
            if end == End::Refused {
                tokio::select! {
                    () = tokio::time::sleep(AGAIN_AFTER) => {}
                    () = site.stop.cancelled() => {}
                }
            }
        }
        Ok(())
    }
}
