//! A running session as a fault sees it: how to reach it, what to order it, how it ended.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;

/// What a fault has a session do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Close the proxy's input in mid-call, and read on.
    Leave,
    /// Close both ends in mid-call.
    Die,
    /// Call a tool that ends the server (`then` of `tally`).
    End(&'static str),
}

/// How to reach a session that runs.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) pid: Pid,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) killed: Arc<AtomicBool>,
}

impl Live {
    pub(super) fn kill(&self) -> io::Result<()> {
        self.killed.store(true, Ordering::Release);
        Ok(kill_process(self.pid, Signal::KILL)?)
    }

    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(self.pid, signal)?)
    }
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// As it was told to, or by a fault.
    Meant,
    /// There was no server for it.
    Refused,
    /// Its server was lost too often in too short a time.
    GaveUp,
    /// It should not have.
    Broken,
}
