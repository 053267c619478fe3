//! One session under load: `berth run` as a child process, and a client that keeps several calls in flight.
//!
//! Request ids are small numbers that each session counts anew, as clients do. A stray answer therefore finds its id in
//! another session, and only its token tells them apart.

mod calls;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use rustix::process::Signal;
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::codec::FramedRead;

use super::live::{End, Live, Order};
use super::plan::{Call, Calls};
use super::slot::Slot;
use super::{Site, aftermath};
use crate::exam::process::{Launch, Process};
use crate::rpc::FrameCodec;
use crate::session::mux::ANSWERED_WITHIN;

/// Calls that a client has in flight.
const IN_FLIGHT: usize = 4;
/// After so many calls the server is asked for its ledger.
const LEDGER_EVERY: u64 = 20;
/// Longer than all that berth tries together: a replacement, and its first answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(150);
/// A session that was told to end has done so by then, whatever became of its daemon. One of several servers answers first
/// what its client still waits for.
const END_WITHIN: Duration = Duration::from_secs(20);
/// Before a session is tried again that was refused.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_secs(1);
const MAX_LINE: usize = 16 << 20;

struct Waiting {
    token: String,
    /// Its place in the run's order.
    sent: u64,
    since: Instant,
    is_initialize: bool,
    /// The server that is to answer.
    lane: &'static str,
}

/// Has sessions in the slot until the run ends.
pub(super) async fn keep(slot: &Slot, site: &Site, seed: u64) -> std::io::Result<()> {
    let mut calls = Calls::new(seed, slot.number);
    let mut generation = 0;
    while !site.stop.is_cancelled() {
        generation += 1;
        let name = format!("{}.{generation}", slot.client);
        let (session, live, orders) = Session::spawn(site, slot, name)?;
        slot.set_live(Some(live));
        let end = Box::pin(session.run(&mut calls, orders)).await;
        slot.set_live(None);
        site.count(end);
        if end == End::Refused {
            tokio::select! {
                () = tokio::time::sleep(AGAIN_AFTER) => {}
                () = site.stop.cancelled() => {}
            }
        }
    }
    Ok(())
}

/// The client's side of a session.
pub(super) struct Session<'a> {
    site: &'a Site,
    slot: &'a Slot,
    pub(super) name: String,
    process: Process,
    input: Option<ChildStdin>,
    lines: Option<FramedRead<ChildStdout, FrameCodec>>,
    waiting: BTreeMap<u64, Waiting>,
    next_id: u64,
    calls: u64,
    /// Since the last result.
    errors: u32,
    /// The server has answered something.
    began: bool,
    /// What is left of it must come by then.
    ends_by: Option<Instant>,
    /// Told to end by us.
    told: bool,
    killed: Arc<AtomicBool>,
}

impl<'a> Session<'a> {
    pub(super) fn spawn(
        site: &'a Site,
        slot: &'a Slot,
        name: String,
    ) -> io::Result<(Self, Live, mpsc::Receiver<Order>)> {
        let launch =
            Launch { program: &site.program, config: Some(&slot.config), folder: &site.folder, name: &name };
        let client = ["--client", slot.client.as_str()];
        let arguments = client.iter().chain(slot.servers()).copied();
        let mut process = launch.spawn(arguments, |command| {
            command.env("BERTH_HOME", &site.folder);
        })?;
        let pid = process.pid().ok_or_else(|| io::Error::other("the session has no process"))?;
        let (output, input) = process.pipes()?;
        let killed = Arc::new(AtomicBool::new(false));
        let (orders, ordered) = mpsc::channel(4);
        let live = Live { pid, orders, killed: Arc::clone(&killed) };
        let session = Self {
            site,
            slot,
            name,
            input: Some(input),
            lines: Some(FramedRead::new(output, FrameCodec::new(MAX_LINE))),
            process,
            waiting: BTreeMap::new(),
            next_id: 0,
            calls: 0,
            errors: 0,
            began: false,
            ends_by: None,
            told: false,
            killed,
        };
        Ok((session, live, ordered))
    }

