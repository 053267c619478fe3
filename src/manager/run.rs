//! `berth manager run`: starts everything, and ends it.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use mcp_berth::cli::ManagerRunArgs;
use mcp_berth::config::{Config, Home};
use mcp_berth::observe::audit::Audit;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::api;
use crate::configured::Configured;
use crate::index::{Index, Keeper};
use crate::instance::Instance;
use crate::journals::{Follower, Sink};
use crate::listeners::{self, Listeners};
use crate::logins::Logins;
use crate::metrics::Metrics;
use crate::monitor;
use crate::otlp::Otlp;
use crate::pods::Pods;
use crate::scale::{self, Watch};
use crate::settings::Settings;
use crate::shared::Shared;
use crate::tend;
use crate::token;
use crate::web::guard;
use crate::web::serve;

/// The journals are looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub(crate) async fn run(
    args: &ManagerRunArgs,
    config: Config,
    config_file: Option<&Path>,
    home: Home,
) -> anyhow::Result<ExitCode> {
    // Sessions go first. Who may not even do that goes on as before.
    _ = rustix::process::nice(10);
    let mut instance = Instance::take(&home)?;
    let token = token::read_or_make(instance.folder())?;
    let Listeners { api, monitor } = listeners::take(args, &config.manager).await?;
    let addresses = (api.local_addr()?, monitor.local_addr()?);
    let stop = CancellationToken::new();
    let audit = Audit::of_manager(&home.state);
    let index = Index::open(instance.folder())?;
    let follower = Follower::new(&home.state).until(&stop);
    let dropped = Arc::default();
    let otlp = config.manager.otlp.as_ref();
    let otlp = otlp.map(|to| Otlp::open(to, instance.folder(), Arc::clone(&dropped)));
    let otlp = otlp.transpose()?;
    let metrics = Metrics::open(instance.folder(), follower.behind(), dropped)?;
    let watch = Watch::open(instance.folder())?;
    let mut sinks: Vec<Box<dyn Sink>> =
        vec![Box::new(index.sink()?), metrics.sink(), Box::new(watch.clone())];
    sinks.extend(otlp.as_ref().map(Otlp::sink).transpose()?.flatten());
    let keeper = index.keeper(&home.state, config.manager.retention)?;
    let configured = Arc::new(Configured::new(home.clone(), config_file.map(Path::to_owned)));
    let settings = Settings::open(&home.state, instance.folder(), &configured)?;
    let (logins, pods) = (Arc::<Logins>::default(), Pods::default());
    let shared =
        Arc::new(Shared { configured, home, token, audit, index, logins, watch, pods, stop: stop.clone() });
    let read = CancellationToken::new();
    let reading = read_journals(follower, sinks, keeper, &stop, &read)?;
    instance.sign(Some(addresses.0), Some(addresses.1)).context("cannot say where it listens")?;
    tracing::info!("the API is at http://{}, the page at http://{}", addresses.0, addresses.1);
    let served = async {
        tokio::join!(
            serve::serve(api, api_router(&shared), stop.clone()),
            serve::serve(
                monitor,
                monitor::router(&shared, &metrics, config.manager.metrics_auth),
                stop.clone()
            ),
            metrics.sample(&shared),
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
    let exported = async {
        if let Some(otlp) = &otlp {
            otlp.work(&metrics, &read, &stop).await;
        }
    };
    let tended = tend::work(&shared);
    tokio::join!(served, asked, scale::work(&shared), settings.watch(&stop), exported, tended);
    tokio::task::spawn_blocking(move || reading.join())
        .await?
        .map_err(|_| anyhow::anyhow!("a thread failed"))?;
    drop(instance);
    Ok(ExitCode::SUCCESS)
}

/// A thread that hands the journals' records to the sinks until `stop`, and then once more; the last one is `read` when it ends.
fn read_journals(
    mut follower: Follower,
    mut sinks: Vec<Box<dyn Sink>>,
    mut keeper: Keeper,
    stop: &CancellationToken,
    read: &CancellationToken,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    let (stop, read) = (stop.clone(), read.clone().drop_guard());
    std::thread::Builder::new().name("berth-journals".to_owned()).spawn(move || {
        let (mut failed, _read) = (false, read);
        loop {
            let is_last = stop.is_cancelled();
            let mut sinks: Vec<&mut dyn Sink> = sinks.iter_mut().map(|sink| &mut **sink as _).collect();
            let looked = follower.look(&mut sinks).and_then(|_| follower.look_at_audit(&mut sinks));
            match looked.and_then(|is_all| keeper.tend(is_all && !stop.is_cancelled())) {
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
    let (open, with_token) = api::routers(shared);
    guard::behind(open, with_token, &shared.guard())
}
