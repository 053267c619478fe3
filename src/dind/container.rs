//! The container of the DinD daemon, from whatever state it is in to one that answers.
//!
//! Each round looks at what there is and takes one step, so that being cut off anywhere costs a step and no more.
//! Never ends active sessions for the sake of newer settings or certificates: that waits, and is reported.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;

use super::progress::Progress;
use super::spec::LABEL_SPEC;
use super::{ActiveSessions, DindError, Sessions, certs, images, spec};
use crate::config::{Dind, Home};
use crate::dock::dial::{DialError, Endpoint, Stream};
use crate::dock::docker::{Container, DockerError, Engine};
use crate::dock::spec::managed_by;

/// How long a daemon may take to start.
const READY_WITHIN: Duration = Duration::from_mins(1);
/// With fewer days left than this, a certificate that the daemon still shows is replaced at any price.
const LAST_DAYS: i64 = 3;
/// More rounds than any repair needs.
const ROUNDS: u32 = 60;
const LOG_LINES: u32 = 12;

/// What a container needs next.
#[derive(Debug, PartialEq, Eq)]
enum Need {
    Creation,
    /// It is another's.
    Surrender,
    /// The engine is removing it.
    Patience,
    /// It is beyond repair, or stopped and outdated.
    Replacement(&'static str),
    /// It runs, with other settings than it should.
    Update,
    Start,
    Restart,
    Thaw,
    /// It runs: whether it answers is another question.
    Look,
}

fn need(container: Option<&Container>, hash: &str) -> Need {
    let Some(container) = container else { return Need::Creation };
    if !super::is_ours(container) {
        return Need::Surrender;
    }
    let current = container.labels.get(LABEL_SPEC).is_some_and(|found| found == hash);
    match container.status.as_str() {
        "removing" => Need::Patience,
        "dead" => Need::Replacement("it was dead"),
        "paused" => Need::Thaw,
        "running" if current => Need::Look,
        "running" => Need::Update,
        _ if !current => Need::Replacement("its settings have changed"),
        "restarting" => Need::Restart,
        _ => Need::Start,
    }
}

/// How a running daemon answers.
#[derive(Debug)]
enum Answer {
    Good,
    /// It shows a certificate of our authority, but not the newest; the days that it has left.
    OldCertificate(i64),
    /// It is not of our authority.
    Stranger(String),
    Silence(String),
}

/// What was done to the container, and what was not.
#[derive(Debug, Default)]
pub struct Changes {
    /// One step each; empty where nothing had to be done.
    pub steps: Vec<String>,
    /// What waits until no session is active.
    pub deferred: Vec<String>,
}

/// The container on the host's engine.
pub(super) struct Host<'a> {
    dind: &'a Dind,
    home: &'a Home,
    engine: &'a Engine,
    /// The daemon in it.
    endpoint: Endpoint,
    progress: &'a Progress,
    changes: Changes,
}

impl<'a> Host<'a> {
    pub(super) fn new(
        dind: &'a Dind,
        home: &'a Home,
        engine: &'a Engine,
        endpoint: Endpoint,
        progress: &'a Progress,
    ) -> Self {
        Self { dind, home, engine, endpoint, progress, changes: Changes::default() }
    }

    /// Tells of a step that was done.
    pub(super) fn say(&mut self, what: String) {
        self.progress.say(&what);
        self.changes.steps.push(what);
    }

    /// Has the container run, as the configuration wants it, with a daemon that answers.
    pub(super) async fn converge(mut self) -> Result<Changes, DindError> {
        self.settle().await?;
        Ok(self.changes)
    }

