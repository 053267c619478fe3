//! The server's side of a session in a daemon: the leased container and the server's streams.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio_util::task::AbortOnDropHandle;

use super::hold::{Hold, TOLD_WITHIN};
use super::housekeeping::Housekeeper;
use super::peers::Joined;
use super::protect::Guard;
use crate::dock::docker::{DockerError, Engine};
use crate::dock::door::Door;
use crate::dock::exec::{self, Chunk};
use crate::dock::keeper;
use crate::dock::owner;
use crate::dock::ports::Link;
use crate::dock::streams::{self, Input, Streams};
use crate::session::upstream::{Exit, Output, Upstream};
use crate::values::Isolation;

/// An ended process's exit code is there a moment after its output has ended: what still runs by then goes on.
const ENDS_WITHIN: Duration = Duration::from_secs(2);

/// A busy daemon may take so long to tell what it knows of an end.
const EXIT_CODE_WITHIN: Duration = Duration::from_secs(6);

/// From one question for the end of a server's process to the next, where nothing else would tell of it.
const SOONEST_QUESTION: Duration = Duration::from_millis(100);
const LATEST_QUESTION: Duration = Duration::from_secs(8);

/// What `SIGKILL` makes of an exit code.
const KILLED: i64 = 137;

/// What gVisor gives as the exit code of a process that it cannot ask any more.
const KERNEL_ENDED: i64 = 128;
/// The container has ended then, and a busy daemon tells it late.
const KERNEL_ENDS_WITHIN: Duration = Duration::from_secs(1);
/// The daemon is asked for its reason, of which it hears late as well.
const REASON_WITHIN: Duration = Duration::from_secs(5);

/// Processes that were killed at once are seen to end within this time.
const ENDS_TOGETHER: Duration = Duration::from_secs(1);

/// What a server wrote before its container ended is on the way.
const LAST_OUTPUT_WITHIN: Duration = Duration::from_secs(1);

/// A daemon that doesn't answer must not hold up the end.
const TERMINATED_WITHIN: Duration = Duration::from_secs(1);

/// After the lifeline is closed, how long we watch the container go.
const GONE_WITHIN: Duration = Duration::from_secs(1);

/// What the container may use, and how it is kept to that.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// In bytes.
    pub(super) memory: u64,
    pub(super) isolation: Isolation,
}

/// The server's side of a session: a container that is its own, and the streams of the server in it.
#[derive(Debug)]
pub struct DockerUpstream {
    engine: Engine,
    container: String,
    input: Option<Input>,
    output: streams::Output,
    hold: Hold,
    /// The stream of the daemon whose input nobody reads; it ends with the session.
    _beside: Option<exec::Input>,
    limits: Limits,
    housekeeper: Housekeeper,
    /// Set when the container has ended: until when its last output may come.
    ends_by: Option<Instant>,
    /// What the container ended with, where that is the server's own end.
    exit: Option<Exit>,
    /// Resolves when the server's process has ended, and others have its output.
    orphaned: Option<AbortOnDropHandle<()>>,
    /// The ports that it shares with this machine.
    link: Option<Link>,
    /// Whose network it has, where that is others' too.
    joined: Joined,
    _guard: Option<Guard>,
    /// It goes with the container.
    _door: Option<Door>,
}

impl DockerUpstream {
    pub(super) fn new(
        engine: Engine,
        container: String,
        streams: Streams,
        hold: Hold,
        limits: Limits,
        housekeeper: Housekeeper,
    ) -> Self {
        let Streams { input, output, beside, .. } = streams;
        Self {
            engine,
            container,
            input: Some(input),
            output,
            hold,
            _beside: beside,
            limits,
            housekeeper,
            ends_by: None,
            exit: None,
            orphaned: None,
            link: None,
            joined: Joined::default(),
            _guard: None,
            _door: None,
        }
    }

    /// Holds what was reserved for the container, until it is released.
    pub(super) fn guarded(self, guard: Option<Guard>) -> Self {
        Self { _guard: guard, ..self }
    }

    /// Holds the container's door, until it is released.
    pub(super) fn behind(self, door: Option<Door>) -> Self {
        Self { _door: door, ..self }
    }

    /// Joins its ports with this machine's, until it is released.
    pub(super) fn joined(self, link: Option<Link>) -> Self {
        Self { link, ..self }
    }

    /// It has a network with others, and ends with that.
    pub(super) fn among(self, joined: Joined) -> Self {
        Self { joined, ..self }
    }

