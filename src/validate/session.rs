//! A session under examination, begun and ended as its client would.

use std::io;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tokio::process::{ChildStdin, ChildStdout};

use super::checks::cleanup::By;
use super::plan::Plan;
use crate::exam::check::Seen;
use crate::exam::client::{Client, ClientError, Kind};
use crate::exam::process::{Launch, Process, Scratch};

/// A session that has not answered by then won't.
const READY_WITHIN: Duration = Duration::from_secs(40);
const CALL_WITHIN: Duration = Duration::from_secs(30);
/// An ended session's process is gone by then; its grace is over long before.
const EXIT_WITHIN: Duration = Duration::from_secs(10);
/// The trace is written by a thread of its own, a moment after the step.
const TRACE_WITHIN: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A session under examination.
#[derive(Debug)]
pub struct Session {
    /// For people: `claude-code 1`.
    pub title: String,
    pub kind: Kind,
    pub client: Client<ChildStdout, ChildStdin>,
    started: Instant,
    /// When its server had answered.
    pub answered: Option<Instant>,
    process: Process,
    patience: u32,
}

impl Session {
    /// Starts the process. `title` is nobody else's; `flags` go to `berth run` besides the server.
    pub fn spawn(
        plan: &Plan,
        scratch: &Scratch,
        kind: Kind,
        title: String,
        flags: &[&str],
    ) -> io::Result<Self> {
        let name = title.replace(' ', "-");
        let launch = Launch {
            program: &plan.berth.program,
            config: plan.berth.config_file.as_deref(),
            folder: scratch.path(),
            name: &name,
        };
        // What is examined is the making of containers, and their number; and no death may be mended unseen.
        let always = ["--standby", "0", "--on-failure", "exit"];
        let arguments = flags.iter().copied().chain([plan.server.name.as_str()]).chain(always);
        let started = Instant::now();
        let mut process = launch.spawn(arguments, |command| {
            let session = format!("validate-{name}");
            command.env_clear().envs(plan.berth.environment(kind, std::env::vars_os(), &session));
        })?;
        let (from_session, to_session) = process.pipes()?;
        let client = Client::new(kind, from_session, to_session);
        Ok(Self { title, kind, client, started, answered: None, process, patience: plan.patience })
    }

    /// Begins the session as its client does; gives the time from its start to its server's first answer.
    pub async fn begin(&mut self) -> Seen<Duration> {
        if let Err(error) = self.client.begin(READY_WITHIN * self.patience).await {
            return Err(self.process.with_last_words(&error.to_string()));
        }
        let answered = Instant::now();
        self.answered = Some(answered);
        Ok(answered - self.started)
    }

    /// What the server answers.
    pub async fn request(&mut self, id: &Value, method: &str, params: Value) -> Result<Value, ClientError> {
        self.client.request(id, method, params, CALL_WITHIN * self.patience).await
    }

    /// The container's id by the session's own account, which its trace is: two sessions that both believe to have
    /// one container are found out, as they would not be by the daemon's list.
    pub async fn container(&self) -> Seen<String> {
        let deadline = Instant::now() + TRACE_WITHIN * self.patience;
        loop {
            let text = std::fs::read_to_string(&self.process.trace).unwrap_or_default();
            if let Some(id) = container_in(&text) {
                return Ok(id);
            }
            if Instant::now() > deadline {
                return Err(self.process.with_last_words("its trace names no container"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Ends the session and waits until its process is gone; gives its exit code, `None` after a signal.
    pub async fn end(self, by: By) -> Seen<Option<i32>> {
        let Self { client, mut process, patience, .. } = self;
        let within = EXIT_WITHIN * patience;
        // The pipes stay open unless their end is what ends the session, so that it is nothing else.
        let kept = match by {
            By::Eof => {
                client.close().await;
                None
            }
            By::Sigterm => {
                process.signal(Signal::TERM);
                Some(client)
            }
            By::Sigkill => {
                process.signal(Signal::KILL);
                Some(client)
            }
        };
        let exit = match tokio::time::timeout(within, process.wait()).await {
            Ok(exit) => exit.map(|status: ExitStatus| status.code()).map_err(|error| error.to_string()),
            Err(_) => Err(process.with_last_words(&format!("still running after {} s", within.as_secs()))),
        };
        drop(kept);
        exit
    }
}

/// The steps of a start that name the container: in a daemon, and in a cluster.
const NAMING: [&str; 2] = ["create, start and attach", "create the pod"];

/// That step's word, in a trace as `--trace=FILE` writes it.
fn container_in(trace: &str) -> Option<String> {
    let records = trace.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let names = |record: &Value| record["name"].as_str().is_some_and(|name| NAMING.contains(&name));
    let step = records.into_iter().find(names)?;
    Some(step["detail"].as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_names_the_container() {
        let trace = concat!(
            r#"{"time":"t","kind":"step","name":"inspect the image","duration_ms":4.8,"detail":"berth-everything"}"#,
            "\n",
            r#"{"time":"t","kind":"step","name":"create, start and attach","duration_ms":218.8,"detail":"d0e5"}"#,
            "\n{\"half a li",
        );
        assert_eq!(container_in(trace).as_deref(), Some("d0e5"));
        assert_eq!(container_in(&trace[..60]), None);
        let pod = r#"{"time":"t","kind":"step","name":"create the pod","detail":"mcp-codex-d0"}"#;
        assert_eq!(container_in(pod).as_deref(), Some("mcp-codex-d0"));
    }
}
