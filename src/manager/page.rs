//! The page at `/` of the monitor: what sessions cost, who holds what, and what went wrong. Made on the server; its script
//! only fetches the page again when something has happened.

mod calls;
mod chart;
mod layout;
mod login;
mod overview;
mod servers;
mod sessions;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use jiff::Timestamp;
use mcp_berth::dind::containers::{self, Row};
use mcp_berth::values::Backend;

use crate::shared::Shared;
use crate::web::problem::Problem;

/// A daemon that is slower is shown as one that does not answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);

/// The page and its log-in. `make` is what the token's owner asks for a link.
pub(crate) fn router(shared: &Arc<Shared>) -> Router {
    let inside = Router::new()
        .route("/", get(overview::show))
        .route("/sessions", get(sessions::list))
        .route("/sessions/{id}", get(sessions::one))
        .route("/sessions/{id}/end", get(sessions::ask).post(sessions::end))
        .route("/calls", get(calls::show))
        .route("/servers", get(servers::show))
        .route("/live", get(sessions::live))
        .route("/logout", post(login::leave))
        .layer(from_fn_with_state(Arc::clone(shared), login::inside));
    Router::new()
        .route("/login", get(login::enter))
        .route("/berth.svg", get(async || asset("image/svg+xml", include_str!("page/berth.svg"))))
        .route("/berth.css", get(async || asset("text/css", include_str!("page/berth.css"))))
        .route("/berth.js", get(async || asset("text/javascript", include_str!("page/berth.js"))))
        .merge(inside)
        .layer(axum::middleware::map_response(layout::policy))
        .with_state(Arc::clone(shared))
}

/// A link to the page that opens it once, for whoever has the token.
pub(crate) fn links(shared: &Arc<Shared>) -> Router {
    Router::new().route("/login", post(login::link)).with_state(Arc::clone(shared))
}

fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "max-age=300")], text)
}

/// What the daemon has, or why that is not known.
async fn held(shared: &Shared) -> Result<Vec<Row>, String> {
    let config = shared.config_of_daemon().await.map_err(|problem| problem.detail)?;
    let pods = shared.pods.all(&config).map_err(|problem| problem.detail)?.into_iter();
    let mut pods: Vec<Row> = pods.map(|pod| containers::known(pod, &shared.home.state)).collect();
    if !config.uses(Backend::Docker) {
        return Ok(pods);
    }
    let engine = shared.engine(&config).map_err(|problem| problem.detail)?;
    let host = config.dind.engine(&|name| std::env::var(name).ok()).ok();
    let seen = containers::see(&engine, &config, &shared.home.state, None, false, host.as_ref());
    match tokio::time::timeout(ANSWERS_WITHIN, seen).await {
        Ok(Ok(mut seen)) => {
            seen.rows.append(&mut pods);
            Ok(seen.rows)
        }
        Ok(Err(error)) => Err(mcp_berth::failure::Failure::from(error).to_string()),
        Err(_) => Err("the DinD daemon gives no answer; look at it with `berth status`".to_owned()),
    }
}

/// So many hours back from now, as the index has times.
fn since(hours: u32) -> i64 {
    let span = jiff::SignedDuration::from_hours(i64::from(hours));
    Timestamp::now().checked_sub(span).unwrap_or(Timestamp::MIN).as_microsecond()
}

/// A page instead of a problem's JSON.
struct Sorry(Problem);

impl<T: Into<Problem>> From<T> for Sorry {
    fn from(problem: T) -> Self {
        Self(problem.into())
    }
}

impl IntoResponse for Sorry {
    fn into_response(self) -> axum::response::Response {
        let status = axum::http::StatusCode::from_u16(self.0.status)
            .unwrap_or(axum::http::StatusCode::INTERNAL_SERVER_ERROR);
        let body = maud::html! { p role="alert" { (self.0.detail) } };
        (status, layout::page(&self.0.title, "", &body)).into_response()
    }
}

#[cfg(test)]
mod tests;
