//! A run's daemon: how each fault is done to it and to its containers, and what it holds.

use std::time::Duration;

use anyhow::Context;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use serde_json::{Value, json};
use toml::Table;

use super::ground::{Ground, Missed};
use super::left::{Left, names};
use super::plan::{Fault, Kind};
use super::relay::Relay;
use crate::dock::docker::{DockerError, Engine};
use crate::dock::door::Doors;
use crate::dock::labels::LABEL_CLIENT;
use crate::dock::roster::State;
use crate::dock::wire::{Request, Wire};

/// A daemon that was started has answered by then.
const READY_WITHIN: Duration = Duration::from_mins(1);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// For a daemon that is told to stop.
const STOP_GRACE: Duration = Duration::from_secs(20);
/// A container on standby ends by itself when its time is over.
const GONE_WITHIN: Duration = super::STANDBY_TTL.saturating_add(Duration::from_secs(15));

/// The run's own, and the ways to it.
#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) doors: Option<Doors>,
    /// The daemon's.
    pub(super) container: String,
    /// The engine that holds the daemon.
    pub(super) host: Engine,
    /// Past the relays.
    pub(super) engine: Engine,
    /// Of each slot: the way to the daemon, and its configuration.
    pub(super) ways: Vec<(Relay, Table)>,
}

/// Why a fault was not done.
#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("the session has no running container")]
    NoContainer,
    #[error("the container has no server")]
    NoServer,
    #[error(transparent)]
    Docker(#[from] DockerError),
    #[error("the daemon does not answer after its start")]
    Silent,
}

impl Ground for Daemon {
    fn kinds(&self) -> Vec<Kind> {
        Kind::ALL.to_vec()
    }

    fn config(&self, slot: usize) -> Table {
        self.ways[slot].1.clone()
    }

    fn inject<'a>(&'a self, client: &'a str, fault: &'a Fault) -> LocalBoxFuture<'a, Result<(), Missed>> {
        async move { self.done(client, fault).await.map_err(|cause| Missed(cause.to_string())) }.boxed_local()
    }

    fn look(&self) -> LocalBoxFuture<'_, anyhow::Result<Left>> {
        async { look(self).await.context("cannot look at the daemon") }.boxed_local()
    }

    /// No container is being made any more, whose door would be young.
    fn tidy(&self) -> LocalBoxFuture<'_, ()> {
        async {
            if let Some(doors) = &self.doors
                && let Err(error) = doors.sweep(&self.engine, Duration::ZERO).await
            {
                tracing::debug!("cannot remove the doors of ended containers: {error}");
            }
        }
        .boxed_local()
    }

    fn gone_within(&self) -> Duration {
        GONE_WITHIN
    }
}

impl Daemon {
    async fn done(&self, client: &str, fault: &Fault) -> Result<(), Cause> {
        let site = self;
        match fault.kind {
            Kind::ServerKilled => {
                let container = container(site, client).await?;
                let pid = server_in(&site.engine, &container).await?.ok_or(Cause::NoServer)?;
                in_daemon(site, &format!("kill -KILL {pid}")).await?;
            }
            Kind::KeeperKilled => {
                let found = site.engine.inspect(&container(site, client).await?).await?;
                let keeper = found.filter(|found| found.pid > 0).ok_or(Cause::NoContainer)?.pid;
                in_daemon(site, &format!("kill -KILL {keeper}")).await?;
            }
            Kind::ContainerKilled => site.engine.kill(&container(site, client).await?, "SIGKILL").await?,
            Kind::ContainerRemoved => drop(site.engine.remove(&container(site, client).await?).await?),
            Kind::ContainerPaused => {
                let container = container(site, client).await?;
                let pause = format!("/containers/{container}/pause");
                call(&site.engine, &Request::post("pause the container", &container, pause, None)).await?;
                tokio::time::sleep(fault.hold).await;
                // It may be gone: its session may have ended.
                drop(site.engine.unpause(&container).await);
            }
            Kind::ConnectionsCut => self.ways[fault.slot].0.cut(fault.hold).await,
            Kind::ConnectionsStalled => self.ways[fault.slot].0.stall(2 * fault.hold).await,
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
            // Those of sessions, and of others' ground.
            _ => {}
        }
        Ok(())
    }
}

/// The container of a slot's session: its newest that is no longer on standby.
async fn container(site: &Daemon, client: &str) -> Result<String, Cause> {
    let listed = site.engine.list(&format!("{LABEL_CLIENT}={client}")).await?;
    let claimed = listed.into_iter().filter(|row| row.running && State::of(&row.name) == State::Active);
    claimed.max_by_key(|row| row.created).map(|row| row.id).ok_or(Cause::NoContainer)
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
async fn in_daemon(site: &Daemon, line: &str) -> Result<(), DockerError> {
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

async fn start_daemon(site: &Daemon) -> Result<(), Cause> {
    site.host.start(&site.container).await?;
    let ready = async {
        while site.engine.ping().await.is_err() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(READY_WITHIN, ready).await.map_err(|_| Cause::Silent)
}

/// Everything that there is in a daemon.
async fn look(site: &Daemon) -> Result<Left, DockerError> {
    let mut wire = Wire::connect(site.engine.endpoint()).await?;
    let mut get = async |path: &str| wire.call(&Request::get("look at", "the daemon", path.to_owned())).await;
    let containers = get("/containers/json?all=1").await?;
    let volumes = get("/volumes").await?;
    let networks = get("/networks").await?;
    let processes = site.host.processes(&site.container).await?;
    let doors = site.doors.iter().flat_map(Doors::names).collect();
    Ok(Left {
        doors,
        containers: names(&containers, |row| row["Names"][0].as_str()),
        volumes: names(&volumes["Volumes"], |row| row["Name"].as_str()),
        networks: names(&networks, |row| row["Name"].as_str()),
        processes: processes.into_iter().map(|(_, line)| line).filter(|line| !is_passing(line)).collect(),
    })
}

/// The daemon's own health check, and what it runs for each.
fn is_passing(line: &str) -> bool {
    line.contains("keeper ping ")
}
