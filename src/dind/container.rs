//! The container of the DinD daemon: from any state to a daemon that answers.
//!
//! Each round looks at the present state and takes one step, so an interruption costs one step at most. Never ends
//! active sessions for newer settings or certificates: such a change waits, and is reported.

mod need;

use std::time::{Duration, Instant};

use super::answer::Answer;
use super::diagnosis::{Diagnosis, Watch};
use super::owner::Owner;
use super::progress::Progress;
use super::reach::{self, Reach};
use super::spec::{LABEL_SPEC, Shared};
use super::{ActiveSessions, DindError, certs, images, sessions, shares, spec};
use crate::config::{Dind, Home};
use crate::dock::docker::{DockerError, Engine};
use crate::dock::labels::managed_by;
use crate::docker_cli::DockerCli;
use crate::failure::{Failure, chain};
use need::{Need, need};

/// How long a daemon may take to start, and how long one that runs may be silent: the slowest machine that was seen took 80 s.
/// One that dies is seen at once.
const READY_WITHIN: Duration = Duration::from_mins(3);
/// More rounds than any repair needs.
const ROUNDS: u32 = 60;
/// A container that has ended is looked at so often before it is taken to stay so.
const LOOKS: u32 = 10;
const LOG_LINES: u32 = 12;
/// More than a daemon says at its start.
const ALL_LINES: u32 = 2_000;
/// What its entry point says of them (`entry/ids.sh`).
const OF_USERS: &str = "berth: note: users: ";

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
    shared: Shared,
    home: &'a Home,
    owner: Owner,
    engine: &'a Engine,
    /// The daemon in it.
    reach: Reach<'a>,
    cli: DockerCli,
    progress: &'a Progress,
    changes: Changes,
}

