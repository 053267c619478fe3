//! Makes spans of the journals' records, each once, and puts them into the outbox.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use jiff::{SignedDuration, Timestamp};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde::{Deserialize, Serialize};

use super::Common;
use super::span::{self, Of};
use crate::journals::{Line, Sink};

/// What ended earlier is not told: a first manager, or a collector that was named today, begins with today's requests.
const OLDEST: SignedDuration = SignedDuration::from_hours(1);

/// Of a start so many steps are remembered until it is over.
const STEPS: usize = 40;

/// What is remembered of a session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Known {
    /// The number of the last record.
    seq: u64,
    server: String,
    client: String,
    client_session: String,
    /// The record that ended its server's start, while that is there.
    up: Option<u64>,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Step {
    seq: u64,
    name: String,
    time: Timestamp,
    ms: f64,
}

impl Known {
    /// Takes a record; `tell` says whether it is young enough to be told.
    fn take(&mut self, Line { session, seq, record }: Line<'_>, tell: bool) -> Vec<Span> {
        self.seq = seq;
        if let "start" | "up" = record.kind.as_str() {
            for (known, said) in [
                (&mut self.server, &record.server),
                (&mut self.client, &record.client),
                (&mut self.client_session, &record.client_session),
            ] {
                if let Some(said) = said {
                    said.clone_into(known);
                }
            }
        }
        let of =
            Of { session, server: &self.server, client: &self.client, client_session: &self.client_session };
        let spans = match record.kind.as_str() {
            "call" => span::call(of, seq, record).into_iter().collect(),
            "up" => {
                self.up = Some(seq);
                let steps = std::mem::take(&mut self.steps).into_iter();
                let steps = steps.map(|step| span::step(of, seq, step.seq, &step.name, step.time, step.ms));
                std::iter::once(span::start(of, seq, record)).chain(steps).collect()
            }
            "step" => {
                let (Some(name), Some(ms)) = (&record.name, record.duration_ms) else { return Vec::new() };
                match self.up {
                    Some(start) => vec![span::step(of, start, seq, name, record.time, ms)],
                    None if self.steps.len() < STEPS => {
                        self.steps.push(Step { seq, name: name.clone(), time: record.time, ms });
                        Vec::new()
                    }
                    None => Vec::new(),
                }
            }
            "note" if record.name.as_deref() == Some("server ended") => {
                self.up = None;
                Vec::new()
            }
            _ => Vec::new(),
        };
        if tell { spans } else { Vec::new() }
    }
}

/// The journals' way into the outbox. What it has taken is in memory until it is committed, with the records' numbers.
#[derive(Debug)]
pub(super) struct Spans {
    common: Arc<Common>,
    sessions: HashMap<String, Known>,
    /// Those that have had records since the last commit.
    changed: HashSet<String>,
    new: Vec<Vec<u8>>,
    /// Sessions whose journals have gone since then.
    gone: HashSet<String>,
    has_said_that_it_drops: bool,
}

impl Spans {
    pub(super) fn open(common: Arc<Common>) -> anyhow::Result<Self> {
        let mut spans = Self {
            common,
            sessions: HashMap::new(),
            changed: HashSet::new(),
            new: Vec::new(),
            gone: HashSet::new(),
            has_said_that_it_drops: false,
        };
        spans.load()?;
        Ok(spans)
    }

    /// Forgets what is not in the file.
    fn load(&mut self) -> anyhow::Result<()> {
        (self.changed, self.gone, self.new) = Default::default();
        let kept = self.common.outbox.lock().unwrap_or_else(PoisonError::into_inner).sessions()?;
        let read = |(name, state): (String, String)| Ok((name, serde_json::from_str(&state)?));
        self.sessions = kept.into_iter().map(read).collect::<anyhow::Result<_>>()?;
        Ok(())
    }

    fn keep(&mut self) -> anyhow::Result<()> {
        let gone = std::mem::take(&mut self.gone);
        let changed = self.changed.difference(&gone).filter_map(|name| {
            let state = serde_json::to_string(self.sessions.get(name)?).ok()?;
            Some((name.as_str(), Some(state)))
        });
        let sessions = changed.chain(gone.iter().map(|name| (name.as_str(), None)));
        let mut outbox = self.common.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        let before = outbox.dropped();
        outbox.keep(&self.new, sessions)?;
        let dropped = outbox.dropped();
        drop(outbox);
        self.common.dropped.store(dropped, Ordering::Relaxed);
        if dropped > before && !std::mem::replace(&mut self.has_said_that_it_drops, true) {
            tracing::warn!("the collector does not take spans: the oldest are dropped, and counted");
        }
        if !self.new.is_empty() {
            self.common.news.notify_one();
        }
        self.sessions.retain(|name, _| !gone.contains(name));
        (self.changed, self.new) = Default::default();
        Ok(())
    }
}

impl Sink for Spans {
    fn has(&mut self, session: &str) -> anyhow::Result<u64> {
        Ok(self.sessions.get(session).map_or(0, |session| session.seq))
    }

    fn take(&mut self, line: Line<'_>) -> anyhow::Result<()> {
        let tell = Timestamp::now().duration_since(line.record.time) < OLDEST;
        let session = self.sessions.entry(line.session.to_owned()).or_default();
        self.new.extend(session.take(line, tell).iter().map(Message::encode_to_vec));
        if !self.changed.contains(line.session) {
            self.changed.insert(line.session.to_owned());
        }
        Ok(())
    }

    fn over(&mut self, _: &str) -> anyhow::Result<()> {
        Ok(())
    }

    fn commit(&mut self) -> anyhow::Result<()> {
        if self.changed.is_empty() && self.gone.is_empty() {
            return Ok(());
        }
        let kept = self.keep();
        if kept.is_err() {
            // Whether it is in the file is for the file to say.
            self.load()?;
        }
        kept
    }

    fn forget(&mut self, is_gone: &dyn Fn(&str) -> bool) -> anyhow::Result<()> {
        self.gone.extend(self.sessions.keys().filter(|session| is_gone(session)).cloned());
        Ok(())
    }
}
