//! `berth chaos`: sessions under load on a daemon of their own, while a scheduler breaks one thing after another. In
//! the end every call is accounted for.
//!
//! ```text
//! plan (pure, from the seed) -> slots: sessions that call      -> tally (pure) -> report
//!                            -> faults, one after another      -> left: leftovers in the daemon
//!
//!  session: client -> berth run -> relay -> DinD daemon -> container: keeper, server (the fixture's `tally` tool)
//! ```
//!
//! The seed fixes the faults, their order, targets and pauses, and each slot's calls. It cannot fix how far a session
//! has come when a fault hits it. So neither the number of calls nor the failing ones are fixed.
//!
//! In a cluster the same is done to pods of the person's own namespace ([`run_on`]); `berth-kubernetes` is the ground there.
//!
//! Nothing here judges by time alone, with one exception: within minutes a call must be answered and a session must go
//! on.

mod abandoned;
mod aftermath;
mod answer;
mod daemon;
mod faults;
pub mod ground;
pub mod left;
mod live;
pub mod plan;
mod port;
mod relay;
pub mod report;
mod session;
pub mod site;
mod slot;
pub mod tally;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::future::join_all;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::dind::progress::Progress;
use crate::dind::{DindError, down};
use crate::exam::process::Scratch;
use crate::human::count;
use crate::values::{Lookup, Way};
use ground::{Ground, Missed};
use left::Left;
use plan::{Fault, Kind, schedule};
use report::{Report, Tried, seconds};
use site::{Own, Site};

/// What sessions call themselves, with a number behind.
pub const CLIENT: &str = "chaos-";

/// The server's name in the sessions' configuration.
const SERVER: &str = LANES[0];

/// The servers of a session that has several; the last one gives its container back when it is idle.
const LANES: [&str; 3] = ["fixture", "second", "idle"];
/// What stands by ends by itself after this time.
pub const STANDBY_TTL: Duration = Duration::from_secs(10);

/// A session goes on after a fault, or its successor does, sooner than this.
const WELL_WITHIN: Duration = Duration::from_mins(2);
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A fault that finds nothing to hit is tried for so long.
const HIT_WITHIN: Duration = Duration::from_secs(10);
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// What a session is told to do, it has done by then.
const OBEYED_WITHIN: Duration = Duration::from_millis(100);
/// After a run that was broken off the daemon is taken down so often again, so long apart.
const AGAIN: u32 = 3;
const SETTLE: Duration = Duration::from_millis(500);

/// A run that is held up does not go on for more than this, times what was planned.
const OVERTIME: u32 = 3;

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Options {
    pub seed: u64,
    /// About how long.
    pub time: Duration,
    pub faults: usize,
    pub sessions: usize,
    /// Of the server, which has the fixture's tools.
    pub image: String,
    pub command: Option<Vec<String>>,
    /// The way of the servers' bytes.
    pub streams: Way,
}

