//! What servers told of themselves, as `berth catalogue` lists it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use mcp_berth::catalogue::{Catalogue, Entry, List};
use serde::Serialize;
use utoipa::ToSchema;

use crate::shared::Shared;
use crate::web::problem::Problem;

/// What servers told of themselves.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Entries {
    entries: Vec<Told>,
}

/// What a server told a kind of client that speaks one revision.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Told {
    server: String,
    /// The kind of client.
    client: String,
    /// The protocol revision that the client asked for.
    revision: String,
    /// The id of the image that it ran in.
    image: String,
    /// When it told this.
    #[schema(format = DateTime)]
    at: String,
    /// How many tools; `null`: it has no such list.
    tools: Option<usize>,
    prompts: Option<usize>,
    resources: Option<usize>,
    /// Of the entry's file.
    bytes: usize,
}

/// What the catalogue has.
#[utoipa::path(get, path = "/v1/catalogue", tag = "servers",
    responses((status = OK, body = Entries, description = "by server and client")))]
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Result<Json<Entries>, Problem> {
    let state = shared.home.state.clone();
    let read = tokio::task::spawn_blocking(move || Catalogue::open(&state).entries()).await;
    let read = read.map_err(|_| Problem::unavailable("the catalogue was not read"))?;
    Ok(Json(Entries { entries: read.into_iter().map(told).collect() }))
}

fn told(entry: Entry) -> Told {
    let Entry { server, client, revision, told, at, bytes } = entry;
    let number = |list: Option<&List>| list.map(|list| list.items.len());
    let at = i64::try_from(at).ok().and_then(|at| Timestamp::from_second(at).ok()).unwrap_or_default();
    Told {
        server,
        client,
        revision,
        at: at.to_string(),
        tools: number(told.tools.as_ref()),
        prompts: number(told.prompts.as_ref()),
        resources: number(told.resources.as_ref()),
        image: told.image,
        bytes,
    }
}
