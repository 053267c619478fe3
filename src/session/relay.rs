//! The client->server pump: frames from the client go to the server, byte for byte.
//!
//! It alone adds to the in-flight table, so that when the server is gone it alone can say which requests had no
//! answer. It never writes to the client: its answers go through the bounded `replies` to the session's loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio_util::codec::FramedRead;
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::inflight::InFlight;
use crate::observe::trace::{Direction, Trace};
use crate::rpc::error_object::{INVALID_REQUEST, PARSE_ERROR};
use crate::rpc::{
    Envelope, Frame, FrameCodec, FrameError, Kind, Look, RawId, RequestId, Salvage, client_info_name,
    error_line, look, raw,
};

/// A client that was told why there is no server gets this long to ask on before the session ends.
const LINGER: Duration = Duration::from_millis(250);

/// Clients probe with `server/discover`, hide its error from the person, and ask again with `initialize`.
const LINGER_AFTER_PROBE: Duration = Duration::from_secs(5);

/// Closing a stream whose peer doesn't read waits for it; this long at most.
const CLOSE_WITHIN: Duration = Duration::from_millis(200);

/// What both directions share.
#[derive(Debug)]
pub struct Shared {
    pub in_flight: InFlight,
    pub trace: Trace,
    /// Set before the server's input is closed: a server that ends by that may be seen to end before the pump is.
    pub client_left: AtomicBool,
}

/// What the session's loop tells the pump of the server.
#[derive(Debug)]
pub enum Phase<I> {
    Up(I),
    Down(Arc<Failure>),
}

/// How the client's side came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientEnd {
    /// It closed its output.
    Closed,
    /// We were told to stop.
    Stopped,
    /// There is no server, and the client knows.
    Told,
}

/// The pump, before it runs.
#[derive(Debug)]
pub struct ClientToServer<R, I> {
    pub frames: FramedRead<R, FrameCodec>,
    pub phases: mpsc::Receiver<Phase<I>>,
    pub replies: mpsc::Sender<Bytes>,
    /// Gets what the first message says of the client.
    pub hello: Option<oneshot::Sender<Option<String>>>,
    pub shared: Arc<Shared>,
    pub stop: CancellationToken,
    /// A person who typed the command sees the error on the terminal; no request is waited for.
    pub interactive: bool,
}

