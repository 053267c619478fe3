//! The containers that berth's labels mark in the daemon, their states, and leftovers of crashes.

use std::time::Duration;

use futures::future::join_all;
use serde::Serialize;
use serde_json::Value;

use super::docker::{DockerError, Engine, Listed};
use super::exec;
use super::keeper;
use super::labels;
use super::labels::STANDBY;
use super::owner::{self, Owner};
use super::refused::List;
use crate::failure::{Code, Failure};
use crate::values::{Isolation, Lookup, Span, ValueError};

/// A server has the grace of its `stop_grace`; this is for what doesn't end by itself.
const GONE_WITHIN: Duration = Duration::from_millis(4_500);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// From the rename to the name that the keeper shows a claim takes a moment; its owner may stand still meanwhile, and
/// after 4 s the keeper gives the container up.
const CLAIM: Duration = Duration::from_secs(5);

/// What a keeper shows, as its own kernel has it.
const KEEPER_LINE: &str = "/proc/1/cmdline";
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
    pub isolation: Isolation,
    pub state: State,
    pub running: bool,
    /// Seconds since the epoch, by the daemon's clock.
    pub created: i64,
    /// Of the names that it may reach.
    pub list: Option<List>,
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
    let entries = list(engine).await?;
    Ok(join_all(entries.into_iter().map(|entry| with_owner(engine, entry))).await)
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
        if keeper_line(engine, &entry).await?.is_some_and(|line| Owner::parse(&line).is_none()) {
            sure.push(entry);
        }
    }
    Ok(sure)
}