    /// Makes calls until the session ends in whatever way, or the run does.
    pub(super) async fn run(mut self, calls: &mut Calls, mut orders: mpsc::Receiver<Order>) -> End {
        if !self.slot.is_modern {
            self.initialize().await;
        }
        let mut next = calls.next();
        let mut next_at = Instant::now();
        let mut stopping = false;
        let mut looks = tokio::time::interval(LOOK_EVERY);
        while let Some(lines) = &mut self.lines {
            let may_call = self.input.is_some()
                && !stopping
                && self.waiting.len() < IN_FLIGHT
                && (self.began || (self.slot.is_modern && self.waiting.is_empty()));
            tokio::select! {
                line = lines.next() => match line {
                    Some(Ok(Ok(frame))) => {
                        let text = String::from_utf8_lossy(frame.message()).into_owned();
                        self.hear(&text).await;
                    }
                    Some(Ok(Err(error))) => self.broke(&error.to_string()),
                    Some(Err(_)) | None => break,
                },
                Some(order) = orders.recv() => self.obey(order).await,
                () = tokio::time::sleep_until(next_at), if may_call => {
                    if let Some(call) = next.take() {
                        self.call(&call, None).await;
                    }
                    if self.calls.is_multiple_of(LEDGER_EVERY) {
                        self.ask_for_ledger().await;
                    }
                    next = calls.next();
                    let pause = next.as_ref().map(|call| call.pause).unwrap_or_default();
                    next_at = Instant::now() + pause.max(self.patience());
                }
                () = self.site.stop.cancelled(), if !stopping => {
                    stopping = true;
                    if self.input.is_some() && self.began {
                        self.ask_for_ledger().await;
                    }
                }
                _ = looks.tick() => {}
            }
            if stopping && self.input.is_some() && self.waiting.is_empty() {
                self.end();
            }
            if !self.is_in_time() {
                break;
            }
        }
        self.finish().await
    }

    /// A client that gets nothing but errors asks less often.
    fn patience(&self) -> Duration {
        Duration::from_millis(10) * (1 << self.errors.min(7)) / 2
    }

    /// Whether there is still something to wait for; what has taken too long is lost.
    fn is_in_time(&mut self) -> bool {
        let now = Instant::now();
        if self.ends_by.is_some_and(|by| now > by) {
            self.broke(&format!("it still runs {} s after it was told to end", self.ends_within().as_secs()));
            return false;
        }
        let late = |waiting: &Waiting| now.duration_since(waiting.since) > ANSWER_WITHIN;
        if self.ends_by.is_some() || !self.waiting.values().any(late) {
            return true;
        }
        for waiting in std::mem::take(&mut self.waiting).into_values() {
            self.site.tally().lost(&self.name, &waiting.token);
        }
        self.broke(&format!("it gave no answer within {} s", ANSWER_WITHIN.as_secs()));
        false
    }

    /// After it was told to.
    fn ends_within(&self) -> Duration {
        if self.slot.has_lanes { END_WITHIN + ANSWERED_WITHIN } else { END_WITHIN }
    }

    /// Ends in order: half of the sessions by the end of their input, half by a signal.
    fn end(&mut self) {
        self.told = true;
        self.ends_by = Some(Instant::now() + self.ends_within());
        let input = self.input.take();
        if self.slot.number.is_multiple_of(2) {
            drop(input);
        } else {
            self.process.signal(Signal::TERM);
        }
    }

    async fn obey(&mut self, order: Order) {
        if self.input.is_none() {
            return;
        }
        let call = |milliseconds| Call {
            pause: Duration::ZERO,
            work: Duration::from_millis(milliseconds),
            pad: 0,
            bytes: 0,
        };
        match order {
            Order::End(how) => self.call(&call(30), Some(how)).await,
            Order::Leave | Order::Die => {
                self.call(&call(500), None).await;
                self.told = true;
                self.ends_by = Some(Instant::now() + self.ends_within());
                self.input = None;
                if order == Order::Die {
                    self.lines = None;
                }
            }
        }
    }

    fn broke(&self, what: &str) {
        self.site.tally().broke(&self.name, what.to_owned());
    }

    /// Waits for the process, and says what became of the calls that had no answer.
    async fn finish(mut self) -> End {
        self.input = None;
        let exit = tokio::time::timeout(END_WITHIN, self.process.wait()).await;
        if exit.is_err() {
            self.broke(&format!("it still runs {} s after the end of its output", END_WITHIN.as_secs()));
            self.process.kill().await;
        }
        aftermath::read_executions(&self.process.stderr, self.site);
        self.site.count_pipes(aftermath::by_pipes(&self.process.trace));
        let killed = self.killed.load(Ordering::Acquire);
        let meant = self.told || killed;
        // Who reads on is owed each answer, but for a server that ends in order with its input.
        let is_read = !killed && self.lines.is_some();
        let taken = if is_read { aftermath::taken(&self.process.trace) } else { Vec::new() };
        for (id, waiting) in &self.waiting {
            let lane = self.slot.has_lanes.then_some(waiting.lane);
            let is_owed = !(self.told && aftermath::ended_in_order(&self.process.trace, lane));
            let mut tally = self.site.tally();
            if is_owed && taken.contains(id) {
                tally.lost(&self.name, &waiting.token);
            } else {
                tally.cut(&self.name, &waiting.token);
            }
        }
        if meant {
            End::Meant
        } else if !self.began {
            End::Refused
        } else if aftermath::gave_up(&self.process.trace) {
            End::GaveUp
        } else {
            let what = self.process.with_last_words("it ended by itself");
            self.broke(&what);
            End::Broken
        }
    }
}
