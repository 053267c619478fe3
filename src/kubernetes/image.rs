//! What an image runs by itself. No cluster tells that, so the image's registry is asked, and where that has none the engine
//! of this machine.
//!
//! The answer is kept (`kept.rs`). A start that finds it there asks nobody; an old answer is asked for anew beside the
//! session. Only where a server's settings leave something to its image is there a question at all.

mod kept;
pub(crate) mod push;
pub(crate) mod registry;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use mcp_berth::bake::LABEL_INTEGRITY;
use mcp_berth::config::{Config, Daemon, Home, Kubernetes, Server};
use mcp_berth::dind;
use mcp_berth::docker_cli::{self, DockerCli};
use mcp_berth::failure::{Code, Failure};
use mcp_berth::values::Lookup;
use serde::{Deserialize, Serialize};

use super::pod::numbers;
use super::server::baked_program;
use kept::Kept;
use registry::{Registry, Trouble};

/// A registry answers in a second. One that does not has a first session wait.
const REGISTRY_WITHIN: Duration = Duration::from_secs(10);
const ENGINE_WITHIN: Duration = Duration::from_secs(5);

/// A name may mean another image by then.
const OLD_AFTER: Duration = Duration::from_hours(24);
/// The same where nodes pull the image at each start, or where it is built on this machine.
const SOON_OLD_AFTER: Duration = Duration::from_mins(1);

/// What an image's own configuration says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Image {
    /// Of the manifest; `None`: an engine has told, and registries may call it otherwise.
    pub(crate) digest: Option<String>,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) cmd: Vec<String>,
    pub(crate) user: String,
    /// Of the package that it was baked of, if it was.
    pub(crate) integrity: String,
}

impl Image {
    /// Gives a server what its settings leave to its image. Folder and variables are there already, as its node has them.
    pub(crate) fn complete(self, server: &mut Server) -> Result<(), Failure> {
        if let Some(recipe) = &server.recipe {
            recipe.expects(&self.integrity)?;
            // What was looked at is what runs.
            if let (Some(_), Some(digest)) = (&recipe.integrity, &self.digest) {
                server.image = by_digest(&server.image, digest);
            }
        }
        if !says_what_runs(server) {
            let command = [self.entrypoint, server.args.take().unwrap_or(self.cmd)].concat();
            if command.is_empty() {
                return Err(Failure {
                    code: Code::Configuration,
                    text: format!("the image `{}` has neither ENTRYPOINT nor CMD", server.image),
                    next: Some(format!("set `command` in [servers.{}]", server.name)),
                });
            }
            server.command = Some(command);
        }
        // A name is its node's to resolve, and so is root's.
        if server.settings.user.is_none() && numbers(&self.user).is_some_and(|(user, _)| user != 0) {
            server.settings.user = Some(self.user);
        }
        Ok(())
    }
}

/// Whether its settings leave nothing to its image.
fn says_what_runs(server: &Server) -> bool {
    server.command.is_some() || baked_program(server).is_some()
}

fn is_asked_for(server: &Server) -> bool {
    !says_what_runs(server) || server.recipe.as_ref().is_some_and(|recipe| recipe.integrity.is_some())
}

/// What nodes are to pull for a server: baked images are in the cluster's registry, and what is pinned comes by its digest.
pub(crate) fn reference(server: &Server, kubernetes: &Kubernetes) -> String {
    match (&server.recipe, &kubernetes.registry, server.digests.first()) {
        (Some(_), Some(registry), _) => format!("{}/{}", registry.trim_end_matches('/'), server.image),
        (None, _, Some(digest)) => by_digest(&server.image, digest),
        _ => server.image.clone(),
    }
}

fn by_digest(image: &str, digest: &str) -> String {
    format!("{}@{digest}", image.split('@').next().unwrap_or(image))
}

/// Who knows what images run.
#[derive(Debug, Clone)]
pub(crate) struct Images {
    /// The folder of berth's state.
    state: PathBuf,
    cli: DockerCli,
    /// Of this machine, where there is one.
    engine: Option<Daemon>,
}

impl Images {
    pub(crate) fn of(config: &Config, home: &Home, lookup: Lookup) -> Self {
        let engine = config.dind.engine(lookup).ok();
        Self { state: home.state.clone(), cli: DockerCli::from_env(lookup), engine }
    }

    /// What is known of a server's image without asking anybody.
    pub(crate) fn known(&self, server: &Server) -> Option<Image> {
        Some(Kept::read(&self.state, &server.image)?.image)
    }

