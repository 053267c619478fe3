//! `berth up`: from any state to a daemon that answers and has its images. Idempotent.

use jiff::Timestamp;

use super::container::{Changes, Host};
use super::images::{ImageError, Origin};
use super::progress::Progress;
use super::reach::Reach;
use super::spec::Shared;
use super::{DindError, addresses, certs, images};
use crate::config::{Config, Daemon, Dind, Home};
use crate::dock::dial::Endpoint;
use crate::dock::docker::{Engine, Version};
use crate::dock::door::Doors;
use crate::dock::{keeper, resolver, roster};
use crate::docker_cli::DockerCli;
use crate::values::{Isolation, Lookup};

/// What `up` found and made.
#[derive(Debug)]
pub struct Report {
    pub endpoint: String,
    pub version: Version,
    pub changes: Changes,
    pub images: Vec<(String, Result<Origin, ImageError>)>,
}

/// Makes the daemon of the configuration ready; the images' own failures are part of the report.
pub async fn up(
    config: &Config,
    home: &Home,
    lookup: Lookup<'_>,
    progress: &Progress,
) -> Result<Report, DindError> {
    let host = config.dind.engine(lookup)?;
    let cli = DockerCli::from_env(lookup);
    let folders = config.dind.shared(&host)?;
    let _lock = super::lock(home, progress).await?;
    let mut changes = Changes::default();
    let engine = if config.dind.host.is_some() {
        // Another's daemon is used as it is; an engine is of use for its images, if it is there.
        super::engine(&host).await.ok()
    } else {
        let engine = super::engine(&host).await?;
        let names = server_names(&config.dind, &host, &config.dind.daemon(home));
        let written = certs::ensure(&home.certs, &names, Timestamp::now())?;
        let former = engine.inspect(&config.dind.name).await?;
        let labels = former.as_ref().map(|container| &container.labels);
        let dind = addresses::settle(&config.dind, &engine, labels).await?;
        let reach = Reach::new(&dind, home, &engine, progress)
            .map_err(|error| DindError::Daemon { source: error.into() })?;
        let doors = Doors::make(&home.state, &config.dind.name);
        let doors = doors.inspect_err(|error| progress.say(&format!("no doors for direct streams: {error}")));
        let shared = Shared { folders, doors: doors.ok() };
        let mut container = Host::new(&dind, shared, home, &engine, reach, cli.clone(), progress);
        if !written.is_empty() {
            container.say(format!("made {} in `{}`", written.join(", "), home.certs.display()));
        }
        changes = container.converge().await?;
        Some(engine)
    };
    let daemon = Engine::new(endpoint(config, home)?);
    let version = super::version(&daemon).await.map_err(|source| DindError::Daemon { source })?;
    super::refuse_podman(&config.dind.daemon(home), &version)?;
    if super::asks_as_we_do(config, daemon.endpoint()) {
        // What is pulled now asks for names already.
        if let Some(resolver) = resolver::tell(&daemon).await? {
            let step = format!("the daemon now asks the nameservers {resolver}");
            progress.say(&step);
            changes.steps.push(step);
        }
    }
    let placed = images::ensure_trusted(&home.state, engine.as_ref(), &daemon, config, &cli, progress).await;
    // A container can only be made of an image; without any, the first session fills the volume itself.
    if let Some((image, _)) = placed.iter().find(|(_, result)| result.is_ok()) {
        keeper::fill(&daemon, image, Isolation::Container).await?;
        keeper::retire_former(&daemon).await?;
    }
    if config.dind.host.is_none() {
        roster::sweep_volumes(&daemon).await?;
    }
    let images = placed.into_iter().map(|(image, result)| (image.to_owned(), result)).collect();
    Ok(Report { endpoint: daemon.endpoint().to_string(), version, changes, images })
}

fn endpoint(config: &Config, home: &Home) -> Result<Endpoint, DindError> {
    super::endpoint(config, home).map_err(|error| DindError::Daemon { source: error.into() })
}

/// What clients may call the daemon: by its container's name, where it listens, and where its engine is.
fn server_names(dind: &Dind, host: &Daemon, daemon: &Daemon) -> Vec<String> {
    let mut names = vec![dind.name.clone()];
    if !dind.bind.is_unspecified() {
        names.push(dind.bind.to_string());
    }
    names.extend([&host.address, &daemon.address].into_iter().filter_map(|address| {
        let (host, _) = address.strip_prefix("tcp://")?.rsplit_once(':')?;
        Some(host.trim_start_matches('[').trim_end_matches(']').to_owned())
    }));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_holds_every_name_of_the_daemon() {
        let daemon = |address: &str| Daemon::configured(address, None);
        let dind = Dind { bind: [10, 0, 0, 5].into(), ..Dind::default() };
        let names = server_names(&dind, &daemon("tcp://box.example:2376"), &daemon("tcp://10.0.0.5:12376"));
        assert_eq!(names, ["berth-dind", "10.0.0.5", "box.example", "10.0.0.5"]);
        let dind = Dind { bind: "::".parse().unwrap(), ..Dind::default() };
        let names = server_names(&dind, &daemon("unix:///var/run/docker.sock"), &daemon("tcp://[::1]:12376"));
        assert_eq!(names, ["berth-dind", "::1"]);
    }
}
