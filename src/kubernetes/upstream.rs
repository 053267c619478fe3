//! The server's side of a session in a cluster: the pod that is held, and the link to the server in it.

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
use super::hold::Hold;
use super::housekeeping::Housekeeper;
use super::link::{Over, Said, ToServer};
use super::pod::{ANNOTATION_CLIENT_SESSION, ANNOTATION_ENDED, end_of_server};

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
    pub(crate) task: AbortOnDropHandle<Over>,
}

/// The server's side of a session: a pod that is its own, and the bytes of the server in it.
pub(crate) struct KubernetesUpstream {
    hold: Hold,
    input: Option<Input>,
    output: Receiver<Said>,
    link: AbortOnDropHandle<Over>,
    /// How the server ended, as its helper has told.
    ended: Option<Exit>,
    /// In bytes.
    memory: u64,
    housekeeper: Housekeeper,
}

impl KubernetesUpstream {
    pub(crate) fn new(hold: Hold, linked: Linked, memory: u64, housekeeper: Housekeeper) -> Self {
        let Linked { input, output, task, .. } = linked;
        Self { hold, input: Some(Input::new(input)), output, link: task, ended: None, memory, housekeeper }
    }

    fn exit(&self, ending: Ending) -> Exit {
        match ending {
            Ending::Exited(code) => Exit::Code(code.into()),
            Ending::Killed(signal) => Exit::Code(BY_SIGNAL.saturating_add(signal).into()),
            Ending::OutOfMemory => Exit::OutOfMemory(self.memory),
        }
    }

    async fn is_killed(&self) -> bool {
        let looked = tokio::time::timeout(KNOWN_WITHIN, self.hold.look()).await;
        matches!(looked, Ok(Ok(Some(pod))) if is_killed(&pod))
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
        match (found, told) {
            (Exit::Lost, Some(told)) => told,
            (Exit::Lost, None) => {
                lost::exit(looked.as_ref(), (self.hold.name(), self.hold.namespace()), link)
            }
            (found, _) => found,
        }
    }
}

/// By `berth kill`.
fn is_killed(pod: &Pod) -> bool {
    pod.metadata.annotations.as_ref().is_some_and(|said| said.contains_key(ANNOTATION_ENDED))
}

