//! A session's claim on a container, and the lifeline that ends the container with its owner.
//!
//! berth creates, starts and attaches to the container in **one write**. The daemon gets all three requests or none, so
//! a proxy that is killed in between leaves no container that never started. So the daemon must know the container by
//! name before it exists. The name must be unique: on a conflict the two later requests would start and attach to
//! another session's container. Hence `mcp-<client>-<session>.starting` first, and a rename to the lowest free
//! `mcp-<client>-<n>` after. The rename is atomic in the daemon; a label never locks.
//!
//! Over TCP the daemon learns of our death with its second answer at the earliest. Over a Unix socket its first answer
//! already fails, and it drops the requests behind it. A kill during the creation then leaves a container that never
//! started, for `roster::sweep`. DinD daemons of our own are always reached by TCP. Who ends in an ordinary way waits for
//! what has begun ([`settled`]): a slow daemon dropped the requests behind its first answer over TCP, too.

pub(super) mod error;
mod making;

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::Path;

use bytes::BytesMut;
use futures::FutureExt;
use memchr::memmem;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::dial::Stream;
use super::docker::{DockerError, Engine, Listed};
use super::door::{Door, Doors};
use super::keeper;
use super::labels::STANDBY;
use super::owner::Owner;
use super::place::Place;
use super::protocol::volumes::{HELD, UNFINISHED};
use super::protocol::{ENDED_LINE, REFUSED, UNPROTECTED_LINE};
use super::spec::Spec;
use super::volume;
use super::wire::{Request, Wire};
use crate::values::Network;

pub(super) use error::LeaseError;
pub use making::settled;

pub(super) use error::is_about_the_door;
use error::{MAX_NUMBER, is_keeper_missing, is_runtime_missing, not_let_run};

const CREATE: &str = "create the container";
const START: &str = "start the container";
/// What the daemon says of a mount whose source it doesn't have.
pub const NO_SOURCE: &str = "bind source path does not exist";

/// A running container that is ours alone. Dropping it closes the lifeline, and the container ends.
#[derive(Debug)]
pub struct Lease {
    container: String,
    place: Place,
    door: Option<Door>,
    lifeline: Lifeline,
}

/// The connection to PID 1's standard input. While it is open, the container lives.
#[derive(Debug)]
pub struct Lifeline {
    stream: Stream,
    /// Somebody has ended the session from outside.
    is_ended: bool,
}

/// Of a daemon whose runtime knows of no networks.
fn not_without_networks(network: &Network) -> Result<(), LeaseError> {
    match network {
        Network::Allow(_) => return Err(LeaseError::NoForwarder),
        Network::Egress => tracing::warn!(
            "a former berth made the DinD daemon: this server can reach the local network until `berth up`"
        ),
        _ => {}
    }
    Ok(())
}

impl Lease {
    /// Creates, starts and attaches to a container of `spec`, which nobody else can claim.
    ///
    /// Cancel safe: what has begun comes to its end all the same, and the container ends with the lease. The daemon starts no
    /// container whose maker goes in between, and nothing would remove it. [`settled`] waits for that.
    pub async fn create(engine: &Engine, wire: Wire, spec: &Spec) -> Result<Self, LeaseError> {
        let (engine, spec) = (engine.clone(), spec.clone());
        making::to_its_end(async move { Self::make(&engine, wire, &spec).await }).await
    }

    async fn make(engine: &Engine, wire: Wire, spec: &Spec) -> Result<Self, LeaseError> {
        let mut lease = Self::begin(engine, wire, spec).await?;
        if volume::written(&spec.server.settings).next().is_some() {
            // Where that fails, the lease is dropped, and the container ends.
            volume::enter::enter(engine, &mut lease.lifeline.stream, &lease.container, spec).await?;
        }
        Ok(lease)
    }

