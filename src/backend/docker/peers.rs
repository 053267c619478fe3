//! The network that the servers of one session share: a container of its own holds it, and is made with the first of them.
//!
//! It has a lifeline as each of them, and ends with the session. Where it ends before, all of them are lost with it: what
//! they would go on in has no way out, and nobody can join it. The next one that starts makes another.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::again::Setback;
use super::refused::Watch;
use crate::config::{Server, Settings};
use crate::dock::LeaseError;
use crate::dock::docker::Engine;
use crate::dock::lease::{self, Lease};
use crate::dock::owner::new_session;
use crate::dock::peers::{HOLDER, NetworkOf, service_names};
use crate::dock::refused::List;
use crate::dock::spec::Spec;
use crate::dock::wire::Wire;
use crate::failure::{Code, Failure};
use crate::observe::trace::Trace;
use crate::values::Network;

/// The keeper needs no more (bytes, processes).
const MEMORY: u64 = 32 << 20;
const PIDS: u32 = 8;
/// The same in each image. It has no rights that a server lacks.
const NOBODY: &str = "65534:65534";

/// After its lifeline is closed, how long the holder is watched going.
const GONE_WITHIN: Duration = Duration::from_secs(1);

/// The servers of a session that share a network.
#[derive(Debug, Clone)]
pub struct Peers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The holder's, but for its image.
    server: Server,
    names: BTreeSet<String>,
    /// Who makes it has the lock: the others wait for it.
    holder: Mutex<Option<Arc<Holder>>>,
}

/// The container that holds the network.
#[derive(Debug)]
struct Holder {
    container: String,
    close: CancellationToken,
    over: CancellationToken,
    /// Somebody has ended it from outside.
    is_ended: AtomicBool,
}

impl Peers {
    /// For a session of `profile`; all of `servers` have the same network.
    pub fn new(profile: &str, servers: &[Server]) -> Self {
        let network = servers.first().map(|server| server.settings.network.clone()).unwrap_or_default();
        let own = servers.iter().flat_map(|server| [Some(&server.name), server.alias.as_ref()]);
        let services = servers.iter().flat_map(|server| service_names(&server.settings));
        let names = own.flatten().cloned().chain(services).collect();
        let server = holder(profile, network);
        Self(Arc::new(Inner { server, names, holder: Mutex::default() }))
    }

    /// The network that is there, or a new one beside `spec`, whose image it is made of; `declared` are that image's volumes in
    /// a container of a server's.
    pub(super) async fn join(
        &self,
        engine: &Engine,
        spec: &Spec,
        declared: impl FnOnce(&Server) -> Result<Vec<String>, LeaseError>,
        trace: &Trace,
    ) -> Result<Joined, Setback> {
        let mut present = self.0.holder.lock().await;
        if let Some(holder) = present.as_ref().filter(|holder| !holder.over.is_cancelled()) {
            return Ok(Joined(Some(Arc::clone(holder))));
        }
        let began = Instant::now();
        let spec = self.spec_of(spec, declared)?;
        let lease = Lease::create(engine, Wire::connect(engine.endpoint()).await?, &spec).await?;
        trace.step("make the network of its peers", began, lease.container());
        let holder = Arc::new(Holder {
            container: lease.container().to_owned(),
            close: CancellationToken::new(),
            over: CancellationToken::new(),
            is_ended: AtomicBool::new(false),
        });
        let list = List::new(&spec.server.settings, lease.place());
        tokio::spawn(hold(Arc::clone(&holder), engine.clone(), spec.client, lease, list));
        *present = Some(Arc::clone(&holder));
        Ok(Joined(Some(holder)))
    }

    fn spec_of(
        &self,
        of: &Spec,
        declared: impl FnOnce(&Server) -> Result<Vec<String>, LeaseError>,
    ) -> Result<Spec, Setback> {
        let Inner { server, names, .. } = &*self.0;
        let mut server = Server { image: of.server.image.clone(), ..server.clone() };
        // A slow daemon is slow for it, too.
        server.settings.start_timeout = of.server.settings.start_timeout;
        let session = new_session().map_err(|error| Failure::new(Code::Internal, &error, "try again"))?;
        let declared = declared(&server)?;
        Ok(Spec {
            client_session: of.client_session.clone(),
            project: of.project.clone(),
            parent: of.parent.clone(),
            image: of.image.clone(),
            declared,
            looked_at: of.looked_at,
            attempt: of.attempt,
            network_of: NetworkOf::Itself { names: names.clone() },
            ..Spec::new(server, &of.client, &session)
        })
    }

    /// Ends it with its session; resolves when nothing is left of it, or after a moment.
    pub async fn close(&self) {
        let closing = async {
            let Some(holder) = self.0.holder.lock().await.take() else { return };
            holder.close.cancel();
            holder.over.cancelled().await;
        };
        let _ = tokio::time::timeout(GONE_WITHIN, closing).await;
    }
}

/// What runs in a holder is the keeper alone.
fn holder(profile: &str, network: Network) -> Server {
    let mut settings = Settings::default();
    settings.network = network;
    (settings.memory, settings.pids, settings.read_only) = (MEMORY, PIDS, true);
    settings.user = Some(NOBODY.to_owned());
    settings.tmpfs.clear();
    settings.stop_grace = Duration::ZERO;
    let name = format!("{HOLDER}{profile}");
    Server {
        name,
        alias: None,
        image: String::new(),
        digests: Vec::new(),
        command: None,
        args: None,
        recipe: None,
        settings,
    }
}

