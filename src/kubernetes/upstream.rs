//! The server's side of a session in a cluster: the pod that is held, and the link to the server in it.

#[cfg(test)]
mod tests;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use k8s_openapi::api::core::v1::Pod;
use mcp_berth::dock::owner;
use mcp_berth::dock::records::{Ending, LONGEST};
use mcp_berth::session::upstream::{Exit, Output, Upstream};
use tokio::io::AsyncWrite;
use tokio::sync::Notify;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio_util::sync::PollSender;
use tokio_util::task::AbortOnDropHandle;

use super::causes::lost;
use super::ended::{exit_of, is_killed};
use super::hold::Hold;
use super::housekeeping::Housekeeper;
use super::link::{Over, Said, ToServer};
use super::nodes::{Nodes, node_of};
use super::pod::ANNOTATION_CLIENT_SESSION;
use super::ports::Ports;

/// A cluster that gives no answer holds up no end.
const TOLD_WITHIN: Duration = Duration::from_secs(2);
/// The kubelet says late how a container ended.
const KNOWN_WITHIN: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// As a shell has it.
const BY_SIGNAL: u8 = 128;

/// A running link and both its ends.
pub(crate) struct Linked {
    pub(crate) input: Sender<ToServer>,
    pub(crate) output: Receiver<Said>,
    /// Notified whenever its stream was cut.
    pub(crate) cuts: Arc<Notify>,
    /// Of `host_services` and `publish`.
    pub(crate) ports: Option<Ports>,
    pub(crate) task: AbortOnDropHandle<Over>,
}

/// The server's side of a session: a pod that is its own, and the bytes of the server in it.
pub(crate) struct KubernetesUpstream {
    hold: Hold,
    input: Option<Input>,
    output: Receiver<Said>,
    link: AbortOnDropHandle<Over>,
    ports: Option<Ports>,
    /// How the server ended, as its helper has told.
    ended: Option<Exit>,
    /// In bytes.
    memory: u64,
    nodes: Nodes,
    housekeeper: Housekeeper,
    /// The client has, so that an end in order needs no other cause.
    has_left: bool,
}

impl KubernetesUpstream {
    pub(crate) fn new(
        hold: Hold,
        linked: Linked,
        memory: u64,
        nodes: Nodes,
        housekeeper: Housekeeper,
    ) -> Self {
        let Linked { input, output, task, ports, .. } = linked;
        let (input, ended, has_left) = (Some(Input::new(input)), None, false);
        Self { hold, input, output, link: task, ports, ended, memory, nodes, housekeeper, has_left }
    }

    fn exit(&self, ending: Ending) -> Exit {
        match ending {
            Ending::Exited(code) => Exit::Code(code.into()),
            Ending::Killed(signal) => Exit::Code(BY_SIGNAL.saturating_add(signal).into()),
            Ending::OutOfMemory => Exit::OutOfMemory(self.memory),
        }
    }

    /// A server that ends in order may have been asked to: by `berth kill`, or by the cluster, which takes its pod away.
    async fn ended_in_order(&self, code: i64) -> Exit {
        match tokio::time::timeout(KNOWN_WITHIN, self.hold.look()).await {
            Ok(Ok(Some(pod))) if is_killed(&pod) => Exit::Ended,
            Ok(Ok(Some(pod))) if lost::is_taken(&pod) => self.taken(pod),
            _ => Exit::Code(code),
        }
    }

    /// The cluster ends its pod. Where it empties the node, a next one would not last there.
    fn taken(&self, pod: Pod) -> Exit {
        if lost::is_by_cluster(&pod) {
            self.nodes.keep_off(node_of(&pod));
        }
        lost::exit(Some(&Ok(Some(pod))), (self.hold.name(), self.hold.namespace()), "")
    }

    /// No stream came for too long: if its node is dead, nobody there ends the pod, and no new one lasts there.
    async fn away(&mut self, link: &str) -> Exit {
        let looked = tokio::time::timeout(KNOWN_WITHIN, self.hold.look()).await.ok();
        if let Some(Ok(Some(pod))) = &looked {
            if let Some(exit @ (Exit::Ended | Exit::OutOfMemory(_))) = exit_of(pod, self.memory) {
                return exit;
            }
            self.nodes.keep_off(node_of(pod));
        }
        self.hold.mark_unheard();
        lost::exit(looked.as_ref(), (self.hold.name(), self.hold.namespace()), link)
    }

