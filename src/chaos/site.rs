//! The place of a run: a home folder, a daemon and its configuration, a relay for each slot.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use toml::{Table, toml};

use super::daemon::Daemon;
use super::ground::Ground;
use super::live::End;
use super::port::Ports;
use super::relay::Relay;
use super::slot::Slot;
use super::tally::{Sessions, Tally, kind_of_error};
use super::{LANES, Options, SERVER, STANDBY_TTL, abandoned};
use crate::config::{Config, Dind, Home};
use crate::dind::progress::Progress;
use crate::dind::{DindError, up};
use crate::dock::docker::Engine;
use crate::dock::door::Doors;
use crate::exam::client::{Client, Kind};
use crate::exam::process::{Launch, Scratch};
use crate::failure::{Code, Failure};
use crate::values::Lookup;

/// For the first session.
const READY_WITHIN: Duration = Duration::from_mins(1);
/// Somebody else may have a port that was free a moment before; so many others are tried.
const OTHER_PORTS: u32 = 5;
/// Less than a session's calls of one of three servers are apart now and then.
const IDLE: &str = "200ms";
/// Errors that differ, and are counted apart.
const ERRORS: usize = 64;

/// The files of a run, and what its daemon is to be.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) scratch: Scratch,
    pub(super) home: Home,
    pub(super) config: Config,
    ports: Ports,
    /// While it is open nobody takes this run for dead.
    _alive: File,
}

impl Own {
    pub(super) fn new(options: &Options, config: &Config, lookup: Lookup<'_>) -> anyhow::Result<Self> {
        let scratch = Scratch::new("chaos").context("cannot make a folder for the run's files")?;
        let alive = abandoned::live_in(scratch.path()).context("cannot lock the run's file")?;
        let folder = scratch.path().display().to_string();
        let home =
            Home::from_env(&|name| if name == "BERTH_HOME" { Some(folder.clone()) } else { lookup(name) })?;
        let mut ports = Ports::of(std::process::id());
        let config = own_config(&mut ports, &config.dind, options, &home)?;
        Ok(Self { scratch, home, config, ports, _alive: alive })
    }

    /// The engine that holds the daemon.
    pub(super) fn host(&self, lookup: Lookup<'_>) -> anyhow::Result<Engine> {
        let host = self.config.dind.engine(lookup)?;
        Ok(Engine::new(crate::dock::dial::Endpoint::parse(&host.address, host.certs.as_deref())?))
    }

    /// Has the daemon run, as `theirs` but for its name and place, and everything that leads to it.
    pub(super) async fn up(
        &mut self,
        options: &Options,
        theirs: &Dind,
        lookup: Lookup<'_>,
        progress: &Progress,
    ) -> anyhow::Result<Site> {
        let mut up = up::up(&self.config, &self.home, lookup, progress).await;
        for _ in 0..OTHER_PORTS {
            let Err(taken @ DindError::PortTaken { .. }) = &up else { break };
            progress.say(&format!("{taken}; trying another port"));
            self.config = own_config(&mut self.ports, theirs, options, &self.home)?;
            up = up::up(&self.config, &self.home, lookup, progress).await;
        }
        let up = up.map_err(Failure::from)?;
        for (_, placed) in up.images {
            placed.map_err(Failure::from)?;
        }
        let daemon = crate::dind::daemon(&self.config, &self.home);
        let host = self.host(lookup)?;
        let address = daemon.address.trim_start_matches("tcp://").to_owned();
        let mut ways = Vec::new();
        for number in 0..options.sessions {
            let relay = Relay::listen(address.clone()).await.context("cannot listen on a port")?;
            let table = slot_config(number, &relay, &self.config.dind, options);
            ways.push((relay, table));
        }
        let daemon = Daemon {
            doors: Doors::known(&self.home.state, &self.config.dind.name),
            container: self.config.dind.name.clone(),
            host,
            engine: Engine::new(crate::dind::endpoint(&self.config, &self.home)?),
            ways,
        };
        Site::new(self.scratch.path(), Box::new(daemon), options.sessions)
    }
}

fn own_config(ports: &mut Ports, theirs: &Dind, options: &Options, home: &Home) -> anyhow::Result<Config> {
    let port = ports.next(theirs.bind).context("no port is free for the run's daemon")?;
    let text = own_daemon(theirs, port, options).to_string();
    Ok(Config::parse(&text, &home.config_file, home)?)
}

/// The daemon as the person's own is, but for its name and place.
fn own_daemon(theirs: &Dind, port: u16, options: &Options) -> Table {
    let mut dind = Table::new();
    dind.insert("name".to_owned(), abandoned::name(std::process::id()).into());
    dind.insert("image".to_owned(), theirs.image.clone().into());
    dind.insert("port".to_owned(), i64::from(port).into());
    dind.insert("bind".to_owned(), theirs.bind.to_string().into());
    dind.insert("privileged".to_owned(), theirs.privileged.into());
    if let Some(engine) = &theirs.engine {
        dind.insert("engine".to_owned(), engine.clone().into());
    }
    let mut table = Table::new();
    table.insert("dind".to_owned(), dind.into());
    table.insert("servers".to_owned(), servers(&server(options)));
    table
}

fn server(options: &Options) -> Table {
    let mut server = toml! {
        network = "none"
        memory = "128m"
    };
    server.insert("streams".to_owned(), options.streams.as_str().into());
    server.insert("image".to_owned(), options.image.clone().into());
    if let Some(command) = &options.command {
        server.insert("command".to_owned(), command.clone().into());
    }
    server
}

