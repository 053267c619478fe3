//! What one process of berth does at a time. A file of the state folder is locked for as long as its holder wants, or lives.

use std::fs::{File, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::failure::{Code, Explain};

const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Held until it is dropped (`flock(2)`).
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Nobody is to be taken for the next holder.
        drop(self.file.set_len(0));
        // A process that is being started has the file, too, until it becomes its program.
        drop(self.file.unlock());
    }
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("cannot lock `{}`", path.display())]
    File { path: PathBuf, source: io::Error },
    /// `holder` is a process id in the holder's own namespace, if the file has one.
    #[error("waited {} minutes for `{}`, which {} holds", waited.as_secs() / 60, path.display(), process(*holder))]
    Held { path: PathBuf, holder: Option<u32>, waited: Duration },
}

impl Explain for LockError {
    fn code(&self) -> Code {
        match self {
            Self::File { .. } => Code::Internal,
            Self::Held { .. } => Code::Unavailable,
        }
    }

    fn next(&self) -> Option<String> {
        Some(match self {
            Self::File { .. } => "correct the folder's owner and permissions".to_owned(),
            Self::Held { path, .. } => format!("see who holds it with `fuser -v {}`", path.display()),
        })
    }
}

fn process(id: Option<u32>) -> String {
    id.map_or_else(|| "another process".to_owned(), |id| format!("process {id}"))
}

/// Takes the lock `name` of the folder `state`. `wait` hears once who has it, and no wait is longer than `patience`.
pub(crate) async fn take(
    state: &Path,
    name: &str,
    patience: Duration,
    wait: impl FnOnce(&str),
) -> Result<Lock, LockError> {
    let path = state.join(name);
    let failed = |source| LockError::File { path: path.clone(), source };
    let mut file = open(state, &path).map_err(failed)?;
    let began = Instant::now();
    let mut wait = Some(wait);
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(source)) => return Err(failed(source)),
            Err(TryLockError::WouldBlock) => {}
        }
        if began.elapsed() >= patience {
            return Err(LockError::Held { holder: holder(&mut file), waited: patience, path });
        }
        if let Some(wait) = wait.take() {
            wait(&process(holder(&mut file)));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    // For those who wait. Without it they know less, and that is no reason to do nothing.
    drop(sign(&mut file));
    Ok(Lock { file })
}

/// For nobody else: whoever can open it can hold it.
fn open(state: &Path, path: &Path) -> io::Result<File> {
    std::fs::create_dir_all(state)?;
    let file = File::options().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_holds_it_is_named_and_waited_for_within_bounds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lock");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        let held = take(folder.path(), "a.lock", Duration::ZERO, |_| ()).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        let mut heard = String::new();
        let waited = Duration::from_mins(10);
        let error = take(folder.path(), "a.lock", waited, |holder| heard = holder.to_owned()).await;
        let error = error.unwrap_err();
        let here = std::process::id();
        assert_eq!(heard, format!("process {here}"));
        let told = format!("waited 10 minutes for `{}`, which process {here} holds", path.display());
        assert_eq!(error.to_string(), told);
        assert_eq!(error.next().unwrap(), format!("see who holds it with `fuser -v {}`", path.display()));
        assert_eq!(error.code(), Code::Unavailable);
        // Another lock is free, and this one is once its holder has let it go.
        take(folder.path(), "b.lock", Duration::ZERO, |_| ()).await.unwrap();
        let inherited = held.file.try_clone().unwrap();
        drop(held);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
        take(folder.path(), "a.lock", Duration::ZERO, |_| ()).await.unwrap();
        drop(inherited);
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = take(&file, "a.lock", Duration::ZERO, |_| ()).await.unwrap_err();
        assert_eq!(error.code(), Code::Internal);
        assert!(error.to_string().contains("a.lock"), "{error}");
    }
}
