//! `host_services` and `publish` in a pod: one more stream of the session's, for TCP connections between ports of the pod
//! and this machine's loopback (`dock::ports`).
//!
//! It is an exec of `keeper ports` in the server's container, whose command says ports and nothing else. A cut ends the
//! connections on it, and another one is opened for as long as the session has the pod. It keeps nothing alive.

mod stream;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::ListParams;
use mcp_berth::backend::publish::{Published, Roster};
use mcp_berth::config::Kubernetes;
use mcp_berth::dock::ports::{self, Link};
use mcp_berth::dock::spec::Spec;
use mcp_berth::observe::trace::Trace;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::cluster::Cluster;
use super::keeper::KEEPER;
use super::pod::{ANNOTATION_SESSION, LABEL_MANAGED_BY, LABEL_SERVER, MANAGER};
use super::pump::{Place, What};
use stream::Carrier;

/// A server waits for its ports no longer than this.
const AWAITED: Duration = Duration::from_secs(5);
/// One try.
const JOINED_WITHIN: Duration = Duration::from_secs(15);
/// Between two tries.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A stream that lasted so long is a good one: the next is opened without delay.
const GOOD: Duration = Duration::from_secs(5);
/// A cut that heals sooner is no news.
const TOLD_AFTER: Duration = Duration::from_secs(10);

/// What joins a pod's ports with this machine's.
pub(crate) struct Joining {
    pub(crate) client: Client,
    pub(crate) place: Place,
    pub(crate) spec: Arc<Spec>,
    pub(crate) published: Option<Arc<Published>>,
    /// Notified whenever another stream to the same pod was cut.
    pub(crate) doubts: Arc<Notify>,
    pub(crate) trace: Trace,
}

