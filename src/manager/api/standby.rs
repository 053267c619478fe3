//! The containers that wait for a session.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use mcp_berth::dock::roster::{self, Entry, State as Life};
use mcp_berth::dock::standby;
use serde::Serialize;
use utoipa::ToSchema;

use super::answered;
use crate::shared::Shared;
use crate::web::problem::Problem;

/// The containers on standby.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Standby {
    /// How many there are.
    waiting: usize,
    /// How many the daemon may have.
    cap: usize,
    kinds: Vec<Kind>,
}

/// Those that are made of the same, for the same kind of client.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(super) struct Kind {
    server: String,
    /// The kind of client.
    client: String,
    /// The hash of all that they were made of.
    spec: String,
    containers: Vec<Waiting>,
}

/// A container on standby.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(super) struct Waiting {
    name: String,
    /// By the daemon's clock.
    #[schema(format = DateTime)]
    created: String,
}

/// The containers on standby, by server and by what they are made of.
#[utoipa::path(get, path = "/v1/standby", tag = "containers",
    responses((status = OK, body = Standby, description = "by server, client and hash")))]
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Result<Json<Standby>, Problem> {
    let config = shared.config_now().await?;
    let engine = shared.engine(&config)?;
    let asked =
        async { tokio::try_join!(roster::list(&engine), standby::cap(&engine, config.limits.standby)) };
    let (entries, cap) = answered(asked).await?;
    let kinds = kinds(&entries);
    let waiting = kinds.iter().map(|kind| kind.containers.len()).sum();
    Ok(Json(Standby { waiting, cap, kinds }))
}

fn kinds(entries: &[Entry]) -> Vec<Kind> {
    let mut kinds: BTreeMap<[&str; 3], Vec<Waiting>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.running && entry.state == Life::Standby) {
        let created = Timestamp::from_second(entry.created).unwrap_or_default().to_string();
        kinds
            .entry([&entry.server, &entry.client, &entry.spec])
            .or_default()
            .push(Waiting { name: entry.name.clone(), created });
    }
    let kinds = kinds.into_iter().map(|([server, client, spec], containers)| Kind {
        server: server.to_owned(),
        client: client.to_owned(),
        spec: spec.to_owned(),
        containers,
    });
    kinds.collect()
}
