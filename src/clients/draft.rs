//! A file before and after an edit: shown as a difference, backed up, and replaced in one step or not at all.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use similar::TextDiff;

use super::file;
use crate::failure::{Code, Failure};

/// A change to a file that has not been made yet.
#[derive(Debug, Clone)]
pub struct Draft {
    path: PathBuf,
    /// `None` where there is no file yet.
    before: Option<String>,
    pub after: String,
}

impl Draft {
    /// The file as it is; links are followed, so that it is the file that is replaced and not the link.
    pub fn of(path: &Path) -> Result<Self, Failure> {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let before = match file::read(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(failed(&path, "read", &error)),
        };
        Ok(Self { after: before.clone().unwrap_or_default(), path, before })
    }

    /// The file itself, whatever links lead to it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn before(&self) -> &str {
        self.before.as_deref().unwrap_or_default()
    }

    pub fn changes(&self) -> bool {
        self.before() != self.after
    }

    /// As a unified diff of the texts as they are `shown`.
    pub fn diff(&self, shown: impl Fn(&str) -> String) -> String {
        let name = self.path.display().to_string();
        let old = if self.before.is_some() { &name } else { "/dev/null" };
        let (before, after) = (shown(self.before()), shown(&self.after));
        TextDiff::from_lines(&before, &after).unified_diff().header(old, &name).to_string()
    }

    /// Writes the file, if there is a change; the path of the backup, if there was a file. A file that is new is its
    /// owner's alone if `private`.
    pub fn write(&self, private: bool) -> Result<Option<PathBuf>, Failure> {
        self.write_after(private, |_| Ok(()))
    }

    /// The same; `noted` gets the path of the backup before the file is changed.
    pub fn write_after(
        &self,
        private: bool,
        noted: impl FnOnce(Option<&Path>) -> Result<(), Failure>,
    ) -> Result<Option<PathBuf>, Failure> {
        if !self.changes() {
            return Ok(None);
        }
        let failed = |error: io::Error| failed(&self.path, "write", &error);
        let backup = self.try_backup().map_err(failed)?;
        noted(backup.as_deref())?;
        self.try_write(private).map_err(failed)?;
        Ok(backup)
    }

    fn try_write(&self, private: bool) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(self.after.as_bytes())?;
        let mode = if let Ok(old) = fs::metadata(&self.path) {
            // Who may not give it away keeps it.
            let _ = fchown(file.as_file(), Some(old.uid()), Some(old.gid()));
            old.permissions().mode()
        } else if private {
            0o600
        } else {
            0o644
        };
        file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        // The last moment at which another's work can be seen.
        let now = file::read(&self.path).ok();
        if now != self.before {
            return Err(io::Error::other("another program has just changed it"));
        }
        file.persist(&self.path)?;
        Ok(())
    }

    /// Keeps what is there, in a file beside it.
    pub fn backup(&self) -> Result<Option<PathBuf>, Failure> {
        self.try_backup().map_err(|error| failed(&self.path, "back up", &error))
    }

    fn try_backup(&self) -> io::Result<Option<PathBuf>> {
        let Some(before) = &self.before else { return Ok(None) };
        let mode = fs::metadata(&self.path)?.permissions().mode();
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let time = jiff::Zoned::now().strftime("%Y%m%dT%H%M%S").to_string();
        let mut attempt = 0;
        loop {
            let number = if attempt == 0 { String::new() } else { format!("-{attempt}") };
            let path = self.path.with_file_name(format!("{name}.{time}{number}.bak"));
            match fs::OpenOptions::new().write(true).create_new(true).mode(mode & 0o777).open(&path) {
                Ok(mut file) => {
                    file.set_permissions(fs::Permissions::from_mode(mode))?;
                    file.write_all(before.as_bytes())?;
                    return Ok(Some(path));
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

fn failed(path: &Path, what: &str, error: &io::Error) -> Failure {
    Failure {
        code: Code::Configuration,
        text: format!("cannot {what} {}: {error}", path.display()),
        next: Some("check the file and its folder, then run the command again".to_owned()),
    }
}
