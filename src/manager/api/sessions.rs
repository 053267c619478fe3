//! `/v1/sessions`: past and present sessions, as the index has them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::limit;
use crate::index::micros;
use crate::index::query::sessions::{self, One, Session, State as SessionState, Wanted};
use crate::shared::Shared;
use crate::web::input::{Path, Query};
use crate::web::problem::Problem;

pub(super) fn paths() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(one))
}

/// Which sessions.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Only of this server.
    server: Option<String>,
    /// Only of this client.
    client: Option<String>,
    state: Option<SessionState>,
    /// Only those that have lived since then.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// An id, the beginning of one, or a container's name or id.
    name: Option<String>,
    /// How many, at the most; 100 unless it is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next` of the answer before.
    #[param(pattern = "^[0-9]{1,18}-[0-9A-Za-z]{1,64}$")]
    after: Option<String>,
}

/// A part of the list.
#[derive(Debug, Serialize, ToSchema)]
struct SessionPage {
    /// Whether the index has all that the journals held when the manager started.
    complete: bool,
    sessions: Vec<Session>,
    /// `after` of the next part; without it, this is the last.
    next: Option<String>,
}

/// Lists sessions, the newest first.
#[utoipa::path(
    get,
    path = "/v1/sessions",
    tag = "history",
    params(Asked),
    responses(
        (status = 200, description = "a part of the list", body = SessionPage),
        (status = 400, description = "bad input", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "the index gave no answer", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn list(
    State(shared): State<Arc<Shared>>,
    Query(asked): Query<Asked>,
) -> Result<Json<SessionPage>, Problem> {
    let wanted = Wanted {
        server: asked.server,
        client: asked.client,
        state: asked.state,
        since: asked.since.map(micros),
        name: asked.name,
        after: limit::after(asked.after.as_deref())?,
        limit: limit::limit(asked.limit)?,
    };
    // Before it is read: what is complete then is complete in the answer.
    let complete = shared.index.is_complete();
    let page = shared.index.read(move |connection| sessions::list(connection, wanted)).await?;
    let next = page.next.map(|place| place.to_string());
    Ok(Json(SessionPage { complete, sessions: page.entries, next }))
}

/// Tells all of one session: its steps, its counts, and how much of its journal the index has.
#[utoipa::path(
    get,
    path = "/v1/sessions/{id}",
    tag = "history",
    params(("id" = String, Path, description = "the session's id")),
    responses(
        (status = 200, description = "the session", body = One),
        (status = 400, description = "bad input", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "no such session", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "the index gave no answer", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn one(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Result<Json<One>, Problem> {
    let asked = id.clone();
    let found = shared.index.read(move |connection| sessions::one(connection, &asked)).await?;
    let unknown = || Problem::not_found(format!("no session `{id}` in the index; `/v1/sessions` lists them"));
    found.map(Json).ok_or_else(unknown)
}
