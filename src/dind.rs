//! The Docker-in-Docker daemon, a container on the host's engine: made, repaired, watched and removed here.
//!
//! Sessions need only [`endpoint`]; all else serves `berth up`, `down`, `status` and `env`. berth always asks the
//! engine and the daemon for their state. It keeps only the certificates as files.

pub mod addresses;
mod answer;
pub mod certs;
pub mod container;
pub mod containers;
pub mod diagnosis;
pub mod down;
pub mod env;
pub mod ids;
pub mod images;
mod lock;
pub mod owner;
pub mod place;
pub mod progress;
mod reach;
mod sessions;
mod shares;
pub mod spec;
pub mod status;
pub mod up;

use std::time::Duration;

use jiff::Timestamp;

use crate::config::{Config, ConfigError, Daemon, Home};
use crate::dock::dial::{DialError, Endpoint};
use crate::dock::docker::{Container, DockerError, Engine, Version};
use crate::dock::labels::managed_by;
use crate::docker_cli::registry;
use crate::failure::{Code, Explain};

use diagnosis::Trouble;
use images::Refusal;
use lock::{Lock, LockError};
use progress::Progress;
pub use sessions::{ActiveSessions, Sessions};

/// A daemon that has not answered a small question by then is not well.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// An `up` that pulls images over a slow line takes minutes.
const LOCKED_WITHIN: Duration = Duration::from_mins(30);
/// Time for the daemon to end its containers.
const STOP_GRACE: Duration = Duration::from_secs(20);

