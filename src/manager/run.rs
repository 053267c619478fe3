//! `berth manager run`: starts everything, and ends it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::middleware::{from_fn_with_state, map_response};
use axum::routing::get;
use mcp_berth::cli::ManagerRunArgs;
use mcp_berth::config::{Config, Home};
use mcp_berth::failure::{Code, Failure};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::api;
use crate::index::{Index, Keeper};
use crate::instance::Instance;
use crate::journals::{Follower, Sink};
use crate::token::{self, Token};
use crate::web::guard::{self, Guard};
use crate::web::serve;

/// The journals are looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What all parts of a manager know.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) home: Home,
    pub(crate) token: Token,
    pub(crate) index: Index,
    /// The manager ends.
    pub(crate) stop: CancellationToken,
}

pub(crate) async fn run(args: &ManagerRunArgs, config: Config, home: Home) -> anyhow::Result<ExitCode> {
    let mut instance = Instance::take(&home)?;
    let token = token::read_or_make(instance.folder())?;
    let api = listen(args.api.unwrap_or(config.manager.api), "api").await?;
    let monitor = listen(args.monitor.unwrap_or(config.manager.monitor), "monitor").await?;
    let addresses = (api.local_addr()?, monitor.local_addr()?);
    let stop = CancellationToken::new();
    let index = Index::open(instance.folder())?;
    let sinks: Vec<Box<dyn Sink>> = vec![Box::new(index.sink()?)];
    let shared = Arc::new(Shared { config, home, token, index, stop: stop.clone() });
    let keeper = shared.index.keeper(&shared.home.state, shared.config.manager.retention)?;
    let reading = read_journals(&shared.home.state, sinks, keeper, &stop)?;
    instance.sign(Some(addresses.0), Some(addresses.1)).context("cannot say where it listens")?;
    tracing::info!("the API is at http://{}, the page at http://{}", addresses.0, addresses.1);
    let served = async {
        tokio::join!(
            serve::serve(api, api_router(&shared), stop.clone()),
            serve::serve(monitor, monitor_router(&shared), stop.clone()),
        )
    };
    let mut ends = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
    let asked = async {
        let [terminate, interrupt] = &mut ends;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    };
    tokio::join!(served, asked);
    tokio::task::spawn_blocking(move || reading.join())
        .await?
        .map_err(|_| anyhow::anyhow!("a thread failed"))?;
    drop(instance);
    Ok(ExitCode::SUCCESS)
}

/// Binds an address. A taken one names its holder.
async fn listen(address: SocketAddr, key: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| Failure {
        code: Code::Unavailable,
        text: format!("cannot listen on {address}: {error}"),
        next: Some(format!("end who has it, or choose another `{key}` in [manager] or with `--{key}`")),
    })
}

/// A thread that hands the journals' records to the sinks until `stop`, and then once more.
fn read_journals(
    state: &Path,
    mut sinks: Vec<Box<dyn Sink>>,
    mut keeper: Keeper,
    stop: &CancellationToken,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    let (mut follower, stop) = (Follower::new(state), stop.clone());
    std::thread::Builder::new().name("berth-journals".to_owned()).spawn(move || {
        let mut failed = false;
        loop {
            let is_last = stop.is_cancelled();
            let mut sinks: Vec<&mut dyn Sink> = sinks.iter_mut().map(|sink| &mut **sink as _).collect();
            match follower.look(&mut sinks).and_then(|_| keeper.tend()) {
                Ok(()) => failed = false,
                // Said once: a full disk stays full for a while.
                Err(error) if !std::mem::replace(&mut failed, true) => {
                    tracing::warn!("cannot keep what the journals say: {error:#}");
                }
                Err(_) => {}
            }
            if is_last {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    })
}

fn api_router(shared: &Arc<Shared>) -> Router {
    behind_guard(api::router(shared), &Guard::new(shared.token.clone()))
}

fn monitor_router(shared: &Arc<Shared>) -> Router {
    behind_guard(Router::new(), &Guard::new(shared.token.clone()))
}

/// `with_token` and the two health checks, which say nothing but that somebody is there, behind what every request passes.
fn behind_guard(with_token: Router, guard: &Arc<Guard>) -> Router {
    with_token
        .layer(from_fn_with_state(Arc::clone(guard), guard::with_token))
        .route("/healthz", get(async || "ok\n"))
        .layer(from_fn_with_state(Arc::clone(guard), guard::same_site))
        .layer(map_response(guard::headers))
}
