//! `publish`: ports of a session's server on this machine's loopback, from its first one to its end.
//!
//! The listeners outlive a lost server: what is accepted while another takes its place waits for that. Nobody but this
//! machine's own processes reaches them, and nothing of them is left when berth ends, however it does.

mod holder;

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::dock::ports::{CONNECTIONS, Caller, Link};
use crate::dock::spec::Spec;
use crate::observe::Trace;
use crate::values::PublishedPort;
use holder::{Family, Holder};

/// How often a port is asked for that another has.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
/// For so long a connection waits for a server that takes a lost one's place.
const SERVED_WITHIN: Duration = Duration::from_secs(30);
/// Where the system has no more files for a connection.
const PAUSE: Duration = Duration::from_millis(50);
/// The backend is asked who has the port; the person is told without it, too.
const KNOWN_WITHIN: Duration = Duration::from_secs(2);

/// Who knows the sessions of a backend.
pub trait Roster: fmt::Debug + Send + Sync {
    /// A session's name and its server, by berth's own id of it; `None`: it is nobody's whom this one knows.
    fn session(&self, id: String) -> BoxFuture<'_, Option<(String, String)>>;
}

/// A session's published ports.
#[derive(Debug)]
pub struct Published {
    server: String,
    ports: Vec<PublishedPort>,
    roster: Arc<dyn Roster>,
    /// The folder of berth's state.
    state: PathBuf,
    trace: Trace,
    caller: watch::Sender<Option<Caller>>,
    /// Places for connections that wait for a server; who comes then waits with the kernel.
    waiting: Arc<Semaphore>,
    begun: AtomicBool,
    over: CancellationToken,
}

impl Drop for Published {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

impl Published {
    /// Of a session whose settings have some.
    pub fn of(spec: &Spec, roster: Arc<dyn Roster>, state: PathBuf, trace: Trace) -> Option<Self> {
        let ports = spec.server.settings.publish.clone();
        (!ports.is_empty()).then(|| Self {
            server: spec.server.name.clone(),
            ports,
            roster,
            state,
            trace,
            caller: watch::Sender::default(),
            waiting: Arc::new(Semaphore::new(CONNECTIONS)),
            begun: AtomicBool::new(false),
            over: CancellationToken::new(),
        })
    }

    /// From now on, connections lead to this container. The first one begins to listen.
    pub fn lead_to(&self, link: &Link) {
        self.caller.send_replace(Some(link.caller()));
        if self.begun.swap(true, Ordering::Relaxed) {
            return;
        }
        for port in &self.ports {
            let publication = Publication {
                server: self.server.clone(),
                port: *port,
                roster: Arc::clone(&self.roster),
                state: self.state.clone(),
                trace: self.trace.clone(),
                caller: self.caller.subscribe(),
                waiting: Arc::clone(&self.waiting),
            };
            let over = self.over.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = over.cancelled() => {}
                    () = publication.serve() => {}
                }
            });
        }
    }
}

/// One port of them.
struct Publication {
    server: String,
    port: PublishedPort,
    roster: Arc<dyn Roster>,
    state: PathBuf,
    trace: Trace,
    caller: watch::Receiver<Option<Caller>>,
    waiting: Arc<Semaphore>,
}

