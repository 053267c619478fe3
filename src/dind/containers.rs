//! The session containers of a daemon as people and the manager's clients see them: their owners, and what they use.

use std::path::Path;
use std::time::Duration;

use futures::{StreamExt, stream};
use serde::Serialize;

use super::ids::Ids;
use crate::config::{Config, Daemon};
use crate::dock::docker::{BY_NUMBER, DockerError, Engine, Process, Usage};
use crate::dock::owner;
use crate::dock::refused::{List, Refusal};
use crate::dock::roster::{self, Entry, State};
use crate::dock::standby;
use crate::observe::{audit, journal};
use crate::values::Way;

/// An engine that is slower is not waited for.
const SEEN_WITHIN: Duration = Duration::from_secs(1);

/// One object of `berth ps --json`.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub name: String,
    pub client: String,
    pub server: String,
    pub isolation: &'static str,
    pub session: String,
    /// What the client called its session when it started this one, and the folder it works in; empty where that isn't
    /// known.
    pub client_session: String,
    pub project: String,
    /// The process that has started the session's berth, and the machine that it runs on.
    pub parent_pid: Option<u32>,
    pub machine: String,
    pub state: State,
    /// The way of the server's bytes, `direct` or `exec`; empty until a session has them.
    pub streams: &'static str,
    /// RFC 3339, by the daemon's clock.
    pub created: String,
    /// How long the session has done nothing; `None` where its history does not tell.
    pub idle_seconds: Option<u64>,
    pub memory_bytes: u64,
    /// Of one processor: of this moment with `--stats`, else since the container's start.
    pub cpu_percent: f64,
    /// Who runs it, as the engine's machine sees it: `own` for a number that nobody else there has; empty where that isn't
    /// known.
    pub host_user: String,
    /// What its network refused; empty where it has no list of names.
    pub refused: Vec<Refusal>,
    #[serde(skip)]
    pub list: Option<List>,
}

/// What a daemon has.
#[derive(Debug)]
pub struct Seen {
    pub rows: Vec<Row>,
    /// How many it may have on standby, where it says how much memory it has.
    pub cap: Option<usize>,
}

/// All session containers, or those of a client's session. `sampled` waits for what they use at this moment. `host` is the engine
/// that holds a daemon of berth's own; `state` is the folder of the sessions' histories.
pub async fn see(
    engine: &Engine,
    config: &Config,
    state: &Path,
    client_session: Option<&str>,
    sampled: bool,
    host: Option<&Daemon>,
) -> Result<Seen, DockerError> {
    let entries = roster::list(engine).await?;
    // Samples are waited for, and cost nothing meanwhile.
    let at_once = if sampled { entries.len().max(1) } else { roster::AT_ONCE };
    let usages = stream::iter(entries.clone()).map(|entry| usage(engine, entry, sampled));
    let owners = async { roster::with_owners(engine, entries, &processes(config, host).await).await };
    let cap = standby::cap(engine, config.limits.standby);
    let (usages, entries, cap) = tokio::join!(usages.buffered(at_once).collect::<Vec<_>>(), owners, cap);
    let asked = |entry: &Entry| match client_session {
        Some(asked) => entry.owner.client_session.is_some() && entry.owner.client_session == owner::id(asked),
        None => true,
    };
    let ids = config.dind.host.is_none().then(|| Ids::of(&config.dind.name));
    let rows = entries.into_iter().zip(usages).filter(|(entry, _)| asked(entry));
    let rows = stream::iter(rows).map(|(entry, usage)| row(engine, entry, usage, ids, state));
    Ok(Seen { rows: rows.buffered(roster::AT_ONCE).collect().await, cap: cap.ok() })
}

/// Ends a session from outside, and notes by whom. What cannot be noted is done all the same, and said.
pub async fn end(engine: &Engine, state: &Path, entry: &Entry, event: &str) -> Result<(), DockerError> {
    roster::end(engine, &entry.id).await?;
    note_end(state, entry, event);
    Ok(())
}

/// Notes that somebody has ended a session from outside.
pub fn note_end(state: &Path, entry: &Entry, event: &str) {
    audit::note(
        state,
        &audit::Entry {
            session: Some(entry.owner.session.clone()),
            server: Some(entry.server.clone()),
            ..audit::Entry::new(event, &entry.name)
        },
    );
}

/// What runs in the daemon's container, where that is berth's own: its engine tells of all sessions at once. Nothing where it
/// does not, for then the daemon is asked.
async fn processes(config: &Config, host: Option<&Daemon>) -> Vec<Process> {
    let look = async {
        let host = super::engine(host?).await.ok()?;
        host.top(&config.dind.name, BY_NUMBER).await.ok()
    };
    if config.dind.host.is_some() {
        return Vec::new();
    }
    tokio::time::timeout(SEEN_WITHIN, look).await.ok().flatten().unwrap_or_default()
}

async fn usage(engine: &Engine, entry: Entry, sampled: bool) -> Usage {
    if !entry.running {
        return Usage::default();
    }
    // One that ends in this moment uses nothing.
    engine.usage(&entry.id, sampled, entry.created).await.unwrap_or_default()
}

async fn row(engine: &Engine, entry: Entry, usage: Usage, ids: Option<Ids>, state: &Path) -> Row {
    let refused = match &entry.list {
        Some(list) if entry.running => list.refusals(engine, &entry.id).await.unwrap_or_default(),
        _ => Vec::new(),
    };
    let is_own = ids.is_some_and(|ids| ids.shows(&entry.user));
    let host_user = if is_own { "own".to_owned() } else { entry.user.clone() };
    Row {
        refused,
        host_user,
        memory_bytes: usage.memory_bytes,
        cpu_percent: usage.cpu_percent,
        ..known(entry, state)
    }
}

/// What is known of a container without asking for what it uses.
pub fn known(entry: Entry, state: &Path) -> Row {
    let parent = entry.owner.parent;
    Row {
        created: jiff::Timestamp::from_second(entry.created).unwrap_or_default().to_string(),
        idle_seconds: journal::idle(state, &entry.owner.session).map(|idle| idle.as_secs()),
        name: entry.name,
        client: entry.client,
        server: entry.server,
        isolation: entry.isolation.as_str(),
        session: entry.owner.session,
        client_session: entry.owner.client_session.unwrap_or_default(),
        project: entry.owner.project.unwrap_or_default(),
        parent_pid: parent.as_ref().map(|parent| parent.pid),
        machine: parent.map(|parent| parent.machine).unwrap_or_default(),
        state: entry.state,
        streams: entry.way.map(Way::as_str).unwrap_or_default(),
        memory_bytes: 0,
        cpu_percent: 0.0,
        host_user: entry.user,
        refused: Vec::new(),
        list: entry.list,
    }
}
