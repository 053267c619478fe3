//! `berth run`: one MCP session on standard input and output.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::variable;
use crate::cli::RunArgs;
use crate::config::{Config, ConfigError, EnvVar, Home, Overrides, Server};
use crate::dock::spec::Spec;
use crate::observe::redact::Redactor;
use crate::observe::stderr::StderrSink;
use crate::observe::trace::{Sink, Trace};
use crate::rpc::Code;
use crate::session::failure::Failure;
use crate::session::identity::Client;
use crate::session::start::{Plan, start};
use crate::session::{self, Options, stdio};

pub async fn run(
    args: RunArgs,
    config: Result<Config, ConfigError>,
    home: &Home,
    stderr: &StderrSink,
) -> anyhow::Result<ExitCode> {
    let prepared = config.map_err(Failure::from).and_then(|config| prepare(&args, &config, home));
    if args.dry_run {
        let (plan, env) = prepared?;
        writeln!(std::io::stdout().lock(), "{:#}", dry_run(&plan, &env))?;
        return Ok(ExitCode::SUCCESS);
    }
    let settings = prepared
        .as_ref()
        .map_or_else(|_| crate::config::Settings::default(), |(plan, _)| plan.server.settings.clone());
    let secrets =
        prepared.iter().flat_map(|(_, env)| env).filter(|var| var.secret).map(|var| var.value.clone());
    let (trace, prepared) = match open_trace(&args, Redactor::new(secrets), stderr) {
        Ok(trace) => (trace, prepared),
        Err(error) => {
            (Trace::off(), prepared.and(Err(Failure::new(Code::Configuration, &error, "correct `--trace`"))))
        }
    };
    if let Ok((plan, _)) = &prepared {
        trace.session(&plan.session);
    }
    let options = Options {
        server: args
            .server
            .clone()
            .or_else(|| args.image.as_ref().map(|image| image.as_str().to_owned()))
            .unwrap_or_default(),
        max_line: settings.max_line,
        stop_grace: settings.stop_grace,
        interactive: std::io::stdin().is_terminal(),
        trace: trace.clone(),
        stderr: stderr.clone(),
        stop: stop_on_signal()?,
    };
    let starting = trace.clone();
    let session = session::run(stdio::input(), stdio::output(), options, |said| async move {
        let (plan, _) = prepared?;
        start(plan, said, starting).await
    });
    let result = Box::pin(session).await;
    trace.flush().await;
    Ok(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => ExitCode::from(failure.code.exit_code()),
    })
}

/// All that can be found out before the first connection.
fn prepare(args: &RunArgs, config: &Config, home: &Home) -> Result<(Plan, Vec<EnvVar>), Failure> {
    let server = match (&args.server, &args.image) {
        (Some(name), _) => {
            let mut server = config.server(name)?.clone();
            if !args.command.is_empty() {
                server.command = Some(args.command.clone());
            }
            server
        }
        (None, Some(image)) => Server::from_image(image.clone(), args.command.clone(), &config.defaults),
        (None, None) => return Err(usage("name a server of the configuration, or an image with `--image`")),
    };
    let server = server.with_overrides(&Overrides::from(args.settings.clone()));
    let env = server.resolve_env(&variable)?;
    let endpoint = crate::dind::endpoint(config, home)?.with_timeout(server.settings.connect_timeout);
    let plan = Plan {
        client: Client::from_start(args.client.as_deref(), variable),
        session: session_id()?,
        client_session: variable("CLAUDE_CODE_SESSION_ID").filter(|id| !id.is_empty()),
        env: env.iter().map(|var| format!("{}={}", var.name, var.value)).collect(),
        server,
        endpoint,
    };
    Ok((plan, env))
}

fn usage(text: &str) -> Failure {
    Failure { code: Code::Configuration, text: text.to_owned(), next: None }
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
fn dry_run(plan: &Plan, env: &[EnvVar]) -> serde_json::Value {
    let client = plan.client.clone().unwrap_or_else(|| Client::from_message(None));
    let spec = Spec {
        server: plan.server.clone(),
        client: client.as_str().to_owned(),
        session: plan.session.clone(),
        client_session: plan.client_session.clone(),
    };
    json!({
        "daemon": plan.endpoint.to_string(),
        "name": format!("mcp-{}-<n>", client.as_str()),
        "container": spec.create_body(),
        "exec": {
            "command": plan.server.command.as_deref().map_or(json!("the image's ENTRYPOINT and CMD"), |argv| json!(argv)),
            "env": env.iter().map(ToString::to_string).collect::<Vec<_>>(),
        },
    })
}

fn open_trace(args: &RunArgs, redactor: Redactor, stderr: &StderrSink) -> std::io::Result<Trace> {
    let sink = match args.trace.as_deref() {
        None => return Ok(Trace::off()),
        Some(file) if file == Path::new("-") => Sink::Stderr,
        Some(file) => Sink::File(file.to_owned()),
    };
    Trace::open(sink, args.trace_bodies, redactor, stderr.clone())
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