    async fn begin(engine: &Engine, wire: Wire, spec: &Spec) -> Result<Self, LeaseError> {
        let place = Place::new()?;
        let mut door = spec.door(&place);
        let mut attempt = Self::attempt(engine, wire, spec, &place, door.as_ref(), None).await;
        let again = async |spec: &Spec, door: Option<&Door>, runtime: Option<&str>| {
            let wire = Wire::connect(engine.endpoint()).await?;
            Self::attempt(engine, wire, spec, &place, door, runtime).await
        };
        let mut runtime = None;
        let mut spec = Cow::Borrowed(spec);
        let is_refused = |attempt: &Result<Self, DockerError>| {
            attempt.as_ref().is_err_and(|error| is_about_the_door(error, &place))
        };
        if door.is_some() && is_refused(&attempt) {
            engine.remove(&spec.starting_name()).await?;
            if matches!(attempt, Err(DockerError::Refused { op: START, .. })) {
                // It is below the keeper's, whose volume may be empty.
                keeper::fill(engine, spec.judged_image(), spec.server.settings.isolation).await?;
                attempt = again(&spec, door.as_ref(), None).await;
            }
            if is_refused(&attempt) {
                // The daemon has no such folder, or another one: it is on another machine, or of a former berth's making.
                engine.remove(&spec.starting_name()).await?;
                spec.doors.iter().for_each(Doors::forget);
                door = None;
                attempt = again(&spec, None, None).await;
            }
        }
        // A daemon that a former berth has made: its sessions may go on for long. Nobody gets less isolation than was asked for.
        let mut missing = keeper::RUNTIME;
        for (former, knows_networks) in keeper::FORMER_RUNTIMES {
            if !attempt.as_ref().is_err_and(|error| is_runtime_missing(error, missing)) {
                break;
            }
            runtime = Some(former);
            if !knows_networks {
                not_without_networks(&spec.server.settings.network)?;
            }
            spec.to_mut().server.settings.be_the_caller();
            // It lets no container run with what it does not know.
            door = None;
            attempt = again(&spec, None, runtime).await;
            missing = former;
        }
        if attempt.as_ref().is_err_and(|error| is_runtime_missing(error, missing))
            && missing != keeper::RUNTIME
        {
            (runtime, spec.to_mut().looked_at) = (None, false);
            attempt = again(&spec, door.as_ref(), runtime).await;
        }
        // The keeper's volume is empty: nobody ran `berth up` with this version yet.
        if attempt.as_ref().is_err_and(|error| is_keeper_missing(error, &place)) {
            engine.remove(&spec.starting_name()).await?;
            keeper::fill(engine, spec.judged_image(), spec.server.settings.isolation).await?;
            attempt = again(&spec, door.as_ref(), runtime).await;
        }
        Ok(Self { door, ..Self::finish(engine, attempt, &spec).await? })
    }

    /// Removes what a failed attempt left.
    async fn finish(
        engine: &Engine,
        attempt: Result<Self, DockerError>,
        spec: &Spec,
    ) -> Result<Self, LeaseError> {
        match attempt {
            Ok(lease) => Ok(lease),
            Err(error) if is_runtime_missing(&error, keeper::RUNTIME_GVISOR) => Err(LeaseError::NoGvisor),
            Err(error) if is_runtime_missing(&error, keeper::RUNTIME_PEERS) => Err(LeaseError::NoPeers),
            Err(DockerError::Refused { op: CREATE, status: 404, .. }) if !spec.network_of.is_joined() => {
                Err(LeaseError::NoImage(spec.server.image.clone()))
            }
            Err(DockerError::Refused { op: CREATE, message, .. }) if message.contains(NO_SOURCE) => {
                let (_, path) = message.split_once(NO_SOURCE).unwrap_or_default();
                Err(LeaseError::NotShared(path.trim_matches([':', ' ', '\n']).to_owned()))
            }
            Err(error) => {
                // The daemon may be gone; its own `AutoRemove` and the next sweep stand behind this.
                drop(engine.remove(&spec.starting_name()).await);
                let Some(why) = not_let_run(&error) else { return Err(error.into()) };
                match why.split_once(' ') {
                    Some((HELD, target)) => Err(volume::enter::held(engine, spec, target).await?),
                    Some((UNFINISHED, target)) => Err(volume::enter::unfinished(spec, target)),
                    _ => Err(LeaseError::NotLetRun(why)),
                }
            }
        }
    }

