//! `berth run`: one MCP session on standard input and output.

mod group;
mod living;
mod members;
mod notices;
mod records;
mod starts;

use std::ffi::OsString;
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
use crate::backend::docker::inquiry::Inquiry;
use crate::backend::docker::plan::{self, Plan, Replenishing};
use crate::backend::docker::publish::Published;
use crate::backend::docker::upstream::DockerUpstream;
use crate::cli::RunArgs;
use crate::clients::{Handed, Surroundings};
use crate::config::within::within;
use crate::config::{Config, ConfigError, Home, Resolved, Server, Settings};
use crate::dind::images::room::Shelf;
use crate::dind::progress::Progress;
use crate::dock::docker::Engine;
use crate::dock::door::Doors;
use crate::dock::owner::new_session;
use crate::dock::spec::Spec;
use crate::docker_cli::{DockerCli, Proxies};
use crate::failure::{Code, Failure, chain};
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
use crate::values::{Isolation, Lookup, Way};
use records::{open_journal, open_trace};
use starts::starts;

pub async fn run(
    args: RunArgs,
    config: Result<(Config, Home), ConfigError>,
    stderr: &StderrSink,
) -> anyhow::Result<ExitCode> {
    let config = match config {
        Ok((config, home)) if group::is_wanted(&args, &config) => {
            return Box::pin(group::run(&args, &config, &home, stderr)).await;
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
        resolved.hand_over(&proxies(&config, &home));
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
        let daemon = crate::dind::daemon(&config, &home).address;
        // As it is shown: secrets redacted.
        let environment = env.iter().map(ToString::to_string).collect();
        let client = known_client(&args, &resolved.server.settings);
        let mut spec = spec(client, &config, resolved, environment)?;
        spec.mounts = within(&spec.server, &spec.mounts).map_err(Failure::from)?.mounts;
        spec.doors = doors(&config, &home).filter(|_| may_come_directly(&spec.server.settings));
        writeln!(std::io::stdout().lock(), "{:#}", plan::preview(&daemon, &spec, &env))?;
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
        let mut plan = prepare(&args, &config, &home, resolved, &mut options)?;
        if let Some(warning) = crate::dind::warning(&config, &home) {
            tracing::warn!("{warning}");
        }
        begin(&mut plan, &mut options, false);
        Ok(plan)
    });
    let trace = options.trace.clone();
    serve(options, starts(prepared, trace)).await
}

/// What a server's settings make of its session, and what its container needs.
fn prepare(
    args: &RunArgs,
    config: &Config,
    home: &Home,
    resolved: Resolved,
    options: &mut Options,
) -> Result<Plan, Failure> {
    options.apply(&resolved.server.settings);
    options.rules.roots = RootRules::of(mappings(&resolved.mounts, project().as_deref().map(Path::new)));
    plan(args, config, home, resolved, (&options.redactor, &options.stderr))
}

/// The session's records, and the ports that it holds to its end. `is_lazy`: it began at the first call that needs it.
fn begin(plan: &mut Plan, options: &mut Options, is_lazy: bool) {
    let journal = open_journal(plan, options.redactor.clone(), &options.stderr, is_lazy);
    let audit = Audit::new(&plan.state, &plan.spec.session, &plan.spec.server.name, options.redactor.clone());
    options.trace = options.trace.clone().with_journal(journal).with_audit(audit);
    options.trace.session(&plan.spec.session);
    let (engine, state) = (Engine::new(plan.endpoint.clone()), plan.state.clone());
    plan.published = Published::of(&plan.spec, engine, state, options.trace.clone()).map(Arc::new);
}

/// A session that only tells its client why there is none: nobody sees a proxy's standard error.
pub async fn refuse(failure: Failure, stderr: &StderrSink) -> anyhow::Result<ExitCode> {
    serve(options(stderr)?, |_| std::future::ready(Err::<DockerUpstream, _>(failure.clone()))).await
}

