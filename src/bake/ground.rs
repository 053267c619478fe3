//! What packages are installed on: the base image with git, and for installations that need them, with compilers as well.
//!
//! No server runs on the image with compilers: what was installed on it is copied.

use futures::StreamExt;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::container::{self, Installed};
use super::owned;
use super::packages::Pieces;
use super::{BakeError, LABEL_BAKE, LOOKS_A_CLOCK, Oven};
use crate::config::Recipe;
use crate::dock::docker::{Container, DockerError};
use crate::dock::labels::{self, LABEL_VERSION};
use crate::dock::owner::new_session;
use crate::human::hex;

/// What an installation finds besides its runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ground {
    Git,
    Compilers,
}

impl Ground {
    fn as_str(self) -> &'static str {
        match self {
            Self::Git => "git",
            Self::Compilers => "compilers",
        }
    }

    /// The container of a recipe's installation on it; its name is the lock.
    pub(super) fn container(self, recipe: &Recipe) -> String {
        match self {
            Self::Git => recipe.container(),
            Self::Compilers => format!("{}-compilers", recipe.container()),
        }
    }

    /// By what a base image really is, and by who installs on it: the container's name is the lock, and the image is made once.
    fn names(self, base: &str) -> (String, String) {
        let hash = hex(&Sha256::digest(format!("{base} {}", self.as_str())));
        (
            format!("berth-ground/{}:{}", self.as_str(), &hash[..12]),
            format!("berth-bake-ground-{}", &hash[..16]),
        )
    }
}

impl Oven<'_> {
    /// The image to install on. Where git cannot be had, that is the base image itself.
    pub(super) async fn ground(&self, recipe: &Recipe, ground: Ground) -> Result<String, BakeError> {
        let docker = |source| BakeError::Docker { package: recipe.package.main().to_owned(), source };
        if self.daemon.image(recipe.base()).await.map_err(docker)?.is_none() {
            self.fetch_base(recipe).await?;
        }
        let missing = || BakeError::NoBase { base: recipe.base().to_owned() };
        let base = self.daemon.image(recipe.base()).await.map_err(docker)?.ok_or_else(missing)?;
        let (image, name) = ground.names(&base.id);
        if self.daemon.image(&image).await.map_err(docker)?.is_some() {
            return Ok(image);
        }
        let task = self.progress.task(&format!("adding {} to `{}`", ground.as_str(), recipe.base()));
        let mut looks = 0;
        let failed = loop {
            looks += 1;
            let Some(found) = self.daemon.inspect(&name).await.map_err(docker)? else {
                if self.daemon.image(&image).await.map_err(docker)?.is_some() {
                    task.done(&format!("added {} to `{}`, once", ground.as_str(), recipe.base()));
                    return Ok(image);
                }
                let body = container::tools_body(recipe, &base.id, &image, ground.as_str());
                let archive = container::tools_archive(recipe, &self.proxies())?;
                self.launch(recipe, &name, body, archive).await?;
                continue;
            };
            if found.status != "exited" {
                self.wait(recipe, &found, looks % LOOKS_A_CLOCK == 0).await?;
                continue;
            }
            if found.exit_code == 0 {
                let config = json!({ "Labels": { LABEL_VERSION: env!("CARGO_PKG_VERSION") } });
                match self.daemon.commit(&found.id, &image, config).await {
                    Err(error) if !error.is_not_found() && !error.is_conflict() => return Err(docker(error)),
                    _ => {}
                }
                self.daemon.remove(&found.id).await.map_err(docker)?;
                continue;
            }
            let log = self.daemon.log_tail(&found.id, 60).await.unwrap_or_default();
            self.daemon.remove(&found.id).await.map_err(docker)?;
            break recipe.redact(&container::last_words(&log, found.exit_code), &self.proxies());
        };
        match ground {
            // Few packages need it, and each of them says so.
            Ground::Git => {
                task.done(&format!("`{}` has no git, and none could be added: {failed}", recipe.base()));
                Ok(base.id)
            }
            Ground::Compilers => Err(BakeError::Tools {
                package: recipe.package.main().to_owned(),
                base: recipe.base().to_owned(),
                log: failed,
            }),
        }
    }

    /// Makes the image of what was installed beside compilers, without them.
    pub(super) async fn copy(
        &self,
        recipe: &Recipe,
        ended: &Container,
        installed: &Installed,
    ) -> Result<String, BakeError> {
        let docker = |source| BakeError::Docker { package: recipe.package.main().to_owned(), source };
        let broken = |error: std::io::Error| docker(DockerError::broken("copy", "the installation", error));
        let ground = Box::pin(self.ground(recipe, Ground::Git)).await?;
        let name =
            format!("berth-copy-{}", new_session().map_err(|error| broken(std::io::Error::other(error)))?);
        // `berth gc` finds it by its label, should this process end here.
        let labels = labels::of_container(&[(LABEL_BAKE, &recipe.image())]);
        let body = json!({ "Image": ground, "Labels": labels, "HostConfig": { "NetworkMode": "none" } });
        let copy = self.daemon.create(&name, body).await.map_err(docker)?;
        let made = async {
            let (pieces, read) = tokio::sync::mpsc::channel(QUEUE);
            let (written, mut copied) = tokio::sync::mpsc::channel(QUEUE);
            let copying = tokio::task::spawn_blocking(move || {
                let failed = written.clone();
                if let Err(error) = owned::copy(Pieces::new(read), owned::Queue(written)) {
                    // Who unpacks it must not take a part for the whole.
                    let _ = failed.blocking_send(Err(error));
                }
            });
            let mut archive = std::pin::pin!(self.daemon.download(&ended.id, "/opt/berth"));
            let sending = async move {
                while let Some(piece) = archive.next().await {
                    // Who copies it has told already why it reads no more.
                    if pieces.send(piece).await.is_err() {
                        break;
                    }
                }
            };
            let stream = futures::stream::poll_fn(move |context| copied.poll_recv(context));
            let (unpacked, (), _) =
                tokio::join!(self.daemon.upload_stream(&copy, "/opt", stream), sending, copying);
            unpacked?;
            self.daemon.commit(&copy, &recipe.image(), installed.config(recipe)).await
        };
        let made = made.await;
        self.daemon.remove(&copy).await.map_err(docker)?;
        made.map_err(docker)
    }
}

/// What waits between the daemon's two ends (pieces of an archive).
const QUEUE: usize = 16;
