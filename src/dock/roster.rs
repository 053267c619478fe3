//! The containers that berth's labels mark in the daemon, their states, and leftovers of crashes.

mod asked;

use std::collections::HashMap;
use std::time::Duration;

use futures::{StreamExt, stream};
use serde::Serialize;
use serde_json::Value;

use super::docker::{BY_NAME, DockerError, Engine, Listed, Process};
use super::exec;
use super::keeper;
use super::labels;
use super::labels::STANDBY;
use super::owner::Owner;
use super::peers::HOLDER;
use super::place::{self, Place};
use super::refused::List;
use crate::failure::{Code, Failure};
use crate::values::{Isolation, Lookup, Span, ValueError, Way};
pub use asked::Asked;

/// A server has the grace of its `stop_grace`; this is for what doesn't end by itself.
const GONE_WITHIN: Duration = Duration::from_millis(4_500);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// From the rename to the name that the keeper shows a claim takes a moment; its owner may stand still meanwhile, and
/// after 4 s the keeper gives the container up.
const CLAIM: Duration = Duration::from_secs(5);

/// What a keeper shows, as its own kernel has it.
const KEEPER_LINE: &str = "/proc/1/cmdline";
/// The daemon is asked so many questions at once: more connections cost more than they save.
pub const AT_ONCE: usize = 4;

/// A process in a container of a busy machine has said it by then.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A container that was created and doesn't run for this long (by the daemon's clock, which counts seconds) is nobody's:
/// the daemon itself goes on from its creation to its start, a moment later.
pub const STALE_AFTER: Duration = Duration::from_secs(20);

/// Another time than [`STALE_AFTER`], for `berth gc` and `berth doctor`.
pub const STALE_VARIABLE: &str = "BERTH_STALE_AFTER";

