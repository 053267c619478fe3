//! Asks the registry for a newer image while a session runs, where its server has `pull = "always"`. No start waits for it.

use std::path::PathBuf;
use std::time::Instant;

use super::image::{self, Bench};
use super::plan::DockerPlan;
use crate::backend::plan::Plan;
use crate::config::{Daemon, Server};
use crate::dind::images::newest::{Site, renew};
use crate::dind::progress::Progress;
use crate::dock::docker::Engine;
use crate::dock::spec::Spec;
use crate::docker_cli::DockerCli;
use crate::failure::chain;
use crate::observe::trace::Trace;

/// Who asks.
#[derive(Debug, Clone)]
pub(super) struct Newest {
    server: Server,
    host: Option<Daemon>,
    cli: DockerCli,
    state: PathBuf,
}

/// What the next container is made of.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) image: String,
    pub(super) declared: Vec<String>,
    pub(super) argv: Vec<String>,
}

impl Newest {
    pub(super) fn of(plan: &DockerPlan) -> Self {
        let DockerPlan { host, cli, .. } = plan;
        let Plan { spec: Spec { server, .. }, state, .. } = &**plan;
        Self { server: server.clone(), host: host.clone(), cli: cli.clone(), state: state.clone() }
    }

    /// Has the registry's image in the daemon, if this server may run it; `None` where that is there already. `Err` is why
    /// not, in words.
    pub(super) async fn fetch(&self, engine: &Engine, trace: &Trace) -> Result<Option<Next>, String> {
        let Self { server, host, cli, state } = self;
        let name = &server.image;
        let host_engine = match host {
            Some(host) => crate::dind::engine(host).await.ok(),
            None => None,
        };
        // Who reads a server's standard error is not waiting for this.
        let progress = Progress::silent();
        let site = Site { state, host: host_engine.as_ref(), daemon: engine, cli, progress: &progress };
        let bench = Bench { server, host: host.as_ref(), cli, progress: &progress, state };
        let look = async |held: &str| {
            let image = image::judged(engine, held, &bench).await?;
            let argv = match &server.command {
                Some(command) => [command.as_slice(), server.args.as_deref().unwrap_or_default()].concat(),
                None => image.command(server)?,
            };
            let declared = image.declared(server)?;
            Ok(Next { image: image.id, declared, argv })
        };
        let began = Instant::now();
        let next = Box::pin(renew(&site, name, look)).await.map_err(|error| chain(&error))?;
        trace.step(
            "ask the registry for the image",
            began,
            if next.is_some() { "a newer one" } else { name },
        );
        Ok(next)
    }
}
