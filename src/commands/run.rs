//! `berth run`: one MCP session on standard input and output.

mod proxies;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;

use anyhow::Context;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::variable;
use crate::backend::docker::inquiry::{Inquiry, Outlook};
use crate::backend::docker::plan::Plan;
use crate::backend::docker::start::start;
use crate::backend::docker::upstream::DockerUpstream;
use crate::cli::RunArgs;
use crate::config::{Config, ConfigError, EnvVar, Home, Mount, Server, Settings};
use crate::dind::diagnosis::{Diagnosis, Watch};
use crate::dind::progress::Progress;
use crate::dock::spec::Spec;
use crate::docker_cli::DockerCli;
use crate::failure::{Code, Failure};
use crate::observe::journal::{self, Journal};
use crate::observe::redact::Redactor;
use crate::observe::stderr::StderrSink;
use crate::observe::trace::{Sink, Trace};
use crate::session;
use crate::session::client::identity::Client;
use crate::session::client::stdio;
use crate::session::options::Options;
use crate::session::rewrite::Rules;
use crate::session::rewrite::roots::{RootRules, RootsMapping};

pub async fn run(
    args: RunArgs,
    config: Result<(Config, Home), ConfigError>,
    stderr: &StderrSink,
) -> anyhow::Result<ExitCode> {
    let chosen = config.map_err(Failure::from).and_then(|(config, home)| {
        let mut chosen = choose(&args, &config)?;
        proxies::hand_over(&proxies::of(&config, &home), &mut chosen);
        Ok((config, home, chosen))
    });
    if args.dry_run {
        let (config, home, mut chosen) = chosen?;
        for arg in chosen.server.args.iter_mut().flatten() {
            *arg = chosen.secrets.iter().fold(arg.clone(), |arg, secret| arg.replace(secret, "[redacted]"));
        }
        let env = chosen.env.clone();
        let daemon = crate::dind::daemon(&config, &home).address;
        // As it is shown: secrets redacted.
        let spec = spec(&args, chosen, env.iter().map(ToString::to_string).collect())?;
        writeln!(std::io::stdout().lock(), "{:#}", dry_run(&daemon, &spec, &env))?;
        return Ok(ExitCode::SUCCESS);
    }
    let secrets = chosen.iter().flat_map(|(.., chosen)| chosen.secrets());
    let redactor = Redactor::new(secrets);
    let mut options = options(stderr)?;
    options.server =
        args.server.clone().or_else(|| Some(args.image.as_ref()?.as_str().to_owned())).unwrap_or_default();
    options.redactor = redactor.clone();
    let prepared = chosen.and_then(|(config, home, chosen)| {
        if options.server.is_empty() {
            options.server.clone_from(&chosen.server.name);
        }
        options.apply(&chosen.server.settings);
        options.rules.roots = RootRules::of(mapped(&chosen.mounts, project().as_deref().map(Path::new)));
        let trace = open_trace(&args, redactor.clone(), stderr);
        options.trace =
            trace.map_err(|error| Failure::new(Code::Configuration, &error, "correct `--trace`"))?;
        let plan = plan(&args, &config, &home, chosen, stderr)?;
        options.trace = options.trace.clone().with_journal(open_journal(&plan, &home, redactor, stderr));
        if let Some(warning) = crate::dind::warning(&config, &home) {
            tracing::warn!("{warning}");
        }
        options.trace.session(&plan.spec.session);
        Ok(plan)
    });
    let trace = options.trace.clone();
    let mut attempt = 0;
    serve(options, |said| {
        let (mut prepared, trace) = (prepared.clone(), trace.clone());
        if let Ok(plan) = &mut prepared {
            plan.spec.attempt = attempt;
        }
        attempt += 1;
        async move { Box::pin(start(prepared?, said, trace)).await }
    })
    .await
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
    let result = Box::pin(session::run(stdio::input(), stdio::output(), options, start)).await;
    trace.flush().await;
    Ok(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => ExitCode::from(failure.code.exit_code()),
    })
}

