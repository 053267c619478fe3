//! One manager for each state folder: who it is, where it listens, and its end.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Seek, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use mcp_berth::config::Home;
use mcp_berth::failure::{Code, Failure};
use mcp_berth::history::manager::{self, FOLDER, Holder, running};
use rustix::process::{Pid, Signal, kill_process};

use crate::token;

/// A manager ends within this time; sessions do not wait for it.
const ENDS_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Held as long as this manager lives (`flock(2)`).
#[derive(Debug)]
pub(crate) struct Instance {
    file: File,
    folder: PathBuf,
}

impl Instance {
    /// # Errors
    /// Another manager has the folder, or it cannot be made.
    pub(crate) fn take(home: &Home) -> Result<Self, Failure> {
        let folder = home.state.join(FOLDER);
        let path = manager::lock(&home.state);
        let mut file = open(&folder, &path).map_err(|error| unusable(&path, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(error)) => return Err(unusable(&path, &error)),
            Err(TryLockError::WouldBlock) => {
                let who = match Holder::read(&mut file) {
                    Some(holder) => format!("process {}", holder.pid),
                    None => "another process".to_owned(),
                };
                return Err(Failure {
                    code: Code::Unavailable,
                    text: format!("{who} is the manager of `{}` already", home.state.display()),
                    next: Some("look at it with `berth manager status`".to_owned()),
                });
            }
        }
        let mut instance = Self { file, folder };
        instance.sign(None, None).map_err(|error| unusable(&path, &error))?;
        Ok(instance)
    }

    /// The manager's own folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Says where it listens.
    pub(crate) fn sign(&mut self, api: Option<SocketAddr>, monitor: Option<SocketAddr>) -> io::Result<()> {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let holder =
            Holder { pid: std::process::id(), version, namespace: manager::namespace(), api, monitor };
        let text = serde_json::to_string(&holder)?;
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // Nobody is to be taken for the next holder.
        _ = self.file.set_len(0);
    }
}

fn open(folder: &Path, path: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    File::options().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure {
        code: Code::Unavailable,
        text: format!("cannot use `{}`: {error}", path.display()),
        next: Some("correct the folder's owner and permissions".to_owned()),
    }
}

/// `berth manager token`.
pub(crate) fn token(home: &Home) -> anyhow::Result<ExitCode> {
    let token = token::read_or_make(&home.state.join(FOLDER))?;
    writeln!(io::stdout().lock(), "{}", token.text())?;
    Ok(ExitCode::SUCCESS)
}

/// `berth manager status`.
pub(crate) fn status(home: &Home) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    let Some(holder) = running(&home.state)? else {
        writeln!(out, "no manager runs")?;
        return Ok(ExitCode::from(Code::Unavailable.exit_code()));
    };
    writeln!(out, "manager: process {}, berth {}", holder.pid, holder.version)?;
    let address = |address: Option<SocketAddr>| {
        address.map_or_else(|| "not yet".to_owned(), |address| format!("http://{address}"))
    };
    writeln!(out, "API:     {}", address(holder.api))?;
    writeln!(out, "page:    {}", address(holder.monitor))?;
    Ok(ExitCode::SUCCESS)
}

/// `berth manager stop`.
pub(crate) async fn stop(home: &Home) -> anyhow::Result<ExitCode> {
    let Some(holder) = running(&home.state)? else {
        writeln!(io::stdout().lock(), "no manager runs")?;
        return Ok(ExitCode::SUCCESS);
    };
    if holder.is_elsewhere() {
        return Err(Failure {
            code: Code::Unavailable,
            text: "the manager runs in a container, or outside of this one".to_owned(),
            next: Some("end it where it was started, with `docker stop berth-manager` for one".to_owned()),
        }
        .into());
    }
    let pid = i32::try_from(holder.pid).ok().and_then(Pid::from_raw);
    let failed = |why: &str| Failure {
        code: Code::Unavailable,
        text: format!("cannot end the manager, process {}: {why}", holder.pid),
        next: Some(format!("see who holds it with `fuser -v {}`", manager::lock(&home.state).display())),
    };
    let pid = pid.ok_or_else(|| failed("it has no number yet"))?;
    kill_process(pid, Signal::TERM).map_err(|error| failed(&error.to_string()))?;
    let began = Instant::now();
    while running(&home.state)?.is_some_and(|now| now.pid == holder.pid) {
        if began.elapsed() > ENDS_WITHIN {
            return Err(failed("it does not end").into());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    writeln!(io::stdout().lock(), "the manager, process {}, has ended", holder.pid)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn home(folder: &Path) -> Home {
        let folder = folder.to_str().unwrap().to_owned();
        Home::from_env(&|name| (name == "BERTH_HOME").then(|| folder.clone())).unwrap()
    }

    #[test]
    fn a_state_folder_has_one_manager_and_the_next_one_hears_who() {
        let folder = tempfile::tempdir().unwrap();
        let home = home(folder.path());
        assert_eq!(running(&home.state).unwrap(), None);
        let mut instance = Instance::take(&home).unwrap();
        let refused = Instance::take(&home).unwrap_err();
        let here = std::process::id();
        assert!(refused.text.starts_with(&format!("process {here} is the manager of ")), "{refused:?}");
        let api: SocketAddr = "127.0.0.1:1".parse().unwrap();
        instance.sign(Some(api), None).unwrap();
        instance.sign(Some("[2001:db8:1111:2222:3333:4444:5555:6666]:65535".parse().unwrap()), None).unwrap();
        instance.sign(Some(api), None).unwrap();
        let seen = running(&home.state).unwrap().unwrap();
        assert_eq!((seen.pid, seen.api, seen.monitor), (here, Some(api), None));
        assert!(!seen.is_elsewhere() && seen.namespace.starts_with("pid:["), "{seen:?}");
        assert!(Holder { namespace: "pid:[1]".to_owned(), ..seen }.is_elsewhere());
        let lock = manager::lock(&home.state);
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(instance.folder()), mode(&lock)), (0o700, 0o600));
        drop(instance);
        assert_eq!((running(&home.state).unwrap(), lock.metadata().unwrap().len()), (None, 0));
        Instance::take(&home).unwrap();
    }
}
