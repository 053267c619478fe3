//! Reads the clients' files, and tries what they would start.

use std::ffi::OsStr;
use std::fs::File as StdFile;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use clap::Parser;
use futures::future::join_all;

use super::Asked;
use crate::cli::{Arguments, Subcommands};
use crate::clients::{Entry, Found, Kind, Place, Scope, Surroundings, file, is_called_berth};
use crate::config::{Config, ConfigError, Home, Profile, Server};
use crate::doctor::Options;
use crate::doctor::clients::{Examined, File, Program, Start, Target};
use crate::doctor::line::Seen;
use crate::exam::environment::CODEX_LEAVES;
use crate::values::{Lookup, without_credentials};

/// A program that hasn't said its version by then is no berth that works.
const VERSION_WITHIN: Duration = Duration::from_secs(5);

pub(super) async fn look(asked: &Asked<'_>, options: &Options) -> Seen<Vec<File>> {
    let around = Surroundings::new(options.folder.clone(), asked.lookup);
    let mut files = Vec::new();
    for place in Place::of_clients(&around) {
        let servers = match file::read(&place.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => Err(format!("it cannot be read: {error}")),
            Ok(text) => match servers(&place, &text) {
                Ok(servers) => {
                    let examined = servers
                        .into_iter()
                        .map(|(place, name, found)| examine(asked, options, place, name, found));
                    Ok(join_all(examined).await)
                }
                Err(why) => Err(why),
            },
        };
        files.push(File { kind: place.kind, path: place.path.display().to_string(), servers });
    }
    Seen::Found(files)
}

/// All servers of a file, each with whom it is for.
fn servers(place: &Place, text: &str) -> Result<Vec<(Place, String, Found)>, String> {
    let parts = place.read_all(text).map_err(|failure| failure.text)?;
    let servers = parts.into_iter().flat_map(|(place, document)| {
        document.servers().into_iter().map(move |(name, found)| (place.clone(), name, found))
    });
    Ok(servers.collect())
}

async fn examine(asked: &Asked<'_>, options: &Options, place: Place, name: String, found: Found) -> Examined {
    let (entry, unknown) = match found {
        Found::Stdio(entry) => (entry, None),
        Found::Unknown { command, why } => {
            (Entry { command: command.unwrap_or_default(), ..Entry::default() }, Some(why))
        }
        Found::Remote => (Entry::default(), None),
    };
    let (scope, project, enabled) = (place.scope, place.project().map(str::to_owned), !entry.disabled);
    let mut berth = None;
    if is_called_berth(&entry.command) {
        berth = Some(start(asked, options, &place, &entry, unknown).await);
    }
    Examined { scope, project, name, enabled, berth }
}

/// What becomes of an entry's start. `unknown`: why its client could not even try.
async fn start(
    asked: &Asked<'_>,
    options: &Options,
    place: &Place,
    entry: &Entry,
    unknown: Option<&str>,
) -> Start {
    let parsed =
        Arguments::try_parse_from(std::iter::once("berth").chain(entry.args.iter().map(String::as_str)));
    let set = |name: &str| entry.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    // Codex clears the environment, and hands on what it is told to.
    let lookup = |name: &str| {
        let handed_on = || match place.kind {
            Kind::ClaudeCode => true,
            Kind::Codex => CODEX_LEAVES.contains(&name) || entry.env_vars.iter().any(|var| var == name),
        };
        let here = || (name == "CLAUDE_PROJECT_DIR").then(|| options.folder.display().to_string());
        set(name).or_else(|| handed_on().then(|| (asked.lookup)(name).or_else(here)).flatten())
    };
    let (mut servers, mut profile) = (Vec::new(), None);
    if let Ok(Arguments { command: Subcommands::Run(args), .. }) = &parsed {
        (servers, profile) = (args.servers.clone(), args.profile.clone());
    }
    let (target, mends) = match (unknown, &parsed) {
        (Some(why), _) => (Target::Wrong(why.to_owned()), None),
        (None, Ok(arguments)) => target(arguments, &mut servers, &lookup, place.kind),
        (None, Err(error)) => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            (Target::Wrong(format!("its arguments are refused: {}", without_credentials(&first))), None)
        }
    };
    let own_path = set("PATH");
    let is_own = own_path.is_none();
    let path = own_path.or_else(|| (asked.lookup)("PATH")).unwrap_or_default();
    let program = program(&entry.command, &path, is_own, place.scope, &options.folder).await;
    Start { servers, profile, program, target, mends }
}

