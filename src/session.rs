//! One client, its server, and the two directions between them.
//!
//! ```text
//! client::stdio -> lane::to_server (a task of its own) -> the server's input
//! client::stdio <- client::writer  <- lane::judge <- lane::to_client <- the server's output
//! ```
//!
//! Where several servers share a session, each has such a session as its lane, and [`mux`] stands between them and the client.
//!
//! Only [`client::writer`] writes to the client. Neither direction waits for the other. A session does not know what
//! runs its server: it sees only [`upstream::Upstream`].

pub mod client;
pub mod lane;
pub mod mux;
pub mod options;
pub mod rewrite;
pub mod upstream;

use std::future::Future;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::codec::FramedRead;

use crate::failure::Failure;
use crate::observe::Handing;
use crate::rpc::FrameCodec;
use client::writer::Writer;
use lane::asked::Asked;
use lane::burst::BURST;
use lane::inflight::InFlight;
use lane::outcome::Over;
use lane::shared::Shared;
use lane::to_server::ClientToServer;
use lane::{Lane, failures};
use options::Options;
use upstream::Upstream;

/// Answers of our own that wait for the client to read; the pump that makes them waits when it is full.
const REPLIES: usize = 64;

/// After the last means has been used, this long until we leave.
const GIVE_UP_AFTER: Duration = Duration::from_secs(1);

/// Runs a session to its end. `start` gives the server's side, again after each loss; it gets what the first message says
/// of the client.
///
/// Gives whose end the session's is; the client has been told.
pub async fn run<R, W, U, S, F>(from_client: R, to_client: W, mut options: Options, mut start: S) -> Over
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin,
    U: Upstream,
    S: FnMut(oneshot::Receiver<Option<String>>) -> F,
    F: Future<Output = Result<U, Failure>>,
{
    let shared = Arc::new(Shared {
        rules: std::mem::take(&mut options.rules),
        in_flight: InFlight::default(),
        asked: Asked::default(),
        handshake: Mutex::default(),
        said: OnceLock::new(),
        client_session: watch::Sender::default(),
        trace: options.trace.clone(),
        has_repaired: AtomicBool::new(false),
        is_deaf: Notify::new(),
        client_left: AtomicBool::new(false),
        client_end: OnceLock::new(),
    });
    let (hello, said) = oneshot::channel();
    let (phase, phases) = mpsc::channel(2);
    let (reply, replies) = mpsc::channel(REPLIES);
    let (to_server, for_server) = mpsc::channel(REPLIES);
    let pump = ClientToServer {
        frames: FramedRead::with_capacity(from_client, FrameCodec::new(options.settings.max_line), BURST),
        phases,
        replies: reply,
        for_server,
        hangup: options.hangup.clone(),
        hello: Some(hello),
        shared: Arc::clone(&shared),
        stop: options.stop.clone(),
        interactive: options.interactive,
        beginning: None,
        wanted: None,
        asks: false,
        handing: Handing::default(),
        burst: BytesMut::new(),
    };
    let client = Writer {
        out: Some(to_client),
        replies,
        pump: tokio::spawn(pump.run()),
        end: None,
        end_is_told: false,
        deadline: None,
        patience: options.settings.stop_grace + GIVE_UP_AFTER,
        stop: options.stop.clone(),
    };
    let first = start(said);
    let (trace, known) = (options.trace.clone(), Arc::clone(&shared));
    let lane = Lane::new(client, shared, phase, to_server, options);
    let over = lane.run(first, start).await;
    if let Some(journal) = trace.journal() {
        let end = failures::end(&known, &over);
        known.in_flight.forget_calls();
        journal.end(&end);
    }
    over
}

#[cfg(test)]
mod tests;