impl Publication {
    async fn serve(self) {
        let Some(listener) = self.listen().await else { return };
        self.trace.note(None, "port published", &format!("127.0.0.1:{}", self.port.host), 0);
        // Whoever asks for `localhost` may mean this one. A machine without IPv6 has none.
        let other = match bind(Ipv6Addr::LOCALHOST.into(), self.port.host).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                let port = self.port.host;
                let holder = self.holder(Family::Six).await;
                self.trace.note(None, "port in use", &format!("[::1]:{port}: {holder}"), 0);
                tracing::warn!(
                    "server `{}` has its port at 127.0.0.1:{port} alone: {holder} has [::1]:{port}, where `localhost` may \
                     lead; write 127.0.0.1, or choose another in `publish`: \"HOST:{}\"",
                    self.server,
                    self.port.container
                );
                None
            }
            other => other.ok(),
        };
        loop {
            let Ok(place) = Arc::clone(&self.waiting).acquire_owned().await else { return };
            let accepted = match &other {
                Some(other) => tokio::select! {
                    accepted = listener.accept() => accepted,
                    accepted = other.accept() => accepted,
                },
                None => listener.accept().await,
            };
            match accepted {
                Ok((socket, _)) => self.lead(socket, place),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Asks for the port until it can be had. Who has it is told once.
    async fn listen(&self) -> Option<TcpListener> {
        let port = self.port.host;
        let mut is_told = false;
        loop {
            match bind(Ipv4Addr::LOCALHOST.into(), port).await {
                Ok(listener) => {
                    if is_told {
                        tracing::warn!(
                            "port 127.0.0.1:{port} is free now, and leads to this session's server `{}`",
                            self.server
                        );
                    }
                    return Some(listener);
                }
                Err(error) if error.kind() == ErrorKind::AddrInUse => {
                    if !is_told {
                        let holder = self.holder(Family::Any).await;
                        self.trace.note(None, "port in use", &format!("127.0.0.1:{port}: {holder}"), 0);
                        tracing::warn!(
                            "server `{}` runs without its port 127.0.0.1:{port}, which {holder} has; berth publishes it \
                             as soon as it is free",
                            self.server
                        );
                        is_told = true;
                    }
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
                Err(error) => {
                    tracing::warn!(
                        "server `{}` runs without its port 127.0.0.1:{port}: {error}; choose another in `publish`: \
                         \"HOST:{}\"",
                        self.server,
                        self.port.container
                    );
                    return None;
                }
            }
        }
    }

    /// Who has the port, in words.
    async fn holder(&self, family: Family) -> String {
        let (port, state) = (self.port.host, self.state.clone());
        let looked = tokio::task::spawn_blocking(move || Holder::of(port, family, &state)).await;
        let Ok(Some(Holder { pid, program, session })) = looked else {
            return "another program of this machine".to_owned();
        };
        let Some(session) = session else { return format!("`{program}` (pid {pid})") };
        let known = tokio::time::timeout(KNOWN_WITHIN, self.roster.session(session.clone())).await;
        match known.ok().flatten() {
            Some((name, server)) => format!("berth's session `{name}` of server `{server}` (pid {pid})"),
            None => format!("berth's session {session} (pid {pid})"),
        }
    }

    /// Beside the others: a connection that waits holds up none.
    fn lead(&self, socket: TcpStream, place: OwnedSemaphorePermit) {
        let (mut caller, port) = (self.caller.clone(), self.port.container);
        tokio::spawn(async move {
            let Ok(Some(caller)) = tokio::time::timeout(SERVED_WITHIN, live(&mut caller)).await else {
                return;
            };
            drop(place);
            let _ = socket.set_nodelay(true);
            caller.call(port, socket).await;
        });
    }
}

/// The way to the container that serves now; `None`: there will be none any more.
async fn live(caller: &mut watch::Receiver<Option<Caller>>) -> Option<Caller> {
    let is_live = |caller: &Option<Caller>| caller.as_ref().is_some_and(|caller| !caller.is_over());
    caller.wait_for(is_live).await.ok()?.clone()
}

async fn bind(address: IpAddr, port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((address, port)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::stderr::tests::Caught;

    #[derive(Debug)]
    struct Nobody;

    impl Roster for Nobody {
        fn session(&self, _: String) -> BoxFuture<'_, Option<(String, String)>> {
            Box::pin(std::future::ready(None))
        }
    }

    fn publication(port: u16) -> (Publication, watch::Sender<Option<Caller>>) {
        let (sender, caller) = watch::channel(None);
        let publication = Publication {
            server: "s".to_owned(),
            port: format!("{port}:80").parse().unwrap(),
            roster: Arc::new(Nobody),
            state: PathBuf::from("/nowhere"),
            trace: Trace::off(),
            caller,
            waiting: Arc::new(Semaphore::new(CONNECTIONS)),
        };
        (publication, sender)
    }

    async fn until(what: &str, is: impl Fn() -> bool) {
        let waited = async {
            while !is() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waited).await.unwrap_or_else(|_| panic!("{what}"));
    }

    /// How many connections the kernel keeps for a listener that has not accepted them.
    fn kept(port: u16) -> Option<usize> {
        let list = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let line =
            list.lines().find(|line| line.contains(&format!("0100007F:{port:04X} 00000000:0000 0A")))?;
        let (_, kept) = line.split_whitespace().nth(4)?.split_once(':')?;
        usize::from_str_radix(kept, 16).ok()
    }

    #[tokio::test]
    async fn while_no_server_is_there_no_more_wait_than_it_may_have() {
        let (publication, _caller) = publication(22440);
        let serving = tokio::spawn(publication.serve());
        until("it listens", || kept(22440).is_some()).await;
        let mut clients = Vec::new();
        for _ in 0..300 {
            clients.push(TcpStream::connect(("127.0.0.1", 22440)).await.unwrap());
        }
        until("the others wait with the kernel", || kept(22440) == Some(300 - CONNECTIONS)).await;
        serving.abort();
    }

    #[tokio::test]
    async fn whoever_has_the_other_address_of_the_loopback_is_told() {
        let Ok(_theirs) = bind(Ipv6Addr::LOCALHOST.into(), 22441).await else { return };
        let (stderr, caught) = Caught::sink();
        let _logging = tracing::subscriber::set_default(crate::logging::subscriber(None, &stderr));
        let (publication, _caller) = publication(22441);
        let serving = tokio::spawn(publication.serve());
        let told = format!("(pid {}) has [::1]:22441", std::process::id());
        until("it is told", || caught.so_far().contains(&told)).await;
        assert!(caught.so_far().contains("server `s` has its port at 127.0.0.1:22441 alone"));
        serving.abort();
    }
}
