//! Starts each server that was taken over, before its client's entry is changed. No file is changed for that but one of its
//! own, which goes again.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use futures::StreamExt;

use super::super::{dind_engine, variable};
use crate::bake::Oven;
use crate::clients::{Import, Kind, Taken, Trials};
use crate::config::{Config, Home, Server, Unshared};
use crate::dind::progress::Progress;
use crate::dind::up;
use crate::docker_cli::DockerCli;
use crate::exam::client;
use crate::exam::environment::Berth;
use crate::exam::process::{Launch, Scratch};
use crate::exam::trial::{Failed, Trial};
use crate::failure::{Code, Failure};
use crate::observe::Redactor;
use crate::values::{Lookup, is_secret, parts};

/// So many at once: each may bake a package.
const AT_ONCE: usize = 3;
/// A server's first answer. berth's own limits end sooner.
const START_WITHIN: Duration = Duration::from_mins(3);

/// What all trials have in common.
pub(super) struct Ground<'a> {
    pub(super) config: &'a Config,
    pub(super) home: &'a Home,
    /// berth's configuration.
    pub(super) path: &'a Path,
    /// The client's working folder.
    pub(super) folder: &'a Path,
    pub(super) progress: &'a Progress,
}

/// Tries all that was taken over.
pub(super) async fn all(import: &Import, ground: &Ground<'_>) -> anyhow::Result<Trials> {
    let Ground { config, home, path, progress, .. } = ground;
    let untried = |failure: Failure| Failure {
        code: Code::Unavailable,
        text: format!("the servers cannot be tried: {}", failure.text),
        next: Some("type `berth up` and import again, or leave the trial out with `--no-check`".to_owned()),
    };
    let planned = Config::parse(&import.config, path, home)?;
    if import.shares && config.dind.host.is_none() {
        // What is mounted has to be there first.
        let report = up::up(&planned, home, &variable, progress).await;
        let report = report.map_err(|error| super::super::up::failure(&error, progress))?;
        report.changes.deferred.iter().for_each(|deferred| progress.say(deferred));
    }
    let daemon = if import.taken.iter().all(|taken| taken.server.is_in_pod()) {
        None
    } else {
        let daemon = dind_engine(config, home).map_err(untried)?;
        daemon.version().await.map_err(|error| untried(Failure::from(error)))?;
        Some(daemon)
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    // Beside the real one: what it names without a leading `/` lies there.
    let mut file = tempfile::Builder::new()
        .prefix(".berth-import-")
        .suffix(".toml")
        .tempfile_in(folder)
        .with_context(|| format!("cannot write into `{}`", folder.display()))?;
    file.write_all(import.config.as_bytes())?;
    let scratch = Scratch::new("import").context("cannot make a folder for the sessions' files")?;
    let host = config.dind.engine(&variable).ok();
    let cli = DockerCli::from_env(&variable);
    let oven = |daemon| Oven { daemon, host: host.as_ref(), cli: &cli, progress, state: &home.state };
    let oven = daemon.as_ref().map(oven);
    progress.say(&format!(
        "trying {} before anything is changed; a package's first start can take minutes",
        if import.taken.len() == 1 {
            "the server".to_owned()
        } else {
            format!("{} servers", import.taken.len())
        }
    ));
    let tried = async |number: usize, taken: &Taken| {
        let name = &taken.which.1;
        let task = progress.task(&format!("trying `{name}`"));
        let tried = one(taken, ground, oven.as_ref(), (scratch.path(), file.path(), &planned), number).await;
        task.done(&match &tried {
            Ok(_) => format!("`{name}` answers"),
            Err(_) => format!("`{name}` does not start"),
        });
        (taken.which.clone(), tried)
    };
    // A volume is one session's at a time, and so is a port of this machine.
    let is_alone = |taken: &Taken| {
        let settings = &taken.server.settings;
        !settings.volumes.is_empty() || !settings.publish.is_empty()
    };
    let numbered = import.taken.iter().enumerate();
    let (in_turn, at_once): (Vec<_>, Vec<_>) = numbered.partition(|(_, taken)| is_alone(taken));
    let in_turn =
        futures::stream::iter(in_turn).then(|(number, taken)| tried(number, taken)).collect::<Vec<_>>();
    let at_once = futures::stream::iter(at_once).map(|(number, taken)| tried(number, taken));
    let (in_turn, at_once) = tokio::join!(in_turn, at_once.buffer_unordered(AT_ONCE).collect::<Vec<_>>());
    Ok(in_turn.into_iter().chain(at_once).collect())
}

async fn one(
    taken: &Taken,
    ground: &Ground<'_>,
    oven: Option<&Oven<'_>>,
    (scratch, config, planned): (&Path, &Path, &Config),
    number: usize,
) -> Result<Vec<String>, String> {
    let server = &taken.server;
    let handed = taken.handed.env(&variable);
    let lookup = |name: &str| {
        let own = handed.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let here = || (name == "CLAUDE_PROJECT_DIR").then(|| ground.folder.display().to_string());
        own.or_else(|| variable(name)).or_else(here)
    };
    if let Some(unshared) = unshared(planned, server, &lookup) {
        return Err(unshared);
    }
    match (oven.filter(|_| !server.is_in_pod()), &server.recipe) {
        // Its nodes pull it.
        (None, _) => Ok(()),
        // First: Claude Code asks by two protocols in turn where the first answer takes more than seconds, and a server may
        // take the one that comes too late.
        (Some(oven), Some(recipe)) => oven.bake(recipe, false).await.map(drop).map_err(Failure::from),
        // As `berth up` would from then on.
        (Some(oven), None) => oven.fetch(&server.image).await.map_err(Failure::from),
    }
    .map_err(|failure| failure.to_string())?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let name = format!("import-{number}");
    let kind = match taken.handed.kind {
        Kind::ClaudeCode => client::Kind::ClaudeCode,
        Kind::Codex => client::Kind::Codex,
    };
    let trial = Trial {
        launch: Launch { program: &program, config: Some(config), folder: scratch, name: &name },
        server: &server.name,
        kind,
        environment: environment(taken, kind, ground, &name),
        within: START_WITHIN,
    };
    // What it prints may hold what berth itself has just taken out of its arguments.
    let secrets = handed.iter().filter(|(name, value)| is_secret(name, value));
    let redactor = Redactor::new(secrets.flat_map(|(_, value)| parts(value)));
    // What it was tried with is not what its person knows.
    let (tried, known) = (config.display().to_string(), ground.path.display().to_string());
    let mut outcome = trial.run().await;
    if outcome.as_ref().is_err_and(|failed| failed.is_late) {
        // A start reads its image from the disk but once.
        outcome = trial.run().await;
    }
    outcome.map_err(|Failed { why, is_late }| {
        let why = redactor.text(&why).replace(&tried, &known);
        if is_late {
            format!(
                "{why}; its first answer takes longer than Claude Code waits for it (3 s): start it directly to compare, or give it \
                 more `cpus`"
            )
        } else if server.is_in_pod() && server.recipe.is_some() {
            format!("{why}; import it with `--no-check` before that")
        } else if server.settings.publish.is_empty() {
            why
        } else {
            format!("{why}; where it waits for a log-in by the browser, import it with `--no-check`")
        }
    })
}

/// Why a server whose mounts the daemon does not know yet need not be tried.
fn unshared(config: &Config, server: &Server, lookup: Lookup<'_>) -> Option<String> {
    let unshared = config.unshared(server, lookup);
    let quoted = |one: &Unshared| format!("`{}`", one.source);
    let what = unshared.iter().map(quoted).collect::<Vec<_>>().join(", ");
    match unshared.iter().find_map(|one| Some((one, one.obstacle.as_ref()?))) {
        Some((one, why)) => Some(format!(
            "it mounts {}, which cannot be shared with the daemon: {why}; keep what it needs in a folder of its own, such as `~/mcp`, \
             and correct the entry",
            quoted(one)
        )),
        None if unshared.is_empty() => None,
        None => Some(format!(
            "it mounts {what}, which the daemon is not to see yet; import it with `--share`, or share that by hand (below)"
        )),
    }
}

/// What the client would start berth with.
fn environment(
    taken: &Taken,
    kind: client::Kind,
    ground: &Ground<'_>,
    session: &str,
) -> Vec<(OsString, OsString)> {
    let named = taken.handed.env_vars.iter();
    let variables = named.filter_map(|name| Some((name.clone(), std::env::var_os(name)?))).collect();
    let berth = Berth { program: OsString::new().into(), config_file: None, variables };
    let mut all = berth.environment(kind, std::env::vars_os(), session);
    if kind == client::Kind::ClaudeCode {
        all.push(("CLAUDE_PROJECT_DIR".into(), ground.folder.into()));
    }
    let own = taken.handed.env(&variable);
    all.extend(own.into_iter().map(|(name, value)| (name.into(), value.into())));
    all
}
