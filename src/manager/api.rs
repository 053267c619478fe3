//! The API: what a manager's clients ask, and what they are told. Its description is made of the same code.

mod calls;
mod catalogue;
pub(crate) mod containers;
mod document;
mod events;
mod health;
mod limit;
mod servers;
mod sessions;
mod standby;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use axum::{Json, Router};
use mcp_berth::dock::docker::DockerError;
use mcp_berth::failure::Failure;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::index::IndexError;
use crate::shared::Shared;
use crate::web::problem::Problem;

/// No request says more (bytes).
const BODY: usize = 4 << 10;

/// A question that the daemon has not answered by then is one that it won't.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// The routes that are open to all, and those that need the token.
pub(crate) fn routers(shared: &Arc<Shared>) -> (Router, Router) {
    let (open, mut all) = open().with_state(Arc::clone(shared)).split_for_parts();
    let (closed, with_token) = closed().with_state(Arc::clone(shared)).split_for_parts();
    let closed = closed.layer(DefaultBodyLimit::max(BODY));
    all.merge(document::of(with_token));
    let all = Json(serde_json::json!(document::finished(all)));
    (open, closed.route("/openapi.json", get(async move || all)))
}

fn open() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(health::alive)).routes(routes!(health::ready))
}

fn closed() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new()
        .routes(routes!(containers::list))
        .routes(routes!(containers::end))
        .routes(routes!(containers::end_session))
        .routes(routes!(standby::list))
        .routes(routes!(standby::set, standby::unset))
        .routes(routes!(servers::list))
        .routes(routes!(catalogue::list))
        .merge(sessions::paths())
        .merge(calls::paths())
        .merge(events::paths())
}

/// What the daemon says, if it says it in time.
async fn answered<T>(question: impl Future<Output = Result<T, DockerError>>) -> Result<T, Problem> {
    let Ok(answer) = tokio::time::timeout(ANSWER_WITHIN, question).await else {
        let text = format!("the DinD daemon gave no answer within {ANSWER_WITHIN:?}");
        return Err(Problem::unavailable(format!("{text}; look at it with `berth status`")));
    };
    answer.map_err(|error| Problem::unavailable(Failure::from(error).to_string()))
}

impl From<IndexError> for Problem {
    fn from(error: IndexError) -> Self {
        Self { retry_after: Some(1), ..Self::unavailable(error.to_string()) }
    }
}

#[cfg(test)]
mod tests;