/// Whether all that is named is configured where that client's berth would look, and what mends it. `servers` become those of
/// the profile.
fn target(
    arguments: &Arguments,
    servers: &mut Vec<String>,
    lookup: Lookup<'_>,
    kind: Kind,
) -> (Target, Option<String>) {
    let Subcommands::Run(args) = &arguments.command else {
        return (Target::Wrong("it is not `berth run` that it starts".to_owned()), None);
    };
    let wrong = |error: ConfigError| (Target::Wrong(error.to_string()), error.hint().map(str::to_owned));
    let config = Home::from_env(lookup).and_then(|home| Config::load(&home, arguments.config.as_deref()));
    let config = match config {
        Ok(config) => config,
        Err(error) => return wrong(error),
    };
    let named = match &args.profile {
        Some(profile) => config.profile(profile).map(|profile| servers.clone_from(&profile.servers)),
        None if args.is_shared() => Profile::of_names(servers, &config.servers).map(drop),
        None => Ok(()),
    };
    let known =
        named.and_then(|()| servers.iter().map(|name| config.server(name)).collect::<Result<Vec<_>, _>>());
    let known = match known {
        Ok(known) => known,
        Err(error) => return wrong(error),
    };
    match known.into_iter().try_for_each(|server| resolved(&config, server, lookup)) {
        Ok(()) => (Target::Works, None),
        // It hands on no more than its file says.
        Err(error) if kind == Kind::Codex => wrong(error),
        Err(error) => (Target::Doubtful(error.to_string()), error.hint().map(str::to_owned)),
    }
}

/// Whether a server has all that its variables, arguments and mounts need.
pub(super) fn resolved(config: &Config, server: &Server, lookup: Lookup<'_>) -> Result<(), ConfigError> {
    server.resolve_env(lookup)?;
    server.clone().resolve_args(lookup)?;
    config.mounts(server, lookup).map(drop)
}

/// `own_path`: `path` is this person's own, not the file's.
async fn program(command: &str, path: &str, own_path: bool, scope: Scope, folder: &Path) -> Program {
    let named = command.contains('/');
    let found = if named { Some(folder.join(command)) } else { find(command, path) };
    let Some(found) = found else { return Program::Missing(command.to_owned()) };
    let told = found.display().to_string();
    let Ok(metadata) = std::fs::metadata(&found) else { return Program::Missing(told) };
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return Program::NotExecutable(told);
    }
    if std::env::current_exe().is_ok_and(|this| is_same(&this, &found)) {
        return Program::This;
    }
    // Whoever wrote the project may have written that program, too.
    if scope == Scope::Project && (named || !own_path) {
        return Program::Untried(told);
    }
    match version(&found).await {
        Ok(version) => Program::Version { path: told, version },
        Err(why) => Program::NoBerth { path: told, why },
    }
}

fn find(command: &str, path: &str) -> Option<PathBuf> {
    std::env::split_paths(OsStr::new(path)).map(|folder| folder.join(command)).find(|path| path.is_file())
}

fn is_same(one: &Path, other: &Path) -> bool {
    let same = || -> io::Result<bool> {
        let (mut one, mut other) = (StdFile::open(one)?, StdFile::open(other)?);
        let (left, right) = (one.metadata()?, other.metadata()?);
        if (left.dev(), left.ino()) == (right.dev(), right.ino()) {
            return Ok(true);
        }
        if left.len() != right.len() {
            return Ok(false);
        }
        let (mut ours, mut theirs) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        loop {
            let read = one.read(&mut ours)?;
            if read == 0 {
                return Ok(true);
            }
            other.read_exact(&mut theirs[..read])?;
            if ours[..read] != theirs[..read] {
                return Ok(false);
            }
        }
    };
    same().unwrap_or_default()
}