/// How a pod's server ended that nobody has told of: by the container's memory, by somebody outside, or lost. `None`: nothing
/// is known yet.
fn exit_of(pod: &Pod, memory: u64) -> Option<Exit> {
    if is_killed(pod) {
        return Some(Exit::Ended);
    }
    let status = pod.status.as_ref()?;
    if let Some(ended) = end_of_server(pod) {
        let is_oom = ended.reason.as_deref() == Some("OOMKilled");
        return Some(if is_oom { Exit::OutOfMemory(memory) } else { Exit::Lost });
    }
    let is_over = matches!(status.phase.as_deref(), Some("Failed" | "Succeeded"));
    (is_over || pod.metadata.deletion_timestamp.is_some()).then_some(Exit::Lost)
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
            // `berth kill` asks a server to end, and a good one does so in order.
            Some(Exit::Code(code)) if code < BY_SIGNAL.into() => {
                if self.is_killed().await {
                    Exit::Ended
                } else {
                    Exit::Code(code)
                }
            }
            Some(_) => self.look("").await,
            None => {
                // The link tells why it has nothing more to give.
                match tokio::time::timeout(TOLD_WITHIN, &mut self.link).await {
                    Ok(Ok(Over::Denied(failure))) => {
                        Exit::LostAs { why: failure.text, next: failure.next.unwrap_or_default() }
                    }
                    Ok(Ok(Over::Lost(why))) => self.look(&why).await,
                    _ => self.look("the stream to the server has ended").await,
                }
            }
        }
    }

    async fn release(self) {
        let Self { hold, housekeeper, link, .. } = self;
        drop(link);
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

#[cfg(test)]
mod tests {
    use mcp_berth::config::Server;
    use mcp_berth::dock::spec::Spec;
    use mcp_berth::failure::{Code, Failure};
    use mcp_berth::observe::trace::Trace;
    use serde_json::{Value, json};
    use tokio::io::AsyncWriteExt;
    use tokio::sync::mpsc;

    use super::*;
    use crate::fake;
    use crate::housekeeping::Housekeeping;

    #[tokio::test(start_paused = true)]
    async fn a_link_without_room_makes_the_input_wait_and_its_end_comes_last() {
        let (to, mut link) = mpsc::channel(1);
        let mut input = Input::new(to);
        let bytes = vec![b'x'; LONGEST + 1];
        let writing = tokio::time::timeout(Duration::from_secs(1), input.write_all(&bytes));
        assert!(writing.await.is_err(), "a record holds no more than {LONGEST}");
        let Some(ToServer::Input(first)) = link.recv().await else { panic!() };
        assert_eq!(first.len(), LONGEST);
        input.write_all(b"y").await.unwrap();
        let (ended, ()) = tokio::join!(input.shutdown(), async {
            let Some(ToServer::Input(last)) = link.recv().await else { panic!() };
            assert_eq!(&last[..], b"y");
            assert!(matches!(link.recv().await, Some(ToServer::InputEnd)));
        });
        ended.unwrap();
        drop(link);
        assert_eq!(input.write(b"z").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    fn exit(pod: &Value) -> Option<Exit> {
        exit_of(&serde_json::from_value(pod.clone()).unwrap(), 7)
    }

    #[test]
    fn a_pod_tells_of_an_end_that_nobody_has_told() {
        let ended = |name: &str, reason: &str| {
            let state = json!({ "terminated": { "exitCode": 137, "reason": reason } });
            json!({ "metadata": {}, "status": { "phase": "Running", "containerStatuses": [{
                "name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state,
            }] } })
        };
        assert_eq!(exit(&ended("server", "OOMKilled")), Some(Exit::OutOfMemory(7)));
        assert_eq!(exit(&ended("server", "Error")), Some(Exit::Lost));
        assert_eq!(exit(&ended("sidecar", "OOMKilled")), None, "the server goes on");
        assert_eq!(exit(&json!({ "metadata": {}, "status": { "phase": "Running" } })), None);
        assert_eq!(exit(&json!({ "metadata": {}, "status": { "phase": "Failed" } })), Some(Exit::Lost));
        let going = json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" });
        assert_eq!(exit(&json!({ "metadata": going, "status": { "phase": "Running" } })), Some(Exit::Lost));
        let mut killed = ended("server", "OOMKilled");
        killed["metadata"] = json!({ "annotations": { ANNOTATION_ENDED: "true" } });
        assert_eq!(exit(&killed), Some(Exit::Ended), "`berth kill` says so first");
    }

    /// A session whose server has told its end, or whose link has told why there is none.
    async fn exit_with(answer: (u16, Value), said: Option<Said>, over: Over) -> Exit {
        let (cluster, _) = fake::cluster(move |_| answer.clone());
        let server = Server::from_image("i".parse().unwrap(), Vec::new(), &fake::settings());
        let housekeeping = Housekeeping {
            cluster: cluster.clone(),
            spec: Arc::new(Spec::new(server, "c", "s")),
            wanted: 0,
            limit: None,
            template: None,
            trace: Trace::off(),
        };
        let hold = Hold::new(cluster.pods(), "p".to_owned());
        let (input, _given) = mpsc::channel(1);
        let (say, output) = mpsc::channel(1);
        if let Some(said) = said {
            say.send(said).await.unwrap();
        }
        drop(say);
        let task = AbortOnDropHandle::new(tokio::spawn(async { over }));
        let linked = Linked { input, output, cuts: Arc::default(), task };
        let mut upstream = KubernetesUpstream::new(hold, linked, 7, housekeeping.start());
        assert!(upstream.next().await.is_none());
        upstream.post_mortem().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_kill_is_told_even_where_the_server_ends_in_order() {
        let pod = |annotations: Value| (200, json!({ "metadata": { "annotations": annotations } }));
        let exited = || Some(Said::Ended(Ending::Exited(0)));
        let killed = pod(json!({ ANNOTATION_ENDED: "true" }));
        assert_eq!(exit_with(killed, exited(), Over::Told).await, Exit::Ended);
        assert_eq!(exit_with(pod(json!({})), exited(), Over::Told).await, Exit::Code(0));
        let away = (503, fake::status(503, "no"));
        assert_eq!(exit_with(away, exited(), Over::Told).await, Exit::Code(0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_pod_is_told_as_the_cluster_and_the_link_know_it() {
        let told = |exit: Exit| match exit {
            Exit::LostAs { why, next } => (why, next),
            other => panic!("{other:?}"),
        };
        let mut gone = fake::status(404, "pods \"p\" not found");
        gone["reason"] = json!("NotFound");
        let gone = (404, gone);
        let (why, next) = told(exit_with(gone, None, Over::Lost("no stream".to_owned())).await);
        assert_eq!(why, "the pod `p` is no longer there");
        assert!(next.ends_with("`kubectl get events -n n`"), "{next}");
        let there = (200, json!({ "metadata": {}, "status": { "phase": "Running" } }));
        let (why, _) = told(exit_with(there.clone(), None, Over::Lost("no stream".to_owned())).await);
        assert!(why.starts_with("there is no way to the pod `p`") && why.ends_with(": no stream"), "{why}");
        let right =
            Failure { code: Code::Configuration, text: "may not".to_owned(), next: Some("n".to_owned()) };
        assert_eq!(
            told(exit_with(there, None, Over::Denied(right)).await),
            ("may not".to_owned(), "n".to_owned())
        );
    }
}