    /// What the pod says of an end that its helper did not tell, or that may be somebody else's doing. `link` is what the link
    /// has told of it.
    async fn look(&self, link: &str) -> Exit {
        let told = self.ended.clone();
        let mut looked = None;
        let looking = async {
            loop {
                let Ok(Some(pod)) = looked.insert(self.hold.look().await) else { return Exit::Lost };
                match exit_of(pod, self.memory) {
                    Some(exit) => return exit,
                    // Killed with all of the container, or by itself: the kubelet is about to say.
                    None if told.is_some() => return Exit::Lost,
                    None => tokio::time::sleep(LOOK_EVERY).await,
                }
            }
        };
        let found = tokio::time::timeout(KNOWN_WITHIN, looking).await.unwrap_or(Exit::Lost);
        match (found, told, looked) {
            (Exit::Lost, _, Some(Ok(Some(pod)))) if lost::is_taken(&pod) => self.taken(pod),
            (Exit::Lost, Some(told), _) => told,
            (Exit::Lost, None, looked) => {
                lost::exit(looked.as_ref(), (self.hold.name(), self.hold.namespace()), link)
            }
            (found, ..) => found,
        }
    }
}

impl Upstream for KubernetesUpstream {
    type Input = Input;

    fn take_input(&mut self) -> Option<Input> {
        self.input.take()
    }

    async fn next(&mut self) -> Option<io::Result<Output>> {
        if self.ended.is_some() {
            return None;
        }
        let exit = match self.output.recv().await? {
            Said::Output(bytes) => {
                self.housekeeper.answered();
                return Some(Ok(Output::Stdout(bytes)));
            }
            Said::Errors(bytes) => return Some(Ok(Output::Stderr(bytes))),
            Said::Ended(ending) => self.exit(ending),
            Said::NotStarted { code, why } => {
                self.ended = Some(Exit::Code(code.into()));
                return Some(Ok(Output::Stderr(Bytes::from(why + "\n"))));
            }
        };
        self.ended = Some(exit);
        None
    }

    async fn client_left(&mut self) {
        self.has_left = true;
        self.hold.client_left();
    }

    async fn terminate(&mut self) {
        self.hold.terminate().await;
    }

    async fn introduce(&mut self, client_session: &str) {
        if let Some(id) = owner::id(client_session) {
            self.hold.annotate(ANNOTATION_CLIENT_SESSION, &id).await;
        }
    }

    async fn post_mortem(&mut self) -> Exit {
        match self.ended.clone() {
            // Nobody else's doing.
            Some(exit @ Exit::OutOfMemory(_)) => exit,
            Some(exit @ Exit::Code(code)) if self.has_left && code < BY_SIGNAL.into() => exit,
            // `berth kill` asks a server to end, and a good one does so in order.
            Some(Exit::Code(code)) if code < BY_SIGNAL.into() => self.ended_in_order(code).await,
            Some(_) => self.look("").await,
            None => {
                // The link tells why it has nothing more to give.
                match tokio::time::timeout(TOLD_WITHIN, &mut self.link).await {
                    Ok(Ok(Over::Denied(failure))) => {
                        Exit::LostAs { why: failure.text, next: failure.next.unwrap_or_default() }
                    }
                    Ok(Ok(Over::Lost(why))) => self.look(&why).await,
                    Ok(Ok(Over::Away(why))) => self.away(&why).await,
                    _ => self.look("the stream to the server has ended").await,
                }
            }
        }
    }

    async fn release(self) {
        let Self { hold, housekeeper, link, ports, .. } = self;
        drop((link, ports));
        tokio::join!(hold.release(), housekeeper.finish());
    }
}

/// The server's standard input. A link that has no room makes it wait.
pub(crate) struct Input {
    to: PollSender<ToServer>,
    is_ended: bool,
}

impl Input {
    fn new(to: Sender<ToServer>) -> Self {
        Self { to: PollSender::new(to), is_ended: false }
    }

    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        said: impl FnOnce() -> ToServer,
    ) -> Poll<io::Result<()>> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        ready!(self.to.poll_reserve(context)).map_err(gone)?;
        Poll::Ready(self.to.send_item(said()).map_err(gone))
    }
}

impl AsyncWrite for Input {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let bytes = &bytes[..bytes.len().min(LONGEST)];
        ready!(self.poll_send(context, || ToServer::Input(Bytes::copy_from_slice(bytes))))?;
        Poll::Ready(Ok(bytes.len()))
    }

    /// What was taken is the link's to carry.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_ended {
            ready!(self.poll_send(context, || ToServer::InputEnd))?;
            self.is_ended = true;
        }
        Poll::Ready(Ok(()))
    }
}
