//! Requests to a Docker daemon that need no stream of their own. The only file that names bollard.
//!
//! Every method is one operation of the Engine API and fails as a [`DockerError`] that names it and its object.

use std::collections::HashMap;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bollard::errors::Error as Bollard;
use bollard::models::{ContainerCreateBody, ContainerSummary, ContainerSummaryStateEnum};
use bollard::query_parameters as query;
use bollard::{BollardRequest, ClientVersion};
use bytes::Bytes;
use futures::{Stream as FutureStream, StreamExt, TryStreamExt};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;

use super::dial::{DialError, Endpoint, Stream};

/// A failed operation on a daemon.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The daemon refused; `message` is its own.
    #[error("cannot {op} `{object}`: {message}")]
    Refused { op: &'static str, object: String, status: u16, message: String },
    #[error("cannot {op} `{object}`: the daemon gave no proper answer")]
    Broken { op: &'static str, object: String, source: Box<dyn std::error::Error + Send + Sync> },
}

impl DockerError {
    /// The HTTP status with which the daemon refused.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    pub fn is_conflict(&self) -> bool {
        self.status() == Some(409)
    }

    /// Whether what was asked for is at fault, and not the daemon.
    pub fn is_bad_request(&self) -> bool {
        const SETTINGS: [&str; 3] =
            ["unable to find user", "unable to find group", "OCI runtime create failed"];
        match self {
            Self::Refused { status: 400, .. } => true,
            Self::Refused { message, .. } => SETTINGS.iter().any(|part| message.contains(part)),
            _ => false,
        }
    }

    pub(crate) fn broken(
        op: &'static str,
        object: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Broken { op, object: object.to_owned(), source: source.into() }
    }
}

/// Turns bollard's errors into ours, with the operation and its object.
fn explain(op: &'static str, object: &str) -> impl Fn(Bollard) -> DockerError {
    move |error| match error {
        Bollard::HyperLegacyError { err } => match dialled(&err) {
            Some(error) => error.into(),
            None => DockerError::broken(op, object, err),
        },
        Bollard::DockerResponseServerError { status_code, message } => {
            DockerError::Refused { op, object: object.to_owned(), status: status_code, message }
        }
        Bollard::DockerStreamError { error } => {
            DockerError::Refused { op, object: object.to_owned(), status: 500, message: error }
        }
        other => DockerError::broken(op, object, other),
    }
}

/// A failed dial arrives wrapped by hyper, which owns it; this makes another of it.
fn dialled(error: &(dyn std::error::Error + 'static)) -> Option<DialError> {
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<DialError>() {
            Some(DialError::Connect { endpoint, source }) => {
                let source = std::io::Error::new(source.kind(), source.to_string());
                return Some(DialError::Connect { endpoint: endpoint.clone(), source });
            }
            Some(DialError::Timeout { endpoint, after }) => {
                return Some(DialError::Timeout { endpoint: endpoint.clone(), after: *after });
            }
            _ => next = error.source(),
        }
    }
    None
}

/// `None` where the daemon answers 404.
fn absent<T>(result: Result<T, DockerError>) -> Result<Option<T>, DockerError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// An image, as far as berth must know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub id: String,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    /// Digests of the layers' contents: the same in each daemon that has the image.
    pub layers: Vec<String>,
    pub created: String,
    pub bytes: u64,
}

impl Image {
    /// Whether both are one image, though two image stores may give it two ids.
    pub fn is_same(&self, other: &Self) -> bool {
        self.id == other.id
            || (self.layers == other.layers
                && self.created == other.created
                && self.entrypoint == other.entrypoint
                && self.cmd == other.cmd)
    }
}

/// A row of the daemon's list of containers.
#[derive(Debug, Clone)]
pub struct Listed {
    pub id: String,
    pub name: String,
    pub labels: HashMap<String, String>,
    pub running: bool,
    /// It was never started, or has ended: not running, and not paused or on its way either.
    pub stopped: bool,
    /// Seconds since the epoch, by the daemon's clock.
    pub created: i64,
}

/// One container, inspected.
#[derive(Debug, Clone)]
pub struct Container {
    pub id: String,
    pub image: String,
    pub labels: HashMap<String, String>,
    pub running: bool,
    pub status: String,
    /// `healthy`, `unhealthy`, `starting`, or empty where the container has no health check.
    pub health: String,
    /// What the last health check printed.
    pub health_log: String,
    pub exit_code: i64,
    pub oom_killed: bool,
    pub started_at: String,
    pub address: Option<String>,
}

/// What a container uses at the moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub memory_bytes: u64,
    pub cpu_percent: f64,
}

/// The daemon itself.
#[derive(Debug, Clone)]
pub struct Version {
    pub engine: String,
    pub api: String,
}