    /// When the process is gone that was the server. The daemon's stream is at its end, but so it is for a server that has
    /// closed its standard error, too.
    fn when_orphaned(&self) -> Option<AbortOnDropHandle<()>> {
        let Hold::Lifeline { exec, .. } = &self.hold else { return None };
        let (engine, exec) = (self.engine.clone(), exec.clone());
        Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let mut pause = SOONEST_QUESTION;
            while !matches!(engine.exec_exit(&exec).await, Ok(Some(_))) {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LATEST_QUESTION);
            }
        })))
    }

    /// How the server ended, as far as the container and the daemon tell.
    async fn cause(&mut self) -> Exit {
        if let Some(exit) = self.exit.clone() {
            return exit;
        }
        if self.ends_by.is_some() {
            // The server did not end by itself: its container was ended, or the daemon was.
            let is_meant = self.hold.is_ended() || self.joined.is_ended();
            return if is_meant { Exit::Ended } else { Exit::Lost };
        }
        let inspect = async {
            let code = match &self.hold {
                Hold::Container { .. } => match tokio::time::timeout(ENDS_WITHIN, self.hold.ended()).await {
                    Ok(Some(ended)) => return self.container_exit(&ended),
                    Ok(None) => return Exit::Lost,
                    Err(_) => return self.untold(),
                },
                Hold::Lifeline { exec, .. } => exec_exit(&self.engine, exec).await,
            };
            // The keeper says so before it ends the server.
            if self.hold.has_heard_of_the_end() {
                return Exit::Ended;
            }
            let code = match code {
                Ok(Some(code)) => code,
                Ok(None) => return self.untold(),
                Err(_) => return Exit::Lost,
            };
            // The daemon's own word for a process whose kernel has ended.
            if code == KERNEL_ENDED && self.limits.isolation == Isolation::Gvisor {
                return match tokio::time::timeout(KERNEL_ENDS_WITHIN, self.hold.ended()).await {
                    Ok(_) => Exit::Lost,
                    Err(_) => Exit::Code(code),
                };
            }
            if code != KILLED {
                return Exit::Code(code);
            }
            match self.engine.inspect(&self.container).await {
                Ok(Some(container)) if container.oom_killed => Exit::OutOfMemory(self.limits.memory),
                // Who kills the container kills the keeper, too; the daemon may not know it yet.
                Ok(Some(_)) => match tokio::time::timeout(ENDS_TOGETHER, self.hold.ended()).await {
                    Ok(_) => Exit::Lost,
                    Err(_) => Exit::Code(code),
                },
                Ok(None) | Err(_) => Exit::Lost,
            }
        };
        let exit = match tokio::time::timeout(EXIT_CODE_WITHIN, inspect).await {
            Ok(exit) => exit,
            Err(_) => self.untold(),
        };
        if matches!(self.hold, Hold::Container { .. }) && exit != Exit::Silent {
            self.ends_by = Some(Instant::now());
        }
        exit
    }

    /// What is known where the daemon tells no exit code.
    fn untold(&mut self) -> Exit {
        if self.hold.has_heard_of_the_end() {
            Exit::Ended
        } else if self.output.is_closed_early() {
            Exit::Silent
        } else {
            Exit::Lost
        }
    }

    /// How a server ended that was its container's first process.
    fn container_exit(&self, ended: &Result<i64, DockerError>) -> Exit {
        match *ended {
            Ok(keeper::OUT_OF_MEMORY) => Exit::OutOfMemory(self.limits.memory),
            Ok(keeper::ENDED) => Exit::Ended,
            Ok(keeper::SERVER_KILLED) => Exit::Code(KILLED),
            // Somebody has killed the container.
            Ok(KILLED) | Err(_) => Exit::Lost,
            Ok(code) => Exit::Code(code),
        }
    }
}

async fn orphaned(when: &mut Option<AbortOnDropHandle<()>>) {
    match when {
        Some(when) => drop(when.await),
        None => std::future::pending().await,
    }
}

/// A process that nobody is attached to any more: its exit code, soon; `None` if it goes on.
async fn exec_exit(engine: &Engine, exec: &str) -> Result<Option<i64>, DockerError> {
    let until = Instant::now() + ENDS_WITHIN;
    loop {
        match engine.exec_exit(exec).await? {
            None if Instant::now() < until => tokio::time::sleep(Duration::from_millis(10)).await,
            code => return Ok(code),
        }
    }
}

