//! Turns packages into images, once each, inside the daemon.
//!
//! The installation runs in a container without privileges, because nobody has vetted its scripts. No process owns it.
//! It goes on after its berth has ended; the next berth waits for it and makes its result the image. The container's
//! name is the lock. Any berth can do each step, and can repeat it. Nothing is kept outside the daemon.

mod cause;
mod container;
pub mod cyclonedx;
mod ground;
pub mod owned;
pub mod packages;
mod recipe;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use crate::config::{Daemon, Recipe};
use crate::dind::images::room;
use crate::dind::images::{self, ImageError};
use crate::dind::progress::Progress;
use crate::dock::docker::{Container, DockerError, Engine, Image};
use crate::dock::labels::{LABEL_BAKE, LABEL_PACKAGE};
use crate::docker_cli::{DockerCli, Proxies};
use crate::failure::{Code, Explain, chain};
use cause::Cause;
pub use container::sweep;
use ground::Ground;

pub const LABEL_PACKAGE_VERSION: &str = "io.mcp-berth.package-version";
pub const LABEL_INTEGRITY: &str = "io.mcp-berth.integrity";
const LABEL_PROGRAM: &str = "io.mcp-berth.program";

/// A container that was created and not started for this long has lost its berth; by the daemon's clock, in seconds.
const STALE: i64 = 10;

const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The daemon's clock, which costs it more, is asked for at each so many looks.
const LOOKS_A_CLOCK: u32 = 25;

/// Why there is no image of a package.
#[derive(Debug, thiserror::Error)]
pub enum BakeError {
    #[error("cannot bake `{package}`")]
    Docker { package: String, source: DockerError },
    #[error("cannot bake `{package}`: cannot get its base image")]
    Base { package: String, source: Box<ImageError> },
    #[error("cannot bake `{package}`: cannot read `{}`, the `ca` of [bake]", path.display())]
    Ca { package: String, path: PathBuf, source: std::io::Error },
    /// `log` is what the installation said of its failure, and what it said last.
    #[error("cannot bake `{package}`: {log}")]
    Install { package: String, log: String, cause: Cause },
    #[error("cannot bake `{package}`: it needs a compiler or git, and `{base}` took none: {log}")]
    Tools { package: String, base: String, log: String },
    #[error("the daemon has no image `{base}`")]
    NoBase { base: String },
    #[error("cannot bake `{package}`: the installation takes longer than {after:?}")]
    TooLong { package: String, after: Duration },
    #[error("cannot bake `{package}`: the installation needs more than {bytes} bytes of memory")]
    Memory { package: String, bytes: u64 },
    #[error("cannot bake `{package}`: its installation reported an invalid {what}")]
    Odd { package: String, what: &'static str },
    #[error("`{package}` has changed: its digest is `{found}`, not `{pinned}`")]
    Changed { package: String, found: String, pinned: String },
}

impl BakeError {
    /// An installation's failure; `log` is all that it said, `words` what is told of that.
    fn failed(package: &str, log: &str, words: String) -> Self {
        Self::Install { package: package.to_owned(), log: words, cause: Cause::of(log) }
    }
}

impl Explain for BakeError {
    fn code(&self) -> Code {
        match self {
            Self::Docker { source, .. } => source.code(),
            Self::Ca { .. } | Self::Odd { .. } | Self::Changed { .. } | Self::Memory { .. } => {
                Code::Configuration
            }
            Self::Base { source, .. } => source.code(),
            Self::Install { cause, .. } => cause.code(),
            Self::Tools { .. } => Code::Configuration,
            _ => Code::Unavailable,
        }
    }

    fn next(&self) -> Option<String> {
        let next = match self {
            Self::Docker { source, .. } => return source.next(),
            Self::Base { source, .. } => format!("{}, or name another image in [bake]", source.next()?),
            Self::Ca { .. } => "correct `ca` in [bake]".to_owned(),
            Self::Install { cause, .. } => cause.next().to_owned(),
            Self::Tools { .. } => {
                "name an image that has a compiler and git as the server's `base`, and type `berth bake`"
                    .to_owned()
            }
            Self::NoBase { .. } => "type `berth up`".to_owned(),
            Self::TooLong { .. } => "raise `time` in [bake], and type `berth bake`".to_owned(),
            Self::Memory { .. } => "raise `memory` in [bake], and type `berth bake`".to_owned(),
            Self::Odd { .. } => "check the package's scripts before you trust it".to_owned(),
            Self::Changed { .. } => {
                "find out why it changed; `berth bake --pin` accepts the new digest".to_owned()
            }
        };
        Some(next)
    }

    fn text(&self) -> String {
        match self {
            Self::Docker { source, .. } => format!("{self}: {}", source.text()),
            error => chain(error),
        }
    }
}

/// A package's image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Baked {
    pub image: String,
    /// What was installed.
    pub version: String,
    /// The registry's digest of it, or one of the package's own list of files.
    pub integrity: String,
    /// Whether it was there already.
    pub was_there: bool,
}

