//! `berth run`: one MCP session on standard input and output.

mod group;
mod living;
mod members;
mod notices;
mod records;
mod starts;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::variable;
use crate::backend::ceiling::Ceilings;
use crate::backend::docker::plan::in_daemon;
use crate::backend::plan::{Plan, Replenishing};
use crate::backend::{Backend, Ready};
use crate::cli::RunArgs;
use crate::clients::{Handed, Surroundings};
use crate::config::within::within;
use crate::config::{Config, ConfigError, Home, Resolved, Server, Settings};
use crate::dind::progress::Progress;
use crate::dock::owner::new_session;
use crate::dock::spec::Spec;
use crate::docker_cli::{DockerCli, Proxies};
use crate::failure::{Failure, chain};
use crate::observe::audit::Audit;
use crate::observe::redact::Redactor;
use crate::observe::stderr::StderrSink;
use crate::observe::trace::Trace;
use crate::secrets::Secrets;
use crate::session;
use crate::session::client::identity::Client;
use crate::session::client::parent;
use crate::session::client::stdio;
use crate::session::options::Options;
use crate::session::rewrite::Rules;
use crate::session::rewrite::roots::{RootRules, mappings};
use crate::session::upstream::{NoUpstream, Upstream};
use crate::values::{self, Lookup};
use records::{open_journal, open_trace};
use starts::starts;

/// Whether a server of the arguments runs elsewhere than in a Docker daemon.
pub fn is_elsewhere(args: &RunArgs, config: &Config) -> bool {
    let names = match &args.profile {
        Some(profile) => config.profile(profile).map(|profile| profile.servers.clone()).unwrap_or_default(),
        None => args.servers.clone(),
    };
    let of_servers = names.iter().filter_map(|name| config.servers.get(name)).map(|server| &server.settings);
    // A command line's server has what every server starts from.
    let of_a_line = names.is_empty().then_some(&config.defaults);
    let is_elsewhere = |settings| args.settings.0.over(settings).backend != values::Backend::Docker;
    of_servers.chain(of_a_line).any(is_elsewhere)
}

