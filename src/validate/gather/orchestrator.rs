//! Looks at the daemon, as `berth status` does.

use std::time::{Duration, Instant};

use crate::config::{Config, Home};
use crate::dind::status;
use crate::dock::dial::Endpoint;
use crate::dock::docker::Engine;
use crate::failure::Failure;
use crate::validate::checks::orchestrator::{Connection, Container, Orchestrator};
use crate::validate::plan::Plan;
use crate::values::Lookup;

/// A daemon that has not answered by then is not well.
const WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn look(
    plan: &Plan,
    engine: &Engine,
    config: &Config,
    home: &Home,
    lookup: Lookup<'_>,
) -> Orchestrator {
    let status = status::status(config, home, lookup).await;
    let asked = Instant::now();
    let late = || format!("no answer from {} within {} s", plan.address, WITHIN.as_secs());
    let version = match tokio::time::timeout(WITHIN, engine.version()).await {
        Ok(answer) => {
            answer.map(|version| (version.engine, asked.elapsed())).map_err(|error| Failure::from(error).text)
        }
        Err(_) => Err(late()),
    };
    let image = match tokio::time::timeout(WITHIN, engine.image(&plan.server.image)).await {
        Ok(answer) => answer.map(|image| image.is_some()).map_err(|error| Failure::from(error).text),
        Err(_) => Err(late()),
    };
    let connection = if plan.address.starts_with("unix:") {
        Connection::Unix
    } else if status.tls {
        Connection::MutualTls
    } else {
        Connection::Unprotected
    };
    let container = match status.container {
        _ if config.dind.host.is_some() => Container::NotOurs,
        Some(container) => {
            Container::Ours { name: container.name, state: container.state, health: container.health }
        }
        None => Container::Unknown,
    };
    Orchestrator {
        address: plan.address.clone(),
        engine: version,
        connection,
        container,
        image: plan.server.image.clone(),
        image_present: image,
        problems: status.problems,
        next: status.next,
    }
}

/// The DinD container's own address, where it is ours and its engine can be asked.
pub(super) async fn container_address(config: &Config, lookup: Lookup<'_>) -> Option<String> {
    if config.dind.host.is_some() {
        return None;
    }
    let host = config.dind.engine(lookup).ok()?;
    let endpoint = Endpoint::parse(&host.address, host.certs.as_deref()).ok()?.with_timeout(WITHIN);
    let engine = Engine::new(endpoint);
    let container = tokio::time::timeout(WITHIN, engine.inspect(&config.dind.name)).await.ok()?.ok()??;
    container.address
}
