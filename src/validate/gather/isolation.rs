//! Tries to get from one session into the next, and to the daemon.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use futures::future::join_all;

use super::{Bench, Live};
use crate::config::Settings;
use crate::exam::check::Seen;
use crate::exam::inside::{Inside, Listener, Surroundings};
use crate::validate::checks::isolation::{
    Door, Doors, Egress, Files, Isolation, Reach, Sight, Socket, Volume,
};

/// Where the listeners in the sessions listen, from the first on; each session has its own number.
const PORT: u16 = 21_000;
/// The same for the spare sessions.
pub(super) const SPARE_PORT: u16 = 22_000;
/// How long they listen if nobody ends them; we are done long before.
const LISTEN: Duration = Duration::from_mins(2);

/// Of more sessions than these, the first are tried; each attempt is a process, and the daemon starts some twenty of
/// them in a second.
const TRIED: usize = 8;

/// Between two tries to reach what was in reach a moment ago.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// A session with a way in, and its listener.
struct Room<'a> {
    title: &'a str,
    inside: Inside,
    port: u16,
    listener: Seen<Listener>,
    around: Seen<Surroundings>,
}

/// What the examined sessions can do to one another.
pub(super) async fn try_out(bench: &Bench<'_>, sessions: &[Live]) -> Isolation {
    let rooms = enter(bench, &sessions[..sessions.len().min(TRIED)], PORT).await;
    let sockets = bench.place.forbidden();
    let (sights, reaches, volumes, files, sockets) = tokio::join!(
        join_all(rooms.iter().map(|room| look_around(room, &rooms))),
        reach(bench, &rooms),
        join_all(rooms.iter().map(|room| look_at_volume(bench, room))),
        join_all(neighbours(&rooms).map(|(from, to)| carry_file(bench, from, to))),
        join_all(rooms.iter().flat_map(|room| sockets.iter().map(|path| look_for_socket(room, path)))),
    );
    leave(rooms).await;
    Isolation {
        containers: sessions.iter().map(|live| live.container.clone()).collect(),
        sights,
        reaches,
        egress: Egress::default(),
        daemon: Doors::default(),
        volumes,
        files,
        sockets,
    }
}

/// Each session's attempt to reach the next one.
pub(super) async fn reach_around(bench: &Bench<'_>, sessions: &[Live], port: u16) -> Vec<Reach> {
    let rooms = enter(bench, sessions, port).await;
    let reaches = reach(bench, &rooms).await;
    leave(rooms).await;
    reaches
}

async fn leave(rooms: Vec<Room<'_>>) {
    join_all(rooms.into_iter().filter_map(|room| room.listener.ok()).map(Listener::stop)).await;
}

async fn enter<'a>(bench: &Bench<'_>, sessions: &'a [Live], first_port: u16) -> Vec<Room<'a>> {
    join_all(sessions.iter().zip(first_port..).map(|(live, port)| async move {
        let inside = bench.inside(&live.container);
        // The time, too, is each one's own: it stands in the command line that others look for.
        let time = LISTEN * bench.plan.patience + Duration::from_millis(u64::from(port - first_port));
        let (listener, around) = tokio::join!(inside.listen(port, time), inside.surroundings());
        Room { title: &live.session.title, inside, port, listener, around }
    }))
    .await
}

/// Each with the next one, the last with the first; so each kind of client is tried from and into.
fn neighbours<'a, 'b>(rooms: &'a [Room<'b>]) -> impl Iterator<Item = (&'a Room<'b>, &'a Room<'b>)> {
    let pairs = if rooms.len() > 1 { rooms.len() } else { 0 };
    rooms.iter().zip(rooms.iter().cycle().skip(1)).take(pairs)
}

async fn look_around(room: &Room<'_>, all: &[Room<'_>]) -> Sight {
    let title = room.title.to_owned();
    let answer = room.inside.ask(&["processes"]).await;
    let listed = answer.and_then(|answer| {
        let listed = answer["processes"].as_array().cloned();
        listed.ok_or_else(|| "probe `processes`: no proper answer".to_owned())
    });
    let listed = match listed {
        Ok(listed) => listed,
        Err(why) => return Sight { title, processes: Err(why), sees_own: false, sees_others: Vec::new() },
    };
    let sees = |other: &Room<'_>| {
        other.listener.as_ref().is_ok_and(|listener| {
            listed
                .iter()
                .any(|process| process["cmdline"].as_str().is_some_and(|line| line.contains(&listener.mark)))
        })
    };
    let others = all.iter().filter(|other| other.port != room.port && sees(other));
    let sees_others = others.map(|other| other.title.to_owned()).collect();
    Sight { title, processes: Ok(listed.len()), sees_own: sees(room), sees_others }
}

