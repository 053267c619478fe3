//! Tries limits, end of input, names and lifeline in a probe container.

use std::time::{Duration, Instant};

use super::{Asked, failed, ids, names};
use crate::config::{Server, Settings};
use crate::dock::docker::Engine;
use crate::dock::door::{Door, Doors};
use crate::dock::lease::Lease;
use crate::dock::spec::Spec;
use crate::dock::wire::Wire;
use crate::dock::{LeaseError, declared};
use crate::doctor::images::{Image, Presence};
use crate::doctor::line::Seen;
use crate::doctor::probes::{Eof, GONE_WITHIN, Probes};
use crate::doctor::streams::Handed;
use crate::exam::inside::container::InContainer;
use crate::exam::limits::prove::prove;
use crate::failure::Failure;
use crate::values::{Image as ImageName, Isolation, Network};

/// So little is overstepped at once, and costs the machine nothing.
const MEMORY: u64 = 64 << 20;
const PIDS: u32 = 32;
const NANO_CPUS: i64 = 500_000_000;

const SENT: &[u8] = b"the last words of a client\n";
/// From the end of its input to the process's own words.
const PAUSE: Duration = Duration::from_millis(200);

/// What says why a session's bytes stay with the daemon.
const TRACED: &str = "berth run --trace SERVER   # and see the step that says why";

const LOOK_EVERY: Duration = Duration::from_millis(10);
/// By then a container that was to go is removed by force.
const GIVE_UP_AFTER: Duration = GONE_WITHIN.saturating_mul(3);

pub(super) async fn look(asked: &Asked<'_>, images: &[Image]) -> Seen<Probes> {
    let daemon = match asked.daemon() {
        Ok(daemon) => daemon,
        Err(seen) => return seen,
    };
    let present = |image: &&Image| matches!(image.there, Seen::Found(Presence::Present { .. }));
    let Some(image) = images.iter().find(present) else {
        return Seen::NotApplicable("the daemon has no configured image to make a container of".to_owned());
    };
    let Some(mut spec) = spec(&image.name, names::network(asked), Isolation::Container) else {
        return Seen::NotApplicable(format!("`{}` cannot be named", image.name));
    };
    spec.looked_at = asked.is_ours();
    spec.doors = Doors::find(&asked.home.state, &asked.config.dind.name).filter(|_| asked.is_ours());
    let has_doors = spec.doors.is_some();
    let settings = spec.server.settings.clone();
    let lease = async {
        let wire = Wire::connect(daemon.endpoint()).await?;
        Lease::create(daemon, wire, &declared(daemon, spec).await?).await
    };
    let mut lease = match lease.await {
        Ok(lease) => lease,
        Err(error) => return failed(error),
    };
    let container = InContainer::new(daemon, lease.container());
    let inside = container.inside().with_patience(asked.patience);
    let eof = match container.drain(SENT, PAUSE, asked.patience).await {
        Ok((received, heard_after)) => Seen::Found(Eof {
            mutual_tls: daemon.endpoint().is_tls(),
            sent: SENT.len() as u64,
            received,
            pause: PAUSE,
            heard_after,
        }),
        Err(why) => Seen::failed(why, "berth validate"),
    };
    // It goes with the container.
    let door = lease.take_door();
    let streams = match &door {
        Some(door) => by_pipes(&container, door, asked.patience).await,
        None if has_doors => Seen::failed("the container has no door", TRACED),
        None => Seen::NotApplicable("the daemon has no folder of doors".to_owned()),
    };
    let limits = prove(&settings, Some(&inside), Some(&inside)).await;
    let users = ids::look(asked, daemon, &inside).await;
    let names = names::look(asked, daemon, &inside).await;
    let gone_after = let_go(daemon, lease, GIVE_UP_AFTER * asked.patience).await;
    drop(door);
    Seen::Found(Probes { image: image.name.clone(), limits, users, eof, names, streams, gone_after })
}

async fn by_pipes(container: &InContainer, door: &Door, patience: u32) -> Seen<Handed> {
    match container.drain_directly(door, SENT, patience).await {
        Ok((received, after)) => Seen::Found(Handed { sent: SENT.len() as u64, received, after }),
        Err(why) => Seen::failed(why, TRACED),
    }
}

/// With what its image declares.
pub(super) async fn declared(daemon: &Engine, mut spec: Spec) -> Result<Spec, LeaseError> {
    let Server { image, settings, .. } = &spec.server;
    let mut wire = Wire::connect(daemon.endpoint()).await?;
    let volumes = wire.image(image, "").await?.map(|image| image.volumes).unwrap_or_default();
    spec.declared = declared::places(image, &volumes, settings)?;
    Ok(spec)
}

pub(super) fn spec(image: &str, network: Network, isolation: Isolation) -> Option<Spec> {
    let mut settings = Settings::default();
    (settings.memory, settings.pids, settings.nano_cpus) = (MEMORY, PIDS, NANO_CPUS);
    settings.network = network;
    settings.isolation = isolation;
    let mut server = Server::from_image(image.parse::<ImageName>().ok()?, Vec::new(), &settings);
    "doctor".clone_into(&mut server.name);
    // Nobody else's: the name of the container is made of it.
    let now = jiff::Timestamp::now().as_nanosecond();
    let session = format!("{:012x}", (now ^ i128::from(std::process::id()) << 40) & 0xffff_ffff_ffff);
    Some(Spec::new(server, "doctor", &session))
}

/// Drops the connection without a word, as the kernel does for a process that was killed, and watches the container go.
async fn let_go(daemon: &Engine, lease: Lease, limit: Duration) -> Seen<Duration> {
    let container = lease.container().to_owned();
    drop(lease);
    let dropped = Instant::now();
    loop {
        match daemon.inspect(&container).await {
            Ok(None) => return Seen::Found(dropped.elapsed()),
            Ok(Some(_)) if dropped.elapsed() < limit => tokio::time::sleep(LOOK_EVERY).await,
            Ok(Some(_)) => {
                let removed = daemon.remove(&container).await;
                let why = format!("the container was still there after {} s", limit.as_secs());
                let next = if removed.is_ok() { "berth validate" } else { "berth gc" };
                return Seen::failed(why, next);
            }
            Err(error) => return failed(Failure::from(error)),
        }
    }
}
