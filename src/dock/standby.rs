//! Containers that are started ahead of their sessions.
//!
//! A container on standby is called `mcp-<client>-<n>.standby` and has no owner. **Claiming** it is renaming it, by its
//! id, to `mcp-<client>-<n>`. All claimants want the same name, so one of them gets it; the daemon tells the others
//! that the container already has that name. Only the winner attaches: a second attachment's end would end the
//! container.
//!
//! A claimant announces the claim to the keeper before the rename, in the same write. From then on the keeper waits
//! only a few seconds, so a proxy that dies in between leaves nothing. A bare rename would leave a container without an
//! owner that no session may claim. A loser's announcement does no harm.

mod cap;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

pub use cap::Count;

use futures::future::{BoxFuture, join_all};
use serde_json::Value;

use super::docker::{DockerError, Engine, Listed};
use super::door::{self, Door};
use super::exec;
use super::keeper;
use super::labels::{LABEL_CLIENT, LABEL_SPEC, STANDBY, managed_by_filter};
use super::lease::{self, Lease};
use super::owner::Owner;
use super::place::Place;
use super::protocol::door::OPEN;
use super::spec::Spec;
use super::streams::Streams;
use super::wire::{Request, Wire};

/// A keeper whose container is one too many ends it at once, but for a server that takes its time.
const GONE_WITHIN: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A container that may be claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standby {
    id: String,
    /// Once it is claimed.
    name: String,
    image: String,
    place: Place,
    /// It was made with a door.
    has_door: bool,
}

/// A server that was started ahead: its streams are its container's own, and so is its end.
#[derive(Debug)]
pub struct Prestarted {
    pub streams: Streams,
    pub end: End,
}

/// The end of a container.
pub struct End(BoxFuture<'static, Result<i64, DockerError>>);

impl End {
    /// Resolves with the exit code when the container has ended; fails when the daemon is out of reach. Only once; cancel
    /// safe.
    pub async fn wait(&mut self) -> Result<i64, DockerError> {
        (&mut self.0).await
    }
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("End")
    }
}

/// The containers that stand by for a session of `spec`, as the daemon has them at the moment; in another order for each
/// session, so that not all want the same one.
pub async fn find(wire: &mut Wire, spec: &Spec) -> Result<Vec<Standby>, DockerError> {
    let mut rows = wire.list(&[of_client(spec), format!("{LABEL_SPEC}={}", spec.hash())]).await?;
    rows.retain(|row| row.running && row.name.ends_with(STANDBY));
    if !rows.is_empty() {
        let start = spec.session.bytes().map(usize::from).sum::<usize>() % rows.len();
        rows.rotate_left(start);
    }
    Ok(rows.into_iter().filter_map(standby).collect())
}

