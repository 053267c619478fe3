//! What the tasks of one stream share.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
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
}

impl Shared {
    pub(super) fn connections(&self) -> MutexGuard<'_, HashMap<u32, Arc<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new connection; `None` where there are too many, or it is there already.
    pub(super) fn admit(&self, number: u32, which: Which) -> Option<Arc<Connection>> {
        let mut connections = self.connections();
        if connections.len() >= CONNECTIONS {
            return None;
        }
        match connections.entry(number) {
            Entry::Occupied(_) => None,
            Entry::Vacant(place) => Some(Arc::clone(place.insert(Arc::new(Connection::new(which))))),
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
