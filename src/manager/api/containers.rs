//! The containers of the daemon, as `berth ps` shows them and `berth kill` ends them.

use std::path::Path as Folder;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use futures::future::join_all;
use mcp_berth::config::Config;
use mcp_berth::dind::containers::{self, Row};
use mcp_berth::dock::docker::Engine;
use mcp_berth::dock::refused;
use mcp_berth::dock::roster::{self, Asked, Entry};
use mcp_berth::values::Backend;
use serde::Serialize;
use utoipa::ToSchema;

use super::answered;
use crate::shared::Shared;
use crate::tend;
use crate::web::problem::Problem;

const TAG: &str = "containers";

/// In the audit.
const EVENT: &str = "ended by the API";

/// All session containers of the daemon.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Containers {
    containers: Vec<Container>,
}

/// A session's container, with the fields of `berth ps --json`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Container {
    /// Unique in the daemon.
    name: String,
    /// The kind of client.
    client: String,
    server: String,
    /// `container` or `gvisor`.
    isolation: &'static str,
    /// berth's own id of the session; empty on standby.
    session: String,
    /// The client's own name of its session; empty where that is not known.
    client_session: String,
    /// The folder that the client works in; empty where that is not known.
    project: String,
    /// The process that started the session's `berth run`.
    parent_pid: Option<u32>,
    /// The machine of that process.
    machine: String,
    /// `starting`, `active` or `standby`.
    state: &'static str,
    /// The way of the server's bytes, `direct` or `exec`; empty until a session has them.
    streams: &'static str,
    /// By the daemon's clock.
    #[schema(format = DateTime)]
    created: String,
    /// Since the session's last request; nothing where that is not known.
    idle_seconds: Option<u64>,
    memory_bytes: u64,
    /// Of one processor, since the container's start.
    cpu_percent: f64,
    /// Who runs it, as the engine's machine sees it; empty where that is not known.
    host_user: String,
    /// What its network refused.
    refused: Vec<Refusal>,
}

/// What a container's network refused.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Refusal {
    count: u64,
    what: String,
    why: String,
    /// What would allow it.
    entry: Option<String>,
}

impl From<Row> for Container {
    fn from(row: Row) -> Self {
        let Row { name, client, server, isolation, session, client_session, project, .. } = row;
        let Row { parent_pid, machine, state, streams, created, memory_bytes, cpu_percent, .. } = row;
        let Row { host_user, refused, idle_seconds, .. } = row;
        let refused = refused.into_iter().map(|refused::Refusal { count, what, why, entry }| Refusal {
            count,
            what,
            why,
            entry,
        });
        Self {
            name,
            client,
            server,
            isolation,
            session,
            client_session,
            project,
            parent_pid,
            machine,
            state: state.as_str(),
            streams,
            created,
            idle_seconds,
            memory_bytes,
            cpu_percent,
            host_user,
            refused: refused.collect(),
        }
    }
}

/// What was ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ended {
    ended: Vec<EndedContainer>,
}

/// A container that was ended.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EndedContainer {
    name: String,
    server: String,
    /// berth's own id of the session; empty on standby.
    session: String,
}

/// All session containers.
#[utoipa::path(get, path = "/v1/containers", tag = TAG,
    responses((status = OK, body = Containers, description = "by name")))]
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Result<Json<Containers>, Problem> {
    let config = shared.config_of_daemon().await?;
    let mut all = Vec::new();
    if config.uses(Backend::Docker) {
        let engine = shared.engine(&config)?;
        let host = config.dind.engine(&|name| std::env::var(name).ok()).ok();
        let seen = containers::see(&engine, &config, &shared.home.state, None, false, host.as_ref());
        all.extend(answered(seen).await?.rows.into_iter().map(Container::from));
    }
    let pods = shared.pods.all(&config)?.into_iter();
    all.extend(pods.map(|pod| Container::from(containers::known(pod, &shared.home.state))));
    Ok(Json(Containers { containers: all }))
}

