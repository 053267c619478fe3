//! From a configured server to a running one: connections, image, container, process, with as many steps at once as
//! possible.

mod server;

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::again::{self, Setback};
use super::image::{self, Found, Image};
use super::newest::Newest;
use super::peers::{Joined, Peers};
use super::plan::{DockerPlan, in_time};
use super::protect::protect;
use super::reach::connect;
use super::turn::Starting;

use super::hold::Hold;
use super::housekeeping::{Housekeeping, Made};
use super::upstream::{DockerUpstream, Limits};
use crate::backend::caller::Caller;
use crate::backend::plan::Replenishing;
use crate::backend::publish::Published;
use crate::config::{Server, Settings};
use crate::dock::LeaseError;
use crate::dock::docker::Engine;
use crate::dock::door::Doors;
use crate::dock::lease::Lease;
use crate::dock::place::Place;
use crate::dock::refused::List;
use crate::dock::spec::Spec;
use crate::dock::standby::{self, Standby};
use crate::dock::streams::Streams;
use crate::dock::wire::Wire;
use crate::failure::Failure;
use crate::observe::event::Up;
use crate::observe::trace::Trace;
use crate::secrets::Secrets;
use server::Running;

/// The step of a start in which the server's pipes come.
pub(crate) const BY_PIPES: &str = "take the server's pipes";

/// A connection that has been silent for so long may be no connection any more.
const SILENT: Duration = Duration::from_secs(20);

/// Starts the server in a container of its own. Begins before the client has said anything; only the container waits for
/// that, for its name says whose it is.
///
/// At a session's beginning it is tried again for `connect_timeout`; later the session itself tries again.
pub async fn start(
    mut plan: DockerPlan,
    said: oneshot::Receiver<Option<String>>,
    trace: Trace,
) -> Result<DockerUpstream, Failure> {
    let began = Instant::now();
    let mut caller = Caller::new(&plan, said);
    let within = if plan.is_first { plan.spec.server.settings.connect_timeout } else { Duration::ZERO };
    let guard = protect(&mut plan).await?;
    let secrets = plan.secrets.clone();
    let starting = again::until_done(within, async || {
        // A name of its own: the container of the try before may still be there.
        plan.spec.attempt = plan.containers.fetch_add(1, Ordering::Relaxed);
        attempt(&plan, &mut caller, &trace, began).await
    });
    let upstream = match &secrets {
        None => starting.await?,
        // Without them nothing is begun that would have to be thrown away.
        Some(secrets) => tokio::try_join!(secrets.read(), starting)?.1,
    };
    Ok(upstream.guarded(guard))
}

async fn attempt(
    plan: &DockerPlan,
    caller: &mut Caller,
    trace: &Trace,
    began: Instant,
) -> Result<DockerUpstream, Setback> {
    let secrets = plan.secrets.clone();
    // A person who unlocks something has time of their own.
    let patience = secrets.as_ref().map(Secrets::patience).unwrap_or_default();
    let timeout = plan.spec.server.settings.start_timeout + patience;
    let server = plan.spec.server.name.clone();
    let engine = Engine::new(plan.endpoint.clone());
    let ready = tokio::try_join!(look_for_standby(plan, caller, trace), image::have(plan, &engine, trace))?;
    let ((mut spec, mut wire, standby, has_waited), Found { wire: mut exec_wire, image, is_new }) = ready;
    if has_waited {
        exec_wire = connect(plan, trace, "connect again").await?;
    }
    if is_new {
        // The other one has been silent for as long as that took.
        wire = connect(plan, trace, "connect again").await?;
    }
    let Some(image) = image else { return Err(LeaseError::NoImage(plan.spec.server.image.clone()).into()) };
    let argv = match &plan.spec.server.command {
        Some(command) => [command.as_slice(), plan.spec.server.args.as_deref().unwrap_or_default()].concat(),
        None => image.command(&plan.spec.server)?,
    };
    spec.declared = image.declared(&plan.spec.server)?;
    spec.image.clone_from(&image.id);
    plan.ran.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&image.id);
    let tell_nameservers = plan.tell_nameservers;
    let (is_own, state, trace) = (plan.inquiry.is_some(), plan.state.clone(), trace.clone());
    let doors = plan.doors.clone();
    let (published, peers) = (plan.published.clone(), plan.peers.clone());
    let newest = plan.renew.then(|| Newest::of(plan));
    let (replenishing, starting) = (plan.replenishing, Arc::new(Starting::begin(&plan.state)));
    let start = Start {
        began,
        engine,
        spec,
        secrets,
        argv,
        image,
        tell_nameservers,
        is_own,
        state,
        doors,
        newest,
        replenishing,
        starting,
        trace,
        published,
        peers,
    };
    in_time(timeout, "server", &server, Box::pin(start.run(wire, exec_wire, standby))).await
}