/// What a person's commands take for stale.
pub fn stale_after(lookup: Lookup<'_>) -> Result<Duration, Failure> {
    let Some(text) = lookup(STALE_VARIABLE).filter(|text| !text.is_empty()) else { return Ok(STALE_AFTER) };
    text.parse().map(Span::duration).map_err(|error: ValueError| Failure {
        code: Code::Configuration,
        text: format!("`{STALE_VARIABLE}` is `{text}`: {error}"),
        next: Some("correct it, or unset it".to_owned()),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Has no number yet.
    Starting,
    Active,
    /// Started, and claimed by nobody yet.
    Standby,
}

impl State {
    /// The name says it, for a rename is what changes it.
    pub fn of(name: &str) -> Self {
        if name.ends_with(".starting") {
            Self::Starting
        } else if name.ends_with(STANDBY) {
            Self::Standby
        } else {
            Self::Active
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Active => "active",
            Self::Standby => "standby",
        }
    }
}

/// A session's container.
#[derive(Debug, Clone)]
pub struct Entry {
    pub id: String,
    pub name: String,
    pub client: String,
    pub server: String,
    /// Nobody's while it is on standby.
    pub owner: Owner,
    /// The way that its server's bytes take, once a session has them; its keeper says so.
    pub way: Option<Way>,
    pub isolation: Isolation,
    /// The hash of all that it was made of.
    pub spec: String,
    /// Who runs it, as the engine's machine sees it; empty where that wasn't asked, or isn't known.
    pub user: String,
    pub state: State,
    pub running: bool,
    /// Seconds since the epoch, by the daemon's clock.
    pub created: i64,
    /// Of the names that it may reach.
    pub list: Option<List>,
    /// Where its keeper is, which nobody outside of it knows.
    pub place: Option<Place>,
}

/// All session containers of a daemon, by name. What their labels can't tell of their owners, [`list_with_owners`] does.
pub async fn list(engine: &Engine) -> Result<Vec<Entry>, DockerError> {
    let rows = engine.list(&labels::managed_by_filter()).await?;
    let mut entries: Vec<Entry> = rows.into_iter().filter_map(entry).collect();
    entries.sort_by_key(|entry| natural(&entry.name));
    Ok(entries)
}

/// The same; asks the daemon what the keeper shows of each container's owner, where the labels don't tell all.
pub async fn list_with_owners(engine: &Engine) -> Result<Vec<Entry>, DockerError> {
    Ok(with_owners(engine, list(engine).await?, &[]).await)
}

/// The same for entries that are known. `seen` are processes of the whole daemon, where somebody sees them all at once: what
/// they don't tell is asked, container by container.
pub async fn with_owners(engine: &Engine, entries: Vec<Entry>, seen: &[Process]) -> Vec<Entry> {
    let keepers = keepers(seen);
    let entries = entries.into_iter().map(|entry| {
        let keeper = entry.place.as_ref().and_then(|place| keepers.get(place.folder()).copied().flatten());
        with_owner(engine, entry, keeper)
    });
    stream::iter(entries).buffered(AT_ONCE).collect().await
}

/// Keepers by their places. A server that calls itself as its own container's keeper makes that one doubtful.
fn keepers(seen: &[Process]) -> HashMap<String, Option<&Process>> {
    let mut keepers = HashMap::new();
    for process in seen.iter().filter(|process| is_keeper(&process.command_line)) {
        if let Some(place) = Place::of(&process.command_line) {
            let known = keepers.entry(place.folder().to_owned());
            known.and_modify(|keeper| *keeper = None).or_insert(Some(process));
        }
    }
    keepers
}

/// Removes containers that were created and never started, or stopped and not removed; gives their names. Should
/// never find any: a lease is made in one write, and the daemon removes what ends.
pub async fn sweep(engine: &Engine, stale_after: Duration) -> Result<Vec<String>, DockerError> {
    let mut rows = engine.list(&labels::managed_by_filter()).await?;
    rows.retain(|row| row.stopped);
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    // The daemon's own clock: a remote one may differ from ours.
    let now = engine.now().await?;
    let mut removed = Vec::new();
    for row in rows.into_iter().filter(|row| is_stale(row, now, stale_after)) {
        if engine.remove(&row.id).await? {
            removed.push(row.name);
        }
    }
    Ok(removed)
}

/// The containers that run under a session's name, and whose keeper has never heard of one.
pub async fn unclaimed(engine: &Engine) -> Result<Vec<Entry>, DockerError> {
    let look = async || {
        let mut entries = list_with_owners(engine).await?;
        entries
            .retain(|entry| entry.running && entry.state == State::Active && entry.owner.session.is_empty());
        Ok::<_, DockerError>(entries)
    };
    let mut found = look().await?;
    if !found.is_empty() {
        tokio::time::sleep(CLAIM).await;
        let still = look().await?;
        found.retain(|entry| still.iter().any(|other| other.id == entry.id));
    }
    let mut sure = Vec::new();
    for entry in found {
        // A keeper that gave no answer may have an owner.
        if keeper_line(engine, &entry).await?.is_some_and(|(line, _)| Owner::parse(&line).is_none()) {
            sure.push(entry);
        }
    }
    Ok(sure)
}

/// What the keeper of a running container shows, and whose process it is.
async fn keeper_line(engine: &Engine, entry: &Entry) -> Result<Option<(String, String)>, DockerError> {
    let id = entry.id.as_str();
    if entry.isolation == Isolation::Gvisor {
        // The daemon sees the container's kernel, and none of its processes.
        let asked = exec::ask(engine.endpoint(), id, &["probe", "read", KEEPER_LINE]);
        let said = tokio::time::timeout(ANSWER_WITHIN, asked).await.unwrap_or_else(|_| Ok(Vec::new()))?;
        let said: Option<Value> = serde_json::from_slice(&said).ok();
        return Ok(said.and_then(|said| {
            let line = said["text"].as_str()?.trim_end_matches('\0').replace('\0', " ");
            Some((line, String::new()))
        }));
    }
    let mut keepers: Vec<Process> = engine.top(id, BY_NAME).await?;
    keepers.retain(|process| is_keeper(&process.command_line));
    // A server may call itself what it likes; where nobody but the keeper is called so, it need not be asked for.
    if keepers.len() > 1 {
        let pid = engine.inspect(id).await?.map(|container| container.pid);
        keepers.retain(|process| Some(process.pid) == pid);
    }
    Ok(keepers.pop().map(|keeper| (keeper.command_line, keeper.user)))
}

/// Whether a command line is that of a container's first process.
fn is_keeper(command_line: &str) -> bool {
    place::arguments(command_line).is_some_and(|arguments| arguments.starts_with(" hold"))
}

/// The user whom the engine's machine sees running a session's keeper.
pub async fn user(engine: &Engine, entry: &Entry) -> Option<String> {
    keeper_line(engine, entry).await.ok().flatten().map(|(_, user)| user)
}

/// Removes them; gives their names.
pub async fn end_unclaimed(engine: &Engine) -> Result<Vec<String>, DockerError> {
    let mut removed = Vec::new();
    for entry in unclaimed(engine).await? {
        if engine.remove(&entry.id).await? {
            removed.push(entry.name);
        }
    }
    Ok(removed)
}

/// Removes the volumes that ended sessions have left: an image's `VOLUME` makes one without a name, and a daemon that is
/// killed forgets to remove it. Of a daemon of berth's own only; another's may hold what somebody wants.
pub async fn sweep_volumes(engine: &Engine) -> Result<Vec<String>, DockerError> {
    let mut removed = Vec::new();
    for name in engine.unused_volumes().await? {
        match engine.remove_volume(&name).await {
            Ok(true) => removed.push(name),
            Ok(false) => {}
            // Somebody has just taken it.
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

/// Once a container is claimed, its keeper alone knows whose it is: one that was on standby has no label that says so, and
/// some clients say who they are after the start.
async fn with_owner(engine: &Engine, entry: Entry, keeper: Option<&Process>) -> Entry {
    if let Some(keeper) = keeper.filter(|_| entry.running && entry.isolation == Isolation::Container) {
        return shown(Entry { user: keeper.user.clone(), ..entry }, Some(&keeper.command_line));
    }
    if !entry.running || (entry.state == State::Standby && entry.isolation == Isolation::Gvisor) {
        return shown(entry, None);
    }
    let (line, user) = keeper_line(engine, &entry).await.ok().flatten().unzip();
    shown(Entry { user: user.unwrap_or_default(), ..entry }, line.as_deref())
}

/// With what the keeper shows; `None`: it was not asked, or has not answered.
fn shown(entry: Entry, line: Option<&str>) -> Entry {
    if entry.state == State::Standby {
        return Entry { owner: Owner::default(), ..entry };
    }
    // One that ends in this moment is nobody's any more.
    let Some(line) = line else { return entry };
    let Some(owner) = Owner::parse(line) else {
        // One that begins is somebody's soon.
        let owner = if entry.state == State::Active { Owner::default() } else { entry.owner };
        return Entry { owner, ..entry };
    };
    // It has its number once it is known which way the bytes come.
    let is_known = entry.state == State::Active && !entry.server.starts_with(HOLDER);
    if entry.isolation != Isolation::Gvisor {
        let way = if owner.is_direct { Way::Direct } else { Way::Exec };
        return Entry { way: is_known.then_some(way), owner, ..entry };
    }
    // Beside a hostile server a word from within is worth less than what the container was made with, and no file can be
    // handed out of a kernel of its own.
    let way = is_known.then_some(Way::Exec);
    if entry.owner.session.is_empty() {
        return Entry { way, owner: Owner { is_direct: false, ..owner }, ..entry };
    }
    let own = entry.owner.clone();
    let client_session = own.client_session.or(owner.client_session);
    let project = own.project.or(owner.project);
    Entry { way, owner: Owner { client_session, project, parent: owner.parent, ..own }, ..entry }
}

pub(crate) fn is_stale(row: &Listed, now: i64, after: Duration) -> bool {
    row.stopped && u64::try_from(now - row.created).is_ok_and(|age| age > after.as_secs())
}

fn entry(row: Listed) -> Option<Entry> {
    let label = |key: &str| row.labels.get(key).cloned();
    let client = label(labels::LABEL_CLIENT).filter(|client| !client.is_empty())?;
    Some(Entry {
        client,
        server: label(labels::LABEL_SERVER).unwrap_or_default(),
        owner: Owner::new(
            &label(labels::LABEL_SESSION).unwrap_or_default(),
            label(labels::LABEL_CLIENT_SESSION).as_deref(),
            label(labels::LABEL_PROJECT).as_deref(),
        ),
        way: None,
        user: String::new(),
        isolation: label(labels::LABEL_ISOLATION).and_then(|text| text.parse().ok()).unwrap_or_default(),
        spec: label(labels::LABEL_SPEC).unwrap_or_default(),
        state: State::of(&row.name),
        running: row.running,
        created: row.created,
        list: List::of(&row.command),
        place: Place::of(&row.command),
        id: row.id,
        name: row.name,
    })
}

/// Orders `mcp-codex-2` before `mcp-codex-10`.
fn natural(name: &str) -> (String, u64, String) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = name[stem.len()..].parse().unwrap_or(0);
    (stem.to_owned(), number, name.to_owned())
}

/// Has the keeper end the session, which knows then that it was meant; one that does not is removed all the same.
pub async fn end(engine: &Engine, container: &str) -> Result<(), DockerError> {
    if engine.kill(container, keeper::END).await.is_ok() {
        let gone = async {
            while !matches!(engine.inspect(container).await, Ok(None)) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        if tokio::time::timeout(GONE_WITHIN, gone).await.is_ok() {
            return Ok(());
        }
    }
    engine.remove(container).await.map(drop)
}

#[cfg(test)]
mod tests;
