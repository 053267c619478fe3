//! The containers that wait for a session: how many, how many there should be, and who says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use mcp_berth::backend::docker::targets;
use mcp_berth::dock::roster::{self, Entry, State as Life};
use mcp_berth::dock::standby;
use mcp_berth::observe::audit;
use mcp_berth::values::{Backend, Standby as Bounds};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answered;
use crate::pods;
use crate::scale::{Known, SetError};
use crate::shared::Shared;
use crate::web::input::{Body, Path, whole};
use crate::web::problem::Problem;

/// The containers on standby.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Standby {
    /// How many there are.
    waiting: usize,
    /// How many the daemon may have, and the cluster's namespace.
    cap: usize,
    kinds: Vec<StandbyKind>,
}

/// Those that are made of the same, for the same kind of client.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(super) struct StandbyKind {
    /// `CLIENT-HASH`.
    kind: String,
    server: String,
    /// The kind of client.
    client: String,
    /// The hash of all that they were made of.
    spec: String,
    /// How many the manager wants; `null` where it has nothing to choose.
    target: Option<u32>,
    /// `null` where no session of the last hours has told of them.
    bounds: Option<BoundsOfKind>,
    containers: Vec<Waiting>,
}

/// How many may stand by.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(super) struct BoundsOfKind {
    min: u32,
    max: u32,
    set_by: SetBy,
    /// When they were set, by the API.
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
}

/// Who has set the bounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SetBy {
    /// `standby` of the server.
    Configuration,
    Api,
}

/// A container on standby.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(super) struct Waiting {
    name: String,
    /// By the daemon's clock.
    #[schema(format = DateTime)]
    created: String,
}

/// A person's bounds.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// No more than `max`.
    #[schema(minimum = 0, maximum = 64)]
    #[serde(deserialize_with = "whole")]
    min: u32,
    #[schema(minimum = 0, maximum = 64)]
    #[serde(deserialize_with = "whole")]
    max: u32,
}

/// What holds for a kind now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Holds {
    kind: String,
    /// `null` where no session of the last hours has told of the configuration's.
    bounds: Option<BoundsOfKind>,
}

/// The containers on standby, by server and by what they are made of, and how many there should be.
#[utoipa::path(get, path = "/v1/standby", tag = "containers",
    responses((status = OK, body = Standby, description = "by server, client and hash")))]
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Result<Json<Standby>, Problem> {
    let config = shared.config_now().await?;
    let (mut entries, mut cap) = (Vec::new(), 0);
    if config.uses(Backend::Docker) {
        let engine = shared.engine(&config)?;
        let asked =
            async { tokio::try_join!(roster::list(&engine), standby::cap(&engine, config.limits.standby)) };
        (entries, cap) = answered(asked).await?;
    }
    if config.uses(Backend::Kubernetes) {
        entries.extend(shared.pods.all(&config)?);
        cap += pods::cap(&config);
    }
    let kinds = kinds(&entries, shared.watch.known());
    let waiting = kinds.iter().map(|kind| kind.containers.len()).sum();
    Ok(Json(Standby { waiting, cap, kinds }))
}

/// Sets how many containers of a kind stand by, in place of the server's `standby`, until it is taken back. The manager chooses
/// from `min` to `max`, within `[limits] standby`.
#[utoipa::path(put, path = "/v1/standby/{kind}", tag = "containers", request_body = Wanted,
    params(("kind" = String, Path, description = "`CLIENT-HASH`, as the list has it")),
    responses(
        (status = OK, body = Holds, description = "it holds from now on"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json", description = "there is no such kind"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json", description = "`min` is above `max`, or too many kinds have bounds of their own"),
        (status = PAYLOAD_TOO_LARGE, body = Problem, content_type = "application/problem+json", description = "the body is too long"),
        (status = UNSUPPORTED_MEDIA_TYPE, body = Problem, content_type = "application/problem+json", description = "the body is no JSON"),
    ))]
pub(super) async fn set(
    State(shared): State<Arc<Shared>>,
    Path(kind): Path<String>,
    Body(Wanted { min, max }): Body<Wanted>,
) -> Result<Json<Holds>, Problem> {
    let server = server_of(&shared, &kind).await?;
    let Some(bounds) = Bounds::between(min, max) else {
        let text = format!("`min` is {min} and `max` is {max}; write 0 ≤ `min` ≤ `max` ≤ {}", Bounds::MOST);
        // Each may be right by itself.
        let is_within = min.max(max) <= Bounds::MOST;
        let status = if is_within { StatusCode::CONFLICT } else { StatusCode::BAD_REQUEST };
        return Err(Problem::new(status, text));
    };
    let (watch, of) = (shared.watch.clone(), kind.clone());
    kept(move || watch.set(&of, bounds, &server)).await?;
    shared.audit.event(audit::CHANGED, &format!("`standby` of `{kind}` is set by the API"));
    Ok(Json(holds(&shared, kind)))
}

