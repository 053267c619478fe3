//! Why the DinD daemon does not answer, according to the engine that holds it. Changes nothing.
//!
//! Asked only after a connection has failed, so it costs nothing on a healthy system. `judge` is pure. A caller that
//! asks repeatedly keeps one [`Watch`], which counts the deaths that it has seen.

mod words;

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;

use super::owner::Owner;
use super::{DindError, soon};
use crate::config::{Config, Home};
use crate::dock::docker::{Container, DockerError, Engine};
use crate::failure::{Code, Failure};
use crate::values::Lookup;
pub use words::Words;

/// A daemon may take this long to start; one that runs for longer and is silent has no such excuse.
const STARTS_WITHIN: Duration = Duration::from_mins(1);
/// So many deaths that somebody has seen are no accident.
const DEATHS: i64 = 2;
/// The engine waits for so long between two starts only of what has died several times on end.
const LONG_PAUSE: Duration = Duration::from_secs(3);
/// A machine that has been up for less may still be starting its engine.
const MACHINE_BOOTS_WITHIN: Duration = Duration::from_mins(10);
/// Whoever restarts a container (`docker restart`) starts it this soon after its end.
const RESTARTED_WITHIN: Duration = Duration::from_secs(3);
const LOG_LINES: u32 = 12;

/// What is to be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    Command(String),
    /// In words of its own.
    Advice(String),
}

impl Next {
    fn up() -> Self {
        Self::Command("berth up".to_owned())
    }

    /// As part of a sentence.
    pub fn phrase(&self) -> String {
        match self {
            Self::Command(command) => format!("type `{command}`"),
            Self::Advice(advice) => advice.clone(),
        }
    }
}

/// The bare command, where there is one.
impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Command(text) | Self::Advice(text)) = self;
        f.write_str(text)
    }
}

/// Why there is no use in waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub code: Code,
    pub cause: String,
    pub next: Next,
    /// It dies whenever it is started.
    pub dies: bool,
}

impl Trouble {
    fn new(cause: impl Into<String>, next: Next) -> Self {
        Self { code: Code::Unavailable, cause: cause.into(), next, dies: false }
    }
}

impl From<&DindError> for Trouble {
    fn from(error: &DindError) -> Self {
        let Failure { code, text, next } = Failure::of(error);
        Self { code, ..Self::new(text, Next::Advice(next.unwrap_or_default())) }
    }
}

