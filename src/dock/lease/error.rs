//! Why a session got no container.

use super::{CREATE, START};
use crate::dock::docker::DockerError;
use crate::dock::door;
use crate::dock::place::Place;
use crate::dock::protocol::REFUSED;
use crate::dock::protocol::door::FOLDER;
use crate::failure::{Code, Explain, chain};

/// More containers than this with one client's name is a fault, not a use.
pub(super) const MAX_NUMBER: u32 = 10_000;

/// Why a session got no container.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error(transparent)]
    Docker(#[from] DockerError),
    #[error("the image `{0}` is not in the DinD daemon")]
    NoImage(String),
    /// What it is named by the daemon's own message.
    #[error("cannot mount `{0}`: the DinD daemon does not have it")]
    NotShared(String),
    #[error("the volume `{volume}` is in use by {}; it allows one session at a time", named(holder.as_ref()))]
    VolumeHeld { volume: String, holder: Option<String> },
    #[error("the volume `{volume}` is not restored to its end")]
    VolumeUnfinished { volume: String },
    #[error("the volume `{volume}` cannot be used: {why}")]
    VolumeUnusable { volume: String, why: String },
    /// The daemon's own runtime said why.
    #[error("the container was not let run: {0}")]
    NotLetRun(String),
    /// A daemon that a former berth has made.
    #[error("the DinD daemon has no forwarder for `allow`: a former berth made it")]
    NoForwarder,
    #[error(
        "the DinD daemon cannot run `isolation = \"gvisor\"`: a former berth made it, or its image has no `runsc`"
    )]
    NoGvisor,
    /// A daemon that a former berth has made.
    #[error("the DinD daemon knows no servers that share a network: a former berth made it")]
    NoPeers,
    #[error("the image `{image}` declares the volume `{volume}`, which no session can have: {why}")]
    ImageVolume { image: String, volume: String, why: String },
    #[error("no free name `mcp-{client}-<n>` up to {MAX_NUMBER}")]
    NoName { client: String },
}

fn named(holder: Option<&String>) -> String {
    holder.map_or_else(|| "another session".to_owned(), |holder| format!("`{holder}`"))
}

impl Explain for LeaseError {
    fn code(&self) -> Code {
        match self {
            Self::Docker(error) => error.code(),
            Self::NoImage(_)
            | Self::NotShared(_)
            | Self::VolumeUnusable { .. }
            | Self::NotLetRun(_)
            | Self::NoForwarder
            | Self::NoGvisor
            | Self::NoPeers
            | Self::ImageVolume { .. } => Code::Configuration,
            Self::VolumeHeld { .. } | Self::VolumeUnfinished { .. } | Self::NoName { .. } => {
                Code::Unavailable
            }
        }
    }

    fn next(&self) -> Option<String> {
        let next = match self {
            Self::Docker(error) => return error.next(),
            Self::NoImage(_) => "load it with `berth up`, or correct `image` in the configuration",
            Self::NotShared(_) => {
                "type `berth up` if `share` in [dind] has changed; else check that the folder still exists"
            }
            Self::VolumeHeld { holder: Some(holder), .. } => {
                return Some(format!("wait until that session ends, or end it with `berth kill {holder}`"));
            }
            Self::VolumeHeld { holder: None, .. } => "try again, or see `berth ps`",
            Self::VolumeUnfinished { .. } => {
                "wait until `berth restore` ends; if it was cut off, type the same command again"
            }
            Self::VolumeUnusable { .. } => {
                "set `user` to the owner of its files, or give the volume a new name"
            }
            Self::NotLetRun(_) => {
                "start it again; where it stays so, choose another place for the mount, or another image"
            }
            Self::NoForwarder | Self::NoPeers => "end its sessions, and type `berth up`",
            Self::NoGvisor => {
                "type `berth up`; where it stays so, name an image with `runsc` in [dind]: `berth help isolation` shows how to make one"
            }
            Self::ImageVolume { .. } => {
                "choose another place for what is mounted there, or another image; `docker image inspect` shows its volumes"
            }
            Self::NoName { .. } => "see `berth ps`",
        };
        Some(next.to_owned())
    }

    fn text(&self) -> String {
        match self {
            Self::Docker(error) => error.text(),
            error => chain(error),
        }
    }
}

/// Whether a container was refused for its door.
pub(in crate::dock) fn is_about_the_door(error: &DockerError, place: &Place) -> bool {
    let DockerError::Refused { op: CREATE | START, message, .. } = error else { return false };
    [format!("{}/{}", door::IN_DAEMON, place.digits()), format!("{}/{}", place.folder(), FOLDER)]
        .iter()
        .any(|path| message.contains(path))
}

/// The keeper's volume is empty.
pub(super) fn is_keeper_missing(error: &DockerError, place: &Place) -> bool {
    matches!(error, DockerError::Refused { op: START, message, .. } if message.contains(&place.program()))
}

pub(super) fn is_runtime_missing(error: &DockerError, runtime: &str) -> bool {
    matches!(error, DockerError::Refused { op: CREATE, status: 400, message, .. }
    if ["runtime name: ", "Unknown runtime specified "].iter().any(|unknown| {
        // One's name begins with the other's.
        let named = message.split_once(unknown).map(|(_, rest)| rest.trim_end());
        named.is_some_and(|named| named == runtime)
    }))
}

/// What the daemon's runtime said, where it was ours that refused.
pub(super) fn not_let_run(error: &DockerError) -> Option<String> {
    let DockerError::Refused { op: START, message, .. } = error else { return None };
    let (_, why) = message.rsplit_once(REFUSED)?;
    Some(why.trim_end_matches(": unknown").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dock::dial::DialError;
    use crate::failure::Failure;

    #[test]
    fn whoever_is_told_of_it_hears_cause_object_and_next_command() {
        let source = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "connection refused");
        let error = DialError::Connect { endpoint: "tcp://127.0.0.1:12376".into(), source };
        let failure = Failure::from(LeaseError::from(DockerError::from(error)));
        assert_eq!(failure.code, Code::Unavailable);
        let message = failure.message();
        for part in ["tcp://127.0.0.1:12376", "connection refused", "`berth up`"] {
            assert!(message.contains(part), "{part} in {message}");
        }
    }
}
