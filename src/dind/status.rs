//! `berth status`: whether a session would work now, and if not, which command to type. Changes nothing.

use std::net::IpAddr;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use serde::Serialize;

use super::diagnosis::{Diagnosis, Watch};
use super::owner::Owner;
use super::{DindError, Sessions, certs};
use crate::config::{Config, Home};
use crate::dock::dial::{Endpoint, Stream};
use crate::dock::docker::{DockerError, Engine};
use crate::dock::resolver::{self, Resolver};
use crate::failure::{Failure, chain};
use crate::values::Lookup;

/// The state of the DinD daemon, as `berth status --json` prints it. Keys are never renamed or removed; new ones may
/// come. What could not be found out is `null`.
///
/// ```json
/// {
///   "healthy": true,
///   "endpoint": "tcp://127.0.0.1:12376",
///   "tls": true,
///   "engine": "28.5.1",
///   "api": "1.51",
///   "container": { "name": "berth-dind", "state": "running", "health": "healthy", "image": "docker:28-dind" },
///   "certificates": { "folder": "/home/me/.local/share/berth/certs", "client_days_left": 364, "server_days_left": 364 },
///   "images": [{ "name": "berth-time", "present": true }],
///   "sessions": { "active": 2, "standby": 0 },
///   "nameservers": { "daemon": ["192.168.1.1"], "this_machine": ["192.168.1.1"] },
///   "warnings": [],
///   "problems": [],
///   "next": null
/// }
/// ```
#[derive(Debug, Serialize)]
pub struct Status {
    /// Whether the daemon answers, over mutual TLS unless it is a Unix socket, and has every image.
    pub healthy: bool,
    pub endpoint: String,
    /// Whether a request was answered on a connection on which both ends showed certificates.
    pub tls: bool,
    /// The daemon's version, and the newest API version that it speaks.
    pub engine: Option<String>,
    pub api: Option<String>,
    /// `null` where `[dind] host` names a daemon that is not ours, where there is no container, and where its engine
    /// doesn't answer.
    pub container: Option<ContainerStatus>,
    pub certificates: Option<CertificateStatus>,
    /// Those that the configuration names.
    pub images: Vec<ImageStatus>,
    pub sessions: Option<Sessions>,
    /// `null` where the daemon does not follow this machine: it is not of `berth up`, or on another machine.
    pub nameservers: Option<Nameservers>,
    /// What will be wrong if nobody sees to it; it is healthy still. A certificate in its last month is here, and with
    /// fewer than three days left among the problems.
    pub warnings: Vec<String>,
    /// What is wrong, for a person, the gravest first.
    pub problems: Vec<String>,
    /// What mends the first problem, or else the first warning: a command where there is one.
    pub next: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct ContainerStatus {
    pub name: String,
    /// As Docker has it: `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
    pub state: String,
    /// `starting`, `healthy`, `unhealthy`, or empty. The engine's own opinion, up to half a minute old and wrong for as
    /// long after a pause: no problem by itself.
    pub health: String,
    pub image: String,
}

#[derive(Debug, Serialize)]
pub struct CertificateStatus {
    pub folder: String,
    /// Whole days; negative where it has expired.
    pub client_days_left: Option<i64>,
    /// Of the certificate that the daemon shows.
    pub server_days_left: Option<i64>,
}

#[derive(Debug, Serialize)]
pub struct Nameservers {
    /// What the daemon was told to ask; empty where it asks those of its own start.
    pub daemon: Vec<IpAddr>,
    /// What this machine asks and others can ask, too.
    pub this_machine: Vec<IpAddr>,
}

#[derive(Debug, Serialize)]
pub struct ImageStatus {
    pub name: String,
    /// `null` where the daemon could not be asked.
    pub present: Option<bool>,
}

/// Looks at everything that a session needs.
pub async fn status(config: &Config, home: &Home, lookup: Lookup<'_>) -> Status {
    let daemon = super::daemon(config, home);
    let mut status = Status {
        healthy: false,
        endpoint: daemon.address.clone(),
        tls: false,
        engine: None,
        api: None,
        container: None,
        certificates: daemon.certs.as_ref().map(|folder| CertificateStatus {
            folder: folder.display().to_string(),
            client_days_left: certs::client_days_left(folder, Timestamp::now()),
            server_days_left: None,
        }),
        images: unknown_images(config),
        sessions: None,
        nameservers: None,
        warnings: Vec::new(),
        problems: Vec::new(),
        next: None,
    };
    let mut doubt = None;
    if config.dind.host.is_none() {
        doubt = status.look_at_container(config, home, lookup).await;
    }
    let endpoint = super::endpoint(config, home);
    let can_be_asked = endpoint.is_ok();
    let asked = match endpoint {
        Ok(endpoint) => status.look_at_daemon(endpoint.with_timeout(super::ANSWER_WITHIN), config).await,
        Err(error) => Err(error.into()),
    };
    match (asked, doubt) {
        (Err(error), _) => {
            status.look_for_cause(config, home, lookup, can_be_asked).await;
            status.problem(chain(&error), mend(config));
        }
        // Another one answers in its place.
        (Ok(()), Some(doubt)) => status.problem(doubt, "berth up"),
        (Ok(()), None) => {}
    }
    status.look_at_certificates(config);
    status.healthy = status.problems.is_empty();
    status
}

/// A daemon that is not ours can't be started by us, nor its certificates be made.
fn mend(config: &Config) -> &'static str {
    if config.dind.host.is_some() { "start that daemon, or correct [dind]" } else { "berth up" }
}