async fn reach(bench: &Bench<'_>, rooms: &[Room<'_>]) -> Vec<Reach> {
    join_all(neighbours(rooms).flat_map(|(from, to)| {
        let addresses = match &to.around {
            Ok(around) if !around.addresses.is_empty() => around.addresses.clone(),
            // Without a network of its own there is the loopback, which two sessions must not share either.
            _ => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        };
        addresses
            .into_iter()
            .map(move |address| try_reach(bench, from, to, SocketAddr::new(address, to.port)))
    }))
    .await
}

async fn try_reach(bench: &Bench<'_>, from: &Room<'_>, to: &Room<'_>, address: SocketAddr) -> Reach {
    let connected = kept_out(bench, &from.inside, address);
    let (itself, connected) = tokio::join!(to.inside.connects(address), connected);
    let known = to.listener.as_ref().map(drop).and(to.around.as_ref().map(drop)).map_err(Clone::clone);
    let itself = known.and(itself);
    Reach { from: from.title.to_owned(), to: to.title.to_owned(), address, itself, connected }
}

/// Whoever rules the containers, from inside of a session that has a network.
pub(super) async fn knock_on_daemon(bench: &Bench<'_>, from: Option<&Live>) -> Doors {
    let Some(from) = from else { return Doors::default() };
    let inside = bench.inside(&from.container);
    let doors = match bench.place.doors(&inside).await {
        Ok(doors) => doors,
        Err(why) => return Doors::Open(why),
    };
    let tried = doors.into_iter().map(|address| {
        let (inside, title) = (&inside, &from.session.title);
        async move {
            let connected = kept_out(bench, inside, address).await;
            Door { from: title.clone(), address, connected }
        }
    });
    Doors::Tried(join_all(tried).await)
}

/// Whether there is a connection, once the rules hold that may be made a moment after a container's start.
async fn kept_out(bench: &Bench<'_>, inside: &Inside, address: SocketAddr) -> Seen<bool> {
    let until = Instant::now() + bench.place.settles_within();
    loop {
        let connected = inside.connects(address).await;
        if connected != Ok(true) || Instant::now() >= until {
            return connected;
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

async fn look_at_volume(bench: &Bench<'_>, room: &Room<'_>) -> Volume {
    let writable = room.inside.ask(&["limits"]).await.and_then(|limits| {
        limits["keeper_writable"].as_bool().ok_or_else(|| "probe `limits`: no proper answer".to_owned())
    });
    let mounts = room.around.as_ref().map_err(Clone::clone);
    let mounts = mounts.map(|around| unasked(&around.writable_mounts, &bench.plan.server.settings));
    Volume { title: room.title.to_owned(), writable, mounts }
}

/// Those of `mounts` that the configuration does not ask for.
fn unasked(mounts: &[String], settings: &Settings) -> Vec<String> {
    let is_asked = |mount: &String| settings.mounted().any(|target| Path::new(target) == Path::new(mount));
    mounts.iter().filter(|mount| !is_asked(mount)).cloned().collect()
}

async fn carry_file(bench: &Bench<'_>, from: &Room<'_>, to: &Room<'_>) -> Files {
    let folder = bench.plan.server.settings.tmpfs.keys().next().map_or("/tmp", String::as_str);
    let path = format!("{}/berth-validate-{}-{}", folder.trim_end_matches('/'), bench.nonce, from.port);
    let written = async {
        let wrote = from.inside.ask(&["write", &path, &bench.nonce]).await?;
        if wrote["written"] != true {
            return Ok(None);
        }
        Ok(Some(from.inside.ask(&["read", &path]).await?["text"] == bench.nonce))
    };
    let written = written.await;
    let seen = is_there(&to.inside, &path).await;
    Files { from: from.title.to_owned(), to: to.title.to_owned(), path, written, seen }
}

async fn look_for_socket(room: &Room<'_>, path: &'static str) -> Socket {
    Socket { title: room.title.to_owned(), path, there: is_there(&room.inside, path).await }
}

async fn is_there(inside: &Inside, path: &str) -> Seen<bool> {
    let answer = inside.ask(&["read", path]).await?;
    answer["found"].as_bool().ok_or_else(|| "probe `read`: no proper answer".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, Server};

    #[test]
    fn what_the_person_lets_a_server_write_is_no_shared_volume() {
        let over = Overrides::default().with("mounts", &["/x:/w/:rw"]).with("volumes", &["m:/data"]);
        let server = Server::from_image("i".parse().unwrap(), Vec::new(), &Settings::default());
        let settings = server.with_overrides(&over).settings;
        let mounts = ["/w", "/data", "/.berth-0"].map(str::to_owned);
        assert_eq!(unasked(&mounts, &settings), ["/.berth-0"]);
    }
}
