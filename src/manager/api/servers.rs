//! The servers of `berth.toml`. No value of their environment, no secret, no argument is told.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use futures::{StreamExt, stream};
use mcp_berth::catalogue::Catalogue;
use mcp_berth::config::{Config, Server};
use mcp_berth::dock::docker::Engine;
use mcp_berth::dock::roster::AT_ONCE;
use mcp_berth::values::Start;
use serde::Serialize;
use utoipa::ToSchema;

use super::answered;
use crate::shared::Shared;
use crate::web::problem::Problem;

/// The configured servers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Servers {
    servers: Vec<Configured>,
}

/// A configured server.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Configured {
    name: String,
    image: String,
    /// What the image is baked of, such as `npx @modelcontextprotocol/server-everything`.
    package: Option<String>,
    /// `container` or `gvisor`.
    isolation: &'static str,
    /// `egress`, `lan`, `none`, or `allow=` with the names that it may reach.
    network: String,
    /// When it starts if it is alone in its session: `session` or `first-call`.
    start: &'static str,
    /// When it starts in a profile, or beside others.
    start_beside_others: &'static str,
    /// So many containers are kept started for it; of a range, where no manager chooses.
    standby: u32,
    /// The most that a manager may choose.
    standby_max: u32,
    /// The profiles that have it.
    profiles: Vec<String>,
    /// Whether the daemon has its image, baked or pulled; `null` if the daemon gives no answer.
    has_image: Option<bool>,
    /// Whether the catalogue has its lists.
    is_catalogued: bool,
}

/// The servers of `berth.toml`, as it is now.
#[utoipa::path(get, path = "/v1/servers", tag = "servers",
    responses((status = OK, body = Servers, description = "by name")))]
pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Result<Json<Servers>, Problem> {
    let config = shared.config_now().await?;
    let state = shared.home.state.clone();
    let told = tokio::task::spawn_blocking(move || Catalogue::open(&state).entries());
    let told: BTreeSet<String> =
        told.await.unwrap_or_default().into_iter().map(|entry| entry.server).collect();
    let engine = shared.engine(&config).ok();
    let images = images(engine, &config).await;
    let servers = config.servers.values().zip(images);
    let servers = servers
        .map(|(server, has_image)| configured(server, &config, has_image, told.contains(&server.name)));
    Ok(Json(Servers { servers: servers.collect() }))
}

/// Which images the daemon has, in the order of the servers.
async fn images(engine: Option<Engine>, config: &Config) -> Vec<Option<bool>> {
    let unknown = || vec![None; config.servers.len()];
    let Some(engine) = engine else { return unknown() };
    let names: Vec<String> = config.servers.values().map(|server| server.image.clone()).collect();
    let engine = &engine;
    let asked = stream::iter(names).map(async move |name| engine.image(&name).await);
    let asked = asked.buffered(AT_ONCE).collect::<Vec<_>>();
    let Ok(answers) = answered(async { Ok(asked.await) }).await else { return unknown() };
    answers.into_iter().map(|answer| Some(answer.ok()?.is_some())).collect()
}

fn configured(server: &Server, config: &Config, has_image: Option<bool>, is_catalogued: bool) -> Configured {
    let start = |in_profile| match server.settings.start(in_profile) {
        Start::FirstCall => "first-call",
        Start::Session => "session",
    };
    let profiles = config.profiles.iter().filter(|(_, profile)| profile.servers.contains(&server.name));
    // A line that has a login in it is no package.
    let package = server.recipe.as_ref().map(|recipe| &recipe.package);
    Configured {
        name: server.name.clone(),
        image: server.image.clone(),
        package: package.map(|package| format!("{} {}", package.runner.as_str(), package.main())),
        isolation: server.settings.isolation.as_str(),
        network: server.settings.network.to_string(),
        start: start(false),
        start_beside_others: start(true),
        standby: server.settings.standby.unchosen(),
        standby_max: server.settings.standby.most(),
        profiles: profiles.map(|(name, _)| name.clone()).collect(),
        has_image,
        is_catalogued,
    }
}