pub async fn run<B: Backend>(
    args: RunArgs,
    config: Result<(Config, Home), ConfigError>,
    stderr: &StderrSink,
    backend: &B,
) -> anyhow::Result<ExitCode> {
    let config = match config {
        Ok((config, home)) if group::is_wanted(&args, &config) => {
            return Box::pin(group::run(&args, &config, &home, stderr, backend)).await;
        }
        config => config,
    };
    // A client's variables are in its environment, where it is the client that starts us.
    let handed =
        args.dry_run.then(|| handed(&args, config.as_ref().ok().map(|(config, _)| config))).flatten();
    let lookup = |name: &str| {
        let of_entry = handed.as_ref().and_then(|handed| handed.value(name, &variable));
        of_entry.or_else(|| variable(name))
    };
    let resolved = config.map_err(Failure::from).and_then(|(config, home)| {
        let mut resolved = config.resolve(choose(&args, &config)?, &lookup, caller())?;
        hand_proxies(&mut resolved, &config, &home);
        Ok((config, home, resolved))
    });
    if args.dry_run {
        let (config, home, mut resolved) = resolved?;
        if let Some(handed) = &handed {
            tracing::info!("its variables are those of {}", handed.title);
            resolved.hide(handed.env(&variable).into_iter().map(|(_, value)| value));
        }
        resolved.redact_args();
        let env = resolved.env.clone();
        // As it is shown: secrets redacted.
        let environment = env.iter().map(ToString::to_string).collect();
        let client = known_client(&args, &resolved.server.settings);
        let mut spec = spec(client, resolved, environment)?;
        spec.mounts = within(&spec.server, &spec.mounts).map_err(Failure::from)?.mounts;
        writeln!(std::io::stdout().lock(), "{:#}", backend.preview(spec, &env, &config, &home)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let secrets = resolved.iter().flat_map(|(.., resolved)| resolved.secrets());
    let redactor = Redactor::new(secrets);
    let mut options = options(stderr)?;
    options.server =
        args.server().or_else(|| Some(args.image.as_ref()?.as_str())).unwrap_or_default().to_owned();
    options.redactor = redactor.clone();
    let prepared = resolved.and_then(|(config, home, resolved)| {
        if options.server.is_empty() {
            options.server.clone_from(&resolved.server.name);
        }
        options.trace = open_trace(&args, redactor.clone(), stderr)?;
        let is_here = resolved.server.settings.backend == values::Backend::Docker;
        let mut ready = prepare(&args, (&config, &home), resolved, &mut options, backend)?;
        if is_here && let Some(warning) = crate::dind::warning(&config, &home) {
            tracing::warn!("{warning}");
        }
        begin(&mut ready, &mut options, false);
        Ok(ready)
    });
    let trace = options.trace.clone();
    serve(options, starts(prepared, trace)).await
}

/// What a server's settings make of its session, and what its container needs.
fn prepare<B: Backend>(
    args: &RunArgs,
    (config, home): (&Config, &Home),
    resolved: Resolved,
    options: &mut Options,
    backend: &B,
) -> Result<B::Ready, Failure> {
    options.apply(&resolved.server.settings);
    options.rules.roots = RootRules::of(mappings(&resolved.mounts, project().as_deref().map(Path::new)));
    let plan = plan(args, config, home, resolved, (&options.redactor, &options.stderr))?;
    backend.ready(plan, config, home)
}

/// The session's records, and what it holds to its end. `is_lazy`: it began at the first call that needs it.
fn begin(ready: &mut impl Ready, options: &mut Options, is_lazy: bool) {
    let plan = ready.plan();
    let journal = open_journal(plan, options.redactor.clone(), &options.stderr, is_lazy);
    let audit = Audit::new(&plan.state, &plan.spec.session, &plan.spec.server.name, options.redactor.clone());
    options.trace = options.trace.clone().with_journal(journal).with_audit(audit);
    options.trace.session(&plan.spec.session);
    ready.begin(&options.trace);
}

/// A session that only tells its client why there is none: nobody sees a proxy's standard error.
pub async fn refuse(failure: Failure, stderr: &StderrSink) -> anyhow::Result<ExitCode> {
    serve(options(stderr)?, |_| std::future::ready(Err::<NoUpstream, _>(failure.clone()))).await
}

async fn serve<U: Upstream, F>(
    options: Options,
    start: impl FnMut(oneshot::Receiver<Option<String>>) -> F,
) -> anyhow::Result<ExitCode>
where
    F: Future<Output = Result<U, Failure>>,
{
    let trace = options.trace.clone();
    let over = Box::pin(session::run(stdio::input(), stdio::output(), options, start)).await;
    trace.flush().await;
    Ok(ExitCode::from(over.exit_code()))
}

/// What holds before anything is known of the server.
fn options(stderr: &StderrSink) -> anyhow::Result<Options> {
    Ok(Options {
        server: String::new(),
        settings: Settings::default(),
        is_replaced: Arc::default(),
        rules: Rules::default(),
        interactive: std::io::stdin().is_terminal(),
        trace: Trace::off(),
        stderr: stderr.clone(),
        redactor: Redactor::new([]),
        hangup: stdio::Hangup::of_output(),
        stop: stop_on_signal()?,
    })
}

/// What a client would hand to the server that the arguments name, by the entry that import has left there.
fn handed(args: &RunArgs, config: Option<&Config>) -> Option<Handed> {
    let server = args.server()?;
    let names = config.map(|config| config.profiles_of(server)).unwrap_or_default();
    let around = Surroundings::new(std::env::current_dir().ok()?, &variable);
    Handed::of_server(server, &names, &around)
}

/// The server that the arguments name.
fn choose(args: &RunArgs, config: &Config) -> Result<Server, Failure> {
    let server = match (args.server(), &args.image) {
        (_, Some(image)) => Server::from_image(image.clone(), args.command.clone(), &config.defaults),
        (Some(name), None) => {
            let mut server = config.server(name)?.clone();
            if !args.command.is_empty() {
                server.command = Some(args.command.clone());
                server.args = None;
            }
            server
        }
        (None, None) => {
            let (server, notes) = config.server_of_line(&args.command)?;
            for note in notes {
                tracing::warn!("{note}");
            }
            server
        }
    };
    Ok(server.with_overrides(&args.settings.0))
}

/// The user and the group that berth runs as.
fn caller() -> (u32, u32) {
    (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
}

/// A container has the proxies of the docker CLI's file; what runs elsewhere has a network of its own.
fn hand_proxies(resolved: &mut Resolved, config: &Config, home: &Home) {
    if resolved.server.settings.backend == values::Backend::Docker {
        resolved.hand_over(&proxies(config, home));
    }
}

/// The proxies of the docker CLI's file that a container can reach.
fn proxies(config: &Config, home: &Home) -> Proxies {
    let engine = || Some(config.dind.engine(&variable).ok()?.address);
    let found = DockerCli::from_env(&variable).proxies(&config.dind.daemon(home).address, engine);
    let proxies = found.unwrap_or_else(|error| {
        tracing::warn!("{}; servers have no proxies", chain(&error));
        Proxies::default()
    });
    proxies.reachable()
}

/// What there is to know of a server, wherever it runs.
fn plan(
    args: &RunArgs,
    config: &Config,
    home: &Home,
    resolved: Resolved,
    (redactor, stderr): (&Redactor, &StderrSink),
) -> Result<Plan, Failure> {
    let secrets = Secrets::among(&resolved.env, &resolved.server.name, redactor);
    let client = known_client(args, &resolved.server.settings);
    let spec = whole_spec(client.clone(), resolved)?;
    Ok(Plan {
        client,
        ran: Arc::default(),
        containers: Arc::default(),
        is_first: true,
        is_configured: args.server().is_some() || args.image.is_some(),
        progress: Progress::queued(stderr.clone()),
        state: home.state.clone(),
        replenishing: replenishing(args, config),
        ceilings: Ceilings::new(config.limits.clone(), home.state.clone()),
        held: Arc::default(),
        spec,
        secrets,
    })
}

/// The container of a server, for a client that has these variables.
pub(super) fn spec_for(
    client: &str,
    server: Server,
    (config, home): (&Config, &Home),
    lookup: Lookup<'_>,
) -> Result<Spec, Failure> {
    let mut resolved = config.resolve(server, lookup, caller())?;
    hand_proxies(&mut resolved, config, home);
    let spec = whole_spec(Client::from_start(Some(client), |_| None, || None), resolved)?;
    match spec.server.settings.backend {
        values::Backend::Docker => in_daemon(spec, config, home),
        values::Backend::Kubernetes => Ok(spec),
    }
}

/// With the values of the variables.
fn whole_spec(client: Option<Client>, resolved: Resolved) -> Result<Spec, Failure> {
    let env = resolved.env.iter().map(|var| format!("{}={}", var.name, var.value)).collect();
    spec(client, resolved, env)
}

/// This session's container. Whose it is may still be unknown.
fn spec(client: Option<Client>, resolved: Resolved, env: Vec<String>) -> Result<Spec, Failure> {
    let Resolved { server, mounts, .. } = resolved;
    let client = client.unwrap_or_else(|| Client::from_message(None));
    Ok(Spec {
        client_session: client_session(),
        project: project(),
        env,
        mounts,
        ..Spec::new(server, client.as_str(), &new_session()?)
    })
}

/// A command line that nobody has configured may never come again.
fn replenishing(args: &RunArgs, config: &Config) -> Replenishing {
    let is_configured = args.server().is_some() && args.command.is_empty();
    Replenishing {
        at_first_use: is_configured || args.settings.0.says("standby"),
        limit: config.limits.standby,
    }
}

fn known_client(args: &RunArgs, settings: &Settings) -> Option<Client> {
    // A person at a terminal is no client; the program around the terminal is none either.
    let may_guess = !settings.needs_name() && !std::io::stdin().is_terminal();
    Client::from_start(args.client.as_deref(), variable, || may_guess.then(parent::client).flatten())
}

fn client_session() -> Option<String> {
    variable("CLAUDE_CODE_SESSION_ID").filter(|id| !id.is_empty())
}

/// The folder that the client works in: what it says, or where it has started us.
fn project() -> Option<String> {
    let said = variable("CLAUDE_PROJECT_DIR").filter(|folder| !folder.is_empty());
    said.or_else(|| Some(std::env::current_dir().ok()?.to_string_lossy().into_owned()))
}

/// Clients end their servers with SIGINT or SIGTERM, and closing terminals with SIGHUP; all mean «end in order».
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let mut signal = signal(kind).context("cannot listen for signals")?;
        let stop = stop.clone();
        tokio::spawn(async move {
            signal.recv().await;
            stop.cancel();
        });
    }
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Arguments, Subcommands};

    #[test]
    fn one_server_in_a_cluster_makes_a_session_of_both() {
        let home = Home::from_env(&|_| Some("/h".to_owned())).unwrap();
        let text = "[servers.here]\nimage = \"i\"\n[servers.there]\nimage = \"i\"\nbackend = \"kubernetes\"\n\
                    [profiles.all]\nservers = [\"here\", \"there\"]\n";
        let config = Config::parse(text, Path::new("/b.toml"), &home).unwrap();
        let elsewhere = |words: &str| {
            let words = ["berth", "run"].into_iter().chain(words.split(' '));
            let Subcommands::Run(args) = Arguments::try_parse_from(words).unwrap().command else {
                return None;
            };
            Some(is_elsewhere(&args, &config))
        };
        for (words, expected) in [
            ("here", false),
            ("there", true),
            ("here there", true),
            ("--profile all", true),
            ("here --backend kubernetes", true),
            ("there --backend docker", false),
            ("--image i --backend kubernetes", true),
            ("--image i", false),
            ("nowhere", false),
        ] {
            assert_eq!(elsewhere(words), Some(expected), "{words}");
        }
    }
}