/// What holds before anything is known of the server.
fn options(stderr: &StderrSink) -> anyhow::Result<Options> {
    Ok(Options {
        server: String::new(),
        settings: Settings::default(),
        rules: Rules::default(),
        interactive: std::io::stdin().is_terminal(),
        trace: Trace::off(),
        stderr: stderr.clone(),
        redactor: Redactor::new([]),
        hangup: stdio::Hangup::of_output(),
        stop: stop_on_signal()?,
    })
}

/// A server with all that the arguments and the client's environment say of it.
struct Chosen {
    server: Server,
    env: Vec<EnvVar>,
    mounts: Vec<Mount>,
    /// What of its arguments is secret.
    secrets: Vec<String>,
}

impl Chosen {
    fn secrets(&self) -> impl Iterator<Item = String> {
        let of_env = self.env.iter().filter(|var| var.secret).map(|var| var.value.clone());
        of_env.chain(self.secrets.iter().cloned())
    }
}

/// The server that the arguments name.
fn choose(args: &RunArgs, config: &Config) -> Result<Chosen, Failure> {
    let server = match (&args.server, &args.image) {
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
    let mut server = server.with_overrides(&args.settings.0);
    server.check()?;
    let env = server.resolve_env(&variable)?;
    let secrets = server.resolve_args(&variable)?;
    let mounts = config.mounts(&server, &variable)?;
    server.settle((rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw()));
    Ok(Chosen { server, env, mounts, secrets })
}

/// All that can be found out before the first connection.
fn plan(
    args: &RunArgs,
    config: &Config,
    home: &Home,
    chosen: Chosen,
    stderr: &StderrSink,
) -> Result<Plan, Failure> {
    let env = chosen.env.iter().map(|var| format!("{}={}", var.name, var.value)).collect();
    let spec = spec(args, chosen, env)?;
    let endpoint = crate::dind::endpoint(config, home)?.with_timeout(spec.server.settings.connect_timeout);
    Ok(Plan {
        client: known_client(args),
        tell_nameservers: crate::dind::asks_as_we_do(config, &endpoint),
        endpoint,
        // Where there is none, what is needed of it will be missed.
        host: config.dind.engine(&variable).ok(),
        inquiry: inquiry(config, home),
        cli: DockerCli::from_env(&variable),
        progress: Progress::queued(stderr.clone()),
        state: home.state.clone(),
        fetch: args.server.is_none() && args.image.is_none(),
        spec,
    })
}

/// This session's container. Whose it is may still be unknown.
fn spec(args: &RunArgs, chosen: Chosen, env: Vec<String>) -> Result<Spec, Failure> {
    let Chosen { server, mounts, .. } = chosen;
    let client = known_client(args).unwrap_or_else(|| Client::from_message(None));
    Ok(Spec {
        server,
        client: client.as_str().to_owned(),
        session: session_id()?,
        attempt: 0,
        client_session: client_session(),
        project: project(),
        env,
        mounts,
    })
}

/// Who knows why our own daemon does not answer: its engine.
fn inquiry(config: &Config, home: &Home) -> Option<Inquiry> {
    if config.dind.host.is_some() {
        return None;
    }
    let known = Rc::new((config.clone(), home.clone(), Watch::default()));
    Some(Inquiry::new(move || {
        let known = Rc::clone(&known);
        Box::pin(async move {
            let (config, home, watch) = &*known;
            match watch.diagnose(config, home, &variable).await {
                Diagnosis::Starting(what) => Outlook::Starting(what),
                Diagnosis::Down(trouble) => Outlook::Hopeless(trouble.into()),
                Diagnosis::Elsewhere | Diagnosis::Silent => Outlook::Unknown,
            }
        })
    }))
}

fn known_client(args: &RunArgs) -> Option<Client> {
    Client::from_start(args.client.as_deref(), variable)
}

fn client_session() -> Option<String> {
    variable("CLAUDE_CODE_SESSION_ID").filter(|id| !id.is_empty())
}

/// The folder that the client works in: what it says, or where it has started us.
fn project() -> Option<String> {
    let said = variable("CLAUDE_PROJECT_DIR").filter(|folder| !folder.is_empty());
    said.or_else(|| Some(std::env::current_dir().ok()?.to_string_lossy().into_owned()))
}

/// What the folders that the client knows are called in the container. It may know the one that it works in by a link.
fn mapped(mounts: &[Mount], project: Option<&Path>) -> Vec<RootsMapping> {
    let mapping =
        |mount: &Mount| RootsMapping { host: (&mount.source).into(), container: (&mount.target).into() };
    let mut mappings: Vec<_> = mounts.iter().map(mapping).collect();
    if let Some(project) = project
        && let Ok(real) = project.canonicalize()
        && real != project
    {
        let innermost = mounts
            .iter()
            .filter(|mount| real.starts_with(&mount.source))
            .max_by_key(|mount| mount.source.len());
        let inside =
            |mount: &Mount| Some(Path::new(&mount.target).join(real.strip_prefix(&mount.source).ok()?));
        let container = innermost.and_then(inside);
        mappings.extend(container.map(|container| RootsMapping { host: project.to_owned(), container }));
    }
    mappings
}

/// Twelve hex digits nobody else has.
fn session_id() -> Result<String, Failure> {
    let mut bytes = [0_u8; 8];
    rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes).map_err(|_| Failure {
        code: Code::Internal,
        text: "the system gives no random numbers".to_owned(),
        next: None,
    })?;
    Ok(format!("{:012x}", u64::from_be_bytes(bytes) >> 16))
}