/// Why the DinD daemon is not as it should be; each names its object.
#[derive(Debug, thiserror::Error)]
pub enum DindError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the Docker engine at `{}` ({}) cannot be used", engine.address, engine.origin)]
    Engine { engine: Box<Daemon>, source: DockerError },
    #[error("the engine at `{}` ({}) is Podman {version}, which berth does not support", engine.address, engine.origin)]
    Podman { engine: Box<Daemon>, version: String },
    #[error("the DinD daemon cannot be used")]
    Daemon { source: DockerError },
    #[error(transparent)]
    Certificates(#[from] certs::CertError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("the image `{image}` of the DinD daemon is not on the engine and cannot be pulled")]
    NoImage { image: String, source: DockerError },
    #[error("the container `{0}` already exists and is not berth's")]
    Foreign(String),
    /// `home` is where that one is.
    #[error("the container `{name}` belongs to another berth home, `{home}`")]
    OtherHome { name: String, home: String },
    #[error("the volume `{0}` is not berth's")]
    ForeignVolume(String),
    #[error("the port {address} is already in use")]
    PortTaken { address: String, source: DockerError },
    #[error("cannot start the DinD daemon `{name}`")]
    Start { name: String, source: DockerError },
    /// `log` is the end of what the container printed.
    #[error("the DinD daemon `{name}` did not get ready: {cause}")]
    NotReady { name: String, cause: String, log: String },
    /// As its own last words have it.
    #[error("{}", .0.cause)]
    Dies(Trouble),
    /// It runs and answers, where berth is not.
    #[error(
        "the DinD daemon `{name}` answers inside of its container, but not at {address} ({cause}): {why}"
    )]
    Unreached { name: String, address: String, cause: String, why: String, next: &'static str },
    #[error("another program keeps changing the container `{0}`")]
    Unsettled(String),
    #[error("{0}")]
    Active(ActiveSessions),
    #[error("the new {what} of the DinD daemon `{name}` must wait: {sessions}")]
    Deferred { what: &'static str, name: String, sessions: ActiveSessions },
    #[error("cannot tell whether sessions are active in the DinD daemon `{name}`")]
    Uncounted { name: String, source: DockerError },
    #[error("berth has no DinD daemon of its own: `host` in [dind] names another daemon")]
    NotOurs,
    #[error(transparent)]
    Docker(#[from] DockerError),
}

impl Explain for DindError {
    fn code(&self) -> Code {
        match self {
            Self::Config(_)
            | Self::Foreign(_)
            | Self::OtherHome { .. }
            | Self::ForeignVolume(_)
            | Self::NotOurs
            | Self::Unreached { .. }
            | Self::Podman { .. }
            | Self::PortTaken { .. }
            | Self::NoImage { .. } => Code::Configuration,
            Self::Lock(error) => error.code(),
            Self::Certificates(_) => Code::Internal,
            _ => Code::Unavailable,
        }
    }

    fn next(&self) -> Option<String> {
        let next = match self {
            Self::Config(_) => "correct the configuration".to_owned(),
            Self::Engine { source, .. } if denied(source) => {
                "give yourself access (`sudo usermod -aG docker $USER`), then log in again".to_owned()
            }
            Self::Engine { engine, .. } => engine.start(),
            Self::Podman { .. } => {
                "install Docker Engine, and name its socket with DOCKER_HOST or `engine` in [dind]".to_owned()
            }
            Self::Daemon { .. } | Self::Docker(_) => "look at it with `berth status`".to_owned(),
            Self::Certificates(_) => {
                "correct the folder's owner and permissions, then type `berth up`".to_owned()
            }
            Self::Lock(error) => return error.next(),
            Self::NoImage { image, source } if Refusal::of(source, image) == Refusal::Denied => {
                format!("type `docker login {}`, then `berth up`", registry(image))
            }
            Self::NoImage { image, .. } => {
                format!("get it with `docker pull {image}`, or name another `image` in [dind]")
            }
            Self::Foreign(name) => {
                format!("set another `name` in [dind], or remove the container with `docker rm -f {name}`")
            }
            Self::OtherHome { .. } => {
                let (other, end) = ("another `name` and `port`", "`berth down --force`");
                format!(
                    "give this home's daemon {other} in [dind], or end the other daemon and its sessions with {end}"
                )
            }
            Self::ForeignVolume(name) => {
                format!("set another `name` in [dind], or see `docker volume inspect {name}`")
            }
            Self::PortTaken { .. } => "free the port, or set another `port` in [dind]".to_owned(),
            Self::Start { .. } => "correct [dind], then type `berth up`".to_owned(),
            Self::Dies(trouble) => trouble.next.phrase(),
            Self::NotReady { name, .. } => format!("see `docker logs {name}`"),
            Self::Unreached { next, .. } => (*next).to_owned(),
            Self::Unsettled(_) => "type `berth up` again".to_owned(),
            Self::Active(_) => "see them with `berth ps`, or end them with `berth down --force`".to_owned(),
            Self::Deferred { .. } => {
                "type `berth up` when they have ended, or end them with `berth down --force`".to_owned()
            }
            Self::Uncounted { name, .. } => {
                format!(
                    "see `docker logs {name}`, or end the daemon and all its sessions with `berth down --force`"
                )
            }
            Self::NotOurs => "end that daemon where it was made".to_owned(),
        };
        Some(next)
    }
}

fn denied(error: &DockerError) -> bool {
    matches!(error, DockerError::Dial(DialError::Connect { source, .. })
        if source.kind() == std::io::ErrorKind::PermissionDenied)
}

/// The daemon that holds the sessions, at the address by which it is reached from here.
pub fn daemon(config: &Config, home: &Home) -> Daemon {
    let daemon = config.dind.daemon(home);
    match place::address(&config.dind, home) {
        Some(address) => Daemon { address, ..daemon },
        None => daemon,
    }
}

/// Where the sessions' daemon is, with the certificates for it.
pub fn endpoint(config: &Config, home: &Home) -> Result<Endpoint, DialError> {
    let daemon = daemon(config, home);
    Endpoint::parse(&daemon.address, daemon.certs.as_deref())
}

/// Whether the daemon is of `berth up` and on this machine, so that it is to ask this machine's nameservers.
pub(crate) fn asks_as_we_do(config: &Config, daemon: &Endpoint) -> bool {
    config.dind.host.is_none() && daemon.is_near()
}

/// What a session's log should say of the client's certificate before it is too late. Reads one file.
pub fn warning(config: &Config, home: &Home) -> Option<String> {
    let days = certs::client_days_left(config.dind.daemon(home).certs.as_deref()?, Timestamp::now())?;
    let ours = config.dind.host.is_none();
    let next = if ours { "renew it with `berth up`" } else { "renew it where it was made" };
    certs::warning("the client's", days).map(|warning| format!("{warning}; {next}"))
}

/// The engine that holds the daemon, if it answers.
///
/// # Errors
/// It does not, or it is none that berth can use.
pub async fn engine(daemon: &Daemon) -> Result<Engine, DindError> {
    let unusable = |source| DindError::Engine { engine: Box::new(daemon.clone()), source };
    let endpoint =
        Endpoint::parse(&daemon.address, daemon.certs.as_deref()).map_err(|e| unusable(e.into()))?;
    let engine = Engine::new(endpoint.with_timeout(ANSWER_WITHIN));
    let version = version(&engine).await.map_err(unusable)?;
    refuse_podman(daemon, &version)?;
    Ok(engine)
}

/// Podman's Docker API is not enough: it ignores that no path of a container is to be masked, for one.
fn refuse_podman(daemon: &Daemon, version: &Version) -> Result<(), DindError> {
    if version.is_podman {
        return Err(DindError::Podman { engine: Box::new(daemon.clone()), version: version.engine.clone() });
    }
    Ok(())
}

/// A daemon that accepts connections may still be too broken to answer.
pub(crate) async fn soon<T>(
    engine: &Engine,
    question: impl Future<Output = Result<T, DockerError>>,
) -> Result<T, DockerError> {
    tokio::time::timeout(ANSWER_WITHIN, question).await.unwrap_or_else(|_| {
        let endpoint = engine.endpoint().to_string();
        Err(DialError::Timeout { endpoint, after: ANSWER_WITHIN }.into())
    })
}

pub(crate) async fn version(daemon: &Engine) -> Result<Version, DockerError> {
    soon(daemon, daemon.version()).await
}

pub(crate) fn is_ours(container: &Container) -> bool {
    let (label, value) = managed_by();
    container.labels.get(&label) == Some(&value)
}

/// One `up` or `down` of this home at a time.
async fn lock(home: &Home, progress: &Progress) -> Result<Lock, DindError> {
    let wait =
        |holder: &str| progress.say(&format!("waiting for another `berth up` or `berth down` ({holder})"));
    Ok(lock::take(&home.state, "dind.lock", LOCKED_WITHIN, wait).await?)
}