fn said(chunk: io::Result<Chunk>) -> io::Result<Output> {
    chunk.map(|chunk| match chunk {
        Chunk::Stdout(bytes) => Output::Stdout(bytes),
        Chunk::Stderr(bytes) => Output::Stderr(bytes),
    })
}

impl Upstream for DockerUpstream {
    type Input = Input;

    fn take_input(&mut self) -> Option<Input> {
        self.input.take()
    }

    async fn next(&mut self) -> Option<io::Result<Output>> {
        while self.ends_by.is_none() {
            if self.orphaned.is_none() && self.output.is_beside_the_stream() {
                self.orphaned = self.when_orphaned();
            }
            // A cut network shows here alone: a quiet connection's keep-alive finds it, while unanswered bytes of the
            // server's stream may only mean a server that doesn't read.
            let ended = tokio::select! {
                () = orphaned(&mut self.orphaned) => {
                    self.orphaned = None;
                    self.output.end_soon();
                    continue;
                }
                chunk = self.output.next() => {
                    if matches!(chunk, Some(Ok(Chunk::Stdout(_)))) {
                        self.housekeeper.answered();
                    }
                    return chunk.map(said);
                }
                ended = self.hold.ended() => ended,
                () = self.joined.over() => {
                    // Nobody reaches it any more, and the next one has another network.
                    self.ends_by = Some(Instant::now());
                    break;
                }
            };
            self.exit = ended.map(|ended| self.container_exit(&ended));
            self.ends_by = Some(Instant::now() + LAST_OUTPUT_WITHIN);
        }
        let deadline = self.ends_by?;
        tokio::time::timeout_at(deadline.into(), self.output.next()).await.unwrap_or(None).map(said)
    }

    async fn client_left(&mut self) {
        let telling = async {
            match &mut self.hold {
                Hold::Lifeline { lifeline, .. } => lifeline.leave().await,
                Hold::Container { lifeline: Some(lifeline), .. } => {
                    keeper::say(lifeline, keeper::LEAVE).await
                }
                // Its input was its lifeline, whose end has told the same.
                Hold::Container { .. } => Ok(()),
            }
        };
        // It fails only when the container is gone already.
        let _ = tokio::time::timeout(TOLD_WITHIN, telling).await;
    }

    async fn terminate(&mut self) {
        // Either fails only when the container is gone already.
        match &mut self.hold {
            Hold::Lifeline { lifeline, .. } => drop(lifeline.terminate().await),
            Hold::Container { lifeline: Some(lifeline), .. } => {
                let told = keeper::say(lifeline, keeper::TERMINATE);
                drop(tokio::time::timeout(TERMINATED_WITHIN, told).await);
            }
            Hold::Container { .. } => {
                let kill = self.engine.kill(&self.container, "SIGTERM");
                // The keeper does the same a moment later, by itself.
                drop(tokio::time::timeout(TERMINATED_WITHIN, kill).await);
            }
        }
    }

    async fn introduce(&mut self, client_session: &str) {
        self.hold.introduce(|owner| owner.client_session = owner::id(client_session)).await;
    }

    async fn post_mortem(&mut self) -> Exit {
        let exit = self.cause().await;
        if exit != Exit::Lost || self.limits.isolation == Isolation::Container {
            return exit;
        }
        // A kernel of its own ends with all that it has, and nobody is left to say why.
        let asked = self.engine.ran_out_of_memory(&self.container);
        match tokio::time::timeout(REASON_WITHIN, asked).await {
            Ok(Ok(true)) => Exit::OutOfMemory(self.limits.memory),
            _ => exit,
        }
    }

    async fn release(mut self) {
        // The container ends when nobody is in it any more.
        drop(self.link.take());
        // What is told of it goes with the container.
        self.housekeeper.last_look().await;
        let gone = async {
            if self.ends_by.is_some() {
                if self.joined.is_over() {
                    // It runs on without its network, and its successor is on its way.
                    let _ = tokio::time::timeout(GONE_WITHIN, self.engine.remove(&self.container)).await;
                }
                return;
            }
            // Half-closed, so that we see the end of what ends by it.
            match &mut self.hold {
                Hold::Lifeline { lifeline, .. } => drop(lifeline.close().await),
                Hold::Container { lifeline: Some(lifeline), .. } => drop(lifeline.shutdown().await),
                Hold::Container { .. } => {}
            }
            let _ = tokio::time::timeout(GONE_WITHIN, self.hold.ended()).await;
        };
        tokio::join!(gone, self.housekeeper.finish());
    }
}