impl<R, I> ClientToServer<R, I>
where
    R: AsyncRead + Unpin,
    I: AsyncWrite + Unpin,
{
    /// Runs until the client or the server is gone, or `stop`; closes the server's input.
    pub async fn run(mut self) -> ClientEnd {
        let mut server = None;
        let end = loop {
            let item = tokio::select! {
                biased;
                () = self.stop.cancelled() => break ClientEnd::Stopped,
                Some(phase) = self.phases.recv() => match phase {
                    Phase::Up(input) => { server = Some(input); continue }
                    Phase::Down(failure) => return self.apologise(&failure).await,
                },
                item = self.frames.next() => item,
            };
            let Some(frame) = self.frame(item).await else { break ClientEnd::Closed };
            let Some(frame) = frame else { continue };
            match self.deliver(&mut server, &frame).await {
                Ok(()) => {}
                Err(Undelivered::Stopped) => break ClientEnd::Stopped,
                Err(Undelivered::Down(failure)) => return self.apologise(&failure).await,
            }
        };
        self.shared.client_left.store(true, Ordering::Release);
        if let Some(mut input) = server {
            let _ = tokio::time::timeout(CLOSE_WITHIN, input.shutdown()).await;
        }
        end
    }

    /// The frame of an item that may pass; answers the others itself. The outer `None` is the end.
    async fn frame(&mut self, item: Option<Item>) -> Option<Option<Frame>> {
        let frame = match item? {
            Ok(Ok(frame)) => frame,
            Ok(Err(error)) => {
                self.refuse_frame(&error).await;
                return Some(None);
            }
            Err(error) => {
                tracing::warn!("cannot read from the client: {error}");
                return None;
            }
        };
        Some(if self.admit(&frame).await { Some(frame) } else { None })
    }

    /// Looks at a frame and registers its requests; false if it was answered here.
    async fn admit(&mut self, frame: &Frame) -> bool {
        let look = match look(frame.message()) {
            Ok(look) => look,
            Err(error) => {
                let text = error.to_string();
                self.note("invalid JSON", &text, frame.wire().len());
                let salvage = Salvage::of(frame.message());
                // A broken answer's id is the server's; under it the client knows another request, or none.
                let id = salvage.id().filter(|_| !is_answer(salvage.kind()));
                self.reply(error_line(id, PARSE_ERROR, &format!("berth: {text}"), None)).await;
                return false;
            }
        };
        self.shared.trace.message(Direction::ClientToServer, &look, frame.wire(), None);
        let envelopes = look.envelopes();
        if let Some(hello) = self.hello.take() {
            let _ = hello.send(envelopes.iter().find_map(client_info_name));
        }
        for envelope in envelopes {
            if envelope.kind == Kind::Request && !self.shared.in_flight.insert(envelope) {
                let id = envelope.raw_id();
                self.reply(error_line(
                    id.as_ref(),
                    INVALID_REQUEST,
                    "berth: too many requests in flight",
                    None,
                ))
                .await;
                return false;
            }
            // The receiver of a cancellation sends no answer; nobody waits for one any more.
            if let Some(id) = cancelled(envelope) {
                self.shared.in_flight.complete(&id);
            }
        }
        true
    }

    async fn deliver(&mut self, server: &mut Option<I>, frame: &Frame) -> Result<(), Undelivered> {
        if server.is_none() {
            *server = Some(self.server_up().await?);
        }
        let written = tokio::select! {
            biased;
            written = write(server, frame.wire()) => written,
            changed = server_up(&mut self.phases, &self.stop) => { changed?; return Ok(()) }
        };
        if let Err(error) = written {
            // The session's loop sees the same end from the other side, and knows why. The frame may have been
            // written in part: it is never written again, its requests are answered with that reason.
            tracing::debug!("cannot write to the server: {error}");
            *server = None;
            loop {
                self.server_up().await?;
            }
        }
        Ok(())
    }

    async fn server_up(&mut self) -> Result<I, Undelivered> {
        server_up(&mut self.phases, &self.stop).await
    }

    /// Answers what is unanswered, and what is asked yet, with the reason why there is no server.
    async fn apologise(mut self, failure: &Failure) -> ClientEnd {
        let mut patience = self.interactive.then_some(LINGER);
        for pending in self.shared.in_flight.drain() {
            self.reply(failure.answer(Some(&pending.id))).await;
            patience = Some(LINGER);
        }
        loop {
            let waited = async {
                match patience {
                    Some(patience) => tokio::time::sleep(patience).await,
                    None => std::future::pending().await,
                }
            };
            let item = tokio::select! {
                biased;
                () = self.stop.cancelled() => return ClientEnd::Stopped,
                item = self.frames.next() => item,
                () = waited => return ClientEnd::Told,
            };
            let Some(frame) = self.frame(item).await else { return ClientEnd::Closed };
            let Some(frame) = frame else { continue };
            let Ok(look) = look(frame.message()) else { continue };
            for request in look.envelopes().iter().filter(|envelope| envelope.kind == Kind::Request) {
                let is_probe = request.method.as_deref() == Some("server/discover");
                patience = Some(if is_probe { LINGER_AFTER_PROBE } else { LINGER });
                self.reply(failure.answer(request.raw_id().as_ref())).await;
            }
            self.shared.in_flight.drain();
        }
    }

    async fn refuse_frame(&mut self, error: &FrameError) {
        let FrameError::TooLong { limit, id, kind } = error;
        self.note("line too long", &error.to_string(), *limit);
        // An answer or a notification that is too long gets no answer itself.
        if id.is_some() && *kind != Kind::Request && *kind != Kind::Other {
            tracing::warn!("dropped a {kind} from the client: {error}");
            return;
        }
        let message = format!("berth: {error}; raise `max_line` for larger messages");
        self.reply(error_line(id.as_ref(), INVALID_REQUEST, &message, None)).await;
    }

    async fn reply(&mut self, line: Bytes) {
        let text = String::from_utf8_lossy(&line);
        self.shared.trace.note(
            Some(Direction::ServerToClient),
            "our answer",
            text.trim_end(),
            line.len() as u64,
        );
        // Fails only when the session's loop is over, and then nobody can be told.
        let _ = self.replies.send(line).await;
    }

    fn note(&self, what: &'static str, detail: &str, bytes: usize) {
        self.shared.trace.note(Some(Direction::ClientToServer), what, detail, bytes as u64);
    }
}

type Item = std::io::Result<Result<Frame, FrameError>>;

