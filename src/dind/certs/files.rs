//! The certificates' files: readable by their owner alone, and whole or absent.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::CertError;

fn failed(op: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CertError {
    move |source| CertError::File { op, path: path.to_owned(), source }
}

/// Makes the folder, and closes it to others whatever the umask or its past.
pub(super) fn make_folder(folder: &Path) -> Result<(), CertError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed("make the folder", folder))?;
    set_mode(folder, 0o700)
}

/// The file's text, if there is one that can be read.
pub(super) fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// Writes beside the file and renames: a reader sees the old content or the new.
pub(in crate::dind) fn write(path: &Path, content: &[u8]) -> Result<(), CertError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = || {
        // One of a killed process with our number; never follow what somebody put there.
        if let Err(error) = fs::remove_file(&temporary)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        // The umask may have taken bits away even from us.
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    written().map_err(|error| {
        drop(fs::remove_file(&temporary));
        failed("write", path)(error)
    })
}

/// Closes files that somebody opened to others.
pub(super) fn protect(folder: &Path, names: &[&str]) -> Result<(), CertError> {
    names.iter().try_for_each(|name| set_mode(&folder.join(name), 0o600))
}

fn set_mode(path: &Path, mode: u32) -> Result<(), CertError> {
    let change = || {
        if fs::metadata(path)?.permissions().mode() & 0o7777 == mode {
            return Ok(());
        }
        fs::set_permissions(path, Permissions::from_mode(mode))
    };
    change().map_err(failed("set the permissions of", path))
}
