//! From a configured server to a running one: connections, image, lease, process; as much at once as can be.

use std::io;
use std::time::{Duration, Instant};

use futures::StreamExt;

use tokio::sync::oneshot;

use super::identity::Client;
use super::{Exit, Upstream};
use crate::config::Server;
use crate::dock::dial::Endpoint;
use crate::dock::docker::Engine;
use crate::dock::exec::{self, Chunk, Command};
use crate::dock::lease::{self, Lease, LeaseError, Lifeline};
use crate::dock::roster;
use crate::dock::spec::Spec;
use crate::dock::wire::{Request, Wire};
use crate::failure::Failure;
use crate::observe::trace::Trace;
use crate::rpc::Code;

/// An ended process's exit code is there a moment after its output has ended.
const EXIT_CODE_WITHIN: Duration = Duration::from_millis(500);

/// What `SIGKILL` makes of an exit code.
const KILLED: i64 = 137;

/// Processes that were killed at once are seen to end within this time.
const ENDS_TOGETHER: Duration = Duration::from_millis(200);

/// What a server wrote before its container ended is on the way.
const LAST_OUTPUT_WITHIN: Duration = Duration::from_secs(1);

/// After the lifeline is closed, how long we watch the container go.
const GONE_WITHIN: Duration = Duration::from_secs(1);

/// What is known when the process starts.
#[derive(Debug, Clone)]
pub struct Plan {
    pub server: Server,
    /// `None`: the first message will say.
    pub client: Option<Client>,
    pub session: String,
    pub client_session: Option<String>,
    /// `NAME=value`
    pub env: Vec<String>,
    pub endpoint: Endpoint,
}

/// Starts the server in a container of its own. Begins before the client has said anything; only the container's
/// name waits for that.
pub async fn start(
    plan: Plan,
    said: oneshot::Receiver<Option<String>>,
    trace: Trace,
) -> Result<DockUpstream, Failure> {
    let timeout = plan.server.settings.start_timeout;
    let server = plan.server.name.clone();
    let client = plan.client.clone();
    let engine = Engine::new(plan.endpoint.clone());

    let leasing = async {
        let (wire, client) = tokio::join!(connect(&plan, &trace, "connect for the lease"), async {
            match client {
                Some(client) => Some(client),
                None => said.await.ok().map(|name| Client::from_message(name.as_deref())),
            }
        });
        // A client that left without a word needs no server, and whoever waits for this is being dropped.
        let Some(client) = client else { return std::future::pending().await };
        let spec = Spec {
            server: plan.server.clone(),
            client: client.as_str().to_owned(),
            session: plan.session.clone(),
            client_session: plan.client_session.clone(),
        };
        let began = Instant::now();
        let lease = tokio::time::timeout(timeout, Lease::create(&engine, wire?, &spec)).await;
        let lease = lease.map_err(|_| too_slow("container", &server, timeout))??;
        trace.step("create, start and attach", began, lease.container());
        Ok::<_, Failure>((spec, lease))
    };
    let preparing = async {
        let mut wire = connect(&plan, &trace, "connect for the server").await?;
        let began = Instant::now();
        let argv = match &plan.server.command {
            Some(command) => command.clone(),
            None => image_command(&mut wire, &plan.server.image).await?,
        };
        trace.step("inspect the image", began, &plan.server.image);
        Ok::<_, Failure>((wire, argv))
    };
    let preparing = async {
        let prepared = tokio::time::timeout(timeout, preparing).await;
        prepared.map_err(|_| too_slow("image", &server, timeout))?
    };
    let ((spec, lease), (wire, argv)) = tokio::try_join!(leasing, preparing)?;

    let naming =
        tokio::spawn(take_name(engine.clone(), lease.container().to_owned(), spec.client, trace.clone()));
    let began = Instant::now();
    let command = Command { argv, env: plan.env, session: plan.session };
    let started = tokio::time::timeout(timeout, exec::start(wire, lease.container(), &command)).await;
    let exec = started.map_err(|_| too_slow("server", &server, timeout))??;
    trace.step("start the server", began, &server);
    Ok(DockUpstream {
        engine,
        container: lease.container().to_owned(),
        lifeline: lease.into_lifeline(),
        input: Some(exec.input),
        output: exec.output,
        exec: exec.id,
        memory: plan.server.settings.memory,
        naming,
        ends_by: None,
    })
}

async fn connect(plan: &Plan, trace: &Trace, step: &'static str) -> Result<Wire, Failure> {
    let began = Instant::now();
    let wire = Wire::connect(&plan.endpoint).await?;
    trace.step(step, began, &plan.endpoint.to_string());
    Ok(wire)
}