/// The servers of a run's sessions, made of one.
pub fn servers(server: &Table) -> toml::Value {
    let of_lane = |name: &str| {
        let mut server = server.clone();
        if name == LANES[2] {
            server.insert("stateless".to_owned(), true.into());
            server.insert("idle".to_owned(), IDLE.into());
        }
        (name.to_owned(), server.into())
    };
    Table::from_iter(LANES.map(of_lane)).into()
}

/// To its sessions the daemon is berth's own, behind the relay. Every second slot uses containers on standby, and every fourth has the server run in them already.
fn slot_config(number: usize, relay: &Relay, daemon: &Dind, options: &Options) -> Table {
    let mut server = server(options);
    server.insert("standby".to_owned(), i64::from(number % 2 == 1).into());
    server.insert("standby_ttl".to_owned(), format!("{}s", STANDBY_TTL.as_secs()).into());
    server.insert("prestart".to_owned(), (number % 4 == 3).into());
    server.insert("on_failure".to_owned(), "restart".into());
    let mut dind = Table::new();
    dind.insert("name".to_owned(), daemon.name.clone().into());
    dind.insert("bind".to_owned(), relay.address.ip().to_string().into());
    dind.insert("port".to_owned(), i64::from(relay.address.port()).into());
    if let Some(engine) = &daemon.engine {
        dind.insert("engine".to_owned(), engine.clone().into());
    }
    Table::from_iter([("dind".to_owned(), dind.into()), ("servers".to_owned(), servers(&server))])
}

/// What everything in a run shares.
#[derive(Debug)]
pub(super) struct Site {
    /// Of the sessions' files.
    pub(super) folder: PathBuf,
    pub(super) program: PathBuf,
    pub(super) ground: Box<dyn Ground>,
    pub(super) slots: Vec<Slot>,
    /// Cancelled when there are no more faults.
    pub(super) stop: CancellationToken,
    tally: Mutex<Tally>,
    errors: Mutex<BTreeMap<String, usize>>,
    ended: Mutex<Sessions>,
    by_pipes: AtomicUsize,
}

impl Site {
    /// `folder` gets the configuration of each slot.
    pub(super) fn new(folder: &Path, ground: Box<dyn Ground>, sessions: usize) -> anyhow::Result<Self> {
        let slot = |number: usize| {
            let file = folder.join(format!("slot-{number}.toml"));
            std::fs::write(&file, ground.config(number).to_string())
                .context("cannot write a configuration")?;
            Ok(Slot::new(number, file))
        };
        Ok(Self {
            folder: folder.to_owned(),
            program: std::env::current_exe().context("cannot find this program")?,
            slots: (0..sessions).map(slot).collect::<anyhow::Result<_>>()?,
            ground,
            stop: CancellationToken::new(),
            tally: Mutex::default(),
            errors: Mutex::default(),
            ended: Mutex::default(),
            by_pipes: AtomicUsize::default(),
        })
    }

    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        lock(&self.tally)
    }

    pub(super) fn note_error(&self, text: &str) {
        let mut errors = lock(&self.errors);
        let kind = kind_of_error(text);
        if errors.len() < ERRORS || errors.contains_key(&kind) {
            *errors.entry(kind).or_default() += 1;
        }
    }

    pub(super) fn errors(&self) -> BTreeMap<String, usize> {
        lock(&self.errors).clone()
    }

    pub(super) fn count(&self, end: End) {
        let mut ended = lock(&self.ended);
        ended.started += 1;
        match end {
            End::Refused => ended.refused += 1,
            End::GaveUp => ended.gave_up += 1,
            End::Meant | End::Broken => {}
        }
    }

    /// So many servers of a session have handed over their pipes.
    pub(super) fn count_pipes(&self, servers: usize) {
        self.by_pipes.fetch_add(servers, Ordering::Relaxed);
    }

    pub(super) fn by_pipes(&self) -> usize {
        self.by_pipes.load(Ordering::Relaxed)
    }

    pub(super) fn ended(&self) -> Sessions {
        *lock(&self.ended)
    }

    /// Has one session, without a fault, to see that the server can be counted with.
    pub(super) async fn try_out(&self, progress: &Progress) -> anyhow::Result<()> {
        let _task = progress.task("trying the server out");
        let slot = &self.slots[0];
        let launch = Launch {
            program: &self.program,
            config: Some(&slot.config),
            folder: &self.folder,
            name: "first",
        };
        let mut process = launch
            .spawn([SERVER], |command| {
                command.env("BERTH_HOME", &self.folder);
            })
            .context("cannot start a session")?;
        let (from_session, to_session) = process.pipes()?;
        let mut client = Client::new(Kind::Codex, from_session, to_session);
        let params = json!({ "name": "tally", "arguments": { "token": "first" } });
        let tried = async {
            client.begin(READY_WITHIN).await?;
            client.request(&json!(1), "tools/call", params, READY_WITHIN).await
        };
        let why = match tried.await {
            Ok(result) if result["isError"] == true => Some(result["content"][0]["text"].to_string()),
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = why {
            let next = "name an image of `berth-fixture` with `--image` (fixtures/setup.sh builds it)";
            return Err(Failure {
                code: Code::Configuration,
                text: format!("the server has no working `tally` tool: {why}"),
                next: Some(next.to_owned()),
            }
            .into());
        }
        client.close().await;
        let _ = tokio::time::timeout(READY_WITHIN, process.wait()).await;
        Ok(())
    }
}

/// Whoever panicked has left nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
