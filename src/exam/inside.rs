//! The keeper's probes inside sessions' containers. They run beside the server, as the server's user and with its limits.
//! Who starts them there is the [`Way`]'s: a daemon's exec API, or another's.

pub mod container;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::LocalBoxFuture;
use futures::stream::LocalBoxStream;
use serde_json::Value;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::exam::check::Seen;

/// The longest that a probe may take; the slowest of them starts hundreds of processes.
const WITHIN: Duration = Duration::from_secs(30);
/// Its exit code is there a moment after its output has ended.
const EXIT_CODE_WITHIN: Duration = Duration::from_secs(2);
/// More output than this is no probe's.
const MAX_OUTPUT: usize = 4 << 20;

/// Who starts processes in a container.
pub trait Way {
    /// Starts a probe of the keeper's.
    fn start<'a>(&'a self, probe: &'a [&'a str]) -> LocalBoxFuture<'a, Seen<Running>>;

    /// What whoever made the container knows of its surroundings.
    fn surroundings(&self) -> LocalBoxFuture<'_, Seen<Surroundings>>;
}

/// A probe that was started.
pub struct Running {
    pub input: Box<dyn AsyncWrite + Unpin>,
    /// All that it says, wherever it says it.
    pub output: LocalBoxStream<'static, Seen<Bytes>>,
    /// Its exit code, to be asked for once its output has ended.
    pub code: LocalBoxFuture<'static, Seen<i64>>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

/// The way into a container, with a limit to each look.
#[derive(Clone)]
pub struct Inside {
    way: Rc<dyn Way>,
    patience: u32,
}

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inside").field("patience", &self.patience).finish_non_exhaustive()
    }
}

/// How a probe ended.
#[derive(Debug, Clone)]
pub struct Ended {
    pub output: String,
    pub code: i64,
}

impl Inside {
    pub fn new(way: impl Way + 'static) -> Self {
        Self { way: Rc::new(way), patience: 1 }
    }

    /// The same, where everything may take so many times as long.
    #[must_use]
    pub fn with_patience(mut self, factor: u32) -> Self {
        self.patience = factor;
        self
    }

    fn within(&self) -> Duration {
        WITHIN * self.patience
    }

    /// Runs a probe to its end, whatever that is.
    pub async fn run(&self, probe: &[&str]) -> Seen<Ended> {
        let run = async {
            let mut running = self.way.start(probe).await?;
            let mut output = Vec::new();
            while let Some(bytes) = running.output.next().await {
                output.extend_from_slice(&bytes?);
                if output.len() > MAX_OUTPUT {
                    return Err("its output has no end".to_owned());
                }
            }
            let code = tokio::time::timeout(EXIT_CODE_WITHIN * self.patience, running.code).await;
            let code = code.map_err(|_| "its exit code is unknown".to_owned())??;
            Ok(Ended { output: String::from_utf8_lossy(&output).trim().to_owned(), code })
        };
        let name = probe.first().copied().unwrap_or_default();
        let ended = tokio::time::timeout(self.within(), run).await;
        ended
            .unwrap_or_else(|_| Err(format!("no end within {} s", self.within().as_secs())))
            .map_err(|error| format!("probe `{name}`: {error}"))
    }

    /// What a probe answered.
    pub async fn ask(&self, probe: &[&str]) -> Seen<Value> {
        let ended = self.run(probe).await?;
        serde_json::from_str(&ended.output).map_err(|_| {
            let name = probe.first().copied().unwrap_or_default();
            let said = ended.output.lines().last().unwrap_or_default();
            format!("probe `{name}`: ended with {} and said `{said}`", ended.code)
        })
    }

    /// Whether a TCP connection can be made from here.
    pub async fn connects(&self, to: SocketAddr) -> Seen<bool> {
        let answer = self.ask(&["connect", &to.ip().to_string(), &to.port().to_string()]).await?;
        answer["connected"].as_bool().ok_or_else(|| "probe `connect`: no proper answer".to_owned())
    }

    /// A listener, for `time`; it ends with its container at the latest.
    pub async fn listen(&self, port: u16, time: Duration) -> Seen<Listener> {
        let (port, milliseconds) = (port.to_string(), time.as_millis().to_string());
        let start = async {
            let mut running = self.way.start(&["listen", &port, "--for", &milliseconds]).await?;
            let mut line = Vec::new();
            while !line.contains(&b'\n') {
                match running.output.next().await {
                    Some(bytes) => line.extend_from_slice(&bytes?),
                    None => return Err(String::from_utf8_lossy(&line).into_owned()),
                }
            }
            let line = String::from_utf8_lossy(&line);
            if !line.contains("listening") {
                return Err(line.trim().to_owned());
            }
            Ok(Listener { mark: format!("listen {port} --for {milliseconds}"), running })
        };
        in_time(self.within(), "listen", start).await
    }

    /// What is around the container.
    pub async fn surroundings(&self) -> Seen<Surroundings> {
        let asked = tokio::time::timeout(self.within(), self.way.surroundings()).await;
        asked.unwrap_or_else(|_| Err("nobody answers who knows the container".to_owned()))
    }
}

async fn in_time<T>(within: Duration, probe: &str, work: impl Future<Output = Seen<T>>) -> Seen<T> {
    let done = tokio::time::timeout(within, work).await;
    done.unwrap_or_else(|_| Err(format!("no answer within {} s", within.as_secs())))
        .map_err(|error| format!("probe `{probe}`: {error}"))
}

/// A process that listens inside of a container.
#[derive(Debug)]
pub struct Listener {
    /// Words of its command line that no other process has.
    pub mark: String,
    running: Running,
}

impl Listener {
    /// Ends it before its time, so that it doesn't hold up the end of its container.
    pub async fn stop(mut self) {
        let stop = async {
            self.running.input.write_all(b"q").await?;
            self.running.input.flush().await
        };
        // It ends by itself at the latest when its time is over.
        let _: Result<std::io::Result<()>, _> = tokio::time::timeout(WITHIN, stop).await;
    }
}

/// What is around a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    pub addresses: Vec<IpAddr>,
    /// The daemon's host, as the container sees it.
    pub gateways: Vec<IpAddr>,
    /// What is mounted from outside and can be written to.
    pub writable_mounts: Vec<String>,
}