fn unknown_images(config: &Config) -> Vec<ImageStatus> {
    config.images().into_iter().map(|name| ImageStatus { name: name.to_owned(), present: None }).collect()
}

impl Status {
    fn problem(&mut self, problem: String, next: &str) {
        self.problems.push(problem);
        self.next.get_or_insert_with(|| next.to_owned());
    }

    fn look_at_certificates(&mut self, config: &Config) {
        let mend = if config.dind.host.is_some() { "renew it where it was made" } else { "berth up" };
        let Some(certificates) = &self.certificates else { return };
        let ends = [
            ("the client's", certificates.client_days_left),
            ("the daemon's", certificates.server_days_left),
        ];
        for (whose, days) in ends {
            let Some((days, warning)) = days.and_then(|days| Some((days, certs::warning(whose, days)?)))
            else {
                continue;
            };
            if days < certs::LAST_DAYS {
                self.problem(warning, mend);
            } else {
                self.warnings.push(warning);
                self.next.get_or_insert_with(|| mend.to_owned());
            }
        }
    }

    /// The engine that holds the container needn't be ours to ask: sessions do without it. Gives why the daemon can't
    /// be in there.
    async fn look_at_container(
        &mut self,
        config: &Config,
        home: &Home,
        lookup: Lookup<'_>,
    ) -> Option<String> {
        let dind = &config.dind;
        let host = match dind.engine(lookup) {
            Ok(host) => host,
            Err(error) => {
                self.warnings.push(error.to_string());
                return None;
            }
        };
        let Some(container) = super::engine(&host).await.ok()?.inspect(&dind.name).await.ok()? else {
            return Some(format!("there is no container `{}`", dind.name));
        };
        if let Some(home) = Owner::of(home).other(&container.labels) {
            let error = DindError::OtherHome { name: dind.name.clone(), home };
            let failure = Failure::of(&error);
            self.problem(failure.text, failure.next.as_deref().unwrap_or_default());
        }
        let doubt = (container.status != "running")
            .then(|| format!("the container `{}` is {}", dind.name, container.status));
        self.container = Some(ContainerStatus {
            name: dind.name.clone(),
            state: container.status,
            health: container.health,
            image: dind.image.clone(),
        });
        doubt
    }

    /// Why a daemon of ours does not answer, or would not if it could be asked.
    async fn look_for_cause(&mut self, config: &Config, home: &Home, lookup: Lookup<'_>, can_be_asked: bool) {
        match Watch::default().diagnose(config, home, lookup).await {
            Diagnosis::Down(trouble) if !self.problems.contains(&trouble.cause) => {
                self.problem(trouble.cause, &trouble.next.to_string());
            }
            Diagnosis::Starting(what) if can_be_asked => {
                self.problem(format!("the DinD daemon does not answer yet: {what}"), "berth status");
            }
            _ => {}
        }
    }

    /// A session tells the daemon what is new within seconds; where there is none, `berth up` does.
    async fn look_at_nameservers(&mut self, daemon: &Engine) -> Result<(), DockerError> {
        let told = super::soon(daemon, resolver::told(daemon)).await?;
        let this_machine = Resolver::of_this_machine().map(|own| own.nameservers).unwrap_or_default();
        if !told.is_current {
            self.warnings.push(resolver::difference(&told.nameservers, &this_machine));
            self.next.get_or_insert_with(|| "berth up".to_owned());
        }
        self.nameservers = Some(Nameservers { daemon: told.nameservers, this_machine });
        Ok(())
    }

    async fn look_at_daemon(&mut self, endpoint: Endpoint, config: &Config) -> Result<(), DockerError> {
        if let Some(certificates) = &mut self.certificates
            && let Stream::Tls(stream) = endpoint.dial().await?
        {
            let chain = stream.get_ref().1.peer_certificates();
            let shown: Option<&CertificateDer> = chain.and_then(<[_]>::first);
            certificates.server_days_left = shown.and_then(|cert| certs::days_left(cert, Timestamp::now()));
        }
        let daemon = Engine::new(endpoint);
        let version = super::version(&daemon).await?;
        if version.is_podman {
            let (endpoint, version) = (daemon.endpoint(), version.engine);
            let problem =
                format!("the daemon at {endpoint} is Podman {version}, which berth does not support");
            self.problem(problem, "name a Docker daemon in [dind]");
            return Ok(());
        }
        self.tls = daemon.endpoint().is_tls();
        self.engine = Some(version.engine);
        self.api = Some(version.api);
        self.sessions = Some(Sessions::count(&daemon).await?);
        if super::asks_as_we_do(config, daemon.endpoint()) {
            self.look_at_nameservers(&daemon).await?;
        }
        let mut missing = Vec::new();
        for image in &mut self.images {
            let present = super::soon(&daemon, daemon.image(&image.name)).await?.is_some();
            image.present = Some(present);
            if !present {
                missing.push(format!("the image `{}` is not in the DinD daemon", image.name));
            }
        }
        for problem in missing {
            self.problem(problem, "berth up");
        }
        Ok(())
    }
}