/// Ends those pods that are meant; `None`: none is.
async fn end_pods(
    shared: &Shared,
    config: &Config,
    is_meant: impl Fn(&Entry) -> bool,
) -> Result<Option<Ended>, Problem> {
    // Who cannot be asked for pods may have no part in this.
    let pods = shared.pods.all(config).unwrap_or_default();
    let mut ended = Vec::new();
    for pod in pods.into_iter().filter(is_meant) {
        tend::end(shared, &pod.name).await?;
        ended.push(EndedContainer { name: pod.name, server: pod.server, session: pod.owner.session });
    }
    Ok((!ended.is_empty()).then_some(Ended { ended }))
}

/// Ends a container, and its session with it.
#[utoipa::path(delete, path = "/v1/containers/{name}", tag = TAG,
    params(("name" = String, Path, description = "the container's name")),
    responses(
        (status = OK, body = Ended, description = "it has ended"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json", description = "there is no such container"),
    ))]
pub(super) async fn end(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
) -> Result<Json<Ended>, Problem> {
    let config = shared.config_of_daemon().await?;
    if let Some(ended) = end_pods(&shared, &config, |pod| pod.name == name).await? {
        return Ok(Json(ended));
    }
    let engine = shared.engine(&config)?;
    let mut entries = answered(roster::list_with_owners(&engine)).await?;
    entries.retain(|entry| entry.name == name);
    if entries.is_empty() {
        return Err(Problem::not_found(format!("no container `{name}`; see `/v1/containers`")));
    }
    end_all(&shared, engine, entries, EVENT).await.map(Json)
}

/// Ends a session.
#[utoipa::path(delete, path = "/v1/sessions/{id}", tag = "sessions",
    params(("id" = String, Path,
        description = "berth's own id of the session, or what else `berth kill` takes, if that means one session")),
    responses(
        (status = OK, body = Ended, description = "it has ended"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json", description = "there is no such session"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json", description = "the word means several sessions, or a process"),
    ))]
pub(super) async fn end_session(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Json<Ended>, Problem> {
    end_one(&shared, &id, EVENT).await.map(Json)
}

/// Ends the one session that is meant; `event` stands in the audit.
pub(crate) async fn end_one(shared: &Shared, word: &str, event: &'static str) -> Result<Ended, Problem> {
    let config = shared.config_of_daemon().await?;
    let is_its = |pod: &Entry| pod.name == word || (!word.is_empty() && pod.owner.session == word);
    if let Some(ended) = end_pods(shared, &config, is_its).await? {
        return Ok(ended);
    }
    let engine = shared.engine(&config)?;
    let entries = answered(roster::list_with_owners(&engine)).await?;
    let entries = chosen(word, entries)?;
    end_all(shared, engine, entries, event).await
}

/// The containers of the one session that is meant.
fn chosen(word: &str, entries: Vec<Entry>) -> Result<Vec<Entry>, Problem> {
    let asked = Asked::new(word, Folder::new("/"));
    let entries = asked.among(entries);
    let Some(first) = entries.first() else {
        return Err(Problem::not_found(format!("no session `{word}`; see `/v1/containers`")));
    };
    let is_one = entries.len() == 1 || entries.iter().all(|entry| entry.owner.session == word);
    if is_one && !asked.is_by_process(&entries) {
        return Ok(entries);
    }
    let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    let text = match entries.len() {
        1 => format!("`{word}` is a process, which has `{}`", first.name),
        several => format!("`{word}` means {several} sessions: {}", names.join(", ")),
    };
    Err(Problem::new(axum::http::StatusCode::CONFLICT, format!("{text}; end each by its container's name")))
}

/// What has begun is brought to its end and noted, though the client may go.
async fn end_all(
    shared: &Shared,
    engine: Engine,
    entries: Vec<Entry>,
    event: &'static str,
) -> Result<Ended, Problem> {
    let state = shared.home.state.clone();
    let ending = tokio::spawn(async move {
        let ends = entries.iter().map(|entry| containers::end(&engine, &state, entry, event));
        let ends = join_all(ends).await;
        let ended = entries.into_iter().zip(ends).map(|(entry, ended)| {
            ended.map(|()| EndedContainer {
                name: entry.name,
                server: entry.server,
                session: entry.owner.session,
            })
        });
        ended.collect::<Result<Vec<_>, _>>()
    });
    let ended = answered(async { ending.await.unwrap_or_else(|_| Ok(Vec::new())) }).await?;
    Ok(Ended { ended })
}