/// Held for as long as the ports are to be joined.
#[derive(Debug)]
pub(crate) struct Ports(#[expect(dead_code, reason = "it is only held")] AbortOnDropHandle<()>);

/// Has the ports joined once the container runs, and its server wait for them.
#[derive(Debug)]
pub(crate) struct Gate {
    begin: oneshot::Sender<()>,
    joined: watch::Receiver<bool>,
}

impl Gate {
    /// Resolves when they are, or after a while: without them a server may do something yet.
    pub(crate) async fn open(mut self) {
        let _ = self.begin.send(());
        let _ = tokio::time::timeout(AWAITED, self.joined.wait_for(|joined| *joined)).await;
    }
}

impl Joining {
    /// `None`: its server has no such ports.
    pub(crate) fn begin(self) -> Option<(Ports, Gate)> {
        if !self.spec.server.settings.has_ports() {
            return None;
        }
        let (begin, wanted) = oneshot::channel();
        let (tell, joined) = watch::channel(false);
        let task = async move {
            if wanted.await.is_ok() {
                self.run(tell).await;
            }
        };
        Some((Ports(AbortOnDropHandle::new(tokio::spawn(task))), Gate { begin, joined }))
    }

    async fn run(self, joined: watch::Sender<bool>) {
        let server = &self.spec.server.name;
        let (mut pause, mut lost, mut is_told) = (FIRST_PAUSE, Instant::now(), false);
        loop {
            let began = std::time::Instant::now();
            let tried = tokio::time::timeout(JOINED_WITHIN, self.join());
            match tried.await.unwrap_or_else(|_| Err("no answer".to_owned())) {
                Ok((link, _carrier)) => {
                    self.trace.step("join its ports", began, server);
                    if std::mem::take(&mut is_told) {
                        tracing::warn!("server `{server}` has its `host_services` and `publish` again");
                    }
                    if let Some(published) = &self.published {
                        published.lead_to(&link);
                    }
                    joined.send_replace(true);
                    let caller = link.caller();
                    loop {
                        tokio::select! {
                            () = caller.over() => break,
                            // What was cut together with the last one has nothing to do with this one.
                            () = self.doubts.notified() => if began.elapsed() >= GOOD { break },
                        }
                    }
                    self.trace.note(None, "ports cut", server, 0);
                    lost = Instant::now();
                    if began.elapsed() >= GOOD {
                        pause = FIRST_PAUSE;
                    }
                }
                Err(why) => {
                    tracing::debug!("cannot join the ports of `{server}`: {why}");
                    if lost.elapsed() >= TOLD_AFTER && !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(
                            "server `{server}` has no `host_services` and `publish` at the moment: {why}; berth goes on \
                             trying"
                        );
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn join(&self) -> Result<(Link, Carrier), String> {
        let server = &self.spec.server;
        let words = ports::words(&server.settings);
        let words = words.iter().map(String::as_str);
        // A cut that the pod does not know of has left one there.
        let command: Vec<&str> = [KEEPER].into_iter().chain(words).chain(["--instead"]).collect();
        let opened = self.place.open(&self.client, What::Exec(&command)).await;
        let (to, from) = opened.map_err(|error| error.to_string())?;
        let (carrier, from, to) = Carrier::begin(to, from);
        let whose = (server.name.as_str(), &server.settings);
        let link = ports::over((from, to), whose, &self.trace).await;
        Ok((link.map_err(|why| why.as_str().to_owned())?, carrier))
    }
}

/// Knows the sessions of a cluster's pods.
#[derive(Debug)]
pub(crate) struct Sessions(pub(crate) Arc<Kubernetes>);

impl Roster for Sessions {
    fn session(&self, id: String) -> BoxFuture<'_, Option<(String, String)>> {
        Box::pin(async move {
            let cluster = Cluster::connect(&self.0).await.ok()?;
            let ours = ListParams::default().labels(&format!("{LABEL_MANAGED_BY}={MANAGER}"));
            let pods = cluster.pods().list(&ours).await.ok()?;
            named(&pods.items, &id)
        })
    }
}

/// Name and server of a session's pod.
fn named(pods: &[Pod], session: &str) -> Option<(String, String)> {
    pods.iter().find_map(|pod| {
        let is_its = pod.metadata.annotations.as_ref()?.get(ANNOTATION_SESSION)? == session;
        let server = pod.metadata.labels.as_ref()?.get(LABEL_SERVER)?.clone();
        is_its.then_some((pod.metadata.name.clone()?, server))
    })
}

#[cfg(test)]
mod tests {
    use mcp_berth::config::{Server, Settings};
    use serde_json::json;

    use super::*;
    use crate::fake;

    fn settings(services: &[&str]) -> Settings {
        let mut settings = fake::settings();
        settings.host_services = services.iter().map(|service| service.parse().unwrap()).collect();
        settings
    }

    #[test]
    fn a_session_is_found_by_its_id() {
        let pod = |name: &str, session: &str| -> Pod {
            let metadata = json!({
                "name": name, "labels": { LABEL_SERVER: "s" }, "annotations": { ANNOTATION_SESSION: session },
            });
            serde_json::from_value(json!({ "metadata": metadata })).unwrap()
        };
        let pods = [Pod::default(), pod("a", "1"), pod("b", "2")];
        assert_eq!(named(&pods, "2"), Some(("b".to_owned(), "s".to_owned())));
        assert_eq!(named(&pods, "3"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_without_ports_has_no_stream_and_one_waits_no_longer_than_it_may() {
        let (cluster, seen) = fake::cluster(|_| (503, fake::status(503, "no")));
        let joining = |services: &[&str]| {
            let server = Server::from_image("i".parse().unwrap(), Vec::new(), &settings(services));
            Joining {
                client: cluster.client.clone(),
                place: cluster.place("p"),
                spec: Arc::new(Spec::new(server, "c", "s")),
                published: None,
                doubts: Arc::default(),
                trace: Trace::off(),
            }
        };
        assert!(joining(&[]).begin().is_none());
        let (ports, gate) = joining(&["5432"]).begin().unwrap();
        let began = Instant::now();
        gate.open().await;
        assert_eq!(began.elapsed(), AWAITED);
        let uri = seen.lock().unwrap()[0].1.clone();
        assert!(uri.contains("/pods/p/exec?container=server&stdin=true&stdout=true&command="), "{uri}");
        assert!(
            uri.ends_with("keeper&command=ports&command=--listen&command=5432&command=--instead"),
            "{uri}"
        );
        drop(ports);
        let asked = seen.lock().unwrap().len();
        tokio::time::sleep(LONGEST_PAUSE * 2).await;
        assert!(asked < 10 && seen.lock().unwrap().len() == asked, "it ends with its session");
    }
}