    /// What is to be known of the server's image; `None`: nothing.
    pub(crate) async fn find(&self, server: &Server) -> Result<Option<Image>, Failure> {
        if !is_asked_for(server) {
            return Ok(None);
        }
        let kept = Kept::read(&self.state, &server.image);
        let Some(kept) = kept else { return self.ask(server, None).await.map(Some) };
        if !is_old(&kept, server, SystemTime::now()) {
            return Ok(Some(kept.image));
        }
        let known = kept.image.clone();
        if server.wants_newest() {
            let asked = self.ask(server, Some(kept)).await;
            return Ok(Some(asked.unwrap_or_else(|failure| {
                tracing::warn!("{failure}");
                known
            })));
        }
        let (asking, server) = (self.clone(), server.clone());
        tokio::spawn(async move {
            if let Err(failure) = asking.ask(&server, Some(kept)).await {
                tracing::debug!("{failure}");
            }
        });
        Ok(Some(known))
    }

    /// Asks, and keeps the answer. What is there already is looked at only where its name means something else by now.
    async fn ask(&self, server: &Server, kept: Option<Kept>) -> Result<Image, Failure> {
        let image = &server.image;
        let asking = self.of_registry(image, kept.as_ref());
        let trouble = match tokio::time::timeout(REGISTRY_WITHIN, asking).await {
            Ok(Ok(found)) => return Ok(self.keep(image, found)),
            Ok(Err(trouble)) => trouble,
            Err(_) => Trouble::Other(format!("no answer within {REGISTRY_WITHIN:?}")),
        };
        if let Some(found) = self.of_engine(image).await {
            return Ok(self.keep(image, Kept::new(image, None, found)));
        }
        Err(cannot_tell(server, &trouble))
    }

    fn keep(&self, image: &str, kept: Kept) -> Image {
        if let Err(error) = kept.write(&self.state) {
            tracing::warn!("cannot keep what `{image}` runs: {error}");
        }
        kept.image
    }

    async fn of_registry(&self, image: &str, kept: Option<&Kept>) -> Result<Kept, Trouble> {
        let found = self.cli.credential(image).await;
        if let Some(warning) = found.warning {
            tracing::warn!("{warning}");
        }
        let registry = Registry::new(image, found.credential.as_ref())?;
        let means = registry.digest().await?;
        match kept.filter(|kept| kept.means.as_ref() == Some(&means)) {
            Some(kept) => Ok(Kept::new(image, Some(means), kept.image.clone())),
            None => Ok(Kept::new(image, Some(means), registry.image().await?)),
        }
    }

    /// Where it was built here, and nodes have it from here.
    async fn of_engine(&self, image: &str) -> Option<Image> {
        let asking = async {
            let engine = dind::engine(self.engine.as_ref()?).await.ok()?;
            let found = engine.image(image).await.ok()??;
            let integrity = found.labels.get(LABEL_INTEGRITY).cloned().unwrap_or_default();
            let (entrypoint, cmd, user) = (found.entrypoint, found.cmd, found.user);
            Some(Image { digest: None, entrypoint, cmd, user, integrity })
        };
        tokio::time::timeout(ENGINE_WITHIN, asking).await.ok()?
    }
}

/// Nobody tells what the server's image runs.
fn cannot_tell(server: &Server, trouble: &Trouble) -> Failure {
    let (name, image) = (&server.name, &server.image);
    let code = if matches!(trouble, Trouble::Other(_)) { Code::Unavailable } else { Code::Configuration };
    if server.recipe.is_some() {
        return Failure {
            code,
            text: format!("the server `{name}` needs the baked image `{image}`, and {trouble}"),
            next: Some(format!("type `berth bake --push {name}`")),
        };
    }
    let command =
        format!("set `command` in [servers.{name}]; `docker image inspect {image}` shows ENTRYPOINT and CMD");
    Failure {
        code,
        text: format!(
            "the server `{name}` has no `command`, and nobody tells what the image `{image}` runs: {trouble}"
        ),
        next: Some(match trouble {
            Trouble::Denied => format!("type `docker login {}`, or {command}", docker_cli::registry(image)),
            Trouble::Absent => format!("correct `image`, or {command}"),
            Trouble::Other(_) => command,
        }),
    }
}

fn is_old(kept: &Kept, server: &Server, now: SystemTime) -> bool {
    // A digest means one and the same for ever.
    if kept.means.is_some() && server.image.contains('@') {
        return false;
    }
    let soon = server.wants_newest() || kept.means.is_none();
    let after = if soon { SOON_OLD_AFTER } else { OLD_AFTER };
    // A clock that went back says nothing.
    now.duration_since(kept.asked).is_ok_and(|age| age > after)
}

#[cfg(test)]
mod tests;
