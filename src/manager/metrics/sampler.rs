//! What the daemon has now, looked at every few seconds: one look at a time, and none that lasts.
//!
//! Of a daemon that does not answer it is told that it is down, and how long its certificates last: nothing that it had before.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use mcp_berth::dind::{self, certs};
use mcp_berth::dock::dial::{Endpoint, Stream};
use mcp_berth::dock::docker::{DockerError, Engine, Usage};
use mcp_berth::dock::roster::{self, Entry};
use mcp_berth::dock::standby;
use mcp_berth::dock::wire::{Request, Wire};
use serde_json::Value;
use tokio::time::Instant;

use super::families::{
    CERTIFICATE, CONTAINERS, CPU, DAEMON_UP, DISK, MEMORY, PIDS, STANDBY_CAP, STANDBY_TARGET,
};
use super::labels::Bounds;
use super::session::number;
use super::tally::Tally;
use crate::shared::Shared;

/// Containers are looked at so often, for so long, and so many of them are measured.
const EVERY: Duration = Duration::from_secs(15);
const WITHIN: Duration = Duration::from_secs(10);
const MEASURED: usize = 256;
/// What is older is told no longer.
const STALE: Duration = Duration::from_mins(1);

/// A daemon counts all files of all volumes when it is asked for its disk.
const DISK_EVERY: Duration = Duration::from_mins(5);
const DISK_WITHIN: Duration = Duration::from_mins(2);
const DISK_STALE: Duration = Duration::from_mins(15);

const DAY: f64 = 86_400.0;

/// A look, and when it was.
type Look = Mutex<Option<(Instant, Tally)>>;

/// The last looks.
#[derive(Debug, Default)]
pub(super) struct Samples {
    containers: Look,
    disk: Look,
}

impl Samples {
    /// All that holds now.
    pub(super) fn now(&self) -> Tally {
        let fresh = |look: &Look, stale: Duration| {
            let look = look.lock().unwrap_or_else(PoisonError::into_inner);
            look.as_ref().filter(|(at, _)| at.elapsed() < stale).map(|(_, seen)| seen.clone())
        };
        let containers = fresh(&self.containers, STALE);
        let is_up = containers.is_some();
        let mut now = containers.unwrap_or_default();
        now.add(&DAEMON_UP, Vec::new(), f64::from(u8::from(is_up)));
        if let Some(disk) = fresh(&self.disk, DISK_STALE) {
            // A certificate that has expired may be why the daemon is down.
            now.extend(&disk, &[&CERTIFICATE]);
            if is_up {
                now.extend(&disk, &[&DISK]);
            }
        }
        now
    }

    /// Looks until the manager ends.
    pub(super) async fn take(&self, shared: &Shared, bounds: impl Fn() -> Bounds) {
        let containers = async {
            let mut processors = Processors::default();
            loop {
                let looked = look(shared, bounds(), &mut processors);
                let seen = tokio::time::timeout(WITHIN, looked).await.ok().flatten();
                keep(&self.containers, seen);
                tokio::time::sleep(EVERY).await;
            }
        };
        let disk = async {
            loop {
                let seen = tokio::time::timeout(DISK_WITHIN, look_at_disk(shared)).await.ok();
                let is_known = seen.as_ref().is_some_and(|seen| seen.of(&DISK).next().is_some());
                keep(&self.disk, seen);
                tokio::time::sleep(if is_known { DISK_EVERY } else { EVERY }).await;
            }
        };
        tokio::select! {
            () = async { tokio::join!(containers, disk); } => {}
            () = shared.stop.cancelled() => {}
        }
    }
}

fn keep(look: &Look, seen: Option<Tally>) {
    *look.lock().unwrap_or_else(PoisonError::into_inner) = seen.map(|seen| (Instant::now(), seen));
}

/// How much of the processors each container had used at the last look.
#[derive(Debug, Default)]
struct Processors(HashMap<String, (Duration, Instant)>);

impl Processors {
    /// How many processors a container used since the last look; `None` where this is the first.
    fn used(&mut self, container: &str, total: Duration, now: Instant) -> Option<f64> {
        let (before, at) = self.0.insert(container.to_owned(), (total, now))?;
        let elapsed = now.duration_since(at).as_secs_f64();
        (elapsed > 0.0).then(|| total.saturating_sub(before).as_secs_f64() / elapsed)
    }

    fn forget_all_but(&mut self, there: &[(Entry, Option<Usage>)]) {
        self.0.retain(|id, _| there.iter().any(|(entry, _)| entry.id == *id));
    }
}