impl Standby {
    /// Whether it is of this very image, by its id, whatever its image's name means by now.
    pub fn is_of(&self, image: &str) -> bool {
        self.image == image
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it has its keeper.
    pub fn place(&self) -> &Place {
        &self.place
    }

    pub fn has_door(&self) -> bool {
        self.has_door
    }

    /// Its name, once it is claimed.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Claims it; false if somebody else has, or it is gone. The wire goes on.
    pub async fn claim(&self, wire: &mut Wire) -> Result<bool, DockerError> {
        let Self { id, name, .. } = self;
        let announce = format!("/containers/{id}/kill?signal={}", keeper::ANNOUNCE);
        let announce = Request::post("announce a claim of the container", name, announce, None);
        let rename = format!("/containers/{id}/rename?name={name}");
        let rename = Request::post("claim the container", name, rename, None);
        wire.send(&[&announce, &rename]).await?;
        // Refused where it has ended; then the other one is, too.
        match wire.answer(&announce).await {
            Ok(_) | Err(DockerError::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
        match wire.answer(&rename).await {
            Ok(_) => Ok(true),
            Err(DockerError::Refused { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes over one that was claimed, with nothing in it yet.
    pub async fn take(&self, wire: Wire, owner: &Owner) -> Result<Lease, DockerError> {
        Lease::take(wire, self.id.clone(), self.place.clone(), owner).await
    }

    /// Takes over one that was claimed, with the server in it: its pipes through `door` where it has one. `waiting` then waits
    /// for its end.
    pub async fn take_server(
        &self,
        mut wire: Wire,
        mut waiting: Wire,
        door: Option<&Door>,
        owner: &mut Owner,
    ) -> Result<Prestarted, DockerError> {
        let path = format!("/containers/{}/wait?condition=not-running", self.id);
        let wait = Request::post("wait for the container", &self.name, path, None);
        // First, so that not even a server that ends at once does so unseen.
        waiting.send(&[&wait]).await?;
        wire.call(&lease::attach(&self.id, "stdin=1&stdout=1&stderr=1")).await?;
        let streams = match door {
            None => {
                let (stream, unread) = lease::claim(wire, &self.id, owner).await?;
                let (input, output) = exec::halves(stream, unread);
                Streams::of_daemon(input, output)
            }
            Some(door) => self.open(door, wire, owner).await?,
        };
        let end = async move {
            let ended = waiting.answer(&wait).await?;
            Ok(ended["StatusCode"].as_i64().unwrap_or_default())
        };
        Ok(Prestarted { streams, end: End(Box::pin(end)) })
    }

    /// The server's pipes come before the claim, which says that they have.
    async fn open(&self, door: &Door, wire: Wire, owner: &mut Owner) -> Result<Streams, DockerError> {
        let broken = |error| DockerError::broken("claim the container", &self.name, error);
        let listening = door.listen().map_err(broken)?;
        let (stream, unread) = wire.into_stream();
        let (input, output) = exec::halves(stream, unread);
        let mut streams = Streams::through(listening, &[OPEN], &self.id, input, output).await?;
        if let Some(why) = streams.why_not {
            return Err(DockerError::broken("take the server of", &self.name, why));
        }
        owner.is_direct = true;
        if let Some(lifeline) = &mut streams.beside {
            keeper::say(lifeline, &keeper::claim(owner)).await.map_err(broken)?;
        }
        Ok(streams)
    }
}

/// Starts as many containers as are missing to `wanted` for the next sessions of `spec`; gives their names. `image` is the id of its
/// image, `argv` what the server runs. Who leaves before the answer leaves nothing: the daemon gives up a start that nobody
/// waits for.
///
/// The daemon has no more than the cap on standby (`limit`, where the configuration says one). Whoever needs room has
/// others give way first. Several may do so at the same moment, so each counts again what there is when its own is there: the
/// last one sees all.
pub async fn replenish(
    engine: &Engine,
    spec: &Spec,
    image: &str,
    argv: &[String],
    wanted: u32,
    limit: Option<u32>,
) -> Result<Vec<String>, DockerError> {
    let mut wire = Wire::connect(engine.endpoint()).await?;
    let rows = wire.list(&[managed_by_filter()]).await?;
    let hash = spec.hash();
    let ready = |row: &&Listed| {
        row.name.ends_with(STANDBY)
            && row.image == image
            && row.labels.get(LABEL_CLIENT) == Some(&spec.client)
            && row.labels.get(LABEL_SPEC) == Some(&hash)
    };
    let wanted = wanted as usize;
    let ready = rows.iter().filter(ready).count();
    let all = rows.iter().filter(|row| cap::is_on_standby(row)).count();
    if ready >= wanted {
        return Ok(Vec::new());
    }
    let cap = match limit {
        // The question costs the daemon some milliseconds, and any has room for so few.
        None if all + wanted <= cap::FEWEST => cap::FEWEST,
        limit => cap(engine, limit).await?,
    };
    let missing = cap::missing(wanted, ready, all, cap);
    give_way(engine, &cap::surplus(&rows, cap - missing)).await;
    let free = lease::free_names(&spec.client, &rows).take(missing);
    let names: Vec<String> = free.map(|number| number + STANDBY).collect();
    let mut started = Vec::new();
    let mut spec = Cow::Borrowed(spec);
    for name in names {
        let mut done = put(engine, &mut wire, &spec, &name, argv).await;
        if done.as_ref().is_err_and(|failed| failed.is_about_the_door) {
            // The daemon has no such folder, or another one.
            spec.to_mut().doors = None;
            done = put(engine, &mut wire, &spec, &name, argv).await;
        }
        if done.map_err(|failed| failed.error)? {
            started.push(name);
        }
    }
    // See `lease::name`: one whose number was taken meanwhile couldn't be claimed.
    let mut free = Vec::new();
    for name in started {
        let number = name.strip_suffix(STANDBY).unwrap_or(&name);
        match engine.inspect(number).await? {
            Some(_) => drop(engine.remove(&name).await?),
            None => free.push(name),
        }
    }
    if !free.is_empty() {
        let rows = wire.list(&[managed_by_filter()]).await?;
        let all = rows.iter().filter(|row| cap::is_on_standby(row)).count();
        // Others have come meanwhile: what any daemon has room for may be less than this one's.
        let cap = if limit.is_none() && all > cap { self::cap(engine, None).await? } else { cap };
        give_way(engine, &cap::surplus(&rows, cap)).await;
    }
    Ok(free)
}

/// Has those give way that stand by beyond `targets`, the number of each kind (`CLIENT-HASH`), the oldest first; gives their
/// names. Kinds without a target are left alone.
pub async fn trim(engine: &Engine, targets: &BTreeMap<String, u32>) -> Result<Vec<String>, DockerError> {
    let rows = engine.list(&managed_by_filter()).await?;
    let surplus: Vec<&Listed> =
        targets.iter().flat_map(|(kind, target)| cap::beyond(&rows, kind, *target as usize)).collect();
    give_way(engine, &surplus).await;
    Ok(surplus.into_iter().map(|row| row.name.clone()).collect())
}

/// How many containers this daemon may have on standby: as the configuration says, or by its memory.
pub async fn cap(engine: &Engine, limit: Option<u32>) -> Result<usize, DockerError> {
    Ok(match limit {
        Some(limit) => limit as usize,
        None => cap::of_memory(engine.memory().await?),
    })
}

/// Has their keepers end these, each unless somebody is about to claim it. Waits a moment for that.
async fn give_way(engine: &Engine, surplus: &[&Listed]) {
    let ending = surplus.iter().map(async |row| {
        // One that cannot be signalled is gone already.
        if engine.kill(&row.id, keeper::END_UNCLAIMED).await.is_ok() {
            tracing::debug!("`{}` gives way: too many containers stand by", row.name);
            while engine.inspect(&row.id).await.is_ok_and(|found| found.is_some_and(|found| found.running)) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    });
    let _ = tokio::time::timeout(GONE_WITHIN, join_all(ending)).await;
}

/// Why a container was not put on standby.
struct NotPut {
    error: DockerError,
    is_about_the_door: bool,
}

/// Creates and starts a container; false where somebody has taken its name. None is left where it fails.
async fn put(
    engine: &Engine,
    wire: &mut Wire,
    spec: &Spec,
    name: &str,
    argv: &[String],
) -> Result<bool, NotPut> {
    let other = |error| NotPut { error, is_about_the_door: false };
    let place = Place::new().map_err(other)?;
    let door = spec.door(&place);
    let mut body = spec.standby_body(&place, argv);
    if let Some(door) = &door {
        door.add_to(&mut body, &place);
    }
    let has_door = door.is_some();
    // Where we leave before the answer, the daemon may have made the container all the same; and a connection that broke tells
    // nothing of it.
    door.into_iter().for_each(Door::keep);
    let failed = |error| {
        let is_about_the_door = has_door && lease::is_about_the_door(&error, &place);
        if matches!(error, DockerError::Refused { .. }) {
            remove_door(spec, &place);
        }
        NotPut { error, is_about_the_door }
    };
    let [create, start] = lease::create_and_start(name, body);
    // Two together, like a lease: what is killed between them leaves nothing. No more than two, for the daemon reads
    // ahead no further than that, and drops the rest when we are gone.
    let unseen = spec.unseen();
    let (created, running) = if unseen.is_empty() {
        wire.send(&[&create, &start]).await.map_err(other)?;
        (wire.answer(&create).await, wire.answer(&start).await)
    } else {
        let created = wire.call(&create).await;
        let running = match &created {
            Ok(_) => match lease::look(engine, name, &unseen).await {
                Ok(()) => wire.call(&start).await,
                Err(error) => Err(error),
            },
            Err(_) => Ok(Value::Null),
        };
        (created, running)
    };
    match (created, running) {
        (Ok(_), Ok(_)) => Ok(true),
        (Ok(created), Err(error)) => {
            remove_door(spec, &place);
            engine.remove(created["Id"].as_str().unwrap_or(name)).await.map_err(other)?;
            Err(failed(error))
        }
        // Another session has just done the same.
        (Err(error), _) if error.is_conflict() => {
            remove_door(spec, &place);
            Ok(false)
        }
        (Err(error), _) => Err(failed(error)),
    }
}

/// No container has it.
fn remove_door(spec: &Spec, place: &Place) {
    drop(spec.doors.as_ref().map(|doors| doors.door_of(place)));
}

fn of_client(spec: &Spec) -> String {
    format!("{LABEL_CLIENT}={}", spec.client)
}

fn standby(row: Listed) -> Option<Standby> {
    let name = row.name.strip_suffix(STANDBY)?.to_owned();
    let place = Place::of(&row.command)?;
    let has_door = door::is_in(&row.command);
    Some(Standby { id: row.id, name, image: row.image, place, has_door })
}

#[cfg(test)]
mod tests;
