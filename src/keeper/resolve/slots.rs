//! How many questions may be open at once: in all, and per address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub(in super::super) struct Slots {
    in_all: usize,
    of_each: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    in_all: usize,
    by: HashMap<IpAddr, usize>,
}

impl Slots {
    pub(in super::super) fn new(in_all: usize, of_each: usize) -> Arc<Self> {
        Arc::new(Self { in_all, of_each, taken: Mutex::default() })
    }

    /// `None`: it would be one too many.
    pub(in super::super) fn take(self: &Arc<Self>, client: IpAddr) -> Option<Slot> {
        let mut taken = self.taken();
        let own = taken.by.get(&client).copied().unwrap_or_default();
        if taken.in_all >= self.in_all || own >= self.of_each {
            return None;
        }
        taken.in_all += 1;
        taken.by.insert(client, own + 1);
        Some(Slot { slots: Arc::clone(self), client })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Given back when it is dropped.
#[derive(Debug)]
pub(in super::super) struct Slot {
    slots: Arc<Slots>,
    client: IpAddr,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken();
        taken.in_all -= 1;
        if let Some(own) = taken.by.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                taken.by.remove(&self.client);
            }
        }
    }
}
