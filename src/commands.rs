//! The subcommands: wiring only. Each gets its arguments and the configuration and paths that it needs, and gives an
//! exit code.

pub mod audit;
pub mod backup;
pub mod bake;
pub mod catalogue;
pub mod chaos;
pub mod completions;
pub mod doctor;
pub mod down;
pub mod env;
pub mod gc;
pub mod help;
pub mod import;
pub mod install;
pub mod kill;
mod kubernetes;
pub mod logs;
pub mod man;
pub mod manager;
mod program;
pub mod ps;
pub mod run;
pub mod sbom;
pub mod secret;
pub mod status;
pub mod tools;
pub mod trace;
pub mod uninstall;
pub mod up;
pub mod validate;
pub mod volume;

use std::io::{self, IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use crate::backend::docker::ready::Docker;
use crate::cli::{Arguments, GcArgs, Subcommands, UninstallArgs};
use crate::config::{Config, ConfigError, Home};
use crate::dock::docker::Engine;
use crate::failure::{Code, Explain, Failure};
use crate::observe::stderr::StderrSink;
use crate::validate::plan::is_elsewhere;
use crate::values::Backend;

pub use program::program;

/// `EX_SOFTWARE` of sysexits.
const INTERNAL: u8 = 70;

/// As a shell has it for a process that SIGPIPE ended.
const UNREAD: u8 = 141;

/// Runs what the command line says.
pub async fn execute(arguments: Arguments, stderr: &StderrSink) -> anyhow::Result<ExitCode> {
    let loaded = loaded(&arguments);
    if let Subcommands::Run(args) = arguments.command {
        if let Ok((config, _)) = &loaded
            && run::is_elsewhere(&args, config)
        {
            return kubernetes::run_session(stderr).await;
        }
        // Its client must be told even that the configuration is broken.
        return Box::pin(run::run(*args, loaded, stderr, &Docker { lookup: variable })).await;
    }
    // These are of use with a broken configuration, too.
    match &arguments.command {
        Subcommands::Doctor(args) => {
            if loaded.as_ref().is_ok_and(|(config, _)| config.uses(Backend::Kubernetes)) {
                return kubernetes::run();
            }
            return Box::pin(doctor::run(args, loaded, async |_| Vec::new())).await;
        }
        Subcommands::Completions(args) => {
            return completions::run(args, loaded.ok().as_ref().map(|(config, _)| config));
        }
        Subcommands::Help(args) => return help::run(args),
        Subcommands::Man(args) => return man::run(args),
        Subcommands::Secret(args) => return secret::run(args).await,
        // They read it themselves, and a broken one may be what is to be restored.
        Subcommands::Backup(args) => return backup::run(args.words(), arguments.config.as_deref()),
        Subcommands::Restore(args) => return backup::run(args.words(), arguments.config.as_deref()),
        _ => {}
    }
    let (config, home) = loaded?;
    let is_of_both = match &arguments.command {
        Subcommands::Ps(_) | Subcommands::Kill(_) => true,
        Subcommands::Gc(args) => !args.images && !args.after_session,
        Subcommands::Validate(args) => is_elsewhere(args.server.as_deref(), &config),
        Subcommands::Chaos(args) => chaos::is_elsewhere(args, &config),
        _ => false,
    };
    if is_of_both && config.uses(Backend::Kubernetes) {
        return kubernetes::run();
    }
    match arguments.command {
        Subcommands::Up(args) => Box::pin(up::run(&args, &config, &home, arguments.config.as_deref())).await,
        Subcommands::Down(args) => down::run(&args, &config, &home).await,
        Subcommands::Status(args) => status::run(&args, &config, &home).await,
        Subcommands::Env => env::run(&config, &home),
        Subcommands::Run(_)
        | Subcommands::Doctor(_)
        | Subcommands::Help(_)
        | Subcommands::Completions(_)
        | Subcommands::Man(_)
        | Subcommands::Backup(_)
        | Subcommands::Restore(_)
        | Subcommands::Secret(_) => Ok(ExitCode::from(INTERNAL)),
        Subcommands::Bake(args) if args.push => kubernetes::run(),
        Subcommands::Bake(args) => {
            Box::pin(bake::run(&args, &config, &home, arguments.config.as_deref())).await
        }
        Subcommands::Sbom(args) => sbom::run(&args, &config, &home).await,
        Subcommands::Catalogue(args) => {
            Box::pin(catalogue::run(&args, &config, &home, arguments.config.as_deref())).await
        }
        Subcommands::Install(args) => {
            Box::pin(install::run(&args, &config, &home, arguments.config.as_deref())).await
        }
        Subcommands::Uninstall(args) => Box::pin(uninstall::run(&args, &config, &home)).await,
        Subcommands::Import(args) => {
            Box::pin(import::run(&args, &config, &home, arguments.config.as_deref())).await
        }
        Subcommands::Volume(args) => volume::run(&args, &config, &home).await,
        Subcommands::Ps(args) => in_time(ps::run(&args, &config, &home)).await,
        Subcommands::Kill(args) => in_time(kill::run(&args, &config, &home)).await,
        Subcommands::Logs(args) => logs::run(&args, &home).await,
        Subcommands::Sessions(args) => logs::sessions(&args, &home).await,
        Subcommands::Calls(args) => logs::calls(&args, &home).await,
        Subcommands::Audit(args) => audit::run(&args, &home),
        Subcommands::Kubernetes(_) => kubernetes::run(),
        Subcommands::Manager(args) => manager::run(&args, arguments.config.as_deref()),
        Subcommands::Tools(args) => tools::run(&args, &config, &home),
        Subcommands::Trace(args) => trace::run(&args, arguments.config.as_deref()).await,
        Subcommands::Gc(args) if args.after_session => gc::after_session(&config, &home).await,
        Subcommands::Gc(args) if args.images => gc::images(args.dry_run, &config, &home).await,
        Subcommands::Gc(_) => in_time(gc::run(&config, &home)).await,
        Subcommands::Validate(args) => {
            validate::run(&args, &config, &home, arguments.config.as_deref()).await
        }
        Subcommands::Chaos(args) => Box::pin(chaos::run(&args, &config)).await,
    }
}

/// The configuration and the paths that the arguments lead to.
///
/// # Errors
/// There is no home; the configuration cannot be read.
pub fn loaded(arguments: &Arguments) -> Result<(Config, Home), ConfigError> {
    let home = Home::from_env(&variable)?;
    let mut config = load(&home, arguments)?;
    crate::dind::place::recall(&mut config, &home);
    Ok((config, home))
}

/// The configuration, or as much of it as the command needs: a mistake in a server must not keep a person from ending
/// sessions.
fn load(home: &Home, arguments: &Arguments) -> Result<Config, ConfigError> {
    let explicit = arguments.config.as_deref();
    let needs_daemon_alone = matches!(
        arguments.command,
        Subcommands::Ps(_)
            | Subcommands::Kill(_)
            | Subcommands::Status(_)
            | Subcommands::Down(_)
            | Subcommands::Gc(GcArgs { images: false, .. })
            | Subcommands::Uninstall(UninstallArgs { all: true, .. })
            | Subcommands::Env
    );
    match Config::load(home, explicit) {
        Err(error) if needs_daemon_alone => match Config::load_dind(home, explicit) {
            Ok(config) => {
                tracing::warn!("{error}");
                Ok(config)
            }
            Err(_) => Err(error),
        },
        loaded => loaded,
    }
}

/// A question that a daemon has not answered by then is one that it won't.
const ANSWER_WITHIN: Duration = Duration::from_mins(1);

async fn in_time(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::time::timeout(ANSWER_WITHIN, command).await.unwrap_or_else(|_| {
        Err(Failure {
            code: Code::Unavailable,
            text: format!("the DinD daemon gave no answer within {ANSWER_WITHIN:?}"),
            next: Some("look at it with `berth status`".to_owned()),
        }
        .into())
    })
}

/// What to do about arguments that clap refuses: say so, and where `berth run` was meant, say so to its client.
pub async fn misuse(error: clap::Error, stderr: &StderrSink) -> anyhow::Result<ExitCode> {
    let run_was_meant =
        std::env::args().skip(1).find(|arg| !arg.starts_with('-')).is_some_and(|arg| arg == "run");
    if !error.use_stderr() || !run_was_meant || std::io::stdin().is_terminal() {
        error.print()?;
        return Ok(ExitCode::from(if error.use_stderr() { Code::Usage.exit_code() } else { 0 }));
    }
    let text = error.to_string();
    // The rest of clap's text, behind an empty line, is the usage, for a terminal.
    let lines: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    let text = lines.join(" ").trim_start_matches("error: ").to_owned();
    let next = Some("see `berth run --help`".to_owned());
    Box::pin(run::refuse(Failure { code: Code::Usage, text, next }, stderr)).await
}

/// The environment, as configuration reads it.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A report's lines.
fn print(lines: &[String]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))
}

