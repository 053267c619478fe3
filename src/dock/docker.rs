//! Requests to a Docker daemon that need no stream of their own.
//!
//! Every method is one operation of the Engine API, and fails as a [`DockerError`] that names the operation and its
//! object. Only this file and its folder name bollard; none of its types leaves them.

mod archive;
mod bake;
mod error;
mod file;
mod model;
mod network;
mod probe;
mod transport;

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::ContainerCreateBody;
use bollard::query_parameters as query;
use bytes::Bytes;
use futures::{Stream as FutureStream, StreamExt, TryStreamExt};
use serde_json::Value;

pub use error::DockerError;
pub(in crate::dock) use model::digests;
pub use model::{Container, Image, Listed, Process, Usage, Version};
pub use network::Attached;
pub use probe::Stat;

use super::dial::Endpoint;
use crate::docker_cli::Credential;
use error::{absent, drain, explain};

/// A daemon. Connects at its first use; cheap to clone, connections are shared.
#[derive(Debug, Clone)]
pub struct Engine {
    docker: bollard::Docker,
    endpoint: Endpoint,
}

/// A name where the machine has one for the number; busybox knows no other column.
pub const BY_NAME: &str = "user";
/// Whose number it is does not depend on the machine's names.
pub const BY_NUMBER: &str = "uid";

