//! Whether the manager is there, and whether what it needs is there. Open to all, so it tells nothing else.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::shared::Shared;
use crate::web::problem::Problem;

const TAG: &str = "health";

/// A daemon that is well answers sooner.
const DAEMON_WITHIN: Duration = Duration::from_secs(2);

/// All that the manager needs answers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ready {
    /// `ok`.
    status: &'static str,
}

/// Whether the manager runs.
#[utoipa::path(get, path = "/healthz", tag = TAG,
    responses((status = OK, body = String, content_type = "text/plain", description = "`ok`")))]
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// Whether the daemon and the index answer.
#[utoipa::path(get, path = "/readyz", tag = TAG,
    responses((status = OK, body = Ready, description = "both answer")))]
pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> Result<Json<Ready>, Problem> {
    if !daemon_answers(&shared).await {
        return Err(Problem::unavailable("the DinD daemon gives no answer; look at it with `berth status`"));
    }
    shared.index.read(|connection| connection.query_row("SELECT 1", [], |_| Ok(()))).await?;
    Ok(Json(Ready { status: "ok" }))
}

async fn daemon_answers(shared: &Shared) -> bool {
    let asked = async {
        let config = shared.config_of_daemon().await.ok()?;
        shared.engine(&config).ok()?.ping().await.ok()
    };
    tokio::time::timeout(DAEMON_WITHIN, asked).await.ok().flatten().is_some()
}
