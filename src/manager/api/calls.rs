//! `/v1/calls`: what clients asked, and what became of it.

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
use crate::index::query::calls::{self, Call, Wanted};
use crate::shared::Shared;
use crate::web::input::Query;
use crate::web::problem::Problem;

pub(super) fn paths() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Which calls.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Only of the session with this id.
    session: Option<String>,
    /// Only of this server.
    server: Option<String>,
    /// Only of this client.
    client: Option<String>,
    /// Only those that ended since then.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// The slowest first, instead of the newest.
    #[param(value_type = Option<bool>)]
    slow: bool,
    /// Only those that came to nothing.
    #[param(value_type = Option<bool>)]
    errors: bool,
    /// How many, at the most; 100 unless it is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next` of the answer before.
    #[param(pattern = "^[0-9]{1,18}-[0-9]{1,18}$")]
    after: Option<String>,
}

/// A part of the list.
#[derive(Debug, Serialize, ToSchema)]
struct CallPage {
    /// Whether the index has all that the journals held when the manager started.
    complete: bool,
    calls: Vec<Call>,
    /// `after` of the next part; without it, this is the last.
    next: Option<String>,
}

/// Lists calls, the newest or the slowest first.
#[utoipa::path(
    get,
    path = "/v1/calls",
    tag = "history",
    params(Asked),
    responses(
        (status = 200, description = "a part of the list", body = CallPage),
        (status = 400, description = "bad input", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "the index gave no answer", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn list(
    State(shared): State<Arc<Shared>>,
    Query(asked): Query<Asked>,
) -> Result<Json<CallPage>, Problem> {
    let wanted = Wanted {
        session: asked.session,
        server: asked.server,
        client: asked.client,
        since: asked.since.map(micros),
        slow: asked.slow,
        failed: asked.errors,
        after: limit::after(asked.after.as_deref())?,
        limit: limit::limit(asked.limit)?,
    };
    let complete = shared.index.is_complete();
    let page = shared.index.read(move |connection| calls::list(connection, wanted)).await?;
    let next = page.next.map(|place| place.to_string());
    Ok(Json(CallPage { complete, calls: page.entries, next }))
}