/// Takes back what was set: the server's `standby` holds again.
#[utoipa::path(delete, path = "/v1/standby/{kind}", tag = "containers",
    params(("kind" = String, Path, description = "`CLIENT-HASH`, as the list has it")),
    responses(
        (status = OK, body = Holds, description = "the configuration holds from now on"),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json", description = "nothing was set for this kind"),
    ))]
pub(super) async fn unset(
    State(shared): State<Arc<Shared>>,
    Path(kind): Path<String>,
) -> Result<Json<Holds>, Problem> {
    let (watch, of) = (shared.watch.clone(), kind.clone());
    if !kept(move || watch.unset(&of)).await? {
        return Err(Problem::not_found(format!("nothing was set for `{kind}`; see `/v1/standby`")));
    }
    shared.audit.event(audit::CHANGED, &format!("`standby` of `{kind}` is taken back by the API"));
    Ok(Json(holds(&shared, kind)))
}

/// On a thread that may wait for the disk.
async fn kept<T: Send + 'static>(
    keep: impl FnOnce() -> Result<T, SetError> + Send + 'static,
) -> Result<T, Problem> {
    let kept = tokio::task::spawn_blocking(keep).await;
    match kept.map_err(|_| Problem::unavailable("the bounds were not kept"))? {
        Ok(done) => Ok(done),
        Err(error @ SetError::TooMany) => Err(Problem::new(StatusCode::CONFLICT, error.to_string())),
        Err(error @ SetError::Unkept(_)) => Err(Problem::unavailable(error.to_string())),
    }
}

/// Whose containers these are: by what sessions told, or by what the daemon has.
async fn server_of(shared: &Shared, kind: &str) -> Result<String, Problem> {
    if let Some(known) = shared.watch.known().into_iter().find(|known| known.kind == kind) {
        return Ok(known.server);
    }
    let config = shared.config_of_daemon().await?;
    let mut entries = shared.pods.all(&config).unwrap_or_default();
    if config.uses(Backend::Docker) {
        entries.extend(answered(roster::list(&shared.engine(&config)?)).await?);
    }
    let entry = entries.into_iter().find(|entry| targets::kind(&entry.client, &entry.spec) == kind);
    entry.map(|entry| entry.server).ok_or_else(|| {
        Problem::not_found(format!("no session or container of a kind `{kind}`; see `/v1/standby`"))
    })
}

fn holds(shared: &Shared, kind: String) -> Holds {
    let known = shared.watch.known().into_iter().find(|known| known.kind == kind);
    Holds { kind, bounds: known.as_ref().map(bounds) }
}

fn bounds(known: &Known) -> BoundsOfKind {
    let set_by = if known.set.is_some() { SetBy::Api } else { SetBy::Configuration };
    BoundsOfKind { min: known.standby.least(), max: known.standby.most(), set_by, since: known.set }
}

/// Those that the daemon has, or the manager knows of.
fn kinds(entries: &[Entry], known: Vec<Known>) -> Vec<StandbyKind> {
    let mut known: BTreeMap<String, Known> =
        known.into_iter().map(|known| (known.kind.clone(), known)).collect();
    let mut waiting: BTreeMap<[String; 3], Vec<Waiting>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.running && entry.state == Life::Standby) {
        let created = Timestamp::from_second(entry.created).unwrap_or_default().to_string();
        let of = [&entry.server, &entry.client, &entry.spec].map(Clone::clone);
        waiting.entry(of).or_default().push(Waiting { name: entry.name.clone(), created });
    }
    for Known { kind, server, .. } in known.values() {
        let (client, spec) = targets::parts(kind);
        let is_there = |[_, of, hash]: &[String; 3]| of == client && hash == spec;
        if !waiting.keys().any(is_there) {
            waiting.insert([server.clone(), client.to_owned(), spec.to_owned()], Vec::new());
        }
    }
    let kinds = waiting.into_iter().map(|([server, client, spec], containers)| {
        let kind = targets::kind(&client, &spec);
        let known = known.remove(&kind);
        let (target, bounds) = (known.as_ref().and_then(|known| known.target), known.as_ref().map(bounds));
        StandbyKind { kind, server, client, spec, target, bounds, containers }
    });
    kinds.collect()
}
