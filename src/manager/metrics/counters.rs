//! What is counted for ever: each record of a journal once, whatever becomes of the manager or of its index.
//!
//! Only what the file has is told: a manager that was killed begins where others have seen it.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use mcp_berth::failure::{Code, Failure};

use super::families::{ALL, AUDIT, Family, SESSIONS, SESSIONS_STARTED};
use super::labels::{self, Bounds, UNKNOWN};
use super::session::{Count, Session, number};
use super::store::{FILE, Store};
use super::tally::{Labels, Tally, others};
use crate::audits::{News, Place};
use crate::journals::{Line, Sink};

#[derive(Debug)]
pub(super) struct Counters {
    store: Store,
    /// As the file has it.
    kept: Tally,
    sessions: HashMap<String, Session>,
    audit: Place,
    began: Timestamp,
    /// What has come since.
    new: New,
}

/// What is not in the file yet.
#[derive(Debug, Default)]
struct New {
    values: Tally,
    sessions: HashSet<String>,
    /// Sessions whose journals are gone.
    gone: HashSet<String>,
    bounds: Bounds,
}

impl Counters {
    /// # Errors
    /// The file cannot be read or written.
    pub(super) fn open(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(FILE);
        let opened = || {
            let store = Store::open(folder)?;
            let began = store.began()?;
            let mut counters = Self {
                store,
                kept: Tally::default(),
                sessions: HashMap::new(),
                audit: Place::default(),
                began,
                new: New::default(),
            };
            counters.load()?;
            Ok::<_, anyhow::Error>(counters)
        };
        opened().map_err(|error| Failure {
            code: Code::Unavailable,
            text: format!("cannot use the counters in `{}`: {error:#}", path.display()),
            next: Some("move the file away: the counters begin at 0 then".to_owned()),
        })
    }

    /// Forgets what is not in the file.
    fn load(&mut self) -> anyhow::Result<()> {
        let kept = self.store.load()?;
        (self.kept, self.sessions, self.audit) = (kept.values, kept.sessions, kept.audit);
        self.new = New::default();
        for (family, labels, _) in self.kept.each(ALL) {
            self.new.bounds.note(family, labels);
        }
        Ok(())
    }

    /// What is in the file, for whoever asks.
    pub(super) fn kept(&self) -> Tally {
        self.kept.clone()
    }

    /// Since when it is counted: the file's beginning.
    pub(super) fn began(&self) -> Timestamp {
        self.began
    }

    /// The values of labels that are in use.
    pub(super) fn bounds(&self) -> Bounds {
        self.new.bounds.clone()
    }

    /// The open sessions by client and server; zero where all are over.
    pub(super) fn open_sessions(&self) -> Tally {
        let mut open = Tally::default();
        for (labels, _) in self.kept.of(&SESSIONS_STARTED) {
            open.add(&SESSIONS, labels.clone(), 0.0);
        }
        for session in self.sessions.values().filter(|session| !session.over) {
            let labels = [("client", &session.client), ("server", &session.server)];
            let labels = labels.map(|(label, value)| {
                if value.is_empty() { UNKNOWN.to_owned() } else { self.new.bounds.known(label, value) }
            });
            open.add(&SESSIONS, labels.into(), 1.0);
        }
        open
    }

    fn keep(&mut self) -> anyhow::Result<()> {
        let gone = &self.new.gone;
        let mut values = Tally::default();
        for (family, labels, _) in self.new.values.each(ALL) {
            let before = self.kept.get(family, labels);
            values.set(family, labels.clone(), before.cloned().unwrap_or_default());
        }
        values.extend(&self.new.values, ALL);
        let changed = self.new.sessions.iter().filter(|session| !gone.contains(*session));
        let changed = changed.map(|session| (session, self.sessions.get(session)));
        let saved =
            self.store.save(&values, changed.chain(gone.iter().map(|session| (session, None))), &self.audit);
        if let Err(error) = saved {
            // Whether it is in the file is for the file to say.
            self.load()?;
            return Err(error);
        }
        self.kept.extend(&std::mem::take(&mut self.new.values), ALL);
        self.new.sessions.clear();
        let gone = std::mem::take(&mut self.new.gone);
        self.sessions.retain(|session, _| !gone.contains(session));
        Ok(())
    }
}

impl Sink for Counters {
    fn has(&mut self, session: &str) -> anyhow::Result<u64> {
        Ok(self.sessions.get(session).map_or(0, |session| session.seq))
    }

