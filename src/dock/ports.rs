//! A session's own stream of TCP connections: between ports of its container and this machine's loopback.
//!
//! It is one more process of the keeper's in the container (`keeper ports`), beside the server's: messages never pass here.
//! What the container's side opens leads to the ports that the settings name on this machine's loopback, and nowhere else,
//! whatever it says. Dropping the [`Link`] ends every connection.

mod carry;
mod connection;
mod mux;
mod shared;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, future};
use tokio::io::AsyncWrite;

use super::docker::{DockerError, Engine};
use super::exec::{self, Chunk};
use super::place::Place;
use super::wire::Wire;
use crate::config::Settings;
use crate::observe::Trace;

pub(crate) use super::frames::CONNECTIONS;
pub use mux::{Caller, Link};

use shared::Side;

/// The container's side has said by then that it listens.
const LISTENS_WITHIN: Duration = Duration::from_secs(10);
const START: &str = "join the ports of";

/// Joins a container's ports with this machine's, as its settings say.
///
/// # Errors
/// Where the daemon or the container's side fails. A port that cannot be listened at is only told.
pub async fn join(
    engine: &Engine,
    container: &str,
    place: &Place,
    (server, settings): (&str, &Settings),
    trace: &Trace,
) -> Result<Link, DockerError> {
    let mut argv = vec![place.program()];
    argv.extend(words(settings));
    let wire = Wire::connect(engine.endpoint()).await?;
    let exec = exec::start_plain(wire, container, &argv, &[]).await?;
    let link = over((heard(exec.output), exec.input), (server, settings), trace).await;
    link.map_err(|why| DockerError::broken(START, container, why.as_str()))
}

/// What the container's side is told, after its program.
pub fn words(settings: &Settings) -> Vec<String> {
    let published: BTreeSet<u16> = settings.publish.iter().map(|port| port.container).collect();
    let flags = |flag: &'static str, ports: BTreeSet<u16>| {
        ports.into_iter().flat_map(move |port| [flag.to_owned(), port.to_string()])
    };
    let listen = flags("--listen", settings.service_ports());
    ["ports".to_owned()].into_iter().chain(listen).chain(flags("--connect", published)).collect()
}

/// Why there is no stream of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotJoined {
    Ended,
    Silent,
}

impl NotJoined {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "its forwarder of ports ended at once",
            Self::Silent => "its forwarder of ports did not answer",
        }
    }
}

/// The same over a stream to a container's side that was begun already, with [`words`].
///
/// # Errors
/// Where the container's side fails.
pub async fn over<R, W>(
    (from, to): (R, W),
    (server, settings): (&str, &Settings),
    trace: &Trace,
) -> Result<Link, NotJoined>
where
    R: Stream<Item = std::io::Result<Bytes>> + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let services = settings.service_ports().into_iter().map(|port| (port, port)).collect();
    let side = Side { server: server.to_owned(), services, trace: trace.clone() };
    let (link, listens) = mux::begin(from, to, side);
    match tokio::time::timeout(LISTENS_WITHIN, listens).await {
        Ok(Ok(())) => Ok(link),
        Ok(Err(_)) => Err(NotJoined::Ended),
        Err(_) => Err(NotJoined::Silent),
    }
}

/// What the process says on its output; its other one is for a person.
fn heard(output: exec::Output) -> impl Stream<Item = std::io::Result<Bytes>> + Unpin {
    output.filter_map(|chunk| {
        future::ready(match chunk {
            Ok(Chunk::Stdout(bytes)) => Some(Ok(bytes)),
            Ok(Chunk::Stderr(text)) => {
                tracing::warn!("{}", String::from_utf8_lossy(&text).trim_end().escape_debug());
                None
            }
            Err(error) => Some(Err(error)),
        })
    })
}