impl From<Trouble> for Failure {
    fn from(Trouble { code, cause, next, .. }: Trouble) -> Self {
        Self { code, text: cause, next: Some(next.phrase()) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Diagnosis {
    /// `host` in `[dind]` names a daemon whose engine nobody knows.
    Elsewhere,
    /// It is about to answer: what is being waited for.
    Starting(String),
    /// It should answer. Why it does not, the failed connection alone can tell.
    Silent,
    Down(Trouble),
}

/// What was known when the first question was asked.
#[derive(Debug, Default)]
pub struct Watch {
    restarts: OnceLock<i64>,
}

impl Watch {
    /// Of a container that was started by us: the engine has counted from nought since.
    pub(super) fn since_start() -> Self {
        Self { restarts: OnceLock::from(0) }
    }

    /// Asks the engine that holds the daemon of this home.
    pub async fn diagnose(&self, config: &Config, home: &Home, lookup: Lookup<'_>) -> Diagnosis {
        if config.dind.host.is_some() {
            return Diagnosis::Elsewhere;
        }
        let asked = async {
            let host = config.dind.engine(lookup)?;
            let engine = super::engine(&host).await?;
            let unusable = |source| DindError::Engine { engine: Box::new(host.clone()), source };
            let look = self.look(&engine, &config.dind.name, &Owner::of(home)).await.map_err(unusable)?;
            Ok::<_, DindError>(look)
        };
        asked.await.unwrap_or_else(|error| without_engine(&error, machine_is_up_for()))
    }

    /// The same of an engine that answers.
    pub(super) async fn look(
        &self,
        engine: &Engine,
        name: &str,
        owner: &Owner,
    ) -> Result<Diagnosis, DockerError> {
        let Some(container) = soon(engine, engine.inspect(name)).await? else {
            let engine = engine.endpoint();
            return Ok(Diagnosis::Down(Trouble::new(
                format!("there is no container `{name}` on the engine at {engine}"),
                Next::up(),
            )));
        };
        let deaths = container.restarts - self.restarts.get_or_init(|| container.restarts);
        // One that has never died has no last words.
        let log = if container.running && container.restarts == 0 {
            String::new()
        } else {
            soon(engine, engine.log_tail(name, LOG_LINES)).await.unwrap_or_default()
        };
        Ok(judge(name, &container, owner, &log, deaths, Timestamp::now()))
    }
}

/// `deaths`: how many were seen while somebody waited. The engine counts its own restarts since a person's, and begins again
/// with a person's start or its own.
fn judge(
    name: &str,
    container: &Container,
    owner: &Owner,
    log: &str,
    deaths: i64,
    now: Timestamp,
) -> Diagnosis {
    if !super::is_ours(container) {
        return Diagnosis::Down((&DindError::Foreign(name.to_owned())).into());
    }
    if let Some(home) = owner.other(&container.labels) {
        return Diagnosis::Down((&DindError::OtherHome { name: name.to_owned(), home }).into());
    }
    let down =
        |state: &str| Diagnosis::Down(Trouble::new(format!("the container `{name}` {state}"), Next::up()));
    let is_up = match container.status.as_str() {
        "running" => true,
        "restarting" | "exited" => false,
        "created" => return down("was never started"),
        "removing" => return down("is being removed"),
        state => return down(&format!("is {state}")),
    };
    let words = Words::last_of(log);
    if let Some(words) = words.clone().filter(|words| words.are_berths && (!is_up || container.restarts > 0))
    {
        return Diagnosis::Down(dying(name, "dies at its start", words));
    }
    let since = |time: &str| time.parse::<Timestamp>().ok().map(|then| span(then, now));
    let (started, finished) = (since(&container.started_at), since(&container.finished_at));
    if container.status == "exited" {
        if finished.is_some_and(|age| age < RESTARTED_WITHIN) {
            return Diagnosis::Starting("it has just ended, and may be started again".to_owned());
        }
        return down(&format!("has exited (exit code {})", container.exit_code));
    }
    let paused_for =
        if is_up { finished.zip(started).map(|(end, start)| end.saturating_sub(start)) } else { finished };
    let again_and_again = container.restarts >= DEATHS && paused_for.is_some_and(|pause| pause >= LONG_PAUSE);
    let is_young = !is_up || started.is_some_and(|age| age < STARTS_WITHIN);
    if is_young && (deaths >= DEATHS || again_and_again) {
        let words = words.unwrap_or_else(|| Words::none(container.exit_code));
        return Diagnosis::Down(dying(name, "dies again and again", words));
    }
    // One that its own health check has seen answer does so to others, or never will.
    if is_young && container.health != "healthy" {
        return Diagnosis::Starting("it is still starting".to_owned());
    }
    Diagnosis::Silent
}

fn dying(name: &str, how: &str, words: Words) -> Trouble {
    let next = words.next.unwrap_or_else(|| Next::Command(format!("docker logs {name}")));
    Trouble { dies: true, ..Trouble::new(format!("the DinD daemon `{name}` {how}: {}", words.cause), next) }
}

/// An engine that may not be used is there; one that does not answer may be about to start with its machine.
fn without_engine(error: &DindError, machine_is_up_for: Option<Duration>) -> Diagnosis {
    let DindError::Engine { engine, source } = error else { return Diagnosis::Down(error.into()) };
    let boots = machine_is_up_for.is_some_and(|up| up < MACHINE_BOOTS_WITHIN);
    if boots && !super::denied(source) {
        let address = &engine.address;
        return Diagnosis::Starting(format!("the Docker engine at `{address}` is still starting"));
    }
    Diagnosis::Down(error.into())
}

fn machine_is_up_for() -> Option<Duration> {
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    Duration::try_from_secs_f64(uptime.split_whitespace().next()?.parse().ok()?).ok()
}

/// Nought where the engine's clock is ahead of ours.
fn span(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