fn too_slow(what: &str, server: &str, timeout: Duration) -> Failure {
    Failure {
        code: Code::Unavailable,
        text: format!("the {what} of `{server}` was not there within {timeout:?}"),
        next: Some("look at the DinD daemon with `berth status`, or raise `start_timeout`".to_owned()),
    }
}

/// What the image itself would run: ENTRYPOINT and CMD.
async fn image_command(wire: &mut Wire, image: &str) -> Result<Vec<String>, Failure> {
    let request = Request::get("inspect the image", image, format!("/images/{image}/json"));
    let found = match wire.call(&request).await {
        Err(error) if error.is_not_found() => return Err(LeaseError::NoImage(image.to_owned()).into()),
        found => found?,
    };
    let words = |key: &str| {
        let words = found["Config"][key].as_array().map(Vec::as_slice).unwrap_or_default();
        words.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let argv = [words("Entrypoint"), words("Cmd")].concat();
    if argv.is_empty() {
        return Err(Failure {
            code: Code::Configuration,
            text: format!("the image `{image}` has neither ENTRYPOINT nor CMD"),
            next: Some("set `command` in the configuration, or give it after `--`".to_owned()),
        });
    }
    Ok(argv)
}

/// Gives the container its number, then clears away what crashed sessions left, if anything.
async fn take_name(engine: Engine, container: String, client: String, trace: Trace) {
    let began = Instant::now();
    match lease::name(&engine, &container, &client).await {
        Ok(name) => trace.step("take a name", began, &name),
        // The container is ours by its lifeline; it only keeps its first name.
        Err(error) => tracing::warn!("{}", Failure::from(error).message()),
    }
    match roster::sweep(&engine).await {
        Ok(swept) => swept.iter().for_each(|name| tracing::warn!("removed `{name}`, which a crash had left")),
        Err(error) => tracing::debug!("cannot sweep: {error}"),
    }
}

/// The server's side of a session: a leased container and the process in it.
#[derive(Debug)]
pub struct DockUpstream {
    engine: Engine,
    container: String,
    lifeline: Lifeline,
    input: Option<exec::Input>,
    output: exec::Output,
    exec: String,
    memory: u64,
    naming: tokio::task::JoinHandle<()>,
    /// Set when the container has ended: until when its last output may come.
    ends_by: Option<Instant>,
}

impl Upstream for DockUpstream {
    type Input = exec::Input;

    fn take_input(&mut self) -> Option<exec::Input> {
        self.input.take()
    }

    async fn next(&mut self) -> Option<io::Result<Chunk>> {
        if self.ends_by.is_none() {
            // A cut network shows here alone: the lifeline's keep-alive finds it, while unanswered bytes of the other
            // stream may only mean a server that doesn't read.
            tokio::select! {
                chunk = self.output.next() => return chunk,
                () = self.lifeline.ended() => self.ends_by = Some(Instant::now() + LAST_OUTPUT_WITHIN),
            }
        }
        let deadline = self.ends_by?;
        tokio::time::timeout_at(deadline.into(), self.output.next()).await.unwrap_or(None)
    }

    async fn terminate(&mut self) {
        // Fails only when the container is gone already.
        let _ = self.lifeline.terminate().await;
    }

    async fn post_mortem(&mut self) -> Exit {
        if self.ends_by.is_some() {
            // The server did not end by itself: its container was ended, or the daemon was.
            return Exit::Lost;
        }
        let inspect = async {
            let code = loop {
                match self.engine.exec_exit(&self.exec).await {
                    Ok(Some(code)) => break code,
                    Ok(None) => tokio::time::sleep(Duration::from_millis(10)).await,
                    Err(_) => return Exit::Lost,
                }
            };
            if code != KILLED {
                return Exit::Code(code);
            }
            match self.engine.inspect(&self.container).await {
                Ok(Some(container)) if container.oom_killed => Exit::OutOfMemory(self.memory),
                // Who kills the container kills the keeper, too; the daemon may not know it yet.
                Ok(Some(_)) => match tokio::time::timeout(ENDS_TOGETHER, self.lifeline.ended()).await {
                    Ok(()) => Exit::Lost,
                    Err(_) => Exit::Code(code),
                },
                Ok(None) | Err(_) => Exit::Lost,
            }
        };
        tokio::time::timeout(EXIT_CODE_WITHIN, inspect).await.unwrap_or(Exit::Lost)
    }

    async fn release(mut self) {
        self.naming.abort();
        if self.ends_by.is_some() {
            return;
        }
        // Half-closed, so that we see the end of what ends by it.
        let _ = self.lifeline.close().await;
        let _ = tokio::time::timeout(GONE_WITHIN, self.lifeline.ended()).await;
    }
}
