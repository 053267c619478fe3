//! `berth run` as a child process, started as a client starts it, with its trace and standard error in files.
//!
//! Dropping a value kills the process, and its container ends with it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Of what a session said on standard error, its last lines are told.
const LAST_WORDS: usize = 2;

/// A session that is about to be started.
#[derive(Debug, Clone, Copy)]
pub struct Launch<'a> {
    pub program: &'a Path,
    pub config: Option<&'a Path>,
    /// Where its files go.
    pub folder: &'a Path,
    /// Nobody else's: its files have it.
    pub name: &'a str,
}

impl Launch<'_> {
    /// Starts `berth run` with `arguments`; `prepare` sets its environment.
    pub fn spawn(
        self,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        prepare: impl FnOnce(&mut Command),
    ) -> io::Result<Process> {
        let file = |kind: &str| self.folder.join(format!("{}.{kind}", self.name));
        let (trace, stderr) = (file("trace"), file("stderr"));
        let mut command = Command::new(self.program);
        if let Some(config) = self.config {
            command.arg("--config").arg(config);
        }
        let mut trace_flag = OsString::from("--trace=");
        trace_flag.push(&trace);
        command.arg("run").arg(trace_flag).args(arguments);
        prepare(&mut command);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&stderr)?)
            .kill_on_drop(true)
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("the session has no pipes"));
        };
        Ok(Process { child, pipes: Some((output, input)), trace, stderr })
    }
}

/// A session that runs.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pipes: Option<(ChildStdout, ChildStdin)>,
    pub trace: PathBuf,
    pub stderr: PathBuf,
}

impl Process {
    /// Its standard output and input.
    ///
    /// # Errors
    /// Where they were taken already.
    pub fn pipes(&mut self) -> io::Result<(ChildStdout, ChildStdin)> {
        self.pipes.take().ok_or_else(|| io::Error::other("the session's pipes are in use"))
    }

    /// `None` once it has been waited for.
    pub fn pid(&self) -> Option<Pid> {
        self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
    }

    /// To a process that has ended by itself there is nothing to signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            let _ = kill_process(pid, signal);
        }
    }

    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    pub async fn kill(&mut self) {
        let _ = self.child.kill().await;
    }

    /// `what`, and the end of what it wrote to its standard error.
    pub fn with_last_words(&self, what: &str) -> String {
        last_words(&self.stderr, what)
    }
}

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

/// `what`, and the end of what a session wrote to its standard error.
fn last_words(stderr: &Path, what: &str) -> String {
    let said = std::fs::read(stderr).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(LAST_WORDS)..].join(" / ");
    if last.is_empty() { what.to_owned() } else { format!("{what}; it said: {last}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_the_last_lines_that_say_something() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one\ntwo\n\nthree\n\n").unwrap();
        assert_eq!(last_words(file.path(), "no answer"), "no answer; it said: two / three");
        assert_eq!(last_words(Path::new("/nowhere"), "no answer"), "no answer");
    }
}