    async fn settle(&mut self) -> Result<(), DindError> {
        let name = self.dind.name.as_str();
        let image = self.image().await?;
        let hash = spec::hash(self.dind, &image);
        for _ in 0..ROUNDS {
            let container = self.engine.inspect(name).await?;
            match (need(container.as_ref(), &hash), container) {
                (Need::Creation, _) => {
                    if self.create(&image).await? {
                        return self.wait(READY_WITHIN).await;
                    }
                }
                (Need::Surrender, _) => return Err(DindError::Foreign(name.to_owned())),
                (Need::Replacement(why), _) => self.replace(why).await?,
                (Need::Update, Some(container)) => {
                    if self.may_end_sessions("settings").await {
                        self.replace("its settings have changed").await?;
                    } else {
                        return self.look(&container).await;
                    }
                }
                (Need::Start, _) => {
                    self.install().await?;
                    self.start().await?;
                    self.say(format!("started the container `{name}`"));
                    return self.wait(READY_WITHIN).await;
                }
                (Need::Restart, _) => {
                    self.restart("it was not running").await?;
                    return self.wait(READY_WITHIN).await;
                }
                (Need::Thaw, _) => {
                    self.engine.unpause(name).await?;
                    self.say(format!("unpaused the container `{name}`"));
                }
                (Need::Look, Some(container)) => return self.look(&container).await,
                (Need::Patience | Need::Update | Need::Look, _) => {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
        Err(DindError::Unsettled(name.to_owned()))
    }

    /// The id of the daemon's image on the host's engine.
    async fn image(&mut self) -> Result<String, DindError> {
        let image = self.dind.image.as_str();
        if let Some(found) = self.engine.image(image).await? {
            return Ok(found.id);
        }
        let missing = |source| DindError::NoImage { image: image.to_owned(), source };
        images::pull(self.engine, image, self.progress).await.map_err(missing)?;
        Ok(self.engine.image(image).await?.map(|found| found.id).unwrap_or_default())
    }

    /// Creates and starts the container; false if somebody else has just done so.
    async fn create(&mut self, image: &str) -> Result<bool, DindError> {
        let name = self.dind.name.as_str();
        self.engine.create_volume(&spec::volume(self.dind), [managed_by()].into()).await?;
        match self.engine.create(name, spec::create_body(self.dind, image)).await {
            Ok(_) => {}
            // The next round sees what they have made.
            Err(error) if error.is_conflict() => {
                tokio::time::sleep(Duration::from_millis(300)).await;
                return Ok(false);
            }
            Err(source) => return Err(DindError::Start { name: name.to_owned(), source }),
        }
        self.install().await?;
        if let Err(error) = self.start().await {
            // What never ran is of no use to anybody. The first error is the one to tell.
            drop(self.engine.remove(name).await);
            return Err(error);
        }
        self.say(format!("created the container `{name}` of `{}`", self.dind.image));
        Ok(true)
    }

    /// Puts the certificates and the keeper into the container; a daemon that runs reads them at its next start.
    async fn install(&self) -> Result<(), DindError> {
        let archive = spec::archive(&certs::server_files(&self.home.certs)?)
            .map_err(|error| DockerError::broken("pack the files for", &self.dind.name, error))?;
        Ok(self.engine.upload(&self.dind.name, "/", archive).await?)
    }

    async fn start(&self) -> Result<(), DindError> {
        let name = self.dind.name.as_str();
        self.engine.start(name).await.map_err(|source| {
            let text = source.to_string();
            if text.contains("port is already allocated") || text.contains("address already in use") {
                DindError::PortTaken { address: format!("{}:{}", self.dind.bind, self.dind.port), source }
            } else {
                DindError::Start { name: name.to_owned(), source }
            }
        })
    }

    async fn replace(&mut self, why: &str) -> Result<(), DindError> {
        let name = self.dind.name.as_str();
        self.stop().await;
        self.engine.remove(name).await?;
        self.say(format!("removed the container `{name}`: {why}"));
        Ok(())
    }

    async fn restart(&mut self, why: &str) -> Result<(), DindError> {
        self.install().await?;
        let task = self.progress.task(&format!("restarting the container `{}`", self.dind.name));
        self.stop().await;
        self.start().await?;
        drop(task);
        self.say(format!("restarted the container `{}`: {why}", self.dind.name));
        Ok(())
    }

    /// Stops the container; where that fails, starting or removing it will say why.
    async fn stop(&self) {
        drop(self.engine.stop(&self.dind.name, super::STOP_GRACE).await);
    }

    /// Has a running container answer, whatever it takes.
    async fn look(&mut self, container: &Container) -> Result<(), DindError> {
        let why = match self.ask().await {
            Answer::Good => return Ok(()),
            Answer::OldCertificate(days) => {
                if days >= LAST_DAYS && !self.may_end_sessions("certificate").await {
                    return Ok(());
                }
                "it has a new certificate".to_owned()
            }
            Answer::Stranger(_) => "its certificate was not ours".to_owned(),
            Answer::Silence(cause) => {
                if age(container) < READY_WITHIN
                    && self.wait(READY_WITHIN.saturating_sub(age(container))).await.is_ok()
                {
                    return Ok(());
                }
                format!("it did not answer ({cause})")
            }
        };
        self.restart(&why).await?;
        self.wait(READY_WITHIN).await
    }

    /// Whether no session is active that a restart would end; a daemon that doesn't answer has none to lose.
    async fn may_end_sessions(&mut self, what: &str) -> bool {
        let active = Sessions::count(&Engine::new(self.endpoint.clone())).await.unwrap_or_default().active;
        if active > 0 {
            self.changes.deferred.push(format!(
                "the new {what} of the DinD daemon `{}` must wait, since {}: type `berth up` when they have ended",
                self.dind.name,
                ActiveSessions(active)
            ));
        }
        active == 0
    }

    async fn ask(&self) -> Answer {
        let endpoint = self.endpoint.clone().with_timeout(super::ANSWER_WITHIN);
        let shown = match endpoint.dial().await {
            Ok(Stream::Tls(stream)) => stream
                .get_ref()
                .1
                .peer_certificates()
                .and_then(|chain| chain.first().cloned().map(CertificateDer::into_owned)),
            Ok(_) => None,
            // What rustls has to say about the other end's certificate.
            Err(DialError::Connect { source, .. }) if source.kind() == std::io::ErrorKind::InvalidData => {
                return Answer::Stranger(source.to_string());
            }
            Err(error) => return Answer::Silence(reason(&error)),
        };
        let engine = Engine::new(endpoint);
        if let Err(error) = super::soon(&engine, engine.ping()).await {
            return Answer::Silence(reason(&error));
        }
        match (shown, certs::server_certificate(&self.home.certs)) {
            (Some(shown), Ok(ours)) if shown == ours => Answer::Good,
            (Some(shown), _) => {
                Answer::OldCertificate(certs::days_left(&shown, Timestamp::now()).unwrap_or(0))
            }
            (None, _) => Answer::Stranger("it shows no certificate".to_owned()),
        }
    }

    /// Waits until the daemon answers.
    async fn wait(&self, limit: Duration) -> Result<(), DindError> {
        let _task = self.progress.task(&format!("waiting for the DinD daemon `{}`", self.dind.name));
        let started = Instant::now();
        let mut deaths = 0;
        let cause = loop {
            let silence = match self.ask().await {
                Answer::Good | Answer::OldCertificate(_) => return Ok(()),
                Answer::Stranger(cause) | Answer::Silence(cause) => cause,
            };
            if started.elapsed() > limit {
                break format!("no answer within {} s: {silence}", limit.as_secs());
            }
            let container = self.engine.inspect(&self.dind.name).await?;
            let Some(container) = container else { break "its container is gone".to_owned() };
            // Its restart policy gives it another try or two.
            if container.status != "running" {
                deaths += 1;
            }
            if deaths > 10 {
                break format!("it ends with exit code {}", container.exit_code);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let log = self.engine.log_tail(&self.dind.name, LOG_LINES).await.unwrap_or_default();
        Err(DindError::NotReady { name: self.dind.name.clone(), cause, log })
    }
}

/// Time since the container was started.
fn age(container: &Container) -> Duration {
    let started = container.started_at.parse::<Timestamp>().unwrap_or_default();
    Timestamp::now().duration_since(started).try_into().unwrap_or_default()
}

/// The innermost cause, which says most.
fn reason(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(status: &str, hash: &str) -> Container {
        let mut labels = std::collections::HashMap::from([managed_by()]);
        labels.insert(LABEL_SPEC.to_owned(), hash.to_owned());
        Container {
            id: String::new(),
            image: String::new(),
            labels,
            running: status == "running",
            status: status.to_owned(),
            health: String::new(),
            health_log: String::new(),
            exit_code: 0,
            oom_killed: false,
            started_at: String::new(),
            address: None,
        }
    }

    #[test]
    fn each_state_has_its_step() {
        let changed = "its settings have changed";
        for (status, same, other) in [
            ("running", Need::Look, Need::Update),
            ("created", Need::Start, Need::Replacement(changed)),
            ("exited", Need::Start, Need::Replacement(changed)),
            ("restarting", Need::Restart, Need::Replacement(changed)),
            ("paused", Need::Thaw, Need::Thaw),
            ("removing", Need::Patience, Need::Patience),
            ("dead", Need::Replacement("it was dead"), Need::Replacement("it was dead")),
        ] {
            assert_eq!(need(Some(&container(status, "h")), "h"), same, "{status}");
            assert_eq!(need(Some(&container(status, "h")), "other"), other, "{status}, other settings");
        }
        assert_eq!(need(None, "h"), Need::Creation);
    }

    #[test]
    fn another_ones_container_is_never_touched() {
        for status in ["running", "exited", "dead", "paused"] {
            let mut foreign = container(status, "h");
            foreign.labels.remove(&managed_by().0);
            assert_eq!(need(Some(&foreign), "h"), Need::Surrender, "{status}");
        }
    }
}
