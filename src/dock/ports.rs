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
    let services = settings.service_ports();
    let published: BTreeSet<u16> = settings.publish.iter().map(|port| port.container).collect();
    let mut argv = vec![place.program(), "ports".to_owned()];
    let flags = |flag: &str, ports: &BTreeSet<u16>| -> Vec<String> {
        ports.iter().flat_map(|port| [flag.to_owned(), port.to_string()]).collect()
    };
    argv.extend(flags("--listen", &services));
    argv.extend(flags("--connect", &published));
    let wire = Wire::connect(engine.endpoint()).await?;
    let exec = exec::start_plain(wire, container, &argv, &[]).await?;
    let services = services.into_iter().map(|port| (port, port)).collect();
    let side = Side { server: server.to_owned(), services, trace: trace.clone() };
    let (link, listens) = mux::begin(heard(exec.output), exec.input, side);
    match tokio::time::timeout(LISTENS_WITHIN, listens).await {
        Ok(Ok(())) => Ok(link),
        Ok(Err(_)) => Err(DockerError::broken(START, container, "its forwarder of ports ended at once")),
        Err(_) => Err(DockerError::broken(START, container, "its forwarder of ports did not answer")),
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
