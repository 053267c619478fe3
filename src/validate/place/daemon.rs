//! Sessions' containers in a Docker daemon.

mod tls;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::LocalBoxFuture;

use super::Place;
use crate::config::{Config, Home};
use crate::dind::status;
use crate::dock::dial::Endpoint;
use crate::dock::docker::Engine;
use crate::dock::roster::{self, Entry};
use crate::exam::check::Seen;
use crate::exam::inside::Inside;
use crate::exam::inside::container::InContainer;
use crate::failure::Failure;
use crate::validate::checks::Observations;
use crate::validate::checks::orchestrator::{Connection, Container, Orchestrator};
use crate::validate::plan::Plan;
use crate::values::Lookup;

/// A daemon that has not answered by then is not well.
const WITHIN: Duration = Duration::from_secs(10);
/// A container that is created in this moment by somebody else runs by then.
const SECOND_LOOK_AFTER: Duration = Duration::from_secs(1);

/// The ports of a Docker daemon: with TLS and without.
const PORTS: [u16; 2] = [2376, 2375];

/// The configured daemon.
pub struct Daemon<'a> {
    engine: Engine,
    /// Its address and the folder of the certificates for it.
    address: String,
    certs: Option<PathBuf>,
    image: String,
    patience: u32,
    config: &'a Config,
    home: &'a Home,
    lookup: Lookup<'a>,
}

impl fmt::Debug for Daemon<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Daemon").field("address", &self.address).finish_non_exhaustive()
    }
}

impl<'a> Daemon<'a> {
    /// # Errors
    /// There is no way to it.
    pub fn new(plan: &Plan, config: &'a Config, home: &'a Home, lookup: Lookup<'a>) -> Result<Self, Failure> {
        let daemon = crate::dind::daemon(config, home);
        let endpoint =
            crate::dind::endpoint(config, home)?.with_timeout(plan.server.settings.connect_timeout);
        Ok(Self {
            engine: Engine::new(endpoint),
            address: daemon.address,
            certs: daemon.certs,
            image: plan.server.image.clone(),
            patience: plan.patience,
            config,
            home,
            lookup,
        })
    }

    /// Looks at it as `berth status` does.
    async fn examined(&self) -> Orchestrator {
        let image = self.image.as_str();
        let status = status::status(self.config, self.home, self.lookup).await;
        let asked = Instant::now();
        let late = || format!("no answer from {} within {} s", self.address, WITHIN.as_secs());
        let version = match tokio::time::timeout(WITHIN, self.engine.version()).await {
            Ok(answer) => answer
                .map(|version| (version.engine, asked.elapsed()))
                .map_err(|error| Failure::from(error).text),
            Err(_) => Err(late()),
        };
        let image = match tokio::time::timeout(WITHIN, self.engine.image(image)).await {
            Ok(answer) => answer.map(|image| image.is_some()).map_err(|error| Failure::from(error).text),
            Err(_) => Err(late()),
        };
        let connection = if self.address.starts_with("unix:") {
            Connection::Unix
        } else if status.tls {
            Connection::MutualTls
        } else {
            Connection::Unprotected
        };
        let container = match status.container {
            _ if self.config.dind.host.is_some() => Container::NotOurs,
            Some(container) => {
                Container::Ours { name: container.name, state: container.state, health: container.health }
            }
            None => Container::Unknown,
        };
        Orchestrator {
            address: self.address.clone(),
            engine: version,
            connection,
            container,
            image: self.image.clone(),
            image_present: image,
            problems: status.problems,
            next: status.next,
        }
    }

    async fn listed(&self, within: Duration) -> Seen<Vec<Entry>> {
        match tokio::time::timeout(within, roster::list(&self.engine)).await {
            Ok(listed) => listed.map_err(|error| error.to_string()),
            Err(_) => Err("the daemon does not answer".to_owned()),
        }
    }
}

impl Place for Daemon<'_> {
    fn look<'a>(&'a self, seen: &'a mut Observations) -> LocalBoxFuture<'a, ()> {
        async { seen.orchestrator = self.examined().await }.boxed_local()
    }

    fn list(&self) -> LocalBoxFuture<'_, Seen<Vec<Entry>>> {
        self.listed(WITHIN * self.patience).boxed_local()
    }

    fn inside(&self, container: &str) -> Inside {
        InContainer::new(&self.engine, container).inside()
    }

    fn doors<'a>(&'a self, from: &'a Inside) -> LocalBoxFuture<'a, Result<Vec<SocketAddr>, String>> {
        async {
            let own = container_address(self.config, self.lookup).await;
            let gateways = from.surroundings().await.map(|around| around.gateways).unwrap_or_default();
            let configured = self.address.rsplit_once(':');
            let configured = configured.and_then(|(_, port)| port.trim_end_matches('/').parse().ok());
            let mut ports = PORTS.to_vec();
            ports.extend(configured.filter(|port| !PORTS.contains(port)));
            let own = own.and_then(|address| address.parse().ok()).filter(|_| !gateways.is_empty());
            let hosts = gateways.into_iter().chain(own);
            Ok(hosts.flat_map(|host| ports.iter().map(move |port| SocketAddr::new(host, *port))).collect())
        }
        .boxed_local()
    }

    fn knock<'a>(&'a self, seen: &'a mut Observations) -> LocalBoxFuture<'a, ()> {
        async {
            let own = container_address(self.config, self.lookup).await;
            seen.tls = tls::knock(&self.address, self.certs.as_deref(), own.as_deref()).await;
        }
        .boxed_local()
    }

    fn forbidden(&self) -> &'static [&'static str] {
        &["/var/run/docker.sock", "/run/docker.sock"]
    }

    fn settles_within(&self) -> Duration {
        Duration::ZERO
    }

    fn waits_for_the_killed(&self) -> Duration {
        Duration::ZERO
    }

    /// Those that don't run, and still don't a moment later.
    fn leftovers<'a>(&'a self, _: &'a [String], within: Duration) -> LocalBoxFuture<'a, Seen<Vec<String>>> {
        async move {
            let idle = |listed: Vec<Entry>| listed.into_iter().filter(|entry| !entry.running);
            let first: Vec<String> = idle(self.listed(within).await?).map(|entry| entry.id).collect();
            if first.is_empty() {
                return Ok(Vec::new());
            }
            tokio::time::sleep(SECOND_LOOK_AFTER).await;
            let second = idle(self.listed(within).await?).filter(|entry| first.contains(&entry.id));
            Ok(second.map(|entry| entry.name).collect())
        }
        .boxed_local()
    }
}

/// The DinD container's own address, where it is ours and its engine can be asked.
async fn container_address(config: &Config, lookup: Lookup<'_>) -> Option<String> {
    if config.dind.host.is_some() {
        return None;
    }
    let host = config.dind.engine(lookup).ok()?;
    let endpoint = Endpoint::parse(&host.address, host.certs.as_deref()).ok()?.with_timeout(WITHIN);
    let engine = Engine::new(endpoint);
    let container = tokio::time::timeout(WITHIN, engine.inspect(&config.dind.name)).await.ok()?.ok()??;
    container.address
}