/// Becomes another program of berth's, which lies beside this one.
fn become_program(
    name: &str,
    words: Vec<std::ffi::OsString>,
    config: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let program = std::env::current_exe()?.with_file_name(name);
    let mut command = Command::new(&program);
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    let error = command.args(words).exec();
    Err(Failure {
        code: Code::Unavailable,
        text: format!("cannot run `{}`: {error}", program.display()),
        next: Some("install berth whole: `cargo install` gives all its programs".to_owned()),
    }
    .into())
}

/// The DinD daemon of the configuration.
pub fn dind_engine(config: &Config, home: &Home) -> Result<Engine, Failure> {
    Ok(Engine::new(crate::dind::endpoint(config, home)?))
}

/// Nobody reads a report's rest (`berth doctor | head`). Of standard output alone: what is told of other pipes says
/// which.
fn is_unread(error: &anyhow::Error) -> bool {
    let Some(outermost) = error.chain().next() else { return false };
    let written = outermost.downcast_ref::<io::Error>().map(io::Error::kind);
    let encoded = outermost.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
    written.or(encoded) == Some(io::ErrorKind::BrokenPipe)
}

/// An error as one line: what, why, and the next command.
pub fn explain(error: &anyhow::Error) -> String {
    // What is told of other files and pipes names them.
    if error.is::<io::Error>()
        || error.downcast_ref::<serde_json::Error>().is_some_and(serde_json::Error::is_io)
    {
        return format!("cannot write to standard output: {error:#}");
    }
    format!("{error:#}")
}

/// The exit code that says which kind of error it was.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        failure.code.exit_code()
    } else if error.is::<ConfigError>() {
        Code::Configuration.exit_code()
    } else if let Some(error) = error.downcast_ref::<crate::dind::DindError>() {
        error.code().exit_code()
    } else {
        INTERNAL
    }
}