/// A start that has found out all it must know.
struct Start {
    began: Instant,
    engine: Engine,
    spec: Spec,
    secrets: Option<Secrets>,
    argv: Vec<String>,
    image: Image,
    tell_nameservers: bool,
    is_own: bool,
    state: PathBuf,
    doors: Option<Doors>,
    newest: Option<Newest>,
    replenishing: Replenishing,
    starting: Arc<Starting>,
    trace: Trace,
    published: Option<Arc<Published>>,
    peers: Option<Peers>,
}

impl Start {
    async fn run(
        self,
        wire: Wire,
        exec_wire: Wire,
        standby: Vec<Standby>,
    ) -> Result<DockerUpstream, Setback> {
        let (wire, claimed) = self.claim(wire, standby).await?;
        let Some(claimed) = claimed else { return self.cold(wire, exec_wire).await };
        let began = Instant::now();
        let taken = if self.spec.server.settings.prestart {
            self.take_server(&claimed, wire, exec_wire).await
        } else {
            self.take(&claimed, wire, exec_wire).await
        };
        match taken {
            Ok(upstream) => {
                self.trace.step("take over the container", began, claimed.id());
                Ok(upstream)
            }
            Err(setback) => {
                let failure = Failure::from(setback);
                // It may have come to its end in this moment; there is still the other way.
                tracing::warn!("cannot use the standby container `{}`: {failure}", claimed.name());
                drop(self.engine.remove(claimed.id()).await);
                let (wire, exec_wire) = tokio::try_join!(
                    Wire::connect(self.engine.endpoint()),
                    Wire::connect(self.engine.endpoint())
                )?;
                self.cold(wire, exec_wire).await
            }
        }
    }

    /// Claims the first of `standby` that can be had.
    async fn claim(&self, mut wire: Wire, standby: Vec<Standby>) -> Result<(Wire, Option<Standby>), Setback> {
        // A server that runs already has pipes, which come through its door alone.
        let is_out_of_reach = |candidate: &Standby| {
            self.spec.server.settings.prestart && candidate.has_door() && self.spec.doors.is_none()
        };
        let fit = |candidate: &Standby| candidate.is_of(&self.image.id) && !is_out_of_reach(candidate);
        for candidate in standby.into_iter().filter(fit) {
            let began = Instant::now();
            match candidate.claim(&mut wire).await {
                Ok(true) => {
                    self.trace.step("claim a container on standby", began, candidate.name());
                    return Ok((wire, Some(candidate)));
                }
                Ok(false) => {
                    self.trace.step(
                        "lose a container on standby to another session",
                        began,
                        candidate.name(),
                    );
                }
                Err(error) => {
                    tracing::warn!("cannot claim a standby container: {}", Failure::from(error));
                    return Ok((Wire::connect(self.engine.endpoint()).await?, None));
                }
            }
        }
        Ok((wire, None))
    }

    /// A container of its own, made now.
    async fn cold(mut self, wire: Wire, exec_wire: Wire) -> Result<DockerUpstream, Setback> {
        let mut joined = Joined::default();
        if let Some(peers) = &self.peers {
            let declared = |server: &Server| self.image.declared(server);
            joined = peers.join(&self.engine, &self.spec, declared, &self.trace).await?;
            self.spec.network_of = joined.network_of();
        }
        let made = self.make(wire, exec_wire).await.map_err(|setback| joined.setback(setback));
        Ok(made?.among(joined))
    }

    async fn make(&self, wire: Wire, exec_wire: Wire) -> Result<DockerUpstream, Setback> {
        let began = Instant::now();
        let mut lease = Lease::create(&self.engine, wire, &self.spec).await?;
        self.trace.step("create, start and attach", began, lease.container());
        let link = self.join_ports(lease.container(), lease.place()).await?;
        let door = lease.take_door();
        let server = self.exec(exec_wire, lease.container(), lease.place(), door).await?;
        Ok(self.up(lease, server, Made::Now).await.joined(link))
    }

