//! Volumes: no content goes before the one that replaces it is whole, in the daemon, and on its disk.
//!
//! ```text
//!  lock of the volume ── compare ─┬─ nothing to lose: backup ──────────────> volume
//!                                 └─ else:            backup ─> staging ─> volume
//! ```
//!
//! The lock is held throughout. The volume is marked from before its content goes until the new one is whole.

use std::sync::Arc;

use mcp_berth::config::Config;
use mcp_berth::dind;
use mcp_berth::dock::docker::Engine;
use mcp_berth::dock::volume::held::{Held, UNFINISHED};
use mcp_berth::dock::volume::whole::{self, Whose};
use mcp_berth::dock::volume::{Purpose, staging};
use mcp_berth::failure::{Code, Failure, chain};
use mcp_berth::human::Bytes;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Restore;
use crate::manifest::{Kind, Part};
use crate::refill::{Source, fill};
use crate::report::stays;
use crate::volumes::{self, Packed, ReadError, Writers};

/// Somebody wants an end: Ctrl-C, a service's stop, or a terminal that closes.
struct Interrupt(Option<[Signal; 3]>);

impl Interrupt {
    fn listen() -> Self {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        match kinds.map(signal) {
            [Ok(interrupt), Ok(terminate), Ok(hangup)] => Self(Some([interrupt, terminate, hangup])),
            _ => Self(None),
        }
    }

    /// What came while nobody waited for it counts.
    async fn came(&mut self) {
        let Some([interrupt, terminate, hangup]) = &mut self.0 else { return std::future::pending().await };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }

    /// The work, unless the interrupt comes before its end.
    async fn or<T>(&mut self, work: impl Future<Output = Result<T, ReadError>>) -> Result<T, Failure> {
        tokio::select! {
            // Nothing begins after it.
            biased;
            () = self.came() => Err(Failure {
                code: Code::Unavailable,
                text: "interrupted".to_owned(),
                next: Some("type the same command again".to_owned()),
            }),
            done = work => done.map_err(failure),
        }
    }
}

fn failure(error: ReadError) -> Failure {
    match error {
        ReadError::Lease(error) => Failure::of(&error),
        ReadError::Docker(error) => Failure::of(&error),
        ReadError::Write(error) => Failure::new(Code::Internal, &error, "try again"),
    }
}

/// With what became of the volume.
fn and(failure: Failure, became: &str) -> Failure {
    Failure { text: format!("{}; {became}", failure.text), ..failure }
}

/// One volume, and what is to come into it.
struct Exchange<'a> {
    daemon: &'a Engine,
    whose: &'a Whose,
    part: &'a Part,
    /// How it is called here.
    what: String,
    is_there: bool,
    looked_at: bool,
}

impl Restore<'_> {
    pub(super) async fn volumes(&mut self, config: &Config) -> anyhow::Result<()> {
        let parts: Vec<Part> = self.backup.manifest.parts.clone();
        let volumes: Vec<(Whose, Part)> =
            parts.into_iter().filter_map(|part| Some((part.kind.volume()?, part))).collect();
        let mut config = config.clone();
        dind::place::recall(&mut config, self.home);
        let daemon = dind::endpoint(&config, self.home).map(Engine::new).map_err(Failure::from);
        let daemon = match daemon {
            Ok(daemon) => daemon.ping().await.map(|()| daemon).map_err(Failure::from),
            Err(failure) => Err(failure),
        };
        let daemon = match daemon {
            Ok(daemon) => daemon,
            Err(_) if volumes.is_empty() => return Ok(()),
            Err(_) if self.args.dry_run => {
                for (_, part) in &volumes {
                    let what = format!("`{}`, if the daemon has none that differs", part.path);
                    self.report.wrote(&what)?;
                }
                return Ok(());
            }
            Err(failure) => {
                let next = "type `berth up`, then the same `berth restore` again, for the volumes".to_owned();
                return Err(Failure { next: Some(next), ..failure }.into());
            }
        };
        let looked_at = config.dind.host.is_none();
        let there = whole::all(&daemon).await.map_err(Failure::from)?;
        let mut interrupt = Interrupt::listen();
        for (whose, part) in &volumes {
            let what = match &whose.client {
                Some(client) => format!("the volume `{}` of `{client}`", whose.volume),
                None => format!("the volume `{}` of all clients", whose.volume),
            };
            let is_there = there.contains(whose);
            let exchange = Exchange { daemon: &daemon, whose, part, what, is_there, looked_at };
            self.volume(&exchange, &config, &mut interrupt).await?;
        }
        self.images(&daemon).await
    }

    async fn volume(
        &mut self,
        exchange: &Exchange<'_>,
        config: &Config,
        interrupt: &mut Interrupt,
    ) -> anyhow::Result<()> {
        if !exchange.is_there && self.args.dry_run {
            return Ok(self.report.wrote(&exchange.what)?);
        }
        let held = exchange.take(Purpose::Restore).await?;
        let found = interrupt.or(volumes::pack(&held, exchange.whose, std::io::sink())).await;
        // Nobody has made it since this began.
        let is_new = !exchange.is_there && found.as_ref().is_ok_and(|found| found.seen.entries <= 1);
        let done = match found {
            Ok(found) => self.compare(&held, exchange, &found, config, interrupt).await,
            Err(failure) => Err(failure.into()),
        };
        let name = held.name().to_owned();
        let left = held.leave().await;
        if done.is_err() && is_new {
            // A session that has it by now keeps it.
            drop(exchange.daemon.remove_volume(&name).await);
        }
        done?;
        Ok(left.map_err(Failure::from)?)
    }

    async fn compare(
        &mut self,
        held: &Held<'_>,
        exchange: &Exchange<'_>,
        found: &Packed<std::io::Sink>,
        config: &Config,
        interrupt: &mut Interrupt,
    ) -> anyhow::Result<()> {
        let Exchange { whose, part, what, .. } = exchange;
        let is_same = found.sha256 == part.sha256;
        let is_unfinished = found.seen.mode == UNFINISHED;
        if !is_same && !is_unfinished && (exchange.is_there || found.seen.entries > 1) {
            let Kind::Volume { last_writer_ended, .. } = part.kind else { return Ok(()) };
            // Somebody may have emptied it on purpose. Whoever wrote to it has ended, for the lock is ours.
            let last = Writers::of(self.home, config).last(whose, &found.seen);
            if last > last_writer_ended && !self.args.force {
                let at = last.map(|last| last.to_string()).unwrap_or_default();
                let why = format!("it was last written to at {at}, after the backup's had been");
                return Ok(self.report.left(what, &why)?);
            }
        }
        if !self.args.dry_run {
            if !is_same {
                let backup = Source::Backup(Arc::clone(&self.backup), (*part).clone());
                if is_unfinished {
                    // An earlier restoration's whole content stays beside it until this one is whole.
                    let filled = interrupt.or(fill(held, whose, backup)).await;
                    filled.map_err(|failure| exchange.in_part(failure))?;
                } else if found.seen.entries <= 1 {
                    let filled = interrupt.or(fill(held, whose, backup)).await;
                    if let Err(failure) = filled {
                        return Err(exchange.undone(held, found.seen.mode, failure).await.into());
                    }
                } else {
                    exchange.through_staging(held, backup, interrupt).await?;
                }
            }
            staging::remove(exchange.daemon, whose).await.map_err(Failure::from)?;
        }
        if is_same && exchange.is_there {
            return Ok(stays(what)?);
        }
        Ok(self.report.wrote(what)?)
    }
}