enum Undelivered {
    Stopped,
    Down(Arc<Failure>),
}

async fn server_up<I>(
    phases: &mut mpsc::Receiver<Phase<I>>,
    stop: &CancellationToken,
) -> Result<I, Undelivered> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(Undelivered::Stopped),
        phase = phases.recv() => match phase {
            Some(Phase::Up(input)) => Ok(input),
            Some(Phase::Down(failure)) => Err(Undelivered::Down(failure)),
            None => Err(Undelivered::Stopped),
        },
    }
}

async fn write<I: AsyncWrite + Unpin>(server: &mut Option<I>, bytes: &[u8]) -> std::io::Result<()> {
    let Some(input) = server else { return Ok(()) };
    input.write_all(bytes).await?;
    input.flush().await
}

/// The request that this message cancels, if it is a cancellation.
fn cancelled(envelope: &Envelope<'_>) -> Option<RequestId> {
    if envelope.method.as_deref() != Some("notifications/cancelled") {
        return None;
    }
    RequestId::from_raw(raw::member(envelope.params?, "requestId")?)
}

/// What becomes of a line from the server.
#[derive(Debug)]
pub enum Verdict {
    /// Goes to the client as it is.
    Forward(Bytes),
    /// Our answer in its place.
    Replace(Bytes),
    /// Is no message; a person may want to see it.
    Stray(Frame),
    Drop,
}

/// The server->client direction: decides about each line, and completes what it answers. Does no I/O.
pub fn judge(item: Result<Frame, FrameError>, shared: &Shared) -> Verdict {
    let note = |what, detail: &str, bytes: usize| {
        shared.trace.note(Some(Direction::ServerToClient), what, detail, bytes as u64);
    };
    let frame = match item {
        Ok(frame) => frame,
        Err(error) => {
            let FrameError::TooLong { limit, id, kind } = &error;
            note("line too long", &error.to_string(), *limit);
            let asked = id.as_ref().and_then(RawId::request_id);
            let pending = match kind {
                Kind::Request | Kind::Notification => None,
                _ => asked.and_then(|id| shared.in_flight.complete(&id)),
            };
            let Some(pending) = pending else {
                tracing::warn!("dropped a {kind} from the server: {error}");
                return Verdict::Drop;
            };
            let message = format!("berth: the server's answer is a {error}; raise `max_line` to let it pass");
            return Verdict::Replace(error_line(Some(&pending.id), INVALID_REQUEST, &message, None));
        }
    };
    let look = match look(frame.message()) {
        Ok(look) if look.is_message() => look,
        Ok(_) => {
            note("stray output", "", frame.wire().len());
            return Verdict::Stray(frame);
        }
        Err(error) => {
            note("stray output", &error.to_string(), frame.wire().len());
            // A print of the server's, or an answer that it broke; then somebody waits for it.
            let salvage = Salvage::of(frame.message());
            let asked = salvage.id().filter(|_| is_answer(salvage.kind())).and_then(RawId::request_id);
            let Some(pending) = asked.and_then(|id| shared.in_flight.complete(&id)) else {
                return Verdict::Stray(frame);
            };
            let message = format!("berth: the server's answer is no JSON-RPC message: {error}");
            return Verdict::Replace(error_line(Some(&pending.id), PARSE_ERROR, &message, None));
        }
    };
    let latency = complete(&look, &shared.in_flight);
    shared.trace.message(Direction::ServerToClient, &look, frame.wire(), latency);
    drop(look);
    if frame.is_terminated() {
        return Verdict::Forward(frame.into_wire());
    }
    // The server ended without a newline; the client couldn't tell the message from what follows.
    let mut line = Vec::with_capacity(frame.wire().len() + 1);
    line.extend_from_slice(frame.wire());
    line.push(b'\n');
    Verdict::Forward(line.into())
}

fn is_answer(kind: Kind) -> bool {
    matches!(kind, Kind::Response | Kind::ErrorResponse)
}

/// Completes what `look` answers; how long the (first) answer took.
fn complete(look: &Look<'_>, in_flight: &InFlight) -> Option<Duration> {
    let mut latency = None;
    for envelope in look.envelopes() {
        if is_answer(envelope.kind)
            && let Some(pending) = envelope.request_id().and_then(|id| in_flight.complete(&id))
        {
            latency = latency.or(Some(pending.age()));
        }
    }
    latency
}