    async fn take(&self, standby: &Standby, wire: Wire, exec_wire: Wire) -> Result<DockerUpstream, Setback> {
        let taking = async { Ok::<_, Setback>(standby.take(wire, &self.spec.owner()).await?) };
        let running = async {
            let link = self.join_ports(standby.id(), standby.place()).await?;
            let door = self.door_of(standby);
            Ok((link, self.exec(exec_wire, standby.id(), standby.place(), door).await?))
        };
        let (lease, (link, server)) = tokio::try_join!(taking, running)?;
        Ok(self.up(lease, server, Made::Before).await.joined(link))
    }

    async fn up(&self, lease: Lease, server: Running, made: Made) -> DockerUpstream {
        let (container, place) = (lease.container().to_owned(), lease.place().clone());
        let mut hold =
            Hold::Lifeline { lifeline: lease.into_lifeline(), exec: server.exec, owner: self.spec.owner() };
        if server.streams.is_direct() {
            // Where processes are listed. The claim was made before that was known.
            hold.introduce(|owner| owner.is_direct = true).await;
        }
        self.upstream(container, &place, server.streams, hold, made).behind(server.door)
    }

    fn upstream(
        &self,
        container: String,
        place: &Place,
        streams: Streams,
        hold: Hold,
        made: Made,
    ) -> DockerUpstream {
        let mut spec = self.spec.clone();
        if spec.server.settings.prestart && streams.why_not.is_some() {
            // The next one's server is started with the streams that it will have.
            spec.doors = None;
        }
        let housekeeping = Housekeeping {
            engine: self.engine.clone(),
            container: container.clone(),
            spec,
            image: self.image.id.clone(),
            argv: self.argv.clone(),
            tell_nameservers: self.tell_nameservers,
            is_own: self.is_own,
            state: self.state.clone(),
            doors: self.doors.clone(),
            newest: self.newest.clone(),
            replenishing: self.replenishing,
            trace: self.trace.clone(),
            // A network that is shared has a list of its own.
            refused: self.peers.is_none().then(|| List::new(&self.spec.server.settings, place)).flatten(),
        };
        let Spec { server, client, attempt, .. } = &self.spec;
        let how = match made {
            Made::Now => "cold",
            Made::Before if server.settings.prestart => "prestarted",
            Made::Before => "standby",
        };
        self.trace
            .up(self.began, &Up { how, server: &server.name, client, container: &container, lost: *attempt });
        let Settings { memory, isolation, .. } = server.settings;
        let limits = Limits { memory, isolation };
        let housekeeping = housekeeping.start(made, self.starting.clone());
        DockerUpstream::new(self.engine.clone(), container, streams, hold, limits, housekeeping)
    }
}

/// Connects, learns who the client is, takes a place for it, and asks what stands by. The last says whether it had to wait so
/// long that connections may be none any more.
async fn look_for_standby(
    plan: &DockerPlan,
    caller: &mut Caller,
    trace: &Trace,
) -> Result<(Spec, Wire, Vec<Standby>, bool), Setback> {
    let wire = connect(plan, trace, "connect for the container").await;
    // Not before it is needed: a name that comes meanwhile is the client's.
    let client = caller.client().await?;
    let mut wire = wire?;
    let waits = Instant::now();
    plan.admit(&client).await.map_err(|failure| {
        trace.audit("over a ceiling", &failure.text);
        Setback::Lasting(failure)
    })?;
    let has_waited = waits.elapsed() >= SILENT;
    if has_waited {
        wire = connect(plan, trace, "connect again").await?;
    }
    let spec = plan.spec_of(&client);
    if plan.spec.server.settings.standby.is_none() {
        return Ok((spec, wire, Vec::new(), has_waited));
    }
    let began = Instant::now();
    let timeout = plan.spec.server.settings.start_timeout;
    let looking = async { Ok(standby::find(&mut wire, &spec).await?) };
    match in_time(timeout, "container", &spec.server.name, looking).await {
        Ok(standby) => {
            trace.step("look for a container on standby", began, &format!("{} found", standby.len()));
            Ok((spec, wire, standby, has_waited))
        }
        Err(setback) => {
            tracing::warn!("cannot list the containers on standby: {}", Failure::from(setback));
            Ok((spec, Wire::connect(&plan.endpoint).await?, Vec::new(), has_waited))
        }
    }
}