impl<'a> Exchange<'a> {
    async fn take(&self, purpose: Purpose) -> Result<Held<'a>, Failure> {
        let taken = Held::take(self.daemon, self.whose, purpose, self.looked_at).await;
        taken.map_err(|error| Failure::of(&error))
    }

    fn in_part(&self, failure: Failure) -> Failure {
        let became = format!("{} is not whole, and no session gets it", self.what);
        Failure {
            next: Some("mend the cause, and type the same command again".to_owned()),
            ..and(failure, &became)
        }
    }

    /// What was empty is empty again.
    async fn undone(&self, held: &Held<'_>, mode: u32, failure: Failure) -> Failure {
        let undone = async {
            held.empty().await?;
            // The daemon may have unpacked on.
            if volumes::pack(held, self.whose, std::io::sink()).await?.seen.entries <= 1 {
                held.open(mode).await?;
            }
            Ok::<_, ReadError>(held.room().await?.is_unfinished)
        };
        let is = if self.is_there { "empty" } else { "not there" };
        match undone.await {
            Ok(false) => and(failure, &format!("{} is {is}, as it was", self.what)),
            Ok(true) => self.in_part(failure),
            Err(error) => self.in_part(and(failure, &self::failure(error).text)),
        }
    }

    /// The content comes into its place from a volume that is whole.
    async fn through_staging(
        &self,
        held: &Held<'_>,
        backup: Source<'_>,
        interrupt: &mut Interrupt,
    ) -> Result<(), Failure> {
        let staged = async {
            let staging = self.take(Purpose::Staging).await?;
            let sha256 = interrupt.or(fill(&staging, self.whose, backup)).await?;
            self.fits(held, &staging).await?;
            Ok((staging, sha256))
        };
        let (staging, sha256) = match staged.await {
            Ok(staged) => staged,
            Err(failure) => {
                // `berth gc` removes it else.
                let removed = staging::remove(self.daemon, self.whose).await;
                let rest = removed
                    .err()
                    .map(|error| format!(" (`berth gc` removes what is left: {})", chain(&error)));
                let became = format!("{} is as it was{}", self.what, rest.unwrap_or_default());
                return Err(and(failure, &became));
            }
        };
        // It goes on to its end, whoever wants another one.
        let filled = fill(held, self.whose, Source::Staging(&staging, &sha256)).await.map_err(failure);
        let name = staging.name().to_owned();
        let left = staging.leave().await.map_err(Failure::from);
        filled.map_err(|failure| {
            let failure = self.in_part(failure);
            and(failure, &format!("`{name}` in the DinD daemon has all of it"))
        })?;
        left
    }

    /// What replaces the former content takes no more than that and the rest of the disk.
    async fn fits(&self, held: &Held<'_>, staging: &Held<'_>) -> Result<(), Failure> {
        let needed = staging.room().await.map_err(Failure::from)?.used;
        let room = held.room().await.map_err(Failure::from)?;
        let has = room.used.saturating_add(room.free);
        if needed <= has {
            return Ok(());
        }
        Err(Failure {
            code: Code::Unavailable,
            text: format!(
                "the DinD daemon's disk has no room for {}: {} more are needed",
                self.what,
                Bytes(needed - has)
            ),
            next: Some("free some space there, as with `berth gc --images`".to_owned()),
        })
    }
}
