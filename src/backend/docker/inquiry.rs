//! Asks what becomes of a daemon that does not answer. The caller hands in the question, because only the caller can
//! answer it.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use futures::future::LocalBoxFuture;
use tokio::sync::{Mutex, MutexGuard};

use crate::config::{Config, Home};
use crate::dind::diagnosis::{Diagnosis, Watch};
use crate::failure::Failure;

/// What becomes of a daemon that does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outlook {
    /// It will answer: what is being waited for.
    Starting(String),
    /// It won't, and this is why.
    Hopeless(Failure),
    /// The failed connection says all there is.
    Unknown,
}

/// Asks for the outlook; all starts of a session share it.
#[derive(Clone)]
pub struct Inquiry(Rc<Question>);

struct Question {
    ask: Box<dyn Fn() -> LocalBoxFuture<'static, Outlook>>,
    /// Of several connections that fail at once, one asks and waits for all.
    turn: Mutex<()>,
    /// The person knows that we wait.
    told: Cell<bool>,
}

impl Inquiry {
    pub fn new(ask: impl Fn() -> LocalBoxFuture<'static, Outlook> + 'static) -> Self {
        Self(Rc::new(Question { ask: Box::new(ask), turn: Mutex::default(), told: Cell::default() }))
    }

    /// Of a daemon of our own: its engine knows.
    pub fn of(
        config: &Config,
        home: &Home,
        lookup: impl Fn(&str) -> Option<String> + 'static,
    ) -> Option<Self> {
        if config.dind.host.is_some() {
            return None;
        }
        let known = Rc::new((config.clone(), home.clone(), Watch::default(), lookup));
        Some(Self::new(move || {
            let known = Rc::clone(&known);
            Box::pin(async move {
                let (config, home, watch, lookup) = &*known;
                match watch.diagnose(config, home, lookup).await {
                    Diagnosis::Starting(what) => Outlook::Starting(what),
                    Diagnosis::Down(trouble) => Outlook::Hopeless(trouble.into()),
                    Diagnosis::Elsewhere | Diagnosis::Silent => Outlook::Unknown,
                }
            })
        }))
    }

    /// Waits for this start's turn to ask. Where another had it meanwhile, `retry` comes first, for that one may have waited
    /// long enough: the error is what it gave.
    pub(super) async fn turn<T>(&self, retry: impl AsyncFnOnce() -> Option<T>) -> Result<Turn<'_>, T> {
        if let Ok(held) = self.0.turn.try_lock() {
            return Ok(Turn { inquiry: self, _held: held });
        }
        let held = self.0.turn.lock().await;
        retry().await.map_or(Ok(Turn { inquiry: self, _held: held }), Err)
    }

    /// Tells the person, once.
    fn tell(&self, what: &str) {
        if !self.0.told.replace(true) {
            tracing::warn!("waiting for the DinD daemon: {what}");
        }
    }
}

/// The right to ask; whoever else wants to waits until it is dropped.
pub(super) struct Turn<'a> {
    inquiry: &'a Inquiry,
    _held: MutexGuard<'a, ()>,
}

impl Turn<'_> {
    pub(super) async fn ask(&self) -> Outlook {
        (self.inquiry.0.ask)().await
    }

    /// The person is to know that we wait.
    pub(super) fn tell(&self, what: &str) {
        self.inquiry.tell(what);
    }
}

impl fmt::Debug for Inquiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inquiry")
    }
}
