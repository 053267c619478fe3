//! berth's own entries: how they are made, and how they are recognised.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Entry, Kind};
use crate::config::Server;
use crate::values::Lookup;

/// What decides where berth's own files are; Codex passes none of it unless it is told to.
const OWN_VARIABLES: [&str; 3] = ["BERTH_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"];

/// What Codex waits for by default (seconds).
const CODEX_PATIENCE: u64 = 30;
/// The first start of a package downloads it (seconds).
const BAKE_PATIENCE: u64 = 600;

/// The entry that runs a server by this program.
pub fn of_berth(kind: Kind, server: &Server, config: Option<&Path>, lookup: Lookup) -> Entry {
    let mut args = vec!["run".to_owned(), server.name.clone()];
    if let Some(config) = config {
        let config = std::path::absolute(config).unwrap_or_else(|_| config.to_owned());
        args.extend(["--config".to_owned(), config.to_string_lossy().into_owned()]);
    }
    let mut entry = Entry { command: command(lookup), args, ..Entry::default() };
    if kind == Kind::Codex {
        let own = OWN_VARIABLES.into_iter().filter(|name| lookup(name).is_some()).map(str::to_owned);
        let variables: BTreeSet<String> = server.variables().into_iter().chain(own).collect();
        entry.env_vars = variables.into_iter().collect();
        let needed =
            if server.recipe.is_some() { BAKE_PATIENCE } else { server.settings.start_timeout.as_secs() };
        entry.startup_timeout = (needed > CODEX_PATIENCE).then_some(needed);
    }
    entry
}

/// `berth` where that is this program, else the path of this program.
fn command(lookup: Lookup) -> String {
    let Ok(own) = std::env::current_exe() else { return "berth".to_owned() };
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    if find("berth", lookup).is_some_and(|found| real(&found) == real(&own)) {
        return "berth".to_owned();
    }
    own.to_string_lossy().into_owned()
}

/// A program of the search path.
pub(super) fn find(program: &str, lookup: Lookup) -> Option<PathBuf> {
    let path = lookup("PATH")?;
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Whether an entry runs berth, this one or another.
pub fn is_berth(entry: &Entry) -> bool {
    is_called_berth(&entry.command) && entry.args.iter().any(|arg| arg == "run")
}

/// Whether a command is called berth, wherever it is.
pub fn is_called_berth(command: &str) -> bool {
    Path::new(command).file_name().is_some_and(|name| name == "berth")
}
