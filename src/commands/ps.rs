//! `berth ps`: the sessions, as the daemon's names and labels show them.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use futures::{StreamExt, stream};
use serde::Serialize;

use crate::cli::PsArgs;
use crate::config::{Config, Home};
use crate::dind::ids::Ids;
use crate::dock::docker::{BY_NUMBER, Engine, Process, Usage};
use crate::dock::owner;
use crate::dock::refused::{List, Refusal};
use crate::dock::roster::{self, Entry, State};
use crate::dock::standby::{self, Count};
use crate::human::table::{self, Cut};
use crate::human::{Bytes, Plain};
use crate::values::Way;

/// An engine that is slower is not waited for.
const SEEN_WITHIN: Duration = Duration::from_secs(1);

/// One object of `berth ps --json`.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    client: String,
    server: String,
    isolation: &'static str,
    session: String,
    /// What the client called its session when it started this one, and the folder it works in; empty where that isn't
    /// known.
    client_session: String,
    project: String,
    /// The process that has started the session's berth, and the machine that it runs on.
    parent_pid: Option<u32>,
    machine: String,
    state: State,
    /// The way of the server's bytes, `direct` or `exec`; empty until a session has them.
    streams: &'static str,
    /// RFC 3339, by the daemon's clock.
    created: String,
    memory_bytes: u64,
    /// Of one processor: of this moment with `--stats`, else since the container's start.
    cpu_percent: f64,
    /// Who runs it, as the engine's machine sees it: `own` for a number that nobody else there has; empty where that isn't
    /// known.
    host_user: String,
    /// What its network refused; empty where it has no list of names.
    refused: Vec<Refusal>,
    #[serde(skip)]
    list: Option<List>,
}

pub async fn run(args: &PsArgs, config: &Config, home: &Home) -> anyhow::Result<ExitCode> {
    let engine = super::dind_engine(config, home)?;
    let entries = roster::list(&engine).await.map_err(crate::failure::Failure::from)?;
    // Samples are waited for, and cost nothing meanwhile.
    let at_once = if args.stats { entries.len().max(1) } else { roster::AT_ONCE };
    let usages = stream::iter(entries.clone()).map(|entry| usage(&engine, entry, args.stats));
    let owners = async { roster::with_owners(&engine, entries, &processes(config).await).await };
    let cap = standby::cap(&engine, config.limits.standby);
    let (usages, entries, cap) = tokio::join!(usages.buffered(at_once).collect::<Vec<_>>(), owners, cap);
    let asked = |entry: &Entry| match &args.client_session {
        Some(asked) => entry.owner.client_session.is_some() && entry.owner.client_session == owner::id(asked),
        None => true,
    };
    let ids = config.dind.host.is_none().then(|| Ids::of(&config.dind.name));
    let rows = entries.into_iter().zip(usages).filter(|(entry, _)| asked(entry));
    let rows = stream::iter(rows).map(|(entry, usage)| row(&engine, entry, usage, ids));
    let rows: Vec<Row> = rows.buffered(roster::AT_ONCE).collect().await;
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &rows)?;
        writeln!(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let head = [
        "NAME",
        "STATE",
        "SERVER",
        "SESSION",
        "STARTED AS",
        "PROJECT",
        "AGE",
        "MEMORY",
        "CPU",
        "HOST USER",
        "ISOLATION",
        "STREAMS",
    ];
    let mut lines = vec![head.map(str::to_owned)];
    // The fields of a line are counted by whoever reads it by machine; an empty one would not be.
    let shown = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    lines.extend(rows.iter().map(|row| {
        [
            row.name.clone(),
            row.state.as_str().to_owned(),
            row.server.clone(),
            shown(&row.session),
            shown(&row.client_session),
            shown(&row.project),
            age(&row.created),
            Bytes(row.memory_bytes).to_string(),
            format!("{:.1} %", row.cpu_percent),
            shown(&row.host_user),
            row.isolation.to_owned(),
            shown(row.streams),
        ]
    }));
    let width = table::terminal_width(&out);
    let [never, end, beginning] = [Cut::Never, Cut::End, Cut::Beginning];
    let cuts = [never, never, end, never, end, beginning, never, never, never, never, never, never];
    table::write(&mut out, &lines, cuts, width)?;
    let waiting = rows.iter().filter(|row| row.state == State::Standby).count();
    // A daemon that doesn't say how much memory it has is no reason to show nothing.
    if let Some(cap) = cap.ok().filter(|_| waiting > 0) {
        writeln!(out, "{}", Count { waiting, cap })?;
    }
    for row in &rows {
        let told = row.list.iter().flat_map(|list| row.refused.iter().map(|refusal| list.line(refusal)));
        for line in told {
            writeln!(out, "{} {}", row.name, Plain(&line))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What runs in the daemon's container, where that is berth's own: its engine tells of all sessions at once. Nothing where it
/// does not, for then the daemon is asked.
async fn processes(config: &Config) -> Vec<Process> {
    let look = async {
        let engine = config.dind.engine(&super::variable).ok()?;
        let host = crate::dind::engine(&engine).await.ok()?;
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

async fn row(engine: &Engine, entry: Entry, usage: Usage, ids: Option<Ids>) -> Row {
    let refused = match &entry.list {
        Some(list) if entry.running => list.refusals(engine, &entry.id).await.unwrap_or_default(),
        _ => Vec::new(),
    };
    let is_own = ids.is_some_and(|ids| ids.shows(&entry.user));
    let parent = entry.owner.parent;
    Row {
        created: jiff::Timestamp::from_second(entry.created).unwrap_or_default().to_string(),
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
        memory_bytes: usage.memory_bytes,
        cpu_percent: usage.cpu_percent,
        host_user: if is_own { "own".to_owned() } else { entry.user },
        refused,
        list: entry.list,
    }
}

fn age(created: &str) -> String {
    let Ok(created) = created.parse::<jiff::Timestamp>() else { return String::new() };
    let seconds = jiff::Timestamp::now().duration_since(created).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}
