//! What keeps a session's pod: a heartbeat to its keeper, by `attach`. A cut is no end, and a silence is.
//!
//! Each beat is the owner's word as it stands: it lives, its client has left, or the goodbye. So a word that went with a cut
//! is said again by the next beat, and one that is heard twice means no more than once.
//!
//! The keeper writes nothing, so nothing tells that it hears. An API server answers pings, and so shows a cut between it and
//! us. A cut behind it shows on the server's own stream (`link.rs`), and this one is in doubt as well then.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt;
use kube::Client;
use mcp_berth::dock::protocol::{LEAVE, TERMINATE};
use mcp_berth::failure::Failure;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::causes::denied::Denials;
use super::causes::refused::Asked;
use super::pause::Pause;
use super::pump::{self, Came, Place, What};

/// A keeper hears its owner so often.
const BEAT: Duration = Duration::from_secs(1);
/// So many beats without an answer, and another stream is opened.
const ANSWERED_WITHIN: u32 = 3;
/// One try to attach, and one beat on its way.
const OPENED_WITHIN: Duration = Duration::from_secs(5);
const SENT_WITHIN: Duration = Duration::from_secs(3);
/// Any byte that is no command.
const ALIVE: u8 = b'.';

/// Opens streams to a keeper's standard input.
pub(crate) trait Attach: Send + 'static {
    type Attached: Attached;

    fn attach(&mut self) -> impl Future<Output = Result<Self::Attached, NotAttached>> + Send;
}

/// Why there is no stream.
#[derive(Debug, Clone)]
pub(crate) enum NotAttached {
    /// Another try may have one.
    Passing(String),
    /// A right lacks, and nobody gives it by itself.
    Denied(Failure),
}

/// Such a stream.
pub(crate) trait Attached: Send {
    /// Sends a byte, and asks whether it has come.
    fn beat(&mut self, byte: u8) -> impl Future<Output = io::Result<()>> + Send;
    /// The next answer, with the byte that has come; an error is the stream's end. Cancel safe.
    fn answer(&mut self) -> impl Future<Output = io::Result<u8>> + Send;
}

struct Pods {
    client: Client,
    place: Place,
    /// One that is open already.
    first: Option<(pump::To, pump::From)>,
    denials: Denials,
}

impl Attach for Pods {
    type Attached = (pump::To, pump::From);

    async fn attach(&mut self) -> Result<Self::Attached, NotAttached> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        let asked = Asked { verb: "get", resource: "pods/attach", namespace: &self.place.namespace };
        self.place.open(&self.client, What::Attach).await.map_err(|error| {
            let denied = self.denials.note(asked, &error);
            denied.map_or_else(|| NotAttached::Passing(error.to_string()), NotAttached::Denied)
        })
    }
}

impl Attached for (pump::To, pump::From) {
    async fn beat(&mut self, byte: u8) -> io::Result<()> {
        let byte = Bytes::copy_from_slice(&[byte]);
        self.0.send(byte.clone()).await?;
        self.0.ping(byte).await
    }

    async fn answer(&mut self) -> io::Result<u8> {
        match std::future::poll_fn(|context| self.1.poll_came(context)).await {
            Some(Ok(Came::Pong(bytes))) => Ok(bytes.first().copied().unwrap_or_default()),
            Some(Ok(Came::Output(_))) => Ok(0),
            Some(Err(error)) => Err(error),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Held for as long as the pod is to live. Dropping it without a goodbye leaves the pod for as long as a cut may last.
#[derive(Debug)]
pub(crate) struct Lifeline {
    word: watch::Sender<u8>,
    /// The goodbye was heard.
    ended: watch::Receiver<bool>,
    /// Whether a keeper hears, or never will.
    held: watch::Receiver<Option<Result<(), Failure>>>,
    _task: AbortOnDropHandle<()>,
}

impl Lifeline {
    /// Attaches, be it before the container is there, and first by a stream that is open already, if there is one. Whoever has seen another stream to this pod cut notifies `doubts`:
    /// another one is opened here, too.
    pub(crate) fn begin(
        client: Client,
        place: Place,
        first: Option<(pump::To, pump::From)>,
        doubts: Arc<Notify>,
    ) -> Self {
        Self::by(Pods { client, place, first, denials: Denials::default() }, doubts)
    }

    pub(super) fn by(attach: impl Attach, doubts: Arc<Notify>) -> Self {
        let (word, said) = watch::channel(ALIVE);
        let (ends, ended) = watch::channel(false);
        let wanted = Arc::new(Notify::new());
        let (held, is_held) = watch::channel(None);
        let (found, streams) = mpsc::channel(1);
        let heart = Heart { word: said, streams, doubts, wanted: Arc::clone(&wanted) };
        let task = tokio::spawn(async move {
            tokio::select! {
                () = heart.beat() => {}
                () = open(attach, &wanted, &found, &held) => {}
            }
            let _ = ends.send(true);
        });
        Self { word, ended, held: is_held, _task: AbortOnDropHandle::new(task) }
    }

    /// Resolves when a keeper hears, or when it never will: a right lacks.
    pub(crate) async fn held(&self) -> Result<(), Failure> {
        match self.held.clone().wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Err(failure))) => Err(failure.clone()),
            // An end in order is no failure.
            _ => Ok(()),
        }
    }

