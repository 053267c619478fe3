//! What the tasks of one stream share.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Which};
use crate::dock::frames::CONNECTIONS;
use crate::observe::Trace;

/// Whose stream it is, and where its connections may lead.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) server: String,
    /// Ports of the container, and those of this machine's loopback that they lead to.
    pub(super) services: BTreeMap<u16, u16>,
    pub(super) trace: Trace,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) side: Side,
    pub(super) to_container: mpsc::Sender<Vec<u8>>,
    /// The stream has ended, or nobody wants it any more.
    pub(super) over: CancellationToken,
    pub(super) connections: Mutex<HashMap<u32, Arc<Connection>>>,
    pub(super) next: AtomicU32,
    /// Of what a person has been told already.
    pub(super) told: Mutex<BTreeSet<Which>>,
    pub(super) is_full_told: AtomicBool,
    /// Connections of the container that are sent away, and don't know it yet. It has no more of them under way.
    pub(super) sent_away: Arc<Semaphore>,
}

/// Why there is no new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotAdmitted {
    Full,
    /// Its number is in use.
    Known,
}

impl Shared {
    pub(super) fn connections(&self) -> MutexGuard<'_, HashMap<u32, Arc<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new connection.
    pub(super) fn admit(&self, number: u32, which: Which) -> Result<Arc<Connection>, NotAdmitted> {
        let mut connections = self.connections();
        let is_full = connections.len() >= CONNECTIONS;
        match connections.entry(number) {
            Entry::Occupied(_) => Err(NotAdmitted::Known),
            Entry::Vacant(_) if is_full => Err(NotAdmitted::Full),
            Entry::Vacant(place) => Ok(Arc::clone(place.insert(Arc::new(Connection::new(which))))),
        }
    }

    /// There is no room for a connection.
    pub(super) fn full(&self, which: Which) {
        let Side { server, trace, .. } = &self.side;
        trace.note(None, "too many connections", &which.to_string(), 0);
        if !self.is_full_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "server `{server}` has {CONNECTIONS} connections by `host_services` and `publish` at once, and more are reset; \
                 have it keep fewer"
            );
        }
    }

    pub(super) fn forget(&self, number: u32) {
        self.connections().remove(&number);
    }

    /// Nobody listens where a connection was to lead.
    pub(super) fn refused(&self, which: Which) {
        let Side { server, trace, .. } = &self.side;
        trace.note(None, "connection refused", &which.to_string(), 0);
        if !self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(which) {
            return;
        }
        match which {
            Which::Service(port) => tracing::warn!(
                "nothing listens at 127.0.0.1:{port} of this machine, which server `{server}` has just asked for; \
                 start the service, or correct `host_services`"
            ),
            Which::Published(port) => tracing::warn!(
                "nothing listens at port {port} in the container of server `{server}`; correct `publish`, or let the \
                 server listen"
            ),
        }
    }
}
