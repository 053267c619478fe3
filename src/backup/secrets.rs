//! The part of a backup that is encrypted: what it holds, and how it is packed.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use mcp_berth::config::Config;
use mcp_berth::values::Lookup;
use serde::{Deserialize, Serialize};

use crate::place;

/// No file of variables is longer (bytes).
const LONGEST: u64 = 1 << 20;

/// All secrets of a backup. There is no `Debug` of it.
#[derive(Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Secrets {
    /// The configuration, where a secret stands in it.
    pub(crate) configuration: Option<String>,
    /// Files by the names that [`Config::secret_files`] has for them.
    pub(crate) files: BTreeMap<String, String>,
}

impl Secrets {
    /// Reads the files that the configuration names; those that cannot be read are told.
    pub(crate) fn gather(config: &Config, lookup: Lookup<'_>, said: &mut Vec<String>) -> Self {
        let mut secrets = Self::default();
        for (name, path) in config.secret_files(lookup) {
            match read(&path) {
                Ok(text) => drop(secrets.files.insert(name, text)),
                Err(error) => said.push(format!("left out `{}`: {error}", path.display())),
            }
        }
        secrets
    }
}

pub(crate) fn read(path: &Path) -> io::Result<String> {
    let bytes = place::read(path, LONGEST)?;
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}
