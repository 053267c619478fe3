//! Tells the person what a session's network refused: each thing once, when it first happens, and all of it at the end.

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::dock::docker::Engine;
use crate::dock::refused::{List, Refusal};
use crate::human;

/// From one look to the next: soon after something was refused, and ever later where nothing is.
const SOONEST: Duration = Duration::from_secs(2);
const LATEST: Duration = Duration::from_secs(8);

/// A daemon that doesn't answer must not hold up the end.
const LAST_LOOK_WITHIN: Duration = Duration::from_millis(500);

/// Who looks.
#[derive(Debug)]
pub(super) struct Watch {
    engine: Engine,
    container: String,
    list: List,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    said: HashSet<(String, String)>,
    last: Vec<Refusal>,
}

impl Watch {
    pub(super) fn new(engine: Engine, container: String, list: List) -> Self {
        Self { engine, container, list, told: Mutex::default() }
    }

    /// Looks until it is dropped.
    pub(super) async fn follow(&self) {
        let mut after = SOONEST;
        loop {
            tokio::time::sleep(after).await;
            after = if self.look().await { SOONEST } else { (after * 2).min(LATEST) };
        }
    }

    /// Whether there is anything new.
    async fn look(&self) -> bool {
        let refusals = match self.list.refusals(&self.engine, &self.container).await {
            Ok(refusals) => refusals,
            Err(error) => {
                tracing::debug!("cannot read what was refused: {error}");
                return false;
            }
        };
        let mut told = self.told.lock().await;
        for refusal in &refusals {
            if told.said.insert((refusal.what.clone(), refusal.why.clone())) {
                tracing::warn!("{}", self.list.line(&Refusal { count: 1, ..refusal.clone() }));
            }
        }
        // Gone with its container, it is what it was.
        let is_new = !refusals.is_empty() && told.last != refusals;
        if is_new {
            told.last = refusals;
        }
        is_new
    }

    /// The last look, while the container is still there; and how often each thing was refused.
    pub(super) async fn finish(&self) {
        let _ = tokio::time::timeout(LAST_LOOK_WITHIN, self.look()).await;
        let told = self.told.lock().await;
        let (kinds, count) = (told.last.len(), told.last.iter().map(|refusal| refusal.count).sum::<u64>());
        if count > kinds as u64 {
            let often = told.last.iter().filter(|refusal| refusal.count > 1);
            let often: Vec<String> = often
                .map(|refusal| format!("{} {}", refusal.what, human::count(refusal.count, "time")))
                .collect();
            tracing::warn!("refused in all: {} ({})", human::count(count, "attempt"), often.join(", "));
        }
    }
}
