//! The way into a container by its daemon's exec API.

use std::io;
use std::iter::once;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use futures::future::LocalBoxFuture;
use futures::{FutureExt, StreamExt};
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use super::{Inside, Running, Surroundings, WITHIN, Way, in_time};
use crate::dock::dial::Endpoint;
use crate::dock::docker::{DockerError, Engine};
use crate::dock::door::Door;
use crate::dock::exec;
use crate::dock::exec::{Chunk, Command, Exec};
use crate::dock::streams::Streams;
use crate::dock::wire::{Request, Wire};
use crate::exam::check::Seen;

/// A container of a Docker daemon.
#[derive(Debug, Clone)]
pub struct InContainer {
    endpoint: Endpoint,
    engine: Engine,
    container: String,
}

impl Way for InContainer {
    fn start<'a>(&'a self, probe: &'a [&'a str]) -> LocalBoxFuture<'a, Seen<Running>> {
        async move {
            let Exec { id, input, output } = self.start_behind(probe, false).await?;
            let output = output.map(|chunk| {
                let (Chunk::Stdout(bytes) | Chunk::Stderr(bytes)) =
                    chunk.map_err(|error| error.to_string())?;
                Ok(bytes)
            });
            let engine = self.engine.clone();
            let code = async move { exit_code(&engine, &id).await };
            Ok(Running { input: Box::new(input), output: output.boxed_local(), code: code.boxed_local() })
        }
        .boxed_local()
    }

    fn surroundings(&self) -> LocalBoxFuture<'_, Seen<Surroundings>> {
        async {
            let path = format!("/containers/{}/json", self.container);
            let request = Request::get("inspect the container", &self.container, path);
            let inspected = async { Wire::connect(&self.endpoint).await?.call(&request).await }.await;
            Ok(read(&inspected.map_err(|error: DockerError| error.to_string())?))
        }
        .boxed_local()
    }
}

impl InContainer {
    pub fn new(engine: &Engine, container: &str) -> Self {
        Self { endpoint: engine.endpoint().clone(), engine: engine.clone(), container: container.to_owned() }
    }

    /// With a limit to each look.
    pub fn inside(&self) -> Inside {
        Inside::new(self.clone())
    }

    /// Sends `bytes` to a probe and closes its input; gives how many it had seen when it saw the end, told `pause` after
    /// that, and how long after the closing its answer had come.
    pub async fn drain(&self, bytes: &[u8], pause: Duration, patience: u32) -> Seen<(u64, Duration)> {
        let milliseconds = pause.as_millis().to_string();
        let drain = async {
            let probe = ["drain", "--pause", milliseconds.as_str()];
            let Exec { input, output, .. } = self.start_behind(&probe, false).await?;
            drained(Streams::of_daemon(input, output), bytes).await
        };
        in_time(WITHIN * patience, "drain", drain).await
    }

    /// The same by the probe's own pipes, which come through `door`; gives how many bytes it had seen, and how long after its
    /// start the pipes were here.
    pub async fn drain_directly(&self, door: &Door, bytes: &[u8], patience: u32) -> Seen<(u64, Duration)> {
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
        in_time(WITHIN * patience, "drain", drain).await
    }

    /// `door`: its pipes are handed over.
    async fn start_behind(&self, probe: &[&str], door: bool) -> Seen<Exec> {
        let start = async {
            let mut wire = Wire::connect(&self.endpoint).await?;
            let place = wire.keeper(&self.container).await?;
            let words = probe.iter().map(|word| (*word).to_owned());
            let argv = once(place.program()).chain(once("probe".to_owned())).chain(words).collect();
            let session = "validate".to_owned();
            let command = Command { place, argv, env: Vec::new(), session, door, options: Vec::new() };
            exec::start(wire, &self.container, &command).await
        };
        start.await.map_err(|error: DockerError| error.to_string())
    }
}

async fn exit_code(engine: &Engine, exec: &str) -> Seen<i64> {
    loop {
        match engine.exec_exit(exec).await {
            Ok(Some(code)) => return Ok(code),
            Ok(None) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(error) => return Err(error.to_string()),
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

/// From `GET /containers/{id}/json`.
fn read(inspected: &Value) -> Surroundings {
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
    Surroundings {
        addresses: of("IPAddress"),
        gateways: of("Gateway"),
        writable_mounts: writable
            .map(|mount| mount["Destination"].as_str().unwrap_or("?").to_owned())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn surroundings_are_read_from_an_inspection() {
        let read = read(&json!({
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
