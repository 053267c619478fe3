//! Asks the daemon and the host's engine for each configured server's image.

use std::collections::BTreeSet;

use futures::future::join_all;

use super::{Asked, failed};
use crate::dind::soon;
use crate::dock::docker::{DockerError, Engine};
use crate::doctor::images::{Image, Maker, Presence};
use crate::doctor::line::Seen;

pub(super) async fn look(asked: &Asked<'_>) -> Vec<Image> {
    let config = asked.config;
    let baked: BTreeSet<String> = config.recipes().iter().map(|recipe| recipe.image()).collect();
    // What packages are baked on, too: `berth up` brings it.
    let foreign: BTreeSet<String> = config.foreign_images().into_iter().map(str::to_owned).collect();
    let baked = &baked;
    join_all(foreign.union(baked).map(|name| async move {
        let servers = config.servers.values().filter(|server| {
            let base = server.recipe.as_ref().is_some_and(|recipe| recipe.base() == name);
            server.image == *name || base
        });
        let there = match asked.daemon() {
            Ok(daemon) => presence(asked.host.as_ref(), daemon, name).await.map_or_else(failed, Seen::Found),
            Err(seen) => seen,
        };
        Image {
            name: name.clone(),
            servers: servers.map(|server| server.name.clone()).collect(),
            there,
            made_by: if baked.contains(name) { Maker::Bake } else { Maker::Up },
        }
    }))
    .await
}

async fn presence(host: Option<&Engine>, daemon: &Engine, name: &str) -> Result<Presence, DockerError> {
    let Some(there) = soon(daemon, daemon.image(name)).await? else { return Ok(Presence::Missing) };
    let here = match host {
        // An engine that fails just now has been told already.
        Some(host) => soon(host, host.image(name)).await.unwrap_or_default(),
        None => None,
    };
    let hosts = here.filter(|here| !there.is_same(here)).map(|here| here.created);
    Ok(Presence::Present { bytes: there.bytes, created: there.created, hosts })
}
