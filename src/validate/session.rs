//! A real session: `berth run` as a child process, started and ended as its client would.
//!
//! Dropping one kills the process, and its container ends with it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::checks::Seen;
use super::checks::cleanup::By;
use super::client::{Client, ClientError, Kind};
use super::plan::Plan;

/// A session that has not answered by then won't.
const READY_WITHIN: Duration = Duration::from_secs(40);
const CALL_WITHIN: Duration = Duration::from_secs(30);
/// An ended session's process is gone by then; its grace is over long before.
const EXIT_WITHIN: Duration = Duration::from_secs(10);
/// The trace is written by a thread of its own, a moment after the step.
const TRACE_WITHIN: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Of what a session said on standard error, its last lines are told.
const LAST_WORDS: usize = 2;

/// A folder of our own for the sessions' traces and standard errors; removed in the end.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// `purpose` stands in its name.
    pub fn new(purpose: &str) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let nanoseconds = jiff::Timestamp::now().as_nanosecond();
        let name = format!("berth-{purpose}-{}-{nanoseconds}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Leaves it where it is.
    pub fn keep(mut self) -> PathBuf {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Files in the system's own folder for such files. One that is kept has no path here.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

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
    child: Child,
    patience: u32,
    trace: PathBuf,
    stderr: PathBuf,
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
        let file = |kind: &str| scratch.0.join(format!("{name}.{kind}"));
        let (trace, stderr) = (file("trace"), file("stderr"));
        let mut trace_flag = std::ffi::OsString::from("--trace=");
        trace_flag.push(&trace);
        let mut command = Command::new(&plan.berth.program);
        if let Some(config) = &plan.berth.config_file {
            command.arg("--config").arg(config);
        }
        command.arg("run").arg(trace_flag).args(flags).arg(&plan.server.name);
        // What is examined is the making of containers, and their number; and no death may be mended unseen.
        command.args(["--standby", "0", "--on-failure", "exit"]);
        command.env_clear().envs(plan.berth.environment(
            kind,
            std::env::vars_os(),
            &format!("validate-{name}"),
        ));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&stderr)?)
            .kill_on_drop(true);
        let started = Instant::now();
        let mut child = command.spawn()?;
        let (Some(to_session), Some(from_session)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("the session has no pipes"));
        };
        let client = Client::new(kind, from_session, to_session);
        Ok(Self {
            title,
            kind,
            client,
            started,
            answered: None,
            child,
            patience: plan.patience,
            trace,
            stderr,
        })
    }

    /// Begins the session as its client does; gives the time from its start to its server's first answer.
    pub async fn begin(&mut self) -> Seen<Duration> {
        if let Err(error) = self.client.begin(READY_WITHIN * self.patience).await {
            return Err(self.with_last_words(&error.to_string()));
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
            let text = std::fs::read_to_string(&self.trace).unwrap_or_default();
            if let Some(id) = container_in(&text) {
                return Ok(id);
            }
            if Instant::now() > deadline {
                return Err(self.with_last_words("its trace names no container"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Ends the session and waits until its process is gone; gives its exit code, `None` after a signal.
    pub async fn end(self, by: By) -> Seen<Option<i32>> {
        let Self { client, mut child, patience, stderr, .. } = self;
        let within = EXIT_WITHIN * patience;
        // The pipes stay open unless their end is what ends the session, so that it is nothing else.
        let kept = match by {
            By::Eof => {
                client.close().await;
                None
            }
            By::Sigterm => {
                signal(&child, Signal::TERM);
                Some(client)
            }
            By::Sigkill => {
                signal(&child, Signal::KILL);
                Some(client)
            }
        };
        let exit = match tokio::time::timeout(within, child.wait()).await {
            Ok(exit) => exit.map(|status: ExitStatus| status.code()).map_err(|error| error.to_string()),
            Err(_) => Err(last_words(&stderr, &format!("still running after {} s", within.as_secs()))),
        };
        drop(kept);
        exit
    }

    fn with_last_words(&self, what: &str) -> String {
        last_words(&self.stderr, what)
    }
}

fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
        // It may have ended by itself; then there is nothing to signal.
        let _ = kill_process(pid, signal);
    }
}

/// `what`, and the end of what a session wrote to its standard error.
pub(crate) fn last_words(stderr: &Path, what: &str) -> String {
    let said = std::fs::read(stderr).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(LAST_WORDS)..].join(" / ");
    if last.is_empty() { what.to_owned() } else { format!("{what}; it said: {last}") }
}

/// The step of the start that names the container, in a trace as `--trace=FILE` writes it.
fn container_in(trace: &str) -> Option<String> {
    let records = trace.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let step = records.into_iter().find(|record| record["name"] == "create, start and attach")?;
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
    }

    #[test]
    fn last_words_are_the_last_lines_that_say_something() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one\ntwo\n\nthree\n\n").unwrap();
        assert_eq!(last_words(file.path(), "no answer"), "no answer; it said: two / three");
        assert_eq!(last_words(Path::new("/nowhere"), "no answer"), "no answer");
    }
}
