//! Asks the engine and the daemon for their versions, the state of the daemon's container, and the daemon's clock.

use std::time::Instant;

use jiff::Timestamp;

use super::{Asked, failed};
use crate::config::{Config, Home};
use crate::dind::diagnosis::{Diagnosis, Trouble, Watch};
use crate::dind::owner::Owner;
use crate::dind::{self, DindError, soon, spec};
use crate::dock::docker::{DockerError, Engine};
use crate::dock::door::Doors;
use crate::doctor::confinement::Confinement;
use crate::doctor::daemon::{Answer, Clock, Container};
use crate::doctor::line::Seen;
use crate::failure::{Failure, chain};
use crate::values::Lookup;

pub(super) async fn engine(config: &Config, lookup: Lookup<'_>) -> (Seen<Answer>, Option<Engine>) {
    let others = config.dind.host.is_some();
    let asked = async {
        let host = config.dind.engine(lookup)?;
        let engine = dind::engine(&host).await?;
        let source = |source| DindError::Engine { engine: Box::new(host.clone()), source };
        Ok::<_, DindError>((answer(&engine).await.map_err(source)?, engine))
    };
    match asked.await {
        Ok((answer, engine)) => (Seen::Found(answer), Some(engine)),
        // Then it is there for images at most.
        Err(error) if others => {
            let why = format!("`host` in [dind] names a daemon that berth did not make; {}", chain(&error));
            (Seen::NotApplicable(why), None)
        }
        Err(error) => (super::failed(error), None),
    }
}

/// The daemon, if it answers, and else why not, where its engine can tell.
pub(super) async fn daemon(
    config: &Config,
    home: &Home,
    lookup: Lookup<'_>,
    patience: u32,
) -> (Seen<Answer>, Option<Engine>, Option<Trouble>) {
    let asked = async {
        let endpoint = dind::endpoint(config, home)?.with_timeout(dind::ANSWER_WITHIN * patience);
        let engine = Engine::new(endpoint);
        Ok::<_, DockerError>((answer(&engine).await?, engine))
    };
    let error = match asked.await {
        Ok((answer, engine)) => return (Seen::Found(answer), Some(engine), None),
        Err(error) => Failure::from(error).text,
    };
    match Watch::default().diagnose(config, home, lookup).await {
        Diagnosis::Elsewhere => (Seen::failed(error, "start that daemon, or correct [dind]"), None, None),
        Diagnosis::Starting(what) => (Seen::failed(format!("{error}: {what}"), "berth doctor"), None, None),
        Diagnosis::Silent => (Seen::failed(error, "berth up"), None, None),
        Diagnosis::Down(trouble) => (Seen::failed(error, trouble.next.to_string()), None, Some(trouble)),
    }
}

async fn answer(engine: &Engine) -> Result<Answer, DockerError> {
    let began = Instant::now();
    let version = dind::version(engine).await?;
    Ok(Answer {
        address: engine.endpoint().to_string(),
        engine: version.engine,
        api: version.api,
        mutual_tls: engine.endpoint().is_tls(),
        took: began.elapsed(),
    })
}

pub(super) async fn container(asked: &Asked<'_>) -> Seen<Container> {
    if !asked.is_ours() {
        return Seen::NotApplicable("`host` in [dind] names a daemon that berth did not make".to_owned());
    }
    let host = match asked.host() {
        Ok(host) => host,
        Err(seen) => return seen,
    };
    let dind = &asked.config.dind;
    let found = async {
        let image = soon(host, host.image(&dind.image)).await?;
        Ok::<_, DockerError>((soon(host, host.inspect(&dind.name)).await?, image))
    };
    let (container, image) = match found.await {
        Ok((Some(container), image)) => (container, image),
        Ok((None, _)) => return Seen::failed(format!("there is no container `{}`", dind.name), "berth up"),
        Err(error) => return failed(error),
    };
    let not_ours = (!dind::is_ours(&container)).then(|| DindError::Foreign(dind.name.clone()));
    let others = not_ours.or_else(|| {
        let home = Owner::of(asked.home).other(&container.labels)?;
        Some(DindError::OtherHome { name: dind.name.clone(), home })
    });
    let settled = dind::addresses::settled(dind, &container.labels);
    let is_current = image.zip(dind.share.canonical().ok()).map(|(image, folders)| {
        let shared = spec::Shared { folders, doors: Doors::known(&asked.home.state, &dind.name) };
        container
            .labels
            .get(spec::LABEL_SPEC)
            .is_some_and(|hash| *hash == spec::hash(&settled, &shared, &image.id))
    });
    let up_for = container.started_at.parse::<Timestamp>().ok();
    Seen::Found(Container {
        name: dind.name.clone(),
        up_for: up_for.map(|since| Timestamp::now().duration_since(since).as_secs()),
        status: container.status,
        health: container.health,
        health_log: container.health_log,
        exit_code: container.exit_code,
        restarts: container.restarts,
        is_current,
        others: others.map(Failure::from),
        dies: asked.trouble.clone().filter(|trouble| trouble.dies),
    })
}

pub(super) async fn confinement(asked: &Asked<'_>) -> Seen<Confinement> {
    let daemon = match asked.daemon() {
        Ok(daemon) => daemon,
        Err(seen) => return seen,
    };
    let engine = async {
        let host = asked.host.as_ref().filter(|_| asked.is_ours())?;
        soon(host, host.security_options()).await.ok()
    };
    let (found, engine) = tokio::join!(soon(daemon, daemon.security_options()), engine);
    let container = asked.is_ours().then(|| asked.config.dind.name.clone());
    found.map_or_else(failed, |daemon| Seen::Found(Confinement { daemon, engine, container }))
}

pub(super) async fn clock(asked: &Asked<'_>) -> Seen<Clock> {
    let daemon = match asked.daemon() {
        Ok(daemon) => daemon,
        Err(seen) => return seen,
    };
    let (before, began) = (Timestamp::now(), Instant::now());
    match soon(daemon, daemon.clock()).await {
        Ok(theirs) => {
            let took = began.elapsed();
            let ahead = theirs.duration_since(before).as_secs_f64() - took.as_secs_f64() / 2.0;
            Seen::Found(Clock { ahead, took })
        }
        Err(error) => failed(error),
    }
}