    async fn attempt(
        engine: &Engine,
        mut wire: Wire,
        spec: &Spec,
        place: &Place,
        door: Option<&Door>,
        runtime: Option<&str>,
    ) -> Result<Self, DockerError> {
        let name = spec.starting_name();
        let mut body = spec.create_body(place);
        if let Some(door) = door {
            door.add_to(&mut body, place);
        }
        if let Some(runtime) = runtime {
            body["HostConfig"]["Runtime"] = runtime.into();
        }
        let [create, start] = create_and_start(&name, body);
        let attach = attach(&name, "stdin=1&stdout=1");
        let unseen = spec.unseen();
        let created = if unseen.is_empty() {
            wire.send(&[&create, &start, &attach]).await?;
            wire.answer(&create).await?
        } else {
            let created = wire.call(&create).await?;
            look(engine, &name, &unseen).await?;
            wire.send(&[&start, &attach]).await?;
            created
        };
        wire.answer(&start).await?;
        wire.answer(&attach).await?;
        let container = created["Id"].as_str().unwrap_or(&name).to_owned();
        let (stream, _) = claim(wire, &container, &spec.owner()).await?;
        Ok(Self::of(container, place.clone(), stream))
    }

    fn of(container: String, place: Place, stream: Stream) -> Self {
        Self { container, place, door: None, lifeline: Lifeline { stream, is_ended: false } }
    }

    /// The door through which its server's pipes come, if it has one.
    pub fn take_door(&mut self) -> Option<Door> {
        self.door.take()
    }

    /// Attaches to a container that is ours by its name already (see `standby`), and claims it.
    pub async fn take(
        mut wire: Wire,
        container: String,
        place: Place,
        owner: &Owner,
    ) -> Result<Self, DockerError> {
        wire.call(&attach(&container, "stdin=1&stdout=1")).await?;
        let (stream, _) = claim(wire, &container, owner).await?;
        Ok(Self::of(container, place, stream))
    }

    /// Where the container has its keeper.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The daemon's id of the container.
    pub fn container(&self) -> &str {
        &self.container
    }

    /// The connection to watch and, at the end, to drop.
    pub fn into_lifeline(self) -> Lifeline {
        self.lifeline
    }
}

/// The names `mcp-<client>-<n>` that no container has, nor will have once it is claimed.
pub(super) fn free_names(client: &str, taken: &[Listed]) -> impl Iterator<Item = String> {
    let taken: HashSet<&str> =
        taken.iter().map(|row| row.name.strip_suffix(STANDBY).unwrap_or(&row.name)).collect();
    (1..MAX_NUMBER)
        .map(move |n| format!("mcp-{client}-{n}"))
        .filter(move |name| !taken.contains(name.as_str()))
}