impl Engine {
    pub fn new(endpoint: Endpoint) -> Self {
        Self { docker: transport::connect(&endpoint), endpoint }
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub async fn version(&self) -> Result<Version, DockerError> {
        let version = self.docker.version().await.map_err(explain("ask", &self.endpoint.to_string()))?;
        Ok(model::version(version))
    }

    pub async fn ping(&self) -> Result<(), DockerError> {
        self.docker.ping().await.map(drop).map_err(explain("ask", &self.endpoint.to_string()))
    }

    pub async fn image(&self, name: &str) -> Result<Option<Image>, DockerError> {
        let found =
            absent(self.docker.inspect_image(name).await.map_err(explain("inspect the image", name)))?;
        Ok(found.map(model::image))
    }

    /// The image as a tar stream (`docker save`).
    pub fn export_image(
        &self,
        name: &str,
    ) -> impl FutureStream<Item = Result<Bytes, std::io::Error>> + use<> {
        self.docker.export_image(name).map_err(std::io::Error::other)
    }

    /// Loads a tar stream of images (`docker load`).
    pub async fn load_image<S>(&self, name: &str, tar: S) -> Result<(), DockerError>
    where
        S: FutureStream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
    {
        let options = query::ImportImageOptions { quiet: true, ..Default::default() };
        let answers = self.docker.import_image(options, bollard::body_try_stream(tar), None);
        drain(answers, "load the image", name, |info| info.error_detail.and_then(|error| error.message)).await
    }

    /// Pulls from a registry, as somebody it knows or as nobody; `progress` gets each layer's id, bytes done, and bytes in all.
    pub async fn pull_image(
        &self,
        name: &str,
        credential: Option<&Credential>,
        mut progress: impl FnMut(&str, u64, u64),
    ) -> Result<(), DockerError> {
        let options =
            query::CreateImageOptions { from_image: Some(model::tagged(name)), ..Default::default() };
        let answers = self.docker.create_image(Some(options), None, credential.map(model::credential));
        drain(answers, "pull the image", name, |info| {
            if let (Some(layer), Some(detail)) = (&info.id, &info.progress_detail) {
                let bytes = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
                progress(layer, bytes(detail.current), bytes(detail.total));
            }
            info.error_detail.and_then(|error| error.message)
        })
        .await
    }

    /// The digest that a registry has under a name now.
    pub async fn registry_digest(
        &self,
        name: &str,
        credential: Option<&Credential>,
    ) -> Result<Option<String>, DockerError> {
        let asked =
            self.docker.inspect_registry_image(&model::tagged(name), credential.map(model::credential)).await;
        Ok(asked.map_err(explain("ask the registry for the image", name))?.descriptor.digest)
    }

    /// Removes an image that has lost its names to a newer one; false if it has some, is in use, or is gone.
    pub async fn remove_unnamed(&self, id: &str) -> Result<bool, DockerError> {
        let found = absent(self.docker.inspect_image(id).await.map_err(explain("inspect the image", id)))?;
        let Some(image) = found else { return Ok(false) };
        if image.repo_tags.is_some_and(|tags| !tags.is_empty()) {
            return Ok(false);
        }
        match self.remove_image(id).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_conflict() || error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives an image, by its id, a name that another has at the moment.
    pub async fn tag_image(&self, id: &str, name: &str) -> Result<(), DockerError> {
        let options = query::TagImageOptions { repo: Some(model::tagged(name)), tag: None };
        self.docker
            .tag_image(id, Some(options))
            .await
            .map_err(explain("give back its name to the image", name))
    }

    /// Removes an image nobody uses any more; one in use stays.
    pub async fn remove_image(&self, id: &str) -> Result<(), DockerError> {
        let removed = self.docker.remove_image(id, None::<query::RemoveImageOptions>, None).await;
        removed.map(drop).map_err(explain("remove the image", id))
    }

    /// Creates a container from the Engine API's own JSON (`POST /containers/create`); gives its id.
    pub async fn create(&self, name: &str, body: Value) -> Result<String, DockerError> {
        const OP: &str = "create the container";
        let body: ContainerCreateBody =
            serde_json::from_value(body).map_err(|error| DockerError::broken(OP, name, error))?;
        let options = query::CreateContainerOptions { name: Some(name.to_owned()), ..Default::default() };
        let created = self.docker.create_container(Some(options), body).await.map_err(explain(OP, name))?;
        Ok(created.id)
    }

    pub async fn start(&self, name: &str) -> Result<(), DockerError> {
        let options = None::<query::StartContainerOptions>;
        self.docker.start_container(name, options).await.map_err(explain("start the container", name))
    }

    /// Stops with `SIGTERM`, and `SIGKILL` after `grace`.
    pub async fn stop(&self, name: &str, grace: Duration) -> Result<(), DockerError> {
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = query::StopContainerOptions { t: Some(seconds), ..Default::default() };
        self.docker.stop_container(name, Some(options)).await.map_err(explain("stop the container", name))
    }

    pub async fn kill(&self, name: &str, signal: &str) -> Result<(), DockerError> {
        let options = query::KillContainerOptions { signal: signal.to_owned() };
        self.docker.kill_container(name, Some(options)).await.map_err(explain("kill the container", name))
    }

    /// Removes a container, running or not, with its anonymous volumes; false if it was gone already.
    pub async fn remove(&self, name: &str) -> Result<bool, DockerError> {
        let options = query::RemoveContainerOptions { force: true, v: true, link: false };
        let removed = self.docker.remove_container(name, Some(options)).await;
        match removed.map_err(explain("remove the container", name)) {
            Ok(()) => Ok(true),
            // 409: the daemon is at it already (`AutoRemove`).
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub async fn unpause(&self, name: &str) -> Result<(), DockerError> {
        self.docker.unpause_container(name).await.map_err(explain("unpause the container", name))
    }

    pub async fn rename(&self, from: &str, to: &str) -> Result<(), DockerError> {
        let options = query::RenameContainerOptions { name: to.to_owned() };
        self.docker.rename_container(from, options).await.map_err(explain("rename the container", from))
    }

    pub async fn inspect(&self, name: &str) -> Result<Option<Container>, DockerError> {
        let options = None::<query::InspectContainerOptions>;
        let found = self.docker.inspect_container(name, options).await;
        Ok(absent(found.map_err(explain("inspect the container", name)))?.map(model::container))
    }

    /// What runs in a container, as the engine's machine sees it; its users as `column` of ps(1) has them ([`BY_NAME`],
    /// [`BY_NUMBER`]).
    pub async fn top(&self, name: &str, column: &str) -> Result<Vec<Process>, DockerError> {
        // `args` comes last, for the engine splits at spaces and gives what is left over to the last column.
        let options = query::TopOptions { ps_args: format!("-eo pid,{column},args") };
        let top = self.docker.top_processes(name, Some(options)).await;
        let rows = top.map_err(explain("list the processes of", name))?.processes.unwrap_or_default();
        Ok(rows.into_iter().filter_map(model::process).collect())
    }

    /// All that runs in a container, nested containers included: the process's name (`comm`) and its command line.
    pub async fn processes(&self, name: &str) -> Result<Vec<(String, String)>, DockerError> {
        let options = query::TopOptions { ps_args: "-eo pid,comm,args".to_owned() };
        let top = self.docker.top_processes(name, Some(options)).await;
        let rows = top.map_err(explain("list the processes of", name))?.processes.unwrap_or_default();
        let rows = rows.into_iter().filter_map(|row| <[String; 3]>::try_from(row).ok());
        Ok(rows.map(|[_, name, command]| (name, model::bare(&command).to_owned())).collect())
    }

    /// All containers, running or not, that carry `label` (`key=value`).
    pub async fn list(&self, label: &str) -> Result<Vec<Listed>, DockerError> {
        let filters = HashMap::from([("label".to_owned(), vec![label.to_owned()])]);
        let options =
            query::ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
        let rows = self.docker.list_containers(Some(options)).await;
        Ok(rows.map_err(explain("ask", &self.endpoint.to_string()))?.into_iter().map(model::listed).collect())
    }

    /// The running containers that may write to a volume.
    pub async fn writers(&self, volume: &str) -> Result<Vec<Listed>, DockerError> {
        let filters = HashMap::from([("volume".to_owned(), vec![volume.to_owned()])]);
        let options = query::ListContainersOptions { filters: Some(filters), ..Default::default() };
        let rows = self.docker.list_containers(Some(options)).await;
        let mut rows = rows.map_err(explain("list the containers that have the volume", volume))?;
        rows.retain(|row| model::writes(row, volume));
        Ok(rows.into_iter().map(model::listed).collect())
    }

    /// The daemon's clock, in seconds since the epoch.
    pub async fn now(&self) -> Result<i64, DockerError> {
        Ok(self.clock().await?.as_second())
    }

    /// The daemon's clock.
    pub async fn clock(&self) -> Result<jiff::Timestamp, DockerError> {
        const OP: &str = "read the clock of";
        let endpoint = self.endpoint.to_string();
        let info = self.docker.info().await.map_err(explain(OP, &endpoint))?;
        let time = info.system_time.unwrap_or_default().parse::<jiff::Timestamp>();
        time.map_err(|error| DockerError::broken(OP, &endpoint, error))
    }

    /// The memory of the daemon's machine, or as much of it as the daemon may have; bytes.
    pub async fn memory(&self) -> Result<u64, DockerError> {
        let info = self.docker.info().await.map_err(explain("ask", &self.endpoint.to_string()))?;
        Ok(info.mem_total.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default())
    }

    /// What the daemon confines containers with: `name=seccomp,profile=builtin`, `name=apparmor`, …
    pub async fn security_options(&self) -> Result<Vec<String>, DockerError> {
        let info = self.docker.info().await.map_err(explain("ask", &self.endpoint.to_string()))?;
        Ok(info.security_options.unwrap_or_default())
    }

    /// Memory and CPU of a running container. With `sampled`, of this moment: that takes a second, for the daemon compares
    /// two samples. Else the CPU is an average since the container was `created`.
    pub async fn usage(&self, name: &str, sampled: bool, created: i64) -> Result<Usage, DockerError> {
        let options = query::StatsOptions { stream: false, one_shot: !sampled };
        let mut stats = Box::pin(self.docker.stats(name, Some(options)));
        let sample = stats.next().await.transpose().map_err(explain("read the statistics of", name))?;
        Ok(sample.map(|sample| model::usage(sample, created)).unwrap_or_default())
    }

    /// Unpacks a tar archive into a container's folder; the container needn't run.
    pub async fn upload(&self, name: &str, folder: &str, tar: Vec<u8>) -> Result<(), DockerError> {
        let options = query::UploadToContainerOptions { path: folder.to_owned(), ..Default::default() };
        let body = bollard::body_full(tar.into());
        let uploaded = self.docker.upload_to_container(name, Some(options), body).await;
        uploaded.map_err(explain("copy files into", name))
    }

    /// Whether a container's file system has `path`; the container needn't run.
    pub async fn has_path(&self, name: &str, path: &str) -> Result<bool, DockerError> {
        let options = query::ContainerArchiveInfoOptions { path: path.to_owned() };
        let found = self.docker.get_container_archive_info(name, Some(options)).await;
        Ok(absent(found.map_err(explain("look into", name)))?.is_some())
    }

    /// The last lines of a container's log.
    pub async fn log_tail(&self, name: &str, lines: u32) -> Result<String, DockerError> {
        let options =
            query::LogsOptions { stdout: true, stderr: true, tail: lines.to_string(), ..Default::default() };
        let chunks = self.docker.logs(name, Some(options)).map_ok(|chunk| chunk.to_string());
        chunks.try_collect().await.map_err(explain("read the log of", name))
    }

    /// The IPv4 networks that the engine's own networks have.
    pub async fn subnets(&self) -> Result<Vec<ipnet::Ipv4Net>, DockerError> {
        let found = self.docker.list_networks(None::<query::ListNetworksOptions>).await;
        let networks = found.map_err(explain("list the networks of", &self.endpoint.to_string()))?;
        let subnets = networks.into_iter().filter_map(|network| network.ipam?.config).flatten();
        Ok(subnets.filter_map(|config| config.subnet?.parse().ok()).collect())
    }

    /// Creates a volume, or finds the one of that name.
    pub async fn create_volume(
        &self,
        name: &str,
        labels: HashMap<String, String>,
    ) -> Result<(), DockerError> {
        let request = bollard::models::VolumeCreateRequest {
            name: Some(name.to_owned()),
            labels: Some(labels),
            ..Default::default()
        };
        self.docker.create_volume(request).await.map(drop).map_err(explain("create the volume", name))
    }

    /// The labels of a volume, if there is one.
    pub async fn volume_labels(&self, name: &str) -> Result<Option<HashMap<String, String>>, DockerError> {
        let found = self.docker.inspect_volume(name).await.map_err(explain("inspect the volume", name));
        Ok(absent(found)?.map(|volume| volume.labels))
    }

    /// The names of the volumes that carry `label` (`key=value`).
    pub async fn volumes(&self, label: &str) -> Result<Vec<String>, DockerError> {
        let filters = HashMap::from([("label".to_owned(), vec![label.to_owned()])]);
        let options = query::ListVolumesOptions { filters: Some(filters) };
        let found =
            self.docker.list_volumes(Some(options)).await.map_err(explain("list the volumes of", label))?;
        Ok(found.volumes.unwrap_or_default().into_iter().map(|volume| volume.name).collect())
    }

    /// The names of the volumes that nobody has named (an image's `VOLUME`) and no container has.
    pub async fn unused_volumes(&self) -> Result<Vec<String>, DockerError> {
        let filters = HashMap::from([("dangling".to_owned(), vec!["true".to_owned()])]);
        let options = query::ListVolumesOptions { filters: Some(filters) };
        let found = self.docker.list_volumes(Some(options)).await;
        let found = found.map_err(explain("list the volumes of", &self.endpoint.to_string()))?;
        let volumes = found.volumes.unwrap_or_default().into_iter();
        let nameless = volumes.filter(|volume| model::is_nameless(&volume.name, &volume.labels));
        Ok(nameless.map(|volume| volume.name).collect())
    }

    /// Removes a volume; false if there was none.
    pub async fn remove_volume(&self, name: &str) -> Result<bool, DockerError> {
        let removed = self.docker.remove_volume(name, None::<query::RemoveVolumeOptions>).await;
        Ok(absent(removed.map_err(explain("remove the volume", name)))?.is_some())
    }

    /// A process in a container that nobody is attached to any more: its exit code, once it has ended.
    pub async fn exec_exit(&self, id: &str) -> Result<Option<i64>, DockerError> {
        let exec = self.docker.inspect_exec(id).await.map_err(explain("inspect the exec", id))?;
        Ok(if exec.running.unwrap_or_default() { None } else { exec.exit_code })
    }
}
