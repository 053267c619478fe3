//! The part of a backup that is encrypted: what it holds, and how it is packed.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use mcp_berth::config::Config;
use mcp_berth::regular;
use mcp_berth::values::Lookup;
use serde::{Deserialize, Serialize};

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

/// Nothing that blocks, and nothing without an end.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let file = regular::open(path)?.ok_or_else(|| io::Error::other("it is no regular file"))?;
    let mut text = String::new();
    if file.take(LONGEST + 1).read_to_string(&mut text)? as u64 > LONGEST {
        return Err(io::Error::other("it is longer than 1 MiB"));
    }
    Ok(text)
}