    /// The client has left, and the server's input is closed: the time begins that it has for an end of its own.
    pub(crate) fn leave(&self) {
        self.word.send_if_modified(|word| {
            *word == ALIVE && {
                *word = LEAVE;
                true
            }
        });
    }

    /// The container ends now. Resolves when the API server has the goodbye, or after `within`. A server's end in order
    /// begins with SIGTERM then, so whoever wants it to end by itself waits for that first. Tells whether it was heard.
    pub(crate) async fn end(&self, within: Duration) -> bool {
        self.word.send_replace(TERMINATE);
        timeout(within, self.ended.clone().wait_for(|ended| *ended)).await.is_ok_and(|ended| ended.is_ok())
    }
}

/// Opens the first stream, and another whenever one is wanted.
async fn open<A: Attach>(
    mut attach: A,
    wanted: &Notify,
    found: &mpsc::Sender<A::Attached>,
    held: &watch::Sender<Option<Result<(), Failure>>>,
) {
    let mut pause = Pause::new();
    loop {
        match timeout(OPENED_WITHIN, attach.attach()).await {
            Ok(Ok(stream)) => {
                let began = Instant::now();
                held.send_replace(Some(Ok(())));
                if found.send(stream).await.is_err() {
                    return;
                }
                wanted.notified().await;
                if began.elapsed() >= BEAT {
                    pause = Pause::new();
                    continue;
                }
                // It was refused: the upgrade is answered before the kubelet is asked.
            }
            Ok(Err(NotAttached::Passing(why))) => tracing::debug!("cannot attach: {why}"),
            Ok(Err(NotAttached::Denied(failure))) => {
                held.send_replace(Some(Err(failure)));
            }
            Err(_) => tracing::debug!("cannot attach: no answer"),
        }
        pause.wait().await;
    }
}

struct Heart<S> {
    word: watch::Receiver<u8>,
    streams: mpsc::Receiver<S>,
    doubts: Arc<Notify>,
    wanted: Arc<Notify>,
}

impl<S: Attached> Heart<S> {
    /// Beats until the goodbye was heard, or nobody holds the lifeline.
    async fn beat(mut self) {
        let mut ticks = interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stream: Option<S> = None;
        // Beats since the last answer.
        let mut unanswered = 0;
        loop {
            let is_cut = tokio::select! {
                _ = ticks.tick() => false,
                changed = self.word.changed() => match changed {
                    Ok(()) => false,
                    Err(_) => return,
                },
                // The one that is there beats on until another is.
                () = self.doubts.notified() => {
                    self.wanted.notify_one();
                    continue;
                }
                Some(found) = self.streams.recv() => {
                    stream = Some(found);
                    unanswered = 0;
                    // It beats at once, and a second later again.
                    ticks.reset();
                    false
                }
                answer = answer(&mut stream) => match answer {
                    Ok(TERMINATE) => return,
                    Ok(_) => {
                        unanswered = 0;
                        continue;
                    }
                    Err(_) => true,
                },
            };
            let Some(attached) = stream.as_mut() else { continue };
            let word = *self.word.borrow_and_update();
            unanswered += 1;
            let is_cut = is_cut
                || unanswered > ANSWERED_WITHIN
                // A peer that reads nothing is as good as none.
                || !timeout(SENT_WITHIN, attached.beat(word)).await.is_ok_and(|sent| sent.is_ok());
            if is_cut {
                stream = None;
                self.wanted.notify_one();
            }
        }
    }
}

/// Never of a stream that is not there.
async fn answer<S: Attached>(stream: &mut Option<S>) -> io::Result<u8> {
    match stream {
        Some(stream) => stream.answer().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
