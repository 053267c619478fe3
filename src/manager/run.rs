//! `berth manager run`: starts everything, and ends it.

use std::net::SocketAddr;
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

use crate::instance::Instance;
use crate::journals::{Follower, Sink};
use crate::metrics::Metrics;
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
    let shared = Arc::new(Shared { config, home, token, stop: stop.clone() });
    let follower = Follower::new(&shared.home.state);
    let metrics = Metrics::open(instance.folder(), &shared.home.state, follower.behind())?;
    let reading = read_journals(follower, vec![metrics.sink()], &stop)?;
    instance.sign(Some(addresses.0), Some(addresses.1)).context("cannot say where it listens")?;
    tracing::info!("the API is at http://{}, the page at http://{}", addresses.0, addresses.1);
    let served = async {
        tokio::join!(
            serve::serve(api, api_router(&shared), stop.clone()),
            serve::serve(monitor, monitor_router(&shared, &metrics), stop.clone()),
            metrics.sample(&shared.config, &shared.home, &shared.stop),
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
    mut follower: Follower,
    mut sinks: Vec<Box<dyn Sink>>,
    stop: &CancellationToken,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    let stop = stop.clone();
    std::thread::Builder::new().name("berth-journals".to_owned()).spawn(move || {
        let mut failed = false;
        loop {
            let is_last = stop.is_cancelled();
            let mut sinks: Vec<&mut dyn Sink> = sinks.iter_mut().map(|sink| &mut **sink as _).collect();
            match follower.look(&mut sinks) {
                Ok(_) => failed = false,
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
    behind_guard(Router::new(), Router::new(), &Guard::new(shared.token.clone()))
}

fn monitor_router(shared: &Arc<Shared>, metrics: &Arc<Metrics>) -> Router {
    let asks_for_token = shared.config.manager.metrics_auth;
    let (with_token, open) =
        if asks_for_token { (metrics.router(), Router::new()) } else { (Router::new(), metrics.router()) };
    behind_guard(with_token, open, &Guard::new(shared.token.clone()))
}

/// `with_token`, what is `open` to all who are here, and the health check, which says nothing but that somebody is there,
/// behind what every request passes.
fn behind_guard(with_token: Router, open: Router, guard: &Arc<Guard>) -> Router {
    with_token
        .layer(from_fn_with_state(Arc::clone(guard), guard::with_token))
        .merge(open)
        .route("/healthz", get(async || "ok\n"))
        .layer(from_fn_with_state(Arc::clone(guard), guard::same_site))
        .layer(map_response(guard::headers))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use tower_service::Service;

    use super::*;

    #[tokio::test]
    async fn the_metrics_ask_for_the_token_unless_the_configuration_says_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap().to_owned();
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| path.clone())).unwrap();
        let token = Token::random();
        let metrics = Metrics::open(folder.path(), folder.path(), Arc::default()).unwrap();
        for (text, expected) in [("", 401), ("[manager]\nmetrics_auth = false", 200)] {
            let config = Config::parse(text, std::path::Path::new("b.toml"), &home).unwrap();
            let stop = CancellationToken::new();
            let shared = Arc::new(Shared { config, home: home.clone(), token: token.clone(), stop });
            let mut router = monitor_router(&shared, &metrics);
            let mut ask = async |headers: &[(&str, &str)]| {
                let request = headers
                    .iter()
                    .fold(Request::get("/metrics"), |request, (name, value)| request.header(*name, *value));
                router.call(request.body(Body::empty()).unwrap()).await.unwrap().status().as_u16()
            };
            let here = ("host", "127.0.0.1:19090");
            assert_eq!(ask(&[here]).await, expected, "{text}");
            let bearer = format!("Bearer {}", token.text());
            assert_eq!(ask(&[here, ("authorization", &bearer)]).await, 200);
            assert_eq!(ask(&[("host", "example.org"), ("authorization", &bearer)]).await, 403, "{text}");
        }
    }
}
