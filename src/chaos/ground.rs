//! What a run's sessions have their servers in, and what of it can be broken.

use std::fmt;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use toml::Table;

use super::left::Left;
use super::plan::{Fault, Kind};

/// A fault found nothing to hit, or was not done.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Missed(pub String);

/// A daemon, or a cluster.
pub trait Ground: fmt::Debug + Send + Sync {
    /// The faults that can be done, those of sessions among them.
    fn kinds(&self) -> Vec<Kind>;

    /// The configuration of a slot's sessions.
    fn config(&self, slot: usize) -> Table;

    /// Does one that is not done to a session itself. `client` is what the slot's sessions call themselves.
    fn inject<'a>(&'a self, client: &'a str, fault: &'a Fault) -> LocalBoxFuture<'a, Result<(), Missed>>;

    /// Everything that there is.
    fn look(&self) -> LocalBoxFuture<'_, anyhow::Result<Left>>;

    /// Clears away what each session would.
    fn tidy(&self) -> LocalBoxFuture<'_, ()>;

    /// What ends by itself is gone by then, after the last session's end.
    fn gone_within(&self) -> Duration;
}