/// What it says to `--version`.
async fn version(program: &Path) -> Result<String, String> {
    let mut command = tokio::process::Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(VERSION_WITHIN, command.output()).await;
    let output = output
        .map_err(|_| format!("no answer to `--version` within {} s", VERSION_WITHIN.as_secs()))?
        .map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    let version = said.trim().strip_prefix("berth ").filter(|_| output.status.success());
    version.map(str::to_owned).ok_or_else(|| format!("it says `{}`", said.lines().next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(folder: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = folder.join(name);
        crate::regular::tests::program(&path, text.as_bytes());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[tokio::test]
    async fn a_program_is_found_tried_and_known() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        let at = |name: &str| here.join(name).display().to_string();
        script(here, "old", "#!/bin/sh\necho berth 0.0.1\n", 0o755);
        script(here, "other", "#!/bin/sh\necho ship 7\n", 0o755);
        script(here, "text", "no program", 0o644);
        std::fs::copy(std::env::current_exe().unwrap(), here.join("copy")).unwrap();
        let user = Scope::User;
        let tried = async |name: &str, scope: Scope| program(name, "", true, scope, here).await;

        assert_eq!(tried("./nowhere", user).await, Program::Missing(at("./nowhere")));
        assert_eq!(tried("nowhere", user).await, Program::Missing("nowhere".to_owned()));
        assert_eq!(tried("./text", user).await, Program::NotExecutable(at("./text")));
        assert_eq!(tried("./copy", Scope::Project).await, Program::This);
        let old = Program::Version { path: at("./old"), version: "0.0.1".to_owned() };
        assert_eq!(tried("./old", user).await, old);
        assert!(matches!(tried("./other", user).await, Program::NoBerth { .. }));
        assert_eq!(tried("./old", Scope::Project).await, Program::Untried(at("./old")));
        let path = here.display().to_string();
        assert_eq!(program("old", &path, false, Scope::Project, here).await, Program::Untried(at("old")));
        assert!(matches!(program("old", &path, true, Scope::Project, here).await, Program::Version { .. }));
    }

    fn judged(args: &str, toml: &str, vars: &[(&str, &str)], kind: Kind) -> Target {
        examined(args, toml, vars, kind).0
    }

    fn examined(args: &str, toml: &str, vars: &[(&str, &str)], kind: Kind) -> (Target, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("berth.toml"), toml).unwrap();
        let home = folder.path().display().to_string();
        let lookup = |name: &str| {
            let set = vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            set.or_else(|| (name == "BERTH_HOME").then(|| home.clone()))
        };
        let arguments = Arguments::try_parse_from(format!("berth {args}").split(' ')).unwrap();
        let Subcommands::Run(run) = &arguments.command else {
            return (target(&arguments, &mut Vec::new(), &lookup, kind).0, Vec::new());
        };
        let mut servers = run.servers.clone();
        (target(&arguments, &mut servers, &lookup, kind).0, servers)
    }

    #[test]
    fn the_server_has_to_be_configured_with_all_that_it_needs() {
        let toml = "[servers.time]\nimage = \"i\"\nenv = { A = \"${TOKEN}\" }\n";
        let with = [("TOKEN", "1")];
        assert_eq!(judged("run time", toml, &with, Kind::Codex), Target::Works);
        assert!(matches!(judged("run time", toml, &[], Kind::Codex), Target::Wrong(_)));
        assert!(matches!(judged("run time", toml, &[], Kind::ClaudeCode), Target::Doubtful(_)));
        let Target::Wrong(why) = judged("run tme", toml, &with, Kind::Codex) else { panic!() };
        assert!(why.contains("did you mean `time`?"), "{why}");
        assert!(matches!(judged("ps", toml, &with, Kind::Codex), Target::Wrong(_)));
        assert!(matches!(judged("run time", "x = ", &with, Kind::Codex), Target::Wrong(_)));
        assert_eq!(judged("run --image i", toml, &[], Kind::Codex), Target::Works);
    }

    #[test]
    fn all_servers_of_an_entry_have_to_be_configured() {
        let toml = "[servers.time]\nimage = \"i\"\n[servers.git]\nimage = \"i\"\nenv = { A = \"${TOKEN}\" }\n\
                    [profiles.work]\nservers = [\"time\", \"git\"]\n";
        let with = [("TOKEN", "1")];
        let both = vec!["time".to_owned(), "git".to_owned()];
        for line in ["run --profile work --entry work", "run time git"] {
            assert_eq!(examined(line, toml, &with, Kind::Codex), (Target::Works, both.clone()), "{line}");
            assert!(matches!(judged(line, toml, &[], Kind::Codex), Target::Wrong(_)), "{line}");
        }
        for (line, expected) in [
            ("run --profile wrk", "did you mean `work`?"),
            ("run time gitt", "did you mean `git`?"),
            ("run time time", "there twice"),
        ] {
            let Target::Wrong(why) = judged(line, toml, &with, Kind::Codex) else { panic!("{line}") };
            assert!(why.contains(expected), "{why}");
        }
    }
}