/// Runs it; gives nothing where `stopped` came first. Whatever happens, the daemon and its volume are removed.
///
/// # Errors
/// Where it can't be begun: no engine, no image. What goes wrong later is in the report.
pub async fn run(
    options: &Options,
    config: &Config,
    lookup: Lookup<'_>,
    progress: &Progress,
    stopped: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<Option<Report>> {
    let mut own = Own::new(options, config, lookup)?;
    remove_abandoned(&own, lookup, progress).await;
    let ran = tokio::select! {
        ran = in_daemon(options, config, &mut own, lookup, progress) => ran.map(Some),
        stopped = stopped => stopped.map(|()| None),
    };
    let mut down = take_down(&own, lookup, progress).await;
    if !matches!(ran, Ok(Some(_))) {
        // The engine goes on with what it was told last: a container may be created yet.
        for _ in 0..AGAIN {
            tokio::time::sleep(SETTLE).await;
            down = take_down(&own, lookup, progress).await;
        }
    }
    let mut report = ran?;
    if let Err(error) = down {
        return Err(crate::failure::Failure::from(error).into());
    }
    if report.as_ref().is_some_and(|report| !report.passed) {
        drop(abandoned::keep(own.scratch.path()));
    }
    keep(&mut report, own.scratch)?;
    Ok(report)
}

/// The same where somebody else's servers run, who takes nothing down but what the sessions have left.
///
/// # Errors
/// As [`run`].
pub async fn run_on(
    ground: Box<dyn Ground>,
    options: &Options,
    progress: &Progress,
    stopped: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<Option<Report>> {
    let scratch = Scratch::new("chaos").context("cannot make a folder for the run's files")?;
    let ran = tokio::select! {
        ran = async { break_things(options, Site::new(scratch.path(), ground, options.sessions)?, progress).await } => {
            ran.map(Some)
        }
        stopped = stopped => stopped.map(|()| None),
    };
    let mut report = ran?;
    keep(&mut report, scratch)?;
    Ok(report)
}

/// What was found stands beside the traces that explain it.
fn keep(report: &mut Option<Report>, scratch: Scratch) -> anyhow::Result<()> {
    if let Some(report) = report
        && !report.passed
    {
        let found = serde_json::to_vec_pretty(report)?;
        std::fs::write(scratch.path().join("report.json"), found)?;
        report.kept = Some(scratch.keep());
    }
    Ok(())
}

async fn in_daemon(
    options: &Options,
    config: &Config,
    own: &mut Own,
    lookup: Lookup<'_>,
    progress: &Progress,
) -> anyhow::Result<Report> {
    let site = own.up(options, &config.dind, lookup, progress).await?;
    break_things(options, site, progress).await
}

async fn take_down(own: &Own, lookup: Lookup<'_>, progress: &Progress) -> Result<(), DindError> {
    let options = down::Options { volumes: true, force: true };
    down::down(&own.config, &own.home, lookup, options, |_| true, progress).await.map(drop)
}

/// What earlier runs left that were killed; no reason not to begin.
async fn remove_abandoned(own: &Own, lookup: Lookup<'_>, progress: &Progress) {
    let Ok(host) = own.host(lookup) else { return };
    match abandoned::sweep(&host, lookup).await {
        Ok(removed) if removed.is_empty() => {}
        Ok(removed) => progress.say(&format!("removed leftovers of a killed run: {}", removed.join(", "))),
        Err(error) => tracing::info!("cannot remove leftovers of killed runs: {error}"),
    }
}

async fn break_things(options: &Options, site: Site, progress: &Progress) -> anyhow::Result<Report> {
    let site = Arc::new(site);
    let before = site.ground.look().await?;
    site.try_out(progress).await?;
    let began = Instant::now();
    let plan = schedule(options.seed, options.faults, options.sessions, &site.ground.kinds());
    let task =
        progress.task(&format!("{} on {}", count(plan.len(), "fault"), count(options.sessions, "session")));
    let (ends, tried) = tokio::join!(
        join_all(site.slots.iter().map(|slot| session::keep(slot, &site, options.seed))),
        break_one_by_one(&site, &plan, options, progress),
    );
    ends.into_iter().collect::<io::Result<Vec<()>>>()?;
    drop(task);
    let took = began.elapsed();
    let task = progress.task("looking for leftovers");
    let left = left_beyond(&*site.ground, &before).await;
    drop(task);
    let mut report = Report {
        seed: options.seed,
        slots: options.sessions,
        seconds: seconds(took),
        planned: plan.len(),
        streams: options.streams.as_str(),
        by_pipes: site.by_pipes(),
        faults: tried.into_iter().map(|(kind, tried)| (kind.name(), tried)).collect(),
        sessions: site.ended(),
        calls: site.tally().totals(),
        errors: site.errors(),
        left_unknown: left.as_ref().err().map(|error| format!("{error:#}")),
        left: left.unwrap_or_default(),
        kept: None,
        passed: false,
    };
    report.judge();
    Ok(report)
}

/// What is there beyond `before`, once the last of it has had its time to go.
async fn left_beyond(ground: &dyn Ground, before: &Left) -> anyhow::Result<Left> {
    let deadline = Instant::now() + ground.gone_within();
    loop {
        ground.tidy().await;
        let left = ground.look().await.map(|now| now.beyond(before));
        if Instant::now() > deadline || matches!(&left, Ok(left) if left.count() == 0) {
            return left;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// One fault after another; then the sessions are told to end.
async fn break_one_by_one(
    site: &Arc<Site>,
    plan: &[Fault],
    options: &Options,
    progress: &Progress,
) -> BTreeMap<Kind, Tried> {
    let mut tried = BTreeMap::<Kind, Tried>::new();
    let mut marks = vec![0; site.slots.len()];
    let mut recoveries = JoinSet::new();
    let pace = options.time / u32::try_from(plan.len()).unwrap_or(u32::MAX).max(1);
    let deadline = Instant::now() + options.time * OVERTIME + WELL_WITHIN;
    let mut due = tokio::time::Instant::now();
    for (n, fault) in plan.iter().enumerate() {
        // One that has waited for a session to get well is made up for by those behind it.
        due += pace.mul_f64(fault.pause);
        tokio::time::sleep_until(due).await;
        if Instant::now() > deadline {
            progress.say(&format!("out of time after {n} of {}", count(plan.len(), "fault")));
            break;
        }
        let hit = if fault.kind.is_of_daemon() { 0..site.slots.len() } else { fault.slot..fault.slot + 1 };
        if fault.patient {
            let well = hit.clone().map(|slot| site.slots[slot].is_well_after(marks[slot]));
            // Who is not well in time is told of by the fault before.
            let _ = tokio::time::timeout(WELL_WITHIN, join_all(well)).await;
        }
        tracing::debug!("{}: {} is next for {}", n + 1, fault.kind.name(), fault.slot);
        let at = Instant::now();
        let done = try_for_a_while(site, fault).await;
        let entry = tried.entry(fault.kind).or_default();
        if let Err(missed) = done {
            tracing::info!("{} missed: {missed}", fault.kind.name());
            entry.missed += 1;
            continue;
        }
        tracing::info!("{} {}: {} after {:.1?}", n + 1, fault.kind.name(), fault.slot, at.elapsed());
        entry.done += 1;
        if matches!(
            fault.kind,
            Kind::ServerCrashed | Kind::ServerBrokeOff | Kind::ClientLeft | Kind::ClientDied
        ) {
            tokio::time::sleep(OBEYED_WITHIN).await;
        }
        let mark = site.tally().now();
        marks[hit.clone()].fill(mark);
        recoveries.spawn(well_again(Arc::clone(site), fault.kind, hit, mark, at));
    }
    while let Some(recovered) = recoveries.join_next().await {
        if let Ok((kind, Some(after))) = recovered {
            tried.entry(kind).or_default().well_after.push(seconds(after));
        }
    }
    site.stop.cancel();
    tried
}

async fn try_for_a_while(site: &Site, fault: &Fault) -> Result<(), Missed> {
    let began = Instant::now();
    loop {
        match faults::inject(site, fault).await {
            Err(missed) if began.elapsed() > HIT_WITHIN => return Err(missed),
            Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
            Ok(()) => return Ok(()),
        }
    }
}

/// Waits until each slot that was hit has had the result of a call that was sent after `mark`.
async fn well_again(
    site: Arc<Site>,
    kind: Kind,
    hit: std::ops::Range<usize>,
    mark: u64,
    at: Instant,
) -> (Kind, Option<Duration>) {
    let one = async |slot: usize| {
        let slot = &site.slots[slot];
        let well = tokio::time::timeout(WELL_WITHIN, slot.is_well_after(mark)).await;
        if well.is_err() {
            let what = format!("no call had a result within {WELL_WITHIN:?} after «{}»", kind.name());
            site.tally().broke(&slot.client, what);
        }
        well.is_ok()
    };
    let all = join_all(hit.map(one)).await;
    (kind, all.into_iter().all(|well| well).then(|| at.elapsed()))
}
