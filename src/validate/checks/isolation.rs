//! Could a session see, reach or write into another session, or the daemon?

use std::net::SocketAddr;

use super::Where;
use crate::exam::check::{Check, Question, Seen, repeated, unexamined};
use crate::human::count;

/// What was tried from inside of the sessions' containers. Each attempt has its control: the same thing where it
/// must work, so that a probe that never works proves nothing.
#[derive(Debug, Clone, Default)]
pub struct Isolation {
    /// The container of each session, by the session's own account.
    pub containers: Vec<String>,
    pub sights: Vec<Sight>,
    pub reaches: Vec<Reach>,
    /// The same between two sessions that have a network, where the examined server's have none.
    pub egress: Egress,
    pub daemon: Doors,
    pub volumes: Vec<Volume>,
    pub files: Vec<Files>,
    pub sockets: Vec<Socket>,
}

/// The processes that a session sees.
#[derive(Debug, Clone)]
pub struct Sight {
    pub title: String,
    pub processes: Seen<usize>,
    /// The control: the process that was started in it.
    pub sees_own: bool,
    /// Other sessions' processes.
    pub sees_others: Vec<String>,
}

/// An attempt to connect to a listener in another session.
#[derive(Debug, Clone)]
pub struct Reach {
    pub from: String,
    pub to: String,
    pub address: SocketAddr,
    /// The control: the listener, from inside of its own session.
    pub itself: Seen<bool>,
    pub connected: Seen<bool>,
}

#[derive(Debug, Clone)]
pub enum Egress {
    /// The examined sessions have a network themselves.
    TheSame,
    Pair(Vec<Reach>),
}

impl Default for Egress {
    fn default() -> Self {
        Self::Pair(Vec::new())
    }
}

/// The doors of whoever rules the containers.
#[derive(Debug, Clone)]
pub enum Doors {
    Tried(Vec<Door>),
    /// The configuration leaves them open, and how.
    Open(String),
}

impl Default for Doors {
    fn default() -> Self {
        Self::Tried(Vec::new())
    }
}

/// An attempt to connect to the daemon from inside of a session.
#[derive(Debug, Clone)]
pub struct Door {
    pub from: String,
    pub address: SocketAddr,
    pub connected: Seen<bool>,
}

/// Whether the keeper's volume, which all sessions share, can be written to.
#[derive(Debug, Clone)]
pub struct Volume {
    pub title: String,
    /// Tried from inside, as the server's user.
    pub writable: Seen<bool>,
    /// What the daemon has mounted so that somebody could; for the server's user may not have the right anyway.
    pub mounts: Seen<Vec<String>>,
}

/// A file written in one session and looked for in another.
#[derive(Debug, Clone)]
pub struct Files {
    pub from: String,
    pub to: String,
    pub path: String,
    /// The control: found where it was written. `None`: nowhere could it be written.
    pub written: Seen<Option<bool>>,
    pub seen: Seen<bool>,
}

/// A socket or a token inside of a session that no session may have.
#[derive(Debug, Clone)]
pub struct Socket {
    pub title: String,
    pub path: &'static str,
    pub there: Seen<bool>,
}

const SHARED: Question =
    Question::new("no container serves two sessions", "report it: this must never happen");
const SIGHT: Question =
    Question::new("other sessions' processes are invisible", "berth run --dry-run SERVER");
const REACH: Question = Question::new(
    "other sessions are out of reach",
    "restart the daemon with --icc=false: berth down, berth up",
);
const EGRESS: Question = Question::new(
    "sessions with a network are out of reach",
    "restart the daemon with --icc=false: berth down, berth up",
);
const DOOR: Question =
    Question::new("the daemon is out of reach from inside", "restart the daemon: berth down, berth up");
const VOLUME: Question = Question::new("the shared volume is read-only", "berth run --dry-run SERVER");
const FILES: Question = Question::new("each session has its own files", "berth run --dry-run SERVER");
const SOCKET: Question = Question::new("no Docker socket inside", "take it out of the image");

/// The same in a cluster.
const POD_REACH: Question =
    Question::new("other sessions are out of reach", "berth kubernetes up, then berth kubernetes doctor");
const POD_EGRESS: Question = Question::new(
    "sessions with a network are out of reach",
    "berth kubernetes up, then berth kubernetes doctor",
);
const API_SERVER: Question = Question::new(
    "the API server is out of reach from inside",
    "berth kubernetes up, then berth kubernetes doctor",
);
const FOLDER: Question =
    Question::new("the keeper's folder is read-only", "berth run --dry-run SERVER, and see `pod_template`");
const TOKEN: Question =
    Question::new("no token and no socket of the node inside", "see `pod_template` in [kubernetes]");

