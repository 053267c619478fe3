//! How each fault is done. A fault without a target reports that, and is tried again a moment later.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::Site;
use super::live::{Live, Order};
use super::plan::{Fault, Kind};
use super::slot::Slot;
use crate::dock::docker::{DockerError, Engine};
use crate::dock::labels::LABEL_CLIENT;
use crate::dock::roster::State;
use crate::dock::wire::{Request, Wire};

/// A daemon that was started has answered by then.
const READY_WITHIN: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// For a daemon that is told to stop.
const STOP_GRACE: Duration = Duration::from_secs(20);

/// Why a fault was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Missed {
    #[error("there is no session")]
    NoSession,
    #[error("the session has no running container")]
    NoContainer,
    #[error("the container has no server")]
    NoServer,
    #[error(transparent)]
    Docker(#[from] DockerError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("the daemon does not answer after its start")]
    Silent,
}

pub(super) async fn inject(site: &Site, fault: &Fault) -> Result<(), Missed> {
    let slot = &site.slots[fault.slot];
    let live = || slot.live().ok_or(Missed::NoSession);
    match fault.kind {
        Kind::ProxyKilled => live()?.kill()?,
        Kind::ProxyStopped => {
            let live = live()?;
            live.signal(Signal::STOP)?;
            tokio::time::sleep(fault.hold).await;
            // It may have been killed meanwhile; nothing else makes it end.
            let _ = live.signal(Signal::CONT);
        }
        Kind::ClientLeft => order(&live()?, Order::Leave).await?,
        Kind::ClientDied => order(&live()?, Order::Die).await?,
        Kind::ServerCrashed => order(&live()?, Order::End("crash")).await?,
        Kind::ServerBrokeOff => order(&live()?, Order::End("partial")).await?,
        Kind::ServerKilled => {
            let container = container(site, slot).await?;
            let pid = server_in(&site.daemon, &container).await?.ok_or(Missed::NoServer)?;
            in_daemon(site, &format!("kill -KILL {pid}")).await?;
        }
        Kind::KeeperKilled => {
            let found = site.daemon.inspect(&container(site, slot).await?).await?;
            let keeper = found.filter(|found| found.pid > 0).ok_or(Missed::NoContainer)?.pid;
            in_daemon(site, &format!("kill -KILL {keeper}")).await?;
        }
        Kind::ContainerKilled => site.daemon.kill(&container(site, slot).await?, "SIGKILL").await?,
        Kind::ContainerRemoved => drop(site.daemon.remove(&container(site, slot).await?).await?),
        Kind::ContainerPaused => {
            let container = container(site, slot).await?;
            let pause = format!("/containers/{container}/pause");
            call(&site.daemon, &Request::post("pause the container", &container, pause, None)).await?;
            tokio::time::sleep(fault.hold).await;
            // It may be gone: its session may have ended.
            drop(site.daemon.unpause(&container).await);
        }
        Kind::ConnectionsCut => slot.relay.cut(fault.hold).await,
        Kind::ConnectionsStalled => slot.relay.stall(2 * fault.hold).await,
        Kind::DaemonStopped => {
            in_daemon(site, "kill -STOP $(cat /var/run/docker.pid)").await?;
            tokio::time::sleep(fault.hold).await;
            in_daemon(site, "kill -CONT $(cat /var/run/docker.pid)").await?;
        }
        Kind::DaemonRestarted => {
            site.host.stop(&site.container, STOP_GRACE).await?;
            start_daemon(site).await?;
        }
        Kind::DaemonKilled => {
            site.host.kill(&site.container, "SIGKILL").await?;
            start_daemon(site).await?;
        }
    }
    Ok(())
}

async fn order(live: &Live, order: Order) -> Result<(), Missed> {
    live.orders.send(order).await.map_err(|_| Missed::NoSession)
}

/// The container of a slot's session: its newest that is no longer on standby.
async fn container(site: &Site, slot: &Slot) -> Result<String, Missed> {
    let listed = site.daemon.list(&format!("{LABEL_CLIENT}={}", slot.client)).await?;
    let claimed = listed.into_iter().filter(|row| row.running && State::of(&row.name) == State::Active);
    claimed.max_by_key(|row| row.created).map(|row| row.id).ok_or(Missed::NoContainer)
}

/// The server's process, as the daemon numbers it: the youngest beside the keeper.
async fn server_in(daemon: &Engine, container: &str) -> Result<Option<i64>, DockerError> {
    let keeper = daemon.inspect(container).await?.map(|found| found.pid).unwrap_or_default();
    let path = format!("/containers/{container}/top?ps_args=-eo%20pid,args");
    let top = call(daemon, &Request::get("list the processes of", container, path)).await?;
    let rows = top["Processes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let pids = rows.iter().filter_map(|row| row[0].as_str()?.trim().parse::<i64>().ok());
    Ok(pids.filter(|pid| *pid != keeper).max())
}

/// Runs a line of shell beside the daemon.
async fn in_daemon(site: &Site, line: &str) -> Result<(), DockerError> {
    const OP: &str = "run a command in";
    let name = &site.container;
    let create = Request::post(
        OP,
        name,
        format!("/containers/{name}/exec"),
        Some(json!({ "Cmd": ["/bin/sh", "-c", line] })),
    );
    let created = call(&site.host, &create).await?;
    let id = created["Id"].as_str().unwrap_or_default();
    let start = Request::post(OP, name, format!("/exec/{id}/start"), Some(json!({ "Detach": true })));
    call(&site.host, &start).await.map(drop)
}

async fn call(engine: &Engine, request: &Request) -> Result<Value, DockerError> {
    Wire::connect(engine.endpoint()).await?.call(request).await
}

async fn start_daemon(site: &Site) -> Result<(), Missed> {
    site.host.start(&site.container).await?;
    let ready = async {
        while site.daemon.ping().await.is_err() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(READY_WITHIN, ready).await.map_err(|_| Missed::Silent)
}