/// A daemon. Connects at its first use; cheap to clone, connections are shared.
#[derive(Debug, Clone)]
pub struct Engine {
    docker: bollard::Docker,
    endpoint: Endpoint,
}

impl Engine {
    /// # Panics
    /// Never: bollard refuses malformed addresses only, and this one is constant.
    pub fn new(endpoint: Endpoint) -> Self {
        // No bound on an answer here: loading an image may take minutes. Callers with a deadline set their own.
        let day = 24 * 60 * 60;
        let client = Client::builder(TokioExecutor::new()).build(Dialer(endpoint.clone()));
        let transport = move |mut request: BollardRequest| {
            unversion(request.uri_mut());
            let client = client.clone();
            async move { client.request(request).await.map_err(Bollard::from) }
        };
        let version = ClientVersion { major_version: 1, minor_version: 41 };
        #[expect(
            clippy::expect_used,
            reason = "fails for a malformed address only, and this one is constant"
        )]
        let docker =
            bollard::Docker::connect_with_custom_transport(transport, Some("http://berth"), day, &version)
                .expect("a constant address");
        Self { docker, endpoint }
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub async fn version(&self) -> Result<Version, DockerError> {
        let version = self.docker.version().await.map_err(explain("ask", &self.endpoint.to_string()))?;
        Ok(Version {
            engine: version.version.unwrap_or_default(),
            api: version.api_version.unwrap_or_default(),
        })
    }

    pub async fn ping(&self) -> Result<(), DockerError> {
        self.docker.ping().await.map(drop).map_err(explain("ask", &self.endpoint.to_string()))
    }

    pub async fn image(&self, name: &str) -> Result<Option<Image>, DockerError> {
        let found =
            absent(self.docker.inspect_image(name).await.map_err(explain("inspect the image", name)))?;
        Ok(found.map(|image| {
            let config = image.config.unwrap_or_default();
            Image {
                id: image.id.unwrap_or_default(),
                entrypoint: config.entrypoint.unwrap_or_default(),
                cmd: config.cmd.unwrap_or_default(),
                layers: image.root_fs.and_then(|fs| fs.layers).unwrap_or_default(),
                created: image.created.unwrap_or_default(),
                bytes: image.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
            }
        }))
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

    /// Pulls from a registry; `progress` gets each layer's id, bytes done, and bytes in all.
    pub async fn pull_image(
        &self,
        name: &str,
        mut progress: impl FnMut(&str, u64, u64),
    ) -> Result<(), DockerError> {
        let options = query::CreateImageOptions { from_image: Some(tagged(name)), ..Default::default() };
        let answers = self.docker.create_image(Some(options), None, None);
        drain(answers, "pull the image", name, |info| {
            if let (Some(layer), Some(detail)) = (&info.id, &info.progress_detail) {
                let bytes = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
                progress(layer, bytes(detail.current), bytes(detail.total));
            }
            info.error_detail.and_then(|error| error.message)
        })
        .await
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
        let Some(container) = absent(found.map_err(explain("inspect the container", name)))? else {
            return Ok(None);
        };
        let state = container.state.unwrap_or_default();
        let health = state.health.unwrap_or_default();
        let config = container.config.unwrap_or_default();
        let networks = container.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        Ok(Some(Container {
            id: container.id.unwrap_or_default(),
            image: container.image.unwrap_or_default(),
            labels: config.labels.unwrap_or_default(),
            running: state.running.unwrap_or_default(),
            status: state.status.map(|status| status.to_string()).unwrap_or_default(),
            health: health.status.map(|status| status.to_string()).unwrap_or_default(),
            health_log: health.log.and_then(|log| log.last()?.output.clone()).unwrap_or_default(),
            exit_code: state.exit_code.unwrap_or_default(),
            oom_killed: state.oom_killed.unwrap_or_default(),
            started_at: state.started_at.unwrap_or_default(),
            address: networks.into_values().find_map(|n| n.ip_address.filter(|ip| !ip.is_empty())),
        }))
    }

    /// All containers, running or not, that carry `label` (`key=value`).
    pub async fn list(&self, label: &str) -> Result<Vec<Listed>, DockerError> {
        let filters = HashMap::from([("label".to_owned(), vec![label.to_owned()])]);
        let options =
            query::ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
        let rows = self.docker.list_containers(Some(options)).await;
        Ok(rows.map_err(explain("ask", &self.endpoint.to_string()))?.into_iter().map(listed).collect())
    }

    /// The daemon's clock, in seconds since the epoch.
    pub async fn now(&self) -> Result<i64, DockerError> {
        const OP: &str = "read the clock of";
        let endpoint = self.endpoint.to_string();
        let info = self.docker.info().await.map_err(explain(OP, &endpoint))?;
        let time = info.system_time.unwrap_or_default().parse::<jiff::Timestamp>();
        Ok(time.map_err(|error| DockerError::broken(OP, &endpoint, error))?.as_second())
    }

    /// Memory and CPU of a running container; takes a second, for the daemon compares two samples.
    pub async fn usage(&self, name: &str) -> Result<Usage, DockerError> {
        let options = query::StatsOptions { stream: false, one_shot: false };
        let mut stats = Box::pin(self.docker.stats(name, Some(options)));
        let sample = stats.next().await.transpose().map_err(explain("read the statistics of", name))?;
        Ok(sample.map(usage).unwrap_or_default())
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

/// Reads a stream of progress messages to its end, and finds the error that may stand among them.
async fn drain<T>(
    answers: impl FutureStream<Item = Result<T, Bollard>>,
    op: &'static str,
    object: &str,
    mut error_in: impl FnMut(T) -> Option<String>,
) -> Result<(), DockerError> {
    let mut answers = std::pin::pin!(answers);
    while let Some(answer) = answers.next().await {
        if let Some(message) = error_in(answer.map_err(explain(op, object))?) {
            return Err(DockerError::Refused { op, object: object.to_owned(), status: 500, message });
        }
    }
    Ok(())
}

fn listed(row: ContainerSummary) -> Listed {
    let name = row.names.unwrap_or_default().into_iter().next().unwrap_or_default();
    Listed {
        id: row.id.unwrap_or_default(),
        name: name.trim_start_matches('/').to_owned(),
        labels: row.labels.unwrap_or_default(),
        running: row.state == Some(ContainerSummaryStateEnum::RUNNING),
        stopped: matches!(
            row.state,
            Some(
                ContainerSummaryStateEnum::CREATED
                    | ContainerSummaryStateEnum::EXITED
                    | ContainerSummaryStateEnum::DEAD
            )
        ),
        created: row.created.unwrap_or_default(),
    }
}

/// As `docker stats` computes it: CPU time used between two samples in percent of one processor.
#[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
fn usage(sample: bollard::models::ContainerStatsResponse) -> Usage {
    let memory = sample.memory_stats.unwrap_or_default();
    let cache = memory
        .stats
        .as_ref()
        .and_then(|stats| stats.get("total_inactive_file").or_else(|| stats.get("inactive_file")).copied());
    let total = |stats: &bollard::models::ContainerCpuStats| {
        let used = stats.cpu_usage.as_ref().and_then(|usage| usage.total_usage).unwrap_or_default();
        (used, stats.system_cpu_usage.unwrap_or_default(), stats.online_cpus.unwrap_or(1))
    };
    let (used, system, processors) = sample.cpu_stats.as_ref().map(total).unwrap_or_default();
    let (used_before, system_before, _) = sample.precpu_stats.as_ref().map(total).unwrap_or_default();
    let elapsed = system.saturating_sub(system_before) as f64;
    let cpu_percent = if elapsed > 0.0 && system_before > 0 {
        used.saturating_sub(used_before) as f64 / elapsed * f64::from(processors) * 100.0
    } else {
        0.0
    };
    Usage {
        memory_bytes: memory.usage.unwrap_or_default().saturating_sub(cache.unwrap_or_default()),
        cpu_percent,
    }
}

/// Drops `/v1.41` from the path: without a version each daemon answers with its own newest, so that one berth
/// serves all of them and no request is spent on finding out.
fn unversion(uri: &mut http::Uri) {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let bare = path.strip_prefix("/v1.41").unwrap_or(path);
    if let Ok(bare) = format!("http://berth{bare}").parse() {
        *uri = bare;
    }
}

/// Without a tag or a digest the daemon would pull every tag that there is.
fn tagged(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

/// hyper's connector over our own connections.
#[derive(Clone)]
struct Dialer(Endpoint);

struct Dialed(TokioIo<Stream>);

impl tower_service::Service<http::Uri> for Dialer {
    type Response = Dialed;
    type Error = DialError;
    type Future = futures::future::BoxFuture<'static, Result<Dialed, DialError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let endpoint = self.0.clone();
        Box::pin(async move { endpoint.dial().await.map(|stream| Dialed(TokioIo::new(stream))) })
    }
}

impl Connection for Dialed {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Dialed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for Dialed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tag_is_pulled_and_not_all() {
        for (image, expected) in [
            ("berth-time", "berth-time:latest"),
            ("box:5000/time", "box:5000/time:latest"),
            ("box:5000/time:2", "box:5000/time:2"),
            ("time@sha256:ab", "time@sha256:ab"),
        ] {
            assert_eq!(tagged(image), expected);
        }
    }
}
