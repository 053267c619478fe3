//! The keeper's probes inside sessions' containers. The daemon's exec API runs them beside the server, as the server's
//! user and with its limits.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::dock::dial::Endpoint;
use crate::dock::docker::{DockerError, Engine};
use crate::dock::door::Door;
use crate::dock::exec;
use crate::dock::exec::{Chunk, Command, Exec};
use crate::dock::streams::Streams;
use crate::dock::wire::{Request, Wire};
use crate::exam::check::Seen;

/// The longest that a probe may take; the slowest of them starts hundreds of processes.
const WITHIN: Duration = Duration::from_secs(30);
/// Its exit code is there a moment after its output has ended.
const EXIT_CODE_WITHIN: Duration = Duration::from_secs(2);
/// More output than this is no probe's.
const MAX_OUTPUT: usize = 4 << 20;

/// The way into a container.
#[derive(Debug, Clone)]
pub struct Inside {
    endpoint: Endpoint,
    engine: Engine,
    container: String,
    patience: u32,
}

/// How a probe ended.
#[derive(Debug, Clone)]
pub struct Ended {
    pub output: String,
    pub code: i64,
}

impl Inside {
    pub fn new(engine: &Engine, container: &str) -> Self {
        Self {
            endpoint: engine.endpoint().clone(),
            engine: engine.clone(),
            container: container.to_owned(),
            patience: 1,
        }
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
            let mut exec = self.start(probe).await?;
            let mut output = Vec::new();
            while let Some(chunk) = exec.output.next().await {
                let (Chunk::Stdout(bytes) | Chunk::Stderr(bytes)) =
                    chunk.map_err(|error| error.to_string())?;
                output.extend_from_slice(&bytes);
                if output.len() > MAX_OUTPUT {
                    return Err("its output has no end".to_owned());
                }
            }
            let code = tokio::time::timeout(EXIT_CODE_WITHIN * self.patience, self.exit_code(&exec.id)).await;
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
            let mut exec = self.start(&["listen", &port, "--for", &milliseconds]).await?;
            let mut line = Vec::new();
            while !line.contains(&b'\n') {
                match exec.output.next().await {
                    Some(Ok(Chunk::Stdout(bytes) | Chunk::Stderr(bytes))) => line.extend_from_slice(&bytes),
                    Some(Err(error)) => return Err(error.to_string()),
                    None => return Err(String::from_utf8_lossy(&line).into_owned()),
                }
            }
            let line = String::from_utf8_lossy(&line);
            if !line.contains("listening") {
                return Err(line.trim().to_owned());
            }
            Ok(Listener { mark: format!("listen {port} --for {milliseconds}"), exec })
        };
        self.in_time("listen", start).await
    }

    /// What the daemon knows of the container's surroundings.
    pub async fn surroundings(&self) -> Seen<Surroundings> {
        let path = format!("/containers/{}/json", self.container);
        let request = Request::get("inspect the container", &self.container, path);
        let inspect = async { Wire::connect(&self.endpoint).await?.call(&request).await };
        let inspected = tokio::time::timeout(self.within(), inspect).await;
        let inspected = inspected.map_err(|_| "the daemon does not answer".to_owned())?;
        Ok(Surroundings::read(&inspected.map_err(|error| error.to_string())?))
    }

    /// Sends `bytes` to a probe and closes its input; gives how many it had seen when it saw the end, told `pause` after
    /// that, and how long after the closing its answer had come.
    pub async fn drain(&self, bytes: &[u8], pause: Duration) -> Seen<(u64, Duration)> {
        let milliseconds = pause.as_millis().to_string();
        let drain = async {
            let Exec { input, output, .. } = self.start(&["drain", "--pause", &milliseconds]).await?;
            drained(Streams::of_daemon(input, output), bytes).await
        };
        self.in_time("drain", drain).await
    }

    /// The same by the probe's own pipes, which come through `door`; gives how many bytes it had seen, and how long after its
    /// start the pipes were here.
    pub async fn drain_directly(&self, door: &Door, bytes: &[u8]) -> Seen<(u64, Duration)> {
        let drain = async {
            let listening = door.listen().map_err(|error| error.to_string())?;
            let Exec { input, output, .. } = self.start_behind(&["drain", "--pause", "0"], true).await?;
            let started = Instant::now();
            let streams = Streams::through(listening, &[], &self.container, input, output).await;
            let streams = streams.map_err(|error| error.to_string())?;
            let after = started.elapsed();
            if let Some(why) = streams.why_not {
                return Err(why.to_string());
            }
            let (seen, _) = drained(streams, bytes).await?;
            Ok((seen, after))
        };
        self.in_time("drain", drain).await
    }

    async fn in_time<T>(&self, probe: &str, work: impl Future<Output = Seen<T>>) -> Seen<T> {
        let done = tokio::time::timeout(self.within(), work).await;
        done.unwrap_or_else(|_| Err(format!("no answer within {} s", self.within().as_secs())))
            .map_err(|error| format!("probe `{probe}`: {error}"))
    }

    async fn start(&self, probe: &[&str]) -> Seen<Exec> {
        self.start_behind(probe, false).await
    }

    /// `door`: its pipes are handed over.
    async fn start_behind(&self, probe: &[&str], door: bool) -> Seen<Exec> {
        let start = async {
            let mut wire = Wire::connect(&self.endpoint).await?;
            let place = wire.keeper(&self.container).await?;
            let mut argv = vec![place.program(), "probe".to_owned()];
            argv.extend(probe.iter().map(|word| (*word).to_owned()));
            let session = "validate".to_owned();
            let command = Command { place, argv, env: Vec::new(), session, door, options: Vec::new() };
            exec::start(wire, &self.container, &command).await
        };
        start.await.map_err(|error: DockerError| error.to_string())
    }

    async fn exit_code(&self, exec: &str) -> Seen<i64> {
        loop {
            match self.engine.exec_exit(exec).await {
                Ok(Some(code)) => return Ok(code),
                Ok(None) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

/// Sends `bytes` and closes the input; gives how many the probe had seen, and how long after that it said so.
async fn drained(streams: Streams, bytes: &[u8]) -> Seen<(u64, Duration)> {
    // What else there is of them is held until the answer is here.
    let Streams { mut input, mut output, beside: _beside, .. } = streams;
    let sent = async {
        input.write_all(bytes).await?;
        input.shutdown().await
    };
    sent.await.map_err(|error: io::Error| error.to_string())?;
    let closed = Instant::now();
    let mut line = Vec::new();
    while !line.contains(&b'\n') {
        match output.next().await {
            Some(Ok(Chunk::Stdout(bytes) | Chunk::Stderr(bytes))) => line.extend_from_slice(&bytes),
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err("its output ended without an answer".to_owned()),
        }
    }
    let answer: Value = serde_json::from_slice(&line).map_err(|error| error.to_string())?;
    let drained = answer["drained"].as_u64().ok_or_else(|| "no proper answer".to_owned())?;
    Ok((drained, closed.elapsed()))
}

/// A process that listens inside of a container.
#[derive(Debug)]
pub struct Listener {
    /// Words of its command line that no other process has.
    pub mark: String,
    exec: Exec,
}

impl Listener {
    /// Ends it before its time, so that it doesn't hold up the end of its container.
    pub async fn stop(mut self) {
        let stop = async {
            self.exec.input.write_all(b"q").await?;
            self.exec.input.flush().await
        };
        // It ends by itself at the latest when its time is over.
        let _: Result<io::Result<()>, _> = tokio::time::timeout(WITHIN, stop).await;
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

impl Surroundings {
    /// From `GET /containers/{id}/json`.
    fn read(inspected: &Value) -> Self {
        let networks = inspected["NetworkSettings"]["Networks"].as_object();
        let of = |key: &str| -> Vec<IpAddr> {
            networks
                .into_iter()
                .flat_map(|all| all.values())
                .filter_map(|one| one[key].as_str()?.parse().ok())
                .collect()
        };
        let mounts = inspected["Mounts"].as_array().map(Vec::as_slice).unwrap_or_default();
        let writable = mounts.iter().filter(|mount| mount["Type"] != "tmpfs" && mount["RW"] != false);
        Self {
            addresses: of("IPAddress"),
            gateways: of("Gateway"),
            writable_mounts: writable
                .map(|mount| mount["Destination"].as_str().unwrap_or("?").to_owned())
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn surroundings_are_read_from_an_inspection() {
        let read = Surroundings::read(&json!({
            "NetworkSettings": { "Networks": {
                "bridge": { "IPAddress": "172.18.0.2", "Gateway": "172.18.0.1" },
                "none": { "IPAddress": "", "Gateway": "" },
            } },
            "Mounts": [
                { "Type": "volume", "Destination": "/.berth", "RW": false },
                { "Type": "bind", "Destination": "/data", "RW": true },
                { "Type": "tmpfs", "Destination": "/tmp", "RW": true },
            ],
        }));
        assert_eq!(read.addresses, ["172.18.0.2".parse::<IpAddr>().unwrap()]);
        assert_eq!(read.gateways, ["172.18.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(read.writable_mounts, ["/data"]);
    }
}
