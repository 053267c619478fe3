//! The program that starts sessions, and the environment that a client gives it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::client::Kind;
use crate::config::Server;
use crate::failure::{Code, Failure};
use crate::values::Lookup;

/// What Codex leaves in the environment of a server. All else it clears.
pub const CODEX_LEAVES: [&str; 10] =
    ["HOME", "LOGNAME", "PATH", "SHELL", "USER", "LANG", "LC_ALL", "TERM", "TMPDIR", "TZ"];

/// Where berth's own files are: the examined sessions have to find ours, whatever their client clears.
const OURS: [&str; 4] = ["BERTH_HOME", "KUBECONFIG", "XDG_CONFIG_HOME", "XDG_DATA_HOME"];

/// The program to start sessions with, as this one was started.
#[derive(Debug, Clone)]
pub struct Berth {
    pub program: PathBuf,
    pub config_file: Option<PathBuf>,
    /// Variables that the server's configuration takes from the client's environment; a person whose client clears
    /// its environment has to name them there.
    pub variables: BTreeMap<String, OsString>,
}

impl Berth {
    /// # Errors
    /// Where a variable that the server needs is not set.
    pub fn new(config_file: Option<&Path>, server: &Server, lookup: Lookup<'_>) -> Result<Self, Failure> {
        let used = Mutex::new(BTreeMap::new());
        server.resolve_env(&|name| {
            let value = lookup(name)?;
            if let Ok(mut used) = used.lock() {
                used.insert(name.to_owned(), OsString::from(&value));
            }
            Some(value)
        })?;
        let program = std::env::current_exe()
            .map_err(|error| Failure::new(Code::Internal, &error, "use an absolute path"))?;
        let variables = used.into_inner().unwrap_or_default();
        // Sessions have our working folder, so a relative path means the same to them.
        Ok(Self { program, config_file: config_file.map(Path::to_owned), variables })
    }

    /// The environment that `kind` gives its servers: Claude Code its own, Codex next to nothing.
    pub fn environment(
        &self,
        kind: Kind,
        ours: impl IntoIterator<Item = (OsString, OsString)>,
        session: &str,
    ) -> Vec<(OsString, OsString)> {
        let is_claudes = |name: &OsString| name == "CLAUDECODE" || name == "CLAUDE_CODE_SESSION_ID";
        let ours = ours.into_iter().filter(|(name, _)| !is_claudes(name));
        match kind {
            Kind::ClaudeCode => {
                let own = [("CLAUDECODE", "1"), ("CLAUDE_CODE_SESSION_ID", session)];
                ours.chain(own.map(|(name, value)| (name.into(), value.into()))).collect()
            }
            Kind::Codex => {
                let is_left = |name: &OsString| CODEX_LEAVES.iter().chain(&OURS).any(|left| name == left);
                let named = self.variables.iter().map(|(name, value)| (name.into(), value.clone()));
                ours.filter(|(name, _)| is_left(name)).chain(named).collect()
            }
        }
    }
}