pub(super) fn judge(seen: &Isolation, place: Where) -> Vec<Check> {
    let [reach_question, egress_question, door_question, volume_question, socket_question] = match place {
        Where::Daemon => [REACH, EGRESS, DOOR, VOLUME, SOCKET],
        Where::Cluster => [POD_REACH, POD_EGRESS, API_SERVER, FOLDER, TOKEN],
    };

    let twice = repeated(seen.containers.iter().map(String::as_str));
    let shared = SHARED.each(
        &seen.containers,
        format!("{}, {}", count(seen.containers.len(), "session"), count(seen.containers.len(), "container")),
        |id| twice.contains(&id.as_str()).then(|| format!("container {id:.12} is in two sessions")),
    );
    let sight = SIGHT.each(
        &seen.sights,
        format!(
            "{} {} own only",
            count(seen.sights.len(), "session"),
            if seen.sights.len() == 1 { "sees its" } else { "see their" }
        ),
        |sight| match &sight.processes {
            Err(why) => Some(unexamined(&sight.title, why)),
            Ok(_) if !sight.sees_own => {
                Some(unexamined(&sight.title, "it does not even see its own process"))
            }
            Ok(_) => {
                sight.sees_others.first().map(|other| format!("{} sees a process of {other}", sight.title))
            }
        },
    );
    let reach = reach_question.each(&seen.reaches, attempts(&seen.reaches), unreached);
    let egress = match &seen.egress {
        Egress::TheSame => egress_question.not_applicable("the examined sessions have a network, see above"),
        Egress::Pair(reaches) => egress_question.each(reaches, attempts(reaches), unreached),
    };
    let door = match &seen.daemon {
        Doors::Open(why) => door_question.not_applicable(why),
        Doors::Tried(doors) => {
            let addresses: Vec<String> = doors.iter().map(|door| door.address.to_string()).collect();
            let tried = format!("tried {}", addresses.join(", "));
            door_question.each(doors, tried, |door| match &door.connected {
                Ok(false) => None,
                Ok(true) => Some(format!("{} connects to {}", door.from, door.address)),
                Err(why) => Some(unexamined(&door.address.to_string(), why)),
            })
        }
    };
    let volume = volume_question.each(&seen.volumes, "no session could write", |volume| {
        match (&volume.writable, &volume.mounts) {
            (Ok(true), _) => Some(format!("{} can write to it", volume.title)),
            (_, Ok(mounts)) if !mounts.is_empty() => {
                Some(format!("{} has {} mounted writable", volume.title, mounts.join(", ")))
            }
            (Ok(false), Ok(_)) => None,
            (Err(why), _) | (_, Err(why)) => Some(unexamined(&volume.title, why)),
        }
    });
    let nowhere = !seen.files.is_empty() && seen.files.iter().all(|files| files.written == Ok(None));
    let files = if nowhere {
        FILES.not_applicable("the server cannot write anywhere")
    } else {
        FILES.each(&seen.files, "no session sees a file of another", found)
    };
    let socket =
        socket_question.each(&seen.sockets, "none in the usual places", |socket| match &socket.there {
            Ok(false) => None,
            Ok(true) => Some(format!("{} has {}", socket.title, socket.path)),
            Err(why) => Some(unexamined(&socket.title, why)),
        });
    vec![shared, sight, reach, egress, door, volume, files, socket]
}

fn attempts(reaches: &[Reach]) -> String {
    let attempts = count(reaches.len(), "attempt");
    if reaches.iter().all(|reach| reach.address.ip().is_loopback()) {
        return format!("sessions have no network and share no loopback: {attempts} failed");
    }
    format!("{attempts} failed, while each listener answered itself")
}

fn unreached(reach: &Reach) -> Option<String> {
    let Reach { from, to, address, .. } = reach;
    match (&reach.itself, &reach.connected) {
        (Ok(true), Ok(false)) => None,
        (Ok(true), Ok(true)) => Some(format!("{from} reaches {to} at {address}")),
        (Ok(false), _) => Some(unexamined(to, "its listener does not even answer itself")),
        (Err(why), _) | (_, Err(why)) => Some(unexamined(to, why)),
    }
}

fn found(files: &Files) -> Option<String> {
    let Files { from, to, path, .. } = files;
    match (&files.written, &files.seen) {
        (Ok(Some(true) | None), Ok(false)) => None,
        (Ok(_), Ok(true)) => Some(format!("{path}, written in {from}, is in {to}")),
        (Ok(Some(false)), _) => Some(unexamined(from, "a file that was written is not found")),
        (Err(why), _) | (_, Err(why)) => Some(unexamined(path, why)),
    }
}