/// Holds it until the session, or the container, ends.
async fn hold(holder: Arc<Holder>, engine: Engine, client: String, lease: Lease, list: Option<List>) {
    let watch = list.map(|list| Watch::new(engine.clone(), holder.container.clone(), list));
    let mut lifeline = lease.into_lifeline();
    let beside = async {
        if let Err(error) = lease::name(&engine, &holder.container, &client).await {
            // It is ours by its lifeline; it only keeps its first name.
            tracing::debug!("{}", Failure::from(error).message());
        }
        match &watch {
            Some(watch) => watch.follow().await,
            None => std::future::pending().await,
        }
    };
    let is_closed = tokio::select! {
        () = lifeline.ended() => false,
        () = holder.close.cancelled() => true,
        () = beside => false,
    };
    if is_closed {
        if let Some(watch) = &watch {
            // What is told goes with the container.
            watch.finish().await;
        }
        let _ = lifeline.close().await;
        let _ = tokio::time::timeout(GONE_WITHIN, lifeline.ended()).await;
    }
    holder.is_ended.store(lifeline.is_ended(), Ordering::Relaxed);
    holder.over.cancel();
}

/// A server's part of a network; of none, where it has its own.
#[derive(Debug, Clone, Default)]
pub(super) struct Joined(Option<Arc<Holder>>);

impl Joined {
    /// For the container of whoever joins.
    pub(super) fn network_of(&self) -> NetworkOf {
        match &self.0 {
            Some(holder) => NetworkOf::Holder(holder.container.clone()),
            None => NetworkOf::default(),
        }
    }

    /// Resolves when the network has ended. Cancel safe.
    pub(super) async fn over(&self) {
        match &self.0 {
            Some(holder) => holder.over.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Whether there was one, and it has ended.
    pub(super) fn is_over(&self) -> bool {
        self.0.as_ref().is_some_and(|holder| holder.over.is_cancelled())
    }

    /// Whether somebody has ended the network from outside.
    pub(super) fn is_ended(&self) -> bool {
        self.0.as_ref().is_some_and(|holder| holder.is_ended.load(Ordering::Relaxed))
    }

    /// What has kept a server from joining. That the network has ended in this moment passes: the next try makes another.
    pub(super) fn setback(&self, setback: Setback) -> Setback {
        match (&self.0, setback) {
            (Some(holder), Setback::Lasting(failure))
                if !holder.is_ended.load(Ordering::Relaxed)
                    && (holder.over.is_cancelled() || failure.text.contains(&holder.container)) =>
            {
                Setback::Passing(failure)
            }
            (_, setback) => setback,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined() -> Joined {
        Joined(Some(Arc::new(Holder {
            container: "c0ffee".to_owned(),
            close: CancellationToken::new(),
            over: CancellationToken::new(),
            is_ended: AtomicBool::new(false),
        })))
    }

    fn lasting(text: &str) -> Setback {
        Setback::Lasting(Failure { code: Code::Unavailable, text: text.to_owned(), next: None })
    }

    #[test]
    fn a_network_that_has_ended_is_no_reason_to_give_up() {
        let is_passing = |joined: &Joined, text| matches!(joined.setback(lasting(text)), Setback::Passing(_));
        let joined = joined();
        assert!(!is_passing(&joined, "the container was not let run"));
        // The engine says so before the lifeline does.
        assert!(is_passing(&joined, "cannot join network of a non running container: c0ffee"));
        joined.0.as_ref().unwrap().over.cancel();
        assert!(is_passing(&joined, "the container was not let run"));
        assert!(!is_passing(&Joined::default(), "c0ffee"), "it has its own");
        joined.0.as_ref().unwrap().is_ended.store(true, Ordering::Relaxed);
        assert!(!is_passing(&joined, "the container was not let run"), "a person has ended it");
    }

    #[tokio::test]
    async fn a_server_with_a_network_of_its_own_never_loses_it() {
        use futures::FutureExt;
        assert_eq!((Joined::default().over().now_or_never(), Joined::default().is_ended()), (None, false));
        let joined = joined();
        assert_eq!(joined.over().now_or_never(), None);
        joined.0.as_ref().unwrap().over.cancel();
        assert_eq!(joined.over().now_or_never(), Some(()));
    }

    #[test]
    fn all_names_of_all_servers_lead_to_the_network_itself() {
        let server = |name: &str, alias: Option<&str>| {
            let image = "i".parse().unwrap();
            let server = Server::from_image(image, Vec::new(), &Settings::default());
            Server { name: name.to_owned(), alias: alias.map(str::to_owned), ..server }
        };
        let mut redis = server("cache", None);
        redis.settings.host_services = vec!["redis:6379".parse().unwrap()];
        let Inner { server, names, .. } = &*Peers::new("work", &[server("github", Some("gh")), redis]).0;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(names, ["cache", "gh", "github", "host.docker.internal", "redis"]);
        assert_eq!((server.name.as_str(), &server.settings.network), ("peers:work", &Network::Egress));
    }
}
