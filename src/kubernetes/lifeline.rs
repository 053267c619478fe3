//! What keeps a session's pod: a heartbeat to its keeper, by `attach`. A cut is no end, and a silence is.

use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use kube::Client;
use mcp_berth::dock::protocol;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::task::AbortOnDropHandle;

use super::pump::{From, Place, To, What};

/// A keeper hears its owner so often.
const BEAT: Duration = Duration::from_secs(1);
/// Any byte that is no command.
const ALIVE: &[u8] = b".";
/// Between two tries to attach. The container is there some 200 ms after the pod was made, long before the API says so.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The owner's words.
#[derive(Debug)]
enum Word {
    /// The client has left.
    Leave,
    /// The goodbye; told once it is on its way.
    End(oneshot::Sender<()>),
}

/// Held for as long as the pod is to live. Dropping it without a goodbye leaves the pod for as long as a cut may last.
#[derive(Debug)]
pub(crate) struct Lifeline {
    words: mpsc::Sender<Word>,
    _task: AbortOnDropHandle<()>,
}

impl Lifeline {
    /// Attaches from the pod's creation on.
    pub(crate) fn begin(client: Client, place: Place) -> Self {
        let (words, spoken) = mpsc::channel(4);
        Self { words, _task: AbortOnDropHandle::new(tokio::spawn(beat(client, place, spoken))) }
    }

    pub(crate) async fn leave(&self) {
        let _ = self.words.send(Word::Leave).await;
    }

    /// The container ends now. Resolves when it is told, or after `within`.
    pub(crate) async fn end(&self, within: Duration) {
        let (told, hears) = oneshot::channel();
        if self.words.send(Word::End(told)).await.is_ok() {
            let _ = tokio::time::timeout(within, hears).await;
        }
    }
}

async fn attach(client: &Client, place: &Place) -> (To, From) {
    let mut pause = FIRST_PAUSE;
    loop {
        let began = Instant::now();
        match place.open(client, What::Attach).await {
            // The upgrade is answered before the kubelet is asked, whose refusal comes as the stream's end.
            Ok(stream) => return stream,
            Err(error) => tracing::debug!("cannot attach to `{}`: {error}", place.pod),
        }
        tokio::time::sleep_until(began + pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn beat(client: Client, place: Place, mut words: mpsc::Receiver<Word>) {
    let mut ticks = tokio::time::interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unsaid: Option<Word> = None;
    let mut pause = FIRST_PAUSE;
    loop {
        let (mut to, mut from) = attach(&client, &place).await;
        loop {
            if unsaid.is_none() {
                tokio::select! {
                    _ = ticks.tick() => {}
                    word = words.recv() => match word {
                        Some(word) => unsaid = Some(word),
                        None => return,
                    },
                    // The keeper says nothing: this is the stream's end.
                    _ = from.next() => break,
                }
            }
            let byte: &[u8] = match &unsaid {
                None => ALIVE,
                Some(Word::Leave) => &[protocol::LEAVE],
                Some(Word::End(_)) => &[protocol::TERMINATE],
            };
            // A peer that reads nothing is as good as none.
            match tokio::time::timeout(BEAT * 5, to.send(Bytes::copy_from_slice(byte))).await {
                Ok(Ok(())) => match unsaid.take() {
                    Some(Word::End(told)) => {
                        let _ = told.send(());
                        return;
                    }
                    Some(Word::Leave) | None => pause = FIRST_PAUSE,
                },
                Ok(Err(_)) | Err(_) => break,
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