impl<'a> Host<'a> {
    pub(super) fn new(
        dind: &'a Dind,
        shared: Shared,
        home: &'a Home,
        engine: &'a Engine,
        reach: Reach<'a>,
        cli: DockerCli,
        progress: &'a Progress,
    ) -> Self {
        Self {
            dind,
            shared,
            home,
            owner: Owner::of(home),
            engine,
            reach,
            cli,
            progress,
            changes: Changes::default(),
        }
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
        let hash = spec::hash(self.dind, &self.shared, &image);
        self.check_shares(&image, &hash).await?;
        for _ in 0..ROUNDS {
            let container = self.engine.inspect(name).await?;
            match (need(container.as_ref(), &hash, &self.owner), container) {
                (Need::Creation, _) => {
                    if self.create(&image).await? {
                        self.wait(READY_WITHIN).await?;
                        return self.tell_of_users(0).await;
                    }
                }
                (Need::NotOurs, _) => return Err(DindError::Foreign(name.to_owned())),
                (Need::OtherHome(home), _) => {
                    return Err(DindError::OtherHome { name: name.to_owned(), home });
                }
                (Need::Replacement(why), _) => self.replace(why).await?,
                (Need::Update, _) => {
                    if let Some(deferred) = self.must_wait("settings").await? {
                        return self.make_do(deferred).await;
                    }
                    self.replace("its settings have changed").await?;
                }
                (need @ (Need::Start | Need::Restart), _) => {
                    let known = self.said_of_users().await?.len();
                    if matches!(need, Need::Start) {
                        self.install().await?;
                        match self.start().await {
                            Err(error) if self.shared.is_about_doors(&chain(&error)) => {
                                self.replace("the engine does not find the folder of its doors any more")
                                    .await?;
                                continue;
                            }
                            started => started?,
                        }
                        self.say(format!("started the container `{name}`"));
                    } else {
                        self.restart("it was not running").await?;
                    }
                    self.wait(READY_WITHIN).await?;
                    return self.tell_of_users(known).await;
                }
                (Need::Thaw, _) => {
                    self.engine.unpause(name).await?;
                    self.say(format!("unpaused the container `{name}`"));
                }
                (Need::Look, _) => return self.look().await,
                (Need::Wait, _) => {
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
        images::pull(self.engine, image, &self.cli, self.progress).await.map_err(missing)?;
        Ok(self.engine.image(image).await?.map(|found| found.id).unwrap_or_default())
    }

    /// Before anything is made that has other folders than it should, or removed for it.
    async fn check_shares(&self, image: &str, hash: &str) -> Result<(), DindError> {
        let found = self.engine.inspect(&self.dind.name).await?;
        if found.is_some_and(|found| found.labels.get(LABEL_SPEC).is_some_and(|found| found == hash)) {
            return Ok(());
        }
        shares::check(self.dind, &self.shared.folders, image, self.engine, self.home).await
    }

    /// Creates and starts the container; false if somebody else has just done so. An engine that has not this machine's files,
    /// or may not have these, shares no doors: then all bytes pass through the daemon.
    async fn create(&mut self, image: &str) -> Result<bool, DindError> {
        let name = self.dind.name.as_str();
        self.engine.create_volume(&spec::volume(self.dind), [managed_by()].into()).await?;
        let mut shared = self.shared.clone();
        loop {
            let body = spec::create_body(self.dind, &self.shared, &shared, image, &self.owner);
            let made = match self.engine.create(name, body).await {
                Ok(_) => {
                    self.install().await?;
                    let started = self.start().await;
                    if started.is_err() {
                        // What never ran is of no use to anybody. The first error is the one to tell.
                        drop(self.engine.remove(name).await);
                    }
                    started
                }
                // The next round sees what they have made.
                Err(error) if error.is_conflict() => {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    return Ok(false);
                }
                Err(source) => Err(DindError::Start { name: name.to_owned(), source }),
            };
            match made {
                Ok(()) => break,
                Err(error) if shared.is_about_doors(&chain(&error)) => shared.doors = None,
                Err(error) => return Err(error),
            }
        }
        if let Some(doors) = &self.shared.doors
            && let Err(error) = doors.note(shared.doors.is_some())
        {
            tracing::warn!("sessions' bytes pass through the daemon: cannot note its doors: {error}");
        }
        self.say(format!("created the container `{name}` of `{}`", self.dind.image));
        Ok(true)
    }

    /// Of its files, which a change of users has moved, and of what the engine has refused.
    /// `known` lines are of former starts.
    async fn tell_of_users(&mut self, known: usize) -> Result<(), DindError> {
        self.said_of_users().await?.into_iter().skip(known).for_each(|said| self.say(said));
        Ok(())
    }

    async fn said_of_users(&self) -> Result<Vec<String>, DindError> {
        let log = self.engine.log_tail(&self.dind.name, ALL_LINES).await?;
        Ok(log.lines().filter_map(|line| line.trim().strip_prefix(OF_USERS)).map(str::to_owned).collect())
    }

    /// Puts the certificates and the keeper into the container; a daemon that runs reads them at its next start.
    async fn install(&self) -> Result<(), DindError> {
        let archive = spec::archive(&certs::server_files(&self.home.certs)?)
            .map_err(|error| DockerError::broken("pack the files for", &self.dind.name, error))?;
        Ok(self.engine.upload(&self.dind.name, "/", archive).await?)
    }

    async fn start(&self) -> Result<(), DindError> {
        let name = self.dind.name.as_str();
        let mut started = self.engine.start(name).await;
        if started.as_ref().is_err_and(|error| error.to_string().contains("not found"))
            && reach::leave(self.engine, self.dind).await
        {
            started = self.engine.start(name).await;
        }
        started.map_err(|source| {
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
    async fn look(&mut self) -> Result<(), DindError> {
        let why = match self.answer(READY_WITHIN).await? {
            Answer::Good => return Ok(()),
            Answer::OldCertificate(days) => {
                if days >= certs::LAST_DAYS && self.must_wait("certificate").await?.is_some() {
                    return Ok(());
                }
                "it has a new certificate".to_owned()
            }
            // Our own files were lost. Who has the old ones still works with it.
            Answer::Stranger(_) => match self.active().await? {
                ActiveSessions(0) => "its certificate was not ours".to_owned(),
                sessions => return Err(self.deferred("certificates", sessions)),
            },
            Answer::Silence(cause) => format!("it did not answer ({cause})"),
        };
        self.restart(&why).await?;
        self.wait(READY_WITHIN).await
    }

    /// A daemon whose new settings must wait is used as it is.
    async fn make_do(&self, deferred: DindError) -> Result<(), DindError> {
        match self.answer(2 * super::ANSWER_WITHIN).await {
            Ok(Answer::Good | Answer::OldCertificate(_)) => Ok(()),
            // It may well be at another address than it should.
            Ok(Answer::Stranger(_) | Answer::Silence(_)) | Err(DindError::Unreached { .. }) => Err(deferred),
            Err(error) => Err(error),
        }
    }

    async fn active(&self) -> Result<ActiveSessions, DindError> {
        let name = self.dind.name.as_str();
        sessions::active(self.engine, name, Ok(self.reach.endpoint().await))
            .await
            .map_err(|source| DindError::Uncounted { name: name.to_owned(), source })
    }

    /// Whether a restart for the sake of `what` has to wait for a session's end; if so, the report will say it.
    async fn must_wait(&mut self, what: &'static str) -> Result<Option<DindError>, DindError> {
        let sessions = self.active().await?;
        if sessions == ActiveSessions(0) {
            return Ok(None);
        }
        let deferred = self.deferred(what, sessions);
        self.changes.deferred.push(Failure::of(&deferred).to_string());
        Ok(Some(deferred))
    }

    fn deferred(&self, what: &'static str, sessions: ActiveSessions) -> DindError {
        DindError::Deferred { what, name: self.dind.name.clone(), sessions }
    }

    /// What a running daemon answers. One that is merely slow has sessions that go on: its silence counts only if it
    /// lasts for all of `limit`, or if its container has ended.
    async fn answer(&self, limit: Duration) -> Result<Answer, DindError> {
        let name = self.dind.name.as_str();
        let began = Instant::now();
        let (mut task, mut restarts) = (None, None);
        loop {
            let answer = self.reach.ask().await?;
            let Answer::Silence(cause) = &answer else { return Ok(answer) };
            let container = self.engine.inspect(name).await?;
            let has_ended = container.is_none_or(|container| {
                !container.running || container.restarts > *restarts.get_or_insert(container.restarts)
            });
            if has_ended || began.elapsed() > limit {
                return Ok(answer);
            }
            if task.is_none() {
                self.progress.say(&format!("the DinD daemon `{name}` does not answer yet ({cause})"));
                task = Some(self.progress.task(&format!("waiting for the DinD daemon `{name}`")));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until the daemon answers.
    async fn wait(&self, limit: Duration) -> Result<(), DindError> {
        let _task = self.progress.task(&format!("waiting for the DinD daemon `{}`", self.dind.name));
        let started = Instant::now();
        let name = self.dind.name.as_str();
        let (watch, mut looks) = (Watch::since_start(), 0);
        let cause = loop {
            let silence = match self.reach.ask().await? {
                Answer::Good | Answer::OldCertificate(_) => return Ok(()),
                Answer::Stranger(cause) | Answer::Silence(cause) => cause,
            };
            if started.elapsed() > limit {
                break format!("no answer within {} s: {silence}", limit.as_secs());
            }
            match watch.look(self.engine, name, &self.owner).await? {
                Diagnosis::Down(trouble) if trouble.dies => return Err(DindError::Dies(trouble)),
                // It may be seen on the way from its end to its next start.
                Diagnosis::Down(trouble) if looks == LOOKS => break trouble.cause,
                Diagnosis::Down(_) => looks += 1,
                Diagnosis::Elsewhere | Diagnosis::Starting(_) | Diagnosis::Silent => {}
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let log = self.engine.log_tail(&self.dind.name, LOG_LINES).await.unwrap_or_default();
        Err(DindError::NotReady { name: self.dind.name.clone(), cause, log })
    }
}

#[cfg(test)]
mod tests;