async fn serve<F>(
    options: Options,
    start: impl FnMut(oneshot::Receiver<Option<String>>) -> F,
) -> anyhow::Result<ExitCode>
where
    F: Future<Output = Result<DockerUpstream, Failure>>,
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

/// All that can be found out before the first connection.
fn plan(
    args: &RunArgs,
    config: &Config,
    home: &Home,
    resolved: Resolved,
    (redactor, stderr): (&Redactor, &StderrSink),
) -> Result<Plan, Failure> {
    let secrets = Secrets::among(&resolved.env, &resolved.server.name, redactor);
    let client = known_client(args, &resolved.server.settings);
    let spec = whole_spec(client, config, home, resolved)?;
    let doors = doors(config, home);
    let endpoint = crate::dind::endpoint(config, home)?.with_timeout(spec.server.settings.connect_timeout);
    Ok(Plan {
        client: known_client(args, &spec.server.settings),
        ran: Arc::default(),
        containers: Arc::default(),
        is_first: true,
        tell_nameservers: crate::dind::asks_as_we_do(config, &endpoint),
        endpoint,
        // Where there is none, what is needed of it will be missed.
        host: config.dind.engine(&variable).ok(),
        inquiry: Inquiry::of(config, home, variable),
        cli: DockerCli::from_env(&variable),
        progress: Progress::queued(stderr.clone()),
        state: home.state.clone(),
        doors,
        clear: clear(config),
        fetch: args.server().is_none() && args.image.is_none(),
        published: None,
        peers: None,
        renew: config.may_renew(&spec.server),
        replenishing: replenishing(args, config),
        shelf: Arc::new(Shelf::of(config)),
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
    resolved.hand_over(&proxies(config, home));
    whole_spec(Client::from_start(Some(client), |_| None, || None), config, home, resolved)
}

/// With the values of the variables.
fn whole_spec(
    client: Option<Client>,
    config: &Config,
    home: &Home,
    resolved: Resolved,
) -> Result<Spec, Failure> {
    let env = resolved.env.iter().map(|var| format!("{}={}", var.name, var.value)).collect();
    let mut spec = spec(client, config, resolved, env)?;
    spec.doors = doors(config, home).filter(|_| may_come_directly(&spec.server.settings));
    Ok(spec)
}

/// This session's container. Whose it is may still be unknown.
fn spec(
    client: Option<Client>,
    config: &Config,
    resolved: Resolved,
    env: Vec<String>,
) -> Result<Spec, Failure> {
    let Resolved { server, mounts, .. } = resolved;
    if server.settings.isolation == Isolation::Gvisor && config.dind.host.is_some() {
        return Err(Failure {
            code: Code::Configuration,
            text: format!(
                "server `{}` cannot have `isolation = \"gvisor\"`: `host` in [dind] names a daemon that berth did not make",
                server.name
            ),
            next: Some("remove `host` and type `berth up`, or set `isolation = \"container\"`".to_owned()),
        });
    }
    let client = client.unwrap_or_else(|| Client::from_message(None));
    Ok(Spec {
        client_session: client_session(),
        project: project(),
        env,
        mounts,
        looked_at: config.dind.host.is_none(),
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

/// The daemon's folder of doors, where it has one: a daemon of berth's own making alone.
fn doors(config: &Config, home: &Home) -> Option<Doors> {
    config.dind.host.is_none().then(|| Doors::find(&home.state, &config.dind.name)).flatten()
}

/// Whether a server can hand its pipes to us. A kernel of the server's own passes no open files on.
fn may_come_directly(settings: &Settings) -> bool {
    settings.streams != Way::Exec && settings.isolation == Isolation::Container
}

/// The command line that clears away what a session has reserved.
fn clear(config: &Config) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["gc".into(), "--after-session".into()];
    if let Some(file) = &config.file {
        // It stands in another folder.
        let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
        words.extend(["--config".into(), file.into()]);
    }
    words
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
