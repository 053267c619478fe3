//! Where the examined sessions' servers run, as far as the examination looks there with eyes of its own.
//!
//! The examination is the same everywhere: sessions, calls, probes, ends. Its places differ in how they are asked.

pub mod daemon;

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::LocalBoxFuture;

use super::checks::Observations;
use crate::dock::roster::Entry;
use crate::exam::check::Seen;
use crate::exam::inside::Inside;

/// A system that runs containers of sessions.
pub trait Place {
    /// Notes what can be said of it before there is a session.
    fn look<'a>(&'a self, seen: &'a mut Observations) -> LocalBoxFuture<'a, ()>;

    /// The containers of all sessions that run or start; `id` is what a session's trace calls it.
    fn list(&self) -> LocalBoxFuture<'_, Seen<Vec<Entry>>>;

    /// The way into a container.
    fn inside(&self, container: &str) -> Inside;

    /// Where those listen who rule the containers, as a session's might reach them.
    ///
    /// # Errors
    /// Why there is nothing to be tried.
    fn doors<'a>(&'a self, from: &'a Inside) -> LocalBoxFuture<'a, Result<Vec<SocketAddr>, String>>;

    /// Knocks on its doors as strangers would; notes what they said.
    fn knock<'a>(&'a self, seen: &'a mut Observations) -> LocalBoxFuture<'a, ()>;

    /// What none of them may have inside.
    fn forbidden(&self) -> &'static [&'static str];

    /// How long rules for a container's network take to hold.
    fn settles_within(&self) -> Duration;

    /// How long the server of a session that was killed may wait for it.
    fn waits_for_the_killed(&self) -> Duration;

    /// What is left of `known`, or of others that never ran, when all sessions have ended.
    fn leftovers<'a>(
        &'a self,
        known: &'a [String],
        within: Duration,
    ) -> LocalBoxFuture<'a, Seen<Vec<String>>>;
}