/// What the keeper of a running container shows.
async fn keeper_line(engine: &Engine, entry: &Entry) -> Result<Option<String>, DockerError> {
    let id = entry.id.as_str();
    if entry.isolation == Isolation::Gvisor {
        // The daemon sees the container's kernel, and none of its processes.
        let asked = exec::ask(engine.endpoint(), id, &["probe", "read", KEEPER_LINE]);
        let said = tokio::time::timeout(ANSWER_WITHIN, asked).await.unwrap_or_else(|_| Ok(Vec::new()))?;
        let said: Option<Value> = serde_json::from_slice(&said).ok();
        return Ok(
            said.and_then(|said| Some(said["text"].as_str()?.trim_end_matches('\0').replace('\0', " ")))
        );
    }
    let pid = engine.inspect(id).await?.map(|container| container.pid).unwrap_or_default();
    engine.command_line(id, pid).await
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
async fn with_owner(engine: &Engine, entry: Entry) -> Entry {
    if entry.state == State::Standby {
        return Entry { owner: Owner::default(), ..entry };
    }
    if !entry.running {
        return entry;
    }
    match keeper_line(engine, &entry).await.ok().flatten().map(|shown| Owner::parse(&shown)) {
        // Beside a hostile server a word from within is worth less than what the container was made with.
        Some(Some(owner)) if entry.isolation == Isolation::Gvisor && !entry.owner.session.is_empty() => {
            let Owner { client_session, project, .. } = owner;
            let own = entry.owner.clone();
            let client_session = own.client_session.or(client_session);
            let project = own.project.or(project);
            Entry { owner: Owner { client_session, project, ..own }, ..entry }
        }
        Some(Some(owner)) => Entry { owner, ..entry },
        Some(None) if entry.state == State::Active => Entry { owner: Owner::default(), ..entry },
        // One that ends in this moment is nobody's any more, and one that begins is somebody's soon.
        Some(None) | None => entry,
    }
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
        isolation: label(labels::LABEL_ISOLATION).and_then(|text| text.parse().ok()).unwrap_or_default(),
        state: State::of(&row.name),
        running: row.running,
        created: row.created,
        list: List::of(&row.command),
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

/// Those that `asked` means: by a container's name or berth's id of a session, or else by what a client calls its session.
/// What is on standby has no session.
pub fn named(mut entries: Vec<Entry>, asked: &str) -> Vec<Entry> {
    let client_session = owner::id(asked);
    if entries.iter().any(|entry| is_called(entry, asked)) {
        entries.retain(|entry| is_called(entry, asked));
    } else {
        entries.retain(|entry| client_session.is_some() && entry.owner.client_session == client_session);
    }
    entries
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

fn is_called(entry: &Entry, name: &str) -> bool {
    entry.name == name || (!entry.owner.session.is_empty() && entry.owner.session == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, running: bool, created: i64) -> Listed {
        let labels =
            [(labels::LABEL_CLIENT, "codex"), (labels::LABEL_SERVER, "time"), (labels::LABEL_SESSION, "s")];
        let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Listed {
            id: String::new(),
            name: name.to_owned(),
            labels,
            image: String::new(),
            command: String::new(),
            running,
            stopped: !running,
            created,
        }
    }

    #[test]
    fn the_state_is_in_the_name() {
        assert_eq!(State::of("mcp-codex-1"), State::Active);
        assert_eq!(State::of("mcp-codex-1.standby"), State::Standby);
        assert_eq!(State::of("mcp-codex-0a1b2c.starting"), State::Starting);
    }

    #[test]
    fn only_what_has_stood_still_is_swept() {
        let is_stale = |row: &Listed, now| is_stale(row, now, STALE_AFTER);
        assert!(is_stale(&row("a", false, 0), 21));
        assert!(!is_stale(&row("a", false, 0), 20), "its creator may be about to start it");
        assert!(!is_stale(&row("a", false, 30), 20), "a clock may be set back");
        assert!(!is_stale(&row("a", true, 0), 1_000_000));
        let paused = Listed { stopped: false, ..row("a", false, 0) };
        assert!(!is_stale(&paused, 1_000_000), "its session is alive");
    }

    #[test]
    fn what_counts_as_stale_can_be_set() {
        let stale_after = |value: Option<&str>| {
            stale_after(&|name: &str| (name == STALE_VARIABLE).then(|| value.map(str::to_owned)).flatten())
        };
        assert_eq!(stale_after(None), Ok(STALE_AFTER));
        assert_eq!(stale_after(Some("")), Ok(STALE_AFTER));
        assert_eq!(stale_after(Some("0s")), Ok(Duration::ZERO));
        assert!(is_stale(&row("a", false, 0), 1, Duration::ZERO));
        let refused = stale_after(Some("soon")).unwrap_err();
        assert_eq!(refused.code, Code::Configuration);
        assert!(refused.text.starts_with("`BERTH_STALE_AFTER` is `soon`: expected "), "{refused}");
    }

    #[test]
    fn numbers_are_ordered_as_numbers() {
        let mut names = ["mcp-codex-10", "mcp-codex-2", "mcp-claude-code-3", "mcp-codex-1"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["mcp-claude-code-3", "mcp-codex-1", "mcp-codex-2", "mcp-codex-10"]);
    }

    #[test]
    fn a_container_on_standby_is_nobodys_yet() {
        let mut standby = row("mcp-codex-1.standby", true, 5);
        standby.labels.remove(labels::LABEL_SESSION);
        let standby = entry(standby).unwrap();
        assert_eq!(
            (standby.state, standby.owner.session.as_str(), standby.running),
            (State::Standby, "", true)
        );
        let own = entry(row("mcp-codex-1", true, 5)).unwrap();
        assert_eq!((own.state, own.owner.session.as_str()), (State::Active, "s"));
        let states = [State::Standby, State::Active, State::Starting];
        assert_eq!(states.map(State::as_str), ["standby", "active", "starting"]);
        assert_eq!(serde_json::to_string(&states).unwrap(), r#"["standby","active","starting"]"#);
    }

    #[test]
    fn a_container_without_a_client_is_no_session() {
        let mut filler = row("berth-keeper-filler", false, 0);
        filler.labels.remove(labels::LABEL_CLIENT);
        assert!(entry(filler.clone()).is_none());
        filler.labels.insert(labels::LABEL_CLIENT.to_owned(), String::new());
        assert!(entry(filler).is_none());
        assert_eq!(entry(row("mcp-codex-1", true, 5)).unwrap().server, "time");
    }
}