/// Gives `container` the lowest free name `mcp-<client>-<n>`; the rename is atomic, so of two sessions that want one
/// number one gets it and the other tries the next.
pub async fn name(engine: &Engine, container: &str, client: &str) -> Result<String, LeaseError> {
    let label = format!("{}={client}", super::labels::LABEL_CLIENT);
    let taken = engine.list(&label).await?;
    for name in free_names(client, &taken) {
        match engine.rename(container, &name).await {
            // Whoever made a standby of this number at the same moment can't see us in its list. Of two who write first
            // and look then, one at least sees the other.
            Ok(()) if engine.inspect(&format!("{name}{STANDBY}")).await?.is_some() => {}
            Ok(()) => return Ok(name),
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(LeaseError::NoName { client: client.to_owned() })
}

/// The two requests that make a running container of that name.
pub(super) fn create_and_start(name: &str, body: Value) -> [Request; 2] {
    [
        Request::post(CREATE, name, format!("/containers/create?name={name}"), Some(body)),
        Request::post(START, name, format!("/containers/{name}/start"), None),
    ]
}

pub(super) fn attach(container: &str, streams: &str) -> Request {
    let path = format!("/containers/{container}/attach?stream=1&{streams}");
    Request::post("attach to the container", container, path, None).upgrading()
}

/// Looks in the daemon's stead whether a link in the image leads elsewhere what is mounted at `targets`. The container is
/// created and not started: all that stands there is the image's.
pub(super) async fn look(engine: &Engine, container: &str, targets: &[&str]) -> Result<(), DockerError> {
    for target in targets {
        let mut above: Vec<&Path> = Path::new(target).ancestors().collect();
        // The root is none.
        above.pop();
        for path in above.into_iter().rev().filter_map(Path::to_str) {
            match engine.stat(container, path).await? {
                Some(found) if found.is_link => {
                    let message = format!(
                        "{REFUSED}a link in the image leads elsewhere what is to be mounted at `{target}`"
                    );
                    return Err(DockerError::Refused {
                        op: START,
                        object: container.to_owned(),
                        status: 409,
                        message,
                    });
                }
                Some(_) => {}
                None => break,
            }
        }
    }
    Ok(())
}

/// Tells the keeper over the attached `wire` that it has an owner; without that it ends soon. Gives the stream, and what
/// of it has come already.
pub(super) async fn claim(
    wire: Wire,
    container: &str,
    owner: &Owner,
) -> Result<(Stream, BytesMut), DockerError> {
    let (mut stream, unread) = wire.into_stream();
    // Not in the same write as the request: what the daemon has read before it hands the connection over is lost.
    let claimed = keeper::say(&mut stream, &keeper::claim(owner)).await;
    claimed.map_err(|error| DockerError::broken("claim the container", container, error))?;
    Ok((stream, unread))
}

impl Lifeline {
    /// Resolves when the container has ended or the daemon is out of reach. Cancel safe.
    pub async fn ended(&mut self) {
        let mut said = [0; 512];
        // Whatever the keeper prints is no reason to stop watching.
        while let Ok(length @ 1..) = self.stream.read(&mut said).await {
            if memmem::find(&said[..length], UNPROTECTED_LINE.as_bytes()).is_some() {
                tracing::warn!(
                    "a program of this machine replaced or removed a protected name in a project; \
                     berth ended the server, which may have written there: look at it"
                );
            }
            if memmem::find(&said[..length], ENDED_LINE.as_bytes()).is_some() {
                self.is_ended = true;
                // The keeper waits half a second for it, so that we never hear of the server's end first. Nobody waits here
                // where it cannot be sent at once.
                let _ = self.terminate().now_or_never();
            }
        }
    }

    /// Whether the container ends because somebody has ended the session from outside, as far as [`Self::ended`] has heard.
    pub fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Ends the container in order: the keeper sees the end of its input. What it still has to do can be watched.
    pub async fn close(&mut self) -> std::io::Result<()> {
        self.stream.shutdown().await
    }

    /// Has the keeper show what is known of its owner by now.
    pub async fn introduce(&mut self, owner: &Owner) -> std::io::Result<()> {
        keeper::say(&mut self.stream, &keeper::introduce(owner)).await
    }

    /// Tells that the client has left.
    pub async fn leave(&mut self) -> std::io::Result<()> {
        keeper::say(&mut self.stream, keeper::LEAVE).await
    }

    /// Has the keeper end the server now: `SIGTERM`, and `SIGKILL` when its grace is over.
    pub async fn terminate(&mut self) -> std::io::Result<()> {
        keeper::say(&mut self.stream, keeper::TERMINATE).await
    }
}

#[cfg(test)]
mod tests;
