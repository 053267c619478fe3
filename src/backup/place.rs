//! Files of this machine that a restoration writes: as a whole, and to their owner alone.

use std::fs::DirBuilder;
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path};

use mcp_berth::config::Home;
use mcp_berth::failure::{Code, Failure};
use mcp_berth::human::Bytes;
use mcp_berth::regular;

use crate::file::folder_of;
use crate::manifest::LONGEST_PART;

/// What stands where a file is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    Same,
    Other,
}

fn failed(path: &Path, op: &str, error: &io::Error) -> Failure {
    Failure {
        code: Code::Configuration,
        text: format!("cannot {op} `{}`: {error}", path.display()),
        next: Some("correct its owner and permissions, and type the same command again".to_owned()),
    }
}

impl Found {
    pub(crate) fn at(path: &Path, wanted: &[u8]) -> Result<Self, Failure> {
        match read(path, LONGEST_PART) {
            Ok(bytes) if bytes == wanted => Ok(Self::Same),
            Ok(_) => Ok(Self::Other),
            // A link that leads nowhere is something.
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => {
                Ok(Self::Nothing)
            }
            Err(error) => Err(failed(path, "read", &error)),
        }
    }
}

/// Nothing that blocks, and nothing without an end.
pub(crate) fn read(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    let file = regular::open(path)?.ok_or_else(|| io::Error::other("it is no regular file"))?;
    let mut bytes = Vec::new();
    if file.take(longest + 1).read_to_end(&mut bytes)? as u64 > longest {
        return Err(io::Error::other(format!("it is longer than {}", Bytes(longest))));
    }
    Ok(bytes)
}

/// Puts a file there in one step.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let folder = folder_of(path);
    let written = || {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        regular::replace(path, bytes)
    };
    written().map_err(|error: io::Error| failed(path, "write", &error))
}

/// Whether a configuration's folder is berth's own: the usual one, or one that nothing is in yet. In any other lie files of
/// other programs, which may run what somebody puts there.
pub(crate) fn is_own(folder: &Path, home: &Home) -> bool {
    let at = |folder: &Path| std::path::absolute(folder).ok();
    if at(folder).is_some_and(|folder| at(folder_of(&home.config_file)) == Some(folder)) {
        return true;
    }
    match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Whether a path leads nowhere but below a folder, which is nobody's home and not that of all programs' settings.
pub(crate) fn is_below(folder: &Path, path: &Path) -> bool {
    let (Ok(folder), Ok(path)) = (std::path::absolute(folder), std::path::absolute(path)) else {
        return false;
    };
    let is_plain = path.components().all(|part| part != Component::ParentDir);
    // Where it leads by links: the first folder of it that is there.
    let there = path.ancestors().skip(1).find_map(|above| above.canonicalize().ok());
    let Some(there) = there.filter(|_| is_plain && path.starts_with(&folder)) else { return false };
    // A folder that is to be made yet is as its path says.
    let led = match folder.canonicalize() {
        Ok(real) => there.starts_with(&real),
        Err(_) => true,
    };
    let settings = std::env::home_dir().unwrap_or_default().join(".config");
    led && !settings.starts_with(&folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_below_a_folder_is_below_it() {
        let around = tempfile::tempdir().unwrap();
        let folder = around.path().join("berth");
        assert!(is_below(&folder, &folder.join("a.env")), "it is to be made");
        std::fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink(around.path(), folder.join("out")).unwrap();
        assert!(is_below(&folder, &folder.join("a.env")));
        assert!(is_below(&folder, &folder.join("new/a.env")));
        for path in ["../a.env", "new/../../a.env", "out/a.env", "out/new/a.env", "/etc/a.env"] {
            assert!(!is_below(&folder, &folder.join(path)), "{path}");
        }
        let home = std::env::home_dir().unwrap();
        assert!(!is_below(&home, &home.join(".bash_profile")), "all of a person's files lie there");
        let settings = home.join(".config");
        assert!(!is_below(&settings, &settings.join("autostart/a.desktop")), "so do those of all programs");
    }
}
