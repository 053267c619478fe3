//! berth's own entries: how they are made, and how they are recognised.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Entry, Kind, Scope};
use crate::config::Server;
use crate::values::Lookup;

/// What decides where berth's own files are; Codex passes none of it unless it is told to.
const OWN_VARIABLES: [&str; 3] = ["BERTH_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"];

/// What Codex waits for by default (seconds).
const CODEX_PATIENCE: u64 = 30;
/// The first start of a package downloads it (seconds).
const BAKE_PATIENCE: u64 = 600;

/// Where every program of the machine is looked for, whoever starts it.
const OF_THE_SYSTEM: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// The entry that runs a server by this program, in a file of that scope.
pub fn of_berth(
    (kind, scope): (Kind, Scope),
    server: &Server,
    config: Option<&Path>,
    lookup: Lookup,
) -> Entry {
    let mut entry = run((kind, scope), &[&server.name], config, lookup);
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

/// The entry that runs all servers of a profile. What it hands on to them is theirs to say.
pub fn of_profile(
    place: (Kind, Scope),
    (profile, name): (&str, &str),
    config: Option<&Path>,
    lookup: Lookup,
) -> Entry {
    run(place, &["--profile", profile, "--entry", name], config, lookup)
}

fn run((kind, scope): (Kind, Scope), what: &[&str], config: Option<&Path>, lookup: Lookup) -> Entry {
    let words = [&["run"], what, &["--client", kind.id()]].concat();
    let mut args: Vec<String> = words.into_iter().map(str::to_owned).collect();
    if let Some(config) = config {
        let config = std::path::absolute(config).unwrap_or_else(|_| config.to_owned());
        args.extend(["--config".to_owned(), config.to_string_lossy().into_owned()]);
    }
    Entry { command: command(scope, lookup), args, ..Entry::default() }
}

/// The path of this program, or `berth` where its client finds just that.
///
/// A client that a desktop starts has another search path than a shell, and a folder that is not absolute could be a project's.
/// A project's file is for all who work in it, each with a berth somewhere else.
fn command(scope: Scope, lookup: Lookup) -> String {
    let Ok(own) = std::env::current_exe() else { return "berth".to_owned() };
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    let found = find("berth", lookup).filter(|found| real(found) == real(&own));
    match found {
        Some(_) if scope == Scope::Project => "berth".to_owned(),
        Some(found) if is_of_the_system(&found) && is_trusted(lookup) => "berth".to_owned(),
        // What it was found as outlives an update, where that is a link.
        Some(found) => found.to_string_lossy().into_owned(),
        None => own.to_string_lossy().into_owned(),
    }
}

fn is_of_the_system(program: &Path) -> bool {
    program.parent().is_some_and(|folder| OF_THE_SYSTEM.iter().any(|known| folder == Path::new(known)))
}

/// Whether the search path has only folders that are the same wherever it is used.
fn is_trusted(lookup: Lookup) -> bool {
    lookup("PATH").is_some_and(|path| std::env::split_paths(&path).all(|folder| folder.is_absolute()))
}

/// A program of the search path.
pub(super) fn find(program: &str, lookup: Lookup) -> Option<PathBuf> {
    let path = lookup("PATH")?;
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// The server that an entry runs by berth.
pub fn server_of(entry: &Entry) -> Option<&str> {
    let run = entry.args.iter().position(|arg| arg == "run").filter(|_| is_berth(entry))?;
    entry.args.get(run + 1).map(String::as_str).filter(|server| !server.starts_with('-'))
}

/// The profile that an entry runs by berth.
pub fn profile_of(entry: &Entry) -> Option<&str> {
    let flag = entry.args.iter().position(|arg| arg == "--profile").filter(|_| is_berth(entry))?;
    entry.args.get(flag + 1).map(String::as_str)
}

/// Whether an entry runs berth, this one or another.
pub fn is_berth(entry: &Entry) -> bool {
    is_called_berth(&entry.command) && entry.args.iter().any(|arg| arg == "run")
}

/// Whether a command is called berth, wherever it is.
pub fn is_called_berth(command: &str) -> bool {
    Path::new(command).file_name().is_some_and(|name| name == "berth")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn berth_is_named_by_its_path_unless_every_client_finds_it() {
        let folder = tempfile::tempdir().unwrap();
        let own = std::env::current_exe().unwrap();
        let here = folder.path().join("berth");
        symlink(&own, &here).unwrap();
        let named =
            |path: String, scope| command(scope, &|name: &str| (name == "PATH").then(|| path.clone()));
        let path = || format!("/nowhere:{}", folder.path().display());
        assert_eq!(named(path(), Scope::User), here.to_str().unwrap());
        assert_eq!(named(path(), Scope::Local), here.to_str().unwrap());
        assert_eq!(named(path(), Scope::Project), "berth", "each has it somewhere else");
        for scope in Scope::ALL {
            assert_eq!(named("/nowhere".to_owned(), scope), own.to_str().unwrap());
        }
        assert!(is_of_the_system(Path::new("/usr/bin/berth")) && !is_of_the_system(&here));
        let trusted = |path: &'static str| is_trusted(&|name| (name == "PATH").then(|| path.to_owned()));
        assert!(
            trusted("/usr/bin:/bin") && !trusted("./node_modules/.bin:/usr/bin") && !trusted(":/usr/bin")
        );
    }

    #[test]
    fn the_server_of_an_entry_is_what_run_is_told() {
        let entry = |words: &str| {
            let mut words = words.split(' ').map(str::to_owned);
            Entry { command: words.next().unwrap(), args: words.collect(), ..Entry::default() }
        };
        assert_eq!(server_of(&entry("/x/berth run a --config f")), Some("a"));
        assert_eq!(server_of(&entry("berth --config f run a")), Some("a"));
        assert_eq!(server_of(&entry("berth run -- npx a")), None);
        assert_eq!(server_of(&entry("npx run a")), None);
    }
}
