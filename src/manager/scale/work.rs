//! Writes the targets down for the sessions, has those give way that are too many, and tells of each change.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use mcp_berth::backend::docker::targets::Targets;
use mcp_berth::config::Config;
use mcp_berth::dock::standby;
use mcp_berth::values::Backend;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::watch::{Decided, Decision, Room};
use crate::index::event::Kind;
use crate::index::{Noted, micros};
use crate::pods;
use crate::shared::Shared;

const DECIDE_EVERY: Duration = Duration::from_secs(2);

/// What was written holds so long; without a manager sessions go by their configuration again.
const HOLDS: SignedDuration = SignedDuration::from_secs(60);

/// Nothing has changed: the file is written again after this time, and the containers are looked at.
const AGAIN_AFTER: Duration = Duration::from_secs(20);

/// A daemon that is slower is asked again later.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// The daemon's cap is asked for so often.
const CAP_EVERY: Duration = Duration::from_mins(5);

/// Of the memory that is free, standby has so much, in per cent.
const SHARE: u64 = 50;

/// Until the manager ends.
pub(crate) async fn work(shared: &Shared) {
    let (mut cap, mut last) = (None, None::<(Instant, Decided)>);
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => break,
            () = tokio::time::sleep(DECIDE_EVERY) => {}
        }
        let room = room(shared, &mut cap).await;
        // Before, half of the sessions would be a reason.
        if !shared.index.is_complete() {
            continue;
        }
        let mut decided = shared.watch.decide(Timestamp::now(), room);
        let changes = std::mem::take(&mut decided.changes);
        let is_new = last.as_ref().is_none_or(|(at, old)| *old != decided || at.elapsed() >= AGAIN_AFTER);
        if is_new && (!decided.targets.is_empty() || last.is_some()) {
            write(shared, &decided);
            trim(shared, &decided.targets, &shared.stop).await;
            last = Some((Instant::now(), decided));
        }
        tell(shared, &changes).await;
    }
    Targets::remove(&shared.home.state);
}

fn write(shared: &Shared, decided: &Decided) {
    let expires = Timestamp::now().saturating_add(HOLDS).unwrap_or(Timestamp::MAX);
    let targets = Targets::new(decided.targets.clone(), decided.by_hand.clone(), expires);
    if let Err(error) = targets.write(&shared.home.state) {
        tracing::warn!("cannot tell sessions how many containers are to stand by: {error}");
    }
}

/// Each change is an event.
async fn tell(shared: &Shared, changes: &[Decision]) {
    if changes.is_empty() {
        return;
    }
    let time = micros(Timestamp::now());
    let events = changes.iter().map(|change| {
        tracing::info!("standby of `{}`: {change}", change.kind);
        let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Noted {
            time,
            kind: Kind::Scaling,
            name: change.kind.clone(),
            server: known(&change.server),
            client: known(change.client()),
            detail: change.to_string(),
        }
    });
    if let Err(error) = shared.index.note(events.collect()).await {
        tracing::warn!("cannot keep why the number on standby has changed: {error}");
    }
}

/// What the daemon's cap was, by this setting.
#[derive(Debug, Clone, Copy)]
struct Cap {
    limit: Option<u32>,
    at: Instant,
    containers: u32,
}

/// How much the daemon has room for; none while it can't be asked. A configuration with a mistake is no reason for less.
async fn room(shared: &Shared, known: &mut Option<Cap>) -> Room {
    let Ok(config) = shared.config_now().await else {
        return Room { containers: known.map_or(0, |cap| cap.containers), memory: memory(None) };
    };
    let memory = memory(config.dind.host.as_deref());
    let in_cluster = u32::try_from(pods::cap(&config)).unwrap_or(u32::MAX);
    match [Backend::Docker, Backend::Kubernetes].map(|backend| config.uses(backend)) {
        [_, false] => Room { containers: most(shared, &config, known).await, memory },
        // A cluster's memory is its quota's to watch.
        [false, true] => Room { containers: in_cluster, memory: u64::MAX },
        [true, true] => {
            Room { containers: most(shared, &config, known).await.saturating_add(in_cluster), memory }
        }
    }
}

async fn most(shared: &Shared, config: &Config, known: &mut Option<Cap>) -> u32 {
    let limit = config.limits.standby;
    if let Some(cap) = known
        && cap.limit == limit
        && cap.at.elapsed() < CAP_EVERY
    {
        return cap.containers;
    }
    let Ok(engine) = shared.engine(config) else { return 0 };
    let asked = tokio::time::timeout(ANSWERS_WITHIN, standby::cap(&engine, limit));
    let Ok(Ok(cap)) = asked.await else { return known.map_or(0, |cap| cap.containers) };
    let containers = u32::try_from(cap).unwrap_or(u32::MAX);
    *known = Some(Cap { limit, at: Instant::now(), containers });
    containers
}

async fn trim(shared: &Shared, targets: &BTreeMap<String, u32>, stop: &CancellationToken) {
    let Ok(config) = shared.config_of_daemon().await else { return };
    let Ok(engine) = shared.engine(&config) else { return };
    let trimmed = tokio::select! {
        trimmed = tokio::time::timeout(ANSWERS_WITHIN, standby::trim(&engine, targets)) => trimmed,
        () = stop.cancelled() => return,
    };
    match trimmed {
        Ok(Ok(names)) => names.iter().for_each(|name| tracing::debug!("`{name}` is one too many")),
        Ok(Err(error)) => tracing::debug!("cannot look at the containers on standby: {error}"),
        Err(_) => tracing::debug!("the daemon gives no answer"),
    }
}

/// Half of what the daemon's machine has to spare, where that is this one (bytes).
fn memory(host: Option<&str>) -> u64 {
    if host.is_some() { u64::MAX } else { free_memory(Path::new("/proc/meminfo")) }
}

/// Half of what this machine has to spare (bytes); a machine that does not say has enough.
fn free_memory(meminfo: &Path) -> u64 {
    let text = std::fs::read_to_string(meminfo).unwrap_or_default();
    let available = text.lines().find_map(|line| {
        let kib = line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB")?;
        kib.trim().parse::<u64>().ok()
    });
    available.map_or(u64::MAX, |kib| kib.saturating_mul(1024) / 100 * SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_is_to_spare_is_for_standby() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("meminfo");
        assert_eq!(free_memory(&file), u64::MAX);
        std::fs::write(&file, "MemTotal:        4000 kB\nMemAvailable:    2000 kB\n").unwrap();
        assert_eq!(free_memory(&file), 1_024_000);
        assert_eq!(memory(Some("tcp://far:2376")), u64::MAX, "this machine's memory is not the daemon's");
    }
}