/// What would be created, as the Engine API would be told.
fn dry_run(daemon: &str, spec: &Spec, env: &[EnvVar]) -> serde_json::Value {
    let Server { command, args, recipe, .. } = &spec.server;
    let command = match (command, args) {
        (Some(command), args) => json!([command.as_slice(), args.as_deref().unwrap_or_default()].concat()),
        (None, Some(args)) => json!(["the image's ENTRYPOINT", args]),
        (None, None) => json!("the image's ENTRYPOINT and CMD"),
    };
    let mut plan = json!({
        "daemon": daemon,
        "name": format!("mcp-{}-<n>", spec.client),
        "container": spec.create_body(),
        "exec": { "command": command, "env": env.iter().map(ToString::to_string).collect::<Vec<_>>() },
    });
    if let Some(recipe) = recipe {
        let package = &recipe.package;
        plan["bake"] = json!({
            "runner": package.runner.as_str(),
            "packages": package.packages,
            "on": recipe.base(),
            "container": recipe.container(),
        });
    }
    plan
}

fn open_trace(args: &RunArgs, redactor: Redactor, stderr: &StderrSink) -> std::io::Result<Trace> {
    let sink = match args.trace.as_deref() {
        None => return Ok(Trace::off()),
        Some(file) if file == Path::new("-") => Sink::Stderr,
        Some(file) => Sink::File(file.to_owned()),
    };
    Trace::open(sink, args.trace_bodies, redactor, stderr.clone())
}

/// Switches the sessions' histories off for whoever sets it to `off`.
const JOURNAL: &str = "BERTH_JOURNAL";

fn open_journal(plan: &Plan, home: &Home, redactor: Redactor, stderr: &StderrSink) -> Option<Journal> {
    if !plan.spec.server.settings.journal || variable(JOURNAL).is_some_and(|value| value == "off") {
        return None;
    }
    let journal = Journal::begin(&home.state, &plan.spec.session, redactor);
    stderr.record_in(&journal);
    journal.start(&journal::Start {
        server: &plan.spec.server.name,
        image: &plan.spec.server.image,
        client: plan.client.as_ref().map(Client::as_str),
        client_session: plan.spec.client_session.as_deref(),
    });
    Some(journal)
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