    fn take(&mut self, line: Line<'_>) -> anyhow::Result<()> {
        let (session, mut count) = self.session(line.session);
        session.take(line.seq, line.record, &mut count);
        Ok(())
    }

    fn over(&mut self, session: &str) -> anyhow::Result<()> {
        let (session, mut count) = self.session(session);
        session.is_over(&mut count);
        Ok(())
    }

    fn commit(&mut self) -> anyhow::Result<()> {
        self.keep()
    }

    fn forget(&mut self, is_gone: &dyn Fn(&str) -> bool) -> anyhow::Result<()> {
        self.new.gone.extend(self.sessions.keys().filter(|session| is_gone(session)).cloned());
        Ok(())
    }

    fn audited(&mut self) -> anyhow::Result<Option<Place>> {
        Ok(Some(self.audit))
    }

    fn audit(&mut self, news: &News) -> anyhow::Result<()> {
        let mut count = Bounded { kept: &self.kept, new: &mut self.new };
        for entry in &news.entries {
            let server = entry.server.as_deref().unwrap_or_default();
            count.add(&AUDIT, &[server, &entry.event.replace(' ', "_")], 1.0);
            if entry.missing > 0 {
                count.add(&AUDIT, &[server, "not_recorded"], number(entry.missing));
            }
        }
        self.audit = news.place;
        self.keep()
    }
}

impl Counters {
    /// A session that changes, and who counts for it.
    fn session(&mut self, name: &str) -> (&mut Session, Bounded<'_>) {
        if !self.new.sessions.contains(name) {
            self.new.sessions.insert(name.to_owned());
        }
        let count = Bounded { kept: &self.kept, new: &mut self.new };
        (self.sessions.entry(name.to_owned()).or_default(), count)
    }
}

/// The thread that follows the journals has it in turn with whoever asks for the metrics.
#[derive(Debug)]
pub(super) struct Taken(pub(super) Arc<Mutex<Counters>>);

impl Taken {
    fn with<T>(&self, act: impl FnOnce(&mut Counters) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sink for Taken {
    fn has(&mut self, session: &str) -> anyhow::Result<u64> {
        self.with(|counters| counters.has(session))
    }

    fn take(&mut self, line: Line<'_>) -> anyhow::Result<()> {
        self.with(|counters| counters.take(line))
    }

    fn over(&mut self, session: &str) -> anyhow::Result<()> {
        self.with(|counters| counters.over(session))
    }

    fn commit(&mut self) -> anyhow::Result<()> {
        self.with(Counters::commit)
    }

    fn forget(&mut self, is_gone: &dyn Fn(&str) -> bool) -> anyhow::Result<()> {
        self.with(|counters| counters.forget(is_gone))
    }

    fn audited(&mut self) -> anyhow::Result<Option<Place>> {
        self.with(Counters::audited)
    }

    fn audit(&mut self, news: &News) -> anyhow::Result<()> {
        self.with(|counters| counters.audit(news))
    }
}

/// Adds up, within the bounds of labels.
struct Bounded<'a> {
    kept: &'a Tally,
    new: &'a mut New,
}

impl Bounded<'_> {
    fn labels(&mut self, family: &'static Family, said: &[&str]) -> Labels {
        // Anybody can call a tool that there is none of: a name that met an error object alone is not learned.
        let is_refused = said.last().is_some_and(|error| error.parse::<i64>().is_ok());
        let bounds = &mut self.new.bounds;
        let labels: Labels = family
            .labels
            .iter()
            .zip(said)
            .map(|(label, said)| match *label {
                "gen_ai_tool_name" | "error_type" if said.is_empty() => String::new(),
                "mcp_method_name" => labels::method(said),
                "gen_ai_tool_name" if is_refused => bounds.known(label, said),
                label => bounds.value(label, said),
            })
            .collect();
        if self.new.values.has_room(self.kept, family, &labels) { labels } else { others(&labels) }
    }
}

impl Count for Bounded<'_> {
    fn add(&mut self, family: &'static Family, labels: &[&str], number: f64) {
        let labels = self.labels(family, labels);
        self.new.values.add(family, labels, number);
    }

    fn observe(&mut self, family: &'static Family, labels: &[&str], seen: f64) {
        let labels = self.labels(family, labels);
        self.new.values.observe(family, labels, seen);
    }
}

#[cfg(test)]
mod tests;