impl Baked {
    fn new(recipe: &Recipe, image: &Image, was_there: bool) -> Self {
        let label = |name: &str| image.labels.get(name).cloned().unwrap_or_default();
        Self {
            image: recipe.image(),
            version: label(LABEL_PACKAGE_VERSION),
            integrity: label(LABEL_INTEGRITY),
            was_there,
        }
    }
}

/// Bakes one recipe.
#[derive(Debug)]
pub struct Oven<'a> {
    pub daemon: &'a Engine,
    /// Where the image that it is installed on may be, if it can be told.
    pub host: Option<&'a Daemon>,
    /// Who pulls that, and by which proxies everything is reached.
    pub cli: &'a DockerCli,
    pub progress: &'a Progress,
    /// The folder of berth's state, where one process waits for another.
    pub state: &'a Path,
}

impl Oven<'_> {
    /// The image of `recipe`, baked if it isn't there; with `anew` it is baked in any case.
    pub async fn bake(&self, recipe: &Recipe, anew: bool) -> Result<Baked, BakeError> {
        let package = recipe.package.main();
        let docker = |source| BakeError::Docker { package: package.to_owned(), source };
        let found = self.daemon.image(&recipe.image()).await.map_err(docker)?;
        let former = match found {
            Some(image) if !anew => {
                let baked = Baked::new(recipe, &image, true);
                return recipe.expects(&baked.integrity).map(|()| baked);
            }
            found => found.map(|image| image.id),
        };
        if anew {
            // What it is installed on may be newer as well.
            self.fetch_base(recipe).await?;
        }
        let title = format!("`{package}` with {}", recipe.package.runner.as_str());
        self.progress.say(&format!("baking {title}, once"));
        let task = self.progress.task(&format!("baking {title}"));
        let (mut looks, mut ground) = (0, Ground::Git);
        loop {
            looks += 1;
            let mut container = None;
            // Somebody else may have come as far as the second.
            for on in [Ground::Git, Ground::Compilers] {
                if container.is_none() {
                    let found = self.daemon.inspect(&on.container(recipe)).await.map_err(docker)?;
                    container = found.map(|found| (on, found));
                }
            }
            match container {
                Some((on, container)) => {
                    if self.advance(recipe, on, &container, looks % LOOKS_A_CLOCK == 0).await? == Step::Again
                    {
                        self.progress
                            .say(&format!("{title} needs a compiler or git, and is baked with them"));
                        ground = Ground::Compilers;
                    }
                }
                // Somebody may have finished it in this moment.
                None => match self.daemon.image(&recipe.image()).await.map_err(docker)? {
                    Some(image) if Some(&image.id) != former.as_ref() => {
                        if let Some(former) = &former {
                            self.daemon.remove_unnamed(former).await.map_err(docker)?;
                        }
                        let baked = Baked::new(recipe, &image, false);
                        recipe.expects(&baked.integrity)?;
                        room::note(self.state, self.daemon, &baked.image);
                        task.done(&format!("baked {title}: {}", baked.version));
                        return Ok(baked);
                    }
                    _ => Box::pin(self.begin(recipe, ground)).await?,
                },
            }
        }
    }

    /// Starts the installation; somebody else may be faster.
    async fn begin(&self, recipe: &Recipe, ground: Ground) -> Result<(), BakeError> {
        let archive = container::archive(recipe, &self.proxies())?;
        let base = self.ground(recipe, ground).await?;
        self.launch(recipe, &ground.container(recipe), container::create_body(recipe, &base), archive).await
    }

    /// Makes and starts a container by a name that is a lock, with an archive unpacked at its root.
    async fn launch(
        &self,
        recipe: &Recipe,
        name: &str,
        body: Value,
        archive: Vec<u8>,
    ) -> Result<(), BakeError> {
        let package = recipe.package.main();
        let docker = |source| BakeError::Docker { package: package.to_owned(), source };
        match self.daemon.create(name, body).await {
            Ok(_) => {}
            Err(error) if error.is_conflict() => return Ok(()),
            Err(error) if error.is_not_found() => return self.fetch_base(recipe).await,
            Err(error) => return Err(docker(error)),
        }
        // Nobody but its creator puts files into it: they would come back after the installation has removed them.
        let started = async {
            self.daemon.upload(name, "/", archive).await?;
            self.daemon.start(name).await
        };
        match started.await {
            // It took too long, and somebody else has given it up.
            Err(error) if error.is_not_found() => Ok(()),
            started => started.map_err(docker),
        }
    }

    async fn fetch_base(&self, recipe: &Recipe) -> Result<(), BakeError> {
        self.fetch(recipe.base()).await.map_err(|error| BakeError::Base {
            package: recipe.package.main().to_owned(),
            source: Box::new(error),
        })
    }

    /// Puts an image into the daemon that comes from elsewhere.
    pub async fn fetch(&self, image: &str) -> Result<(), ImageError> {
        let host = match self.host {
            Some(host) => crate::dind::engine(host).await.ok(),
            None => None,
        };
        let (host, image) = (host.as_ref(), [image]);
        let mut placed = images::ensure(self.state, host, self.daemon, image, self.cli, self.progress).await;
        placed.pop().map_or(Ok(()), |(_, placed)| placed.map(drop))
    }

    /// The proxies of an installation that has none of its own: those of any container.
    fn proxies(&self) -> Proxies {
        let engine = || self.host.map(|host| host.address.clone());
        // What is wrong with the file is told where its credentials are asked for, and by `berth doctor`.
        self.cli.proxies(&self.daemon.endpoint().to_string(), engine).unwrap_or_default().reachable()
    }

    /// Waits for an installation, or makes an image of its end.
    async fn advance(
        &self,
        recipe: &Recipe,
        ground: Ground,
        found: &Container,
        look_at_clock: bool,
    ) -> Result<Step, BakeError> {
        if found.status == "exited" {
            return self.finish(recipe, ground, found).await;
        }
        self.wait(recipe, found, look_at_clock).await.map(|()| Step::On)
    }

    /// Waits a little for a container that has not ended, and gives up one that takes too long.
    async fn wait(&self, recipe: &Recipe, found: &Container, look_at_clock: bool) -> Result<(), BakeError> {
        let package = || recipe.package.main().to_owned();
        let docker = |source| BakeError::Docker { package: package(), source };
        match found.status.as_str() {
            "created" | "running" => {
                sleep(LOOK_EVERY).await;
                if !look_at_clock {
                    return Ok(());
                }
                let since = if found.running { &found.started_at } else { &found.created_at };
                let Ok(since) = since.parse::<jiff::Timestamp>() else { return Ok(()) };
                let age = self.daemon.now().await.map_err(docker)? - since.as_second();
                let limit = if found.running { recipe.bake.time.as_secs() } else { STALE.unsigned_abs() };
                if u64::try_from(age).is_ok_and(|age| age > limit) {
                    self.daemon.remove(&found.id).await.map_err(docker)?;
                    if found.running {
                        return Err(BakeError::TooLong { package: package(), after: recipe.bake.time });
                    }
                }
                Ok(())
            }
            // It is being removed, or paused by somebody.
            _ => {
                sleep(LOOK_EVERY).await;
                Ok(())
            }
        }
    }

    /// Makes the image of an installation that has ended, or says why it failed; the container goes in any case.
    async fn finish(&self, recipe: &Recipe, ground: Ground, ended: &Container) -> Result<Step, BakeError> {
        let package = || recipe.package.main().to_owned();
        let docker = |source| BakeError::Docker { package: package(), source };
        let log = match self.daemon.log_tail(&ended.id, 400).await {
            // Somebody else has finished it.
            Err(error) if error.is_not_found() || error.is_conflict() => return Ok(Step::On),
            log => log.map_err(docker)?,
        };
        let result = container::Installed::find(&log).filter(|_| ended.exit_code == 0);
        let Some(installed) = result else {
            self.daemon.remove(&ended.id).await.map_err(docker)?;
            if ended.oom_killed {
                return Err(BakeError::Memory { package: package(), bytes: recipe.bake.memory });
            }
            let words = recipe.redact(&container::last_words(&log, ended.exit_code), &self.proxies());
            let failed = BakeError::failed(&package(), &log, words);
            if ground == Ground::Git
                && matches!(&failed, BakeError::Install { cause, .. } if cause.needs_tools())
            {
                return Ok(Step::Again);
            }
            return Err(failed);
        };
        if let Some(what) = installed.odd() {
            self.daemon.remove(&ended.id).await.map_err(docker)?;
            return Err(BakeError::Odd { package: package(), what });
        }
        if let Err(changed) = recipe.expects(&installed.integrity) {
            self.daemon.remove(&ended.id).await.map_err(docker)?;
            return Err(changed);
        }
        let image = recipe.image();
        let made = match ground {
            Ground::Git => {
                self.daemon.commit(&ended.id, &image, installed.config(recipe)).await.map_err(docker)
            }
            Ground::Compilers => Box::pin(self.copy(recipe, ended, &installed)).await,
        };
        match made {
            Err(BakeError::Docker { source, .. }) if source.is_not_found() || source.is_conflict() => {
                return Ok(Step::On);
            }
            Err(error) => return Err(error),
            Ok(id) => {
                // Whoever was at it at the same time has taken the name from ours.
                self.daemon.remove_unnamed(&id).await.map_err(docker)?;
            }
        }
        self.daemon.remove(&ended.id).await.map_err(docker)?;
        Ok(Step::On)
    }
}

/// What an installation that has ended asks for.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    On,
    /// Once more, with compilers and git.
    Again,
}
