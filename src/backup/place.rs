//! Files of this machine that a restoration writes: as a whole, and to their owner alone.

use std::fs::DirBuilder;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use mcp_berth::failure::{Code, Failure};

use crate::file::folder_of;
use crate::gather::read;

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
        match read(path) {
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

/// Puts a file there in one step.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let folder = folder_of(path);
    let written = || {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        // Made with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    written().map_err(|error: io::Error| failed(path, "write", &error))
}
