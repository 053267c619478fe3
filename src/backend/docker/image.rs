//! The server's image: its command, whether it may be run, and how a missing image gets into the daemon.

use std::path::Path;
use std::time::{Duration, Instant};

use super::again::Setback;
use super::plan::{DockerPlan, in_time};
use super::reach::connect;
use crate::backend::plan::Plan;
use crate::bake::{LABEL_INTEGRITY, Oven};
use crate::config::{Daemon, Server};
use crate::dind::images::room;
use crate::dind::progress::Progress;
use crate::dock::docker::Engine;
use crate::dock::spec::Spec;
use crate::dock::wire::{self, Wire};
use crate::dock::{LeaseError, declared};
use crate::docker_cli::DockerCli;
use crate::failure::{Code, Failure};
use crate::observe::trace::Trace;
use crate::signatures::{Held, Judge};

/// For what the host's engine calls an image; without that the registry is asked by what the daemon knows.
const HOST_ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// What is known of the server's image.
#[derive(Debug, Clone)]
pub(super) struct Image {
    pub(super) id: String,
    entrypoint: Vec<String>,
    cmd: Vec<String>,
    /// Of the package that it was baked of, if it was.
    integrity: String,
    /// Its volumes.
    declared: Vec<String>,
    /// All that it is known by.
    digests: Vec<String>,
    /// What registries call it.
    repo_digests: Vec<String>,
}

impl Image {
    /// Where the container of `spec` has them.
    pub(super) fn declared(&self, server: &Server) -> Result<Vec<String>, LeaseError> {
        declared::places(&server.image, &self.declared, &server.settings)
    }

    /// Whether it is the one that was pinned, if one was.
    fn is_pinned(&self, server: &Server) -> Result<(), Failure> {
        if let Some(recipe) = &server.recipe {
            recipe.expects(&self.integrity)?;
        }
        Ok(server.accepts(&self.digests)?)
    }

    /// Whether its signature had to be looked for; most servers need none, and most images were found signed before.
    async fn is_signed(&self, bench: &Bench<'_>) -> Result<bool, Failure> {
        let Bench { server, host, cli, progress, state } = bench;
        let judge = Judge { state, cli };
        if judge.knows(server, &self.id)? {
            return Ok(false);
        }
        progress.say(&format!("looking for the signature of `{}`", server.image));
        let mut names = self.repo_digests.clone();
        if names.is_empty()
            && let Some(host) = host
            && let Ok(host) = crate::dind::engine(host).await
        {
            // It was loaded from there, and has lost them on the way.
            let asked = tokio::time::timeout(HOST_ANSWERS_WITHIN, host.image(&server.image)).await;
            let there = asked.ok().and_then(Result::ok).flatten();
            names = there.map(|image| image.repo_digests).unwrap_or_default();
        }
        judge.accepts(server, Held { id: &self.id, repo_digests: &names }).await?;
        Ok(true)
    }

    /// What it runs: its ENTRYPOINT, and behind that its CMD or the server's own arguments.
    pub(super) fn command(&self, server: &Server) -> Result<Vec<String>, Failure> {
        let args = server.args.as_ref().unwrap_or(&self.cmd);
        let command = [&self.entrypoint[..], args].concat();
        if command.is_empty() {
            return Err(Failure {
                code: Code::Configuration,
                text: format!("the image `{}` has neither ENTRYPOINT nor CMD", server.image),
                next: Some("set `command` in the configuration, or give it after `--`".to_owned()),
            });
        }
        Ok(command)
    }
}

/// What an image is judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bench<'a> {
    pub(super) server: &'a Server,
    pub(super) host: Option<&'a Daemon>,
    pub(super) cli: &'a DockerCli,
    pub(super) progress: &'a Progress,
    pub(super) state: &'a Path,
}

/// The image that the daemon has now as `name`, if `bench` lets it run.
pub(super) async fn judged(engine: &Engine, name: &str, bench: &Bench<'_>) -> Result<Image, Failure> {
    let found = Wire::connect(engine.endpoint()).await?.image(name, LABEL_INTEGRITY).await?;
    let image = found.map(Image::from).ok_or_else(|| LeaseError::NoImage(name.to_owned()))?;
    image.is_pinned(bench.server)?;
    image.is_signed(bench).await?;
    Ok(image)
}

impl From<wire::Image> for Image {
    fn from(found: wire::Image) -> Self {
        let wire::Image { id, entrypoint, cmd, volumes, label, digests, repo_digests } = found;
        Self { id, entrypoint, cmd, integrity: label, declared: volumes, digests, repo_digests }
    }
}

/// What is known of the image, the connection that it was asked over, and whether it has just been made or fetched.
pub(super) struct Found {
    pub(super) wire: Wire,
    pub(super) image: Option<Image>,
    pub(super) is_new: bool,
}

/// Looks at the image; bakes or fetches it first if the daemon lacks it. That may take minutes, which no timeout of the
/// start counts.
pub(super) async fn have(plan: &DockerPlan, engine: &Engine, trace: &Trace) -> Result<Found, Setback> {
    let DockerPlan { host, cli, .. } = plan;
    let Plan { spec: Spec { server, .. }, progress, state, .. } = &**plan;
    let timeout = server.settings.start_timeout;
    let looking = async || {
        // A connection has a time of its own.
        let wire = connect(plan, trace, "connect for the server").await?;
        in_time(timeout, "image", &server.name, look(wire, plan, trace)).await
    };
    let (mut wire, mut image) = looking().await?;
    room::used(state, engine, &server.image);
    let mut is_new = image.is_none() && (server.recipe.is_some() || plan.fetch);
    if is_new {
        drop(wire);
        let began = Instant::now();
        room::make(state, engine, &plan.shelf, &server.image, progress).await;
        let oven = Oven { daemon: engine, host: host.as_ref(), cli, progress, state };
        if let Some(recipe) = &server.recipe {
            oven.bake(recipe, false).await.map_err(Failure::from)?;
            trace.step("bake the image", began, &server.image);
        } else {
            let fetched = oven.fetch(&server.image).await;
            fetched.map_err(Failure::from)?;
            trace.step("fetch the image", began, &server.image);
        }
        (wire, image) = looking().await?;
    }
    if let Some(image) = &image {
        image.is_pinned(server)?;
        let began = Instant::now();
        let bench = Bench { server, host: host.as_ref(), cli, progress, state };
        if image.is_signed(&bench).await? {
            trace.step("look for the image's signature", began, &server.image);
            // That may have taken long; the container is made of the very image that was judged.
            wire = connect(plan, trace, "connect again").await?;
            is_new = true;
        }
    }
    Ok(Found { wire, image, is_new })
}

/// Asks what the image is.
async fn look(mut wire: Wire, plan: &DockerPlan, trace: &Trace) -> Result<(Wire, Option<Image>), Setback> {
    let began = Instant::now();
    let image = wire.image(&plan.spec.server.image, LABEL_INTEGRITY).await?;
    trace.step("inspect the image", began, &plan.spec.server.image);
    Ok((wire, image.map(Image::from)))
}
