//! The state that both directions of a lane share.

use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::{Notify, watch};

use super::asked::Asked;
use super::handshake::Handshake;
use super::inflight::InFlight;
use crate::observe::trace::Trace;
use crate::session::client::ClientEnd;
use crate::session::rewrite::Rules;

/// What both directions share.
#[derive(Debug, Default)]
pub struct Shared {
    pub in_flight: InFlight,
    /// What the server asks the client.
    pub asked: Asked,
    pub handshake: Mutex<Handshake>,
    /// What the first message said of the client.
    pub said: OnceLock<Option<String>>,
    /// What the client calls its session, where a message says so.
    pub client_session: watch::Sender<Option<String>>,
    pub trace: Trace,
    pub rules: Rules,
    /// A message of the server's was repaired.
    pub has_repaired: AtomicBool,
    /// The server takes no input any more, and goes on.
    pub is_deaf: Notify,
    /// Set before the server's input is closed: a server that ends by that may be seen to end before the pump is.
    pub client_left: AtomicBool,
    /// Set when the pump is over.
    pub client_end: OnceLock<ClientEnd>,
}

/// Held for moments only, and by nobody who could panic.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