/// `None`: the daemon is down.
async fn look(shared: &Shared, bounds: Bounds, processors: &mut Processors) -> Option<Tally> {
    let config = shared.config_of_daemon().await.ok()?;
    let engine = Engine::new(shared.endpoint(&config).ok()?.with_timeout(WITHIN));
    let entries = roster::list(&engine).await.ok()?;
    let cap = standby::cap(&engine, config.limits.standby).await.ok();
    let measured = stream::iter(entries.into_iter().enumerate()).map(async |(at, entry)| {
        // One that ends in this moment uses nothing.
        let is_measured = entry.running && at < MEASURED;
        let usage = if is_measured { engine.usage(&entry.id, false, entry.created).await.ok() } else { None };
        (entry, usage)
    });
    let measured: Vec<_> = measured.buffered(roster::AT_ONCE).collect().await;
    let mut seen = sums(&measured, bounds.clone(), processors, Instant::now());
    if let Some(cap) = cap {
        seen.add(&STANDBY_CAP, Vec::new(), number(cap as u64));
    }
    let mut bounds = bounds;
    for (name, server) in &config.servers {
        let target = f64::from(server.settings.standby.unchosen());
        seen.add(&STANDBY_TARGET, vec![bounds.value("server", name)], target);
    }
    Some(seen)
}

/// By server, summed over its containers.
fn sums(
    measured: &[(Entry, Option<Usage>)],
    mut bounds: Bounds,
    processors: &mut Processors,
    now: Instant,
) -> Tally {
    let mut seen = Tally::default();
    processors.forget_all_but(measured);
    for (entry, usage) in measured {
        let server = bounds.value("server", &entry.server);
        let state = if entry.running { entry.state.as_str() } else { "stopped" };
        seen.add(&CONTAINERS, vec![server.clone(), state.to_owned()], 1.0);
        let Some(usage) = usage else { continue };
        seen.add(&MEMORY, vec![server.clone()], number(usage.memory_bytes));
        seen.add(&PIDS, vec![server.clone()], number(usage.pids));
        if let Some(cores) = processors.used(&entry.id, usage.cpu_total, now) {
            seen.add(&CPU, vec![server], cores);
        }
    }
    seen
}

/// What is looked at seldom: the disk, and the certificates.
async fn look_at_disk(shared: &Shared) -> Tally {
    let mut seen = Tally::default();
    let Ok(config) = shared.config_of_daemon().await else { return seen };
    let mut certificate = |whose: &str, days: Option<i64>| {
        let days = days.and_then(|days| i32::try_from(days).ok());
        if let Some(days) = days {
            seen.add(&CERTIFICATE, vec![whose.to_owned()], f64::from(days) * DAY);
        }
    };
    let now = Timestamp::now();
    let folder = dind::daemon(&config, &shared.home).certs;
    certificate("client", folder.and_then(|folder| certs::client_days_left(&folder, now)));
    let Ok(endpoint) = shared.endpoint(&config) else { return seen };
    if let Ok(Stream::Tls(stream)) = endpoint.dial().await {
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        certificate("server", shown.and_then(|shown| certs::days_left(shown, now)));
    }
    if let Ok(usage) = disk(&endpoint).await {
        for (kind, bytes) in disk_by_kind(&usage) {
            seen.add(&DISK, vec![kind.to_owned()], number(bytes));
        }
    }
    seen
}

async fn disk(endpoint: &Endpoint) -> Result<Value, DockerError> {
    let request = Request::get("measure", "the daemon's disk", "/system/df".to_owned());
    Wire::connect(endpoint).await?.call(&request).await
}

fn disk_by_kind(usage: &Value) -> [(&'static str, u64); 4] {
    let sum = |list: &str, size: fn(&Value) -> &Value| -> u64 {
        let rows = usage[list].as_array().map(Vec::as_slice).unwrap_or_default();
        // A size that was not counted is -1.
        rows.iter().filter_map(|row| size(row).as_u64()).sum()
    };
    [
        ("images", usage["LayersSize"].as_u64().unwrap_or_else(|| sum("Images", |row| &row["Size"]))),
        ("volumes", sum("Volumes", |row| &row["UsageData"]["Size"])),
        ("containers", sum("Containers", |row| &row["SizeRw"])),
        ("build_cache", sum("BuildCache", |row| &row["Size"])),
    ]
}

#[cfg(test)]
mod tests;
