//! The API: `/v1`, all of it behind the token. Each file has the paths of one thing.

mod calls;
mod events;
mod limit;
mod sessions;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use utoipa_axum::router::OpenApiRouter;

use crate::index::IndexError;
use crate::run::Shared;
use crate::web::problem::Problem;

/// All paths, with what `OpenAPI` says of them.
pub(crate) fn paths() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().merge(sessions::paths()).merge(calls::paths()).merge(events::paths())
}

pub(crate) fn router(shared: &Arc<Shared>) -> Router {
    let (router, _) = paths().split_for_parts();
    router.fallback(unknown).method_not_allowed_fallback(not_allowed).with_state(Arc::clone(shared))
}

async fn unknown(uri: Uri) -> Problem {
    Problem::not_found(format!("there is no `{}`", uri.path()))
}

async fn not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("`{}` knows no `{method}`", uri.path()))
}

impl From<IndexError> for Problem {
    fn from(error: IndexError) -> Self {
        Self { retry_after: Some(1), ..Self::unavailable(error.to_string()) }
    }
}
