//! The lease as PID 1 has it: where it stands, and what follows on what. Waits for nothing and asks nobody.

use std::time::{Duration, Instant};

/// From an announced claim (SIGUSR1) to the claim: its owner may have died in between, and the container was taken from
/// all others already.
const CLAIM_AFTER_ANNOUNCEMENT: Duration = Duration::from_secs(4);

/// What an owner is told on the lifeline comes by another way than the end of its server, and may be overtaken by it: so the
/// owner answers before anything is ended. One that does not has no more time than this.
const ANSWERED_WITHIN: Duration = Duration::from_millis(500);

/// An owner that is alive asks for the end of a server that goes on without its client itself, so that it knows why.
const OWNER_ASKS_FIRST: Duration = Duration::from_millis(500);

/// What has happened to the lease. Nothing is the commonest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Nothing,
    /// Somebody is about to claim.
    Announced,
    /// There are too many on standby (SIGWINCH): this one is to go, if nobody is about to claim it.
    Surplus,
    Claimed,
    /// The owner's client has left, and the server's stdin has ended.
    OwnerLeaves,
    /// The owner asks for the end: a `t`, or SIGTERM or SIGINT from the daemon.
    StopAsked,
    /// Somebody else does by the daemon (SIGUSR2), and the owner was told.
    StopTold,
    /// The lifeline is at its end: the owner is dead or has left.
    OwnerGone,
    /// The server that was started ahead is no more.
    ServerEnded,
    /// A mount that protected something is gone.
    Unprotected,
    TimeUp,
}

/// Where the lease stands, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Unclaimed(Instant),
    /// Somebody is about to claim: it is nobody's surplus any more.
    Awaited(Instant),
    Claimed,
    /// The server may end by itself until then, and its owner looks how it does.
    Leaving(Instant),
    /// The owner was told that it ends, and has not answered yet.
    Telling(Instant),
    /// The server's stdin ended together with the lifeline; now it may end by itself.
    Draining(Instant),
    /// Everybody has had SIGTERM.
    Stopping(Instant),
    Over,
}

impl Phase {
    /// What follows. An orderly end takes `grace` at most, half of it before SIGTERM and half after.
    pub(super) fn next(self, event: Event, now: Instant, grace: Duration) -> Self {
        match (self, event) {
            // Later, too, where its time was nearly up: whoever claims it in time shall have it.
            (Self::Unclaimed(_) | Self::Awaited(_), Event::Announced) => {
                Self::Awaited(now + CLAIM_AFTER_ANNOUNCEMENT)
            }
            (Self::Unclaimed(_) | Self::Awaited(_), Event::Claimed) => Self::Claimed,
            (Self::Unclaimed(_) | Self::Awaited(_) | Self::Claimed, Event::OwnerGone) => {
                Self::Draining(now + grace / 2)
            }
            (Self::Claimed, Event::OwnerLeaves) => Self::Leaving(now + grace / 2),
            // Its client's patience began before.
            (Self::Leaving(until), Event::OwnerGone) => Self::Draining(until),
            // Nobody closed the stdin of a server in an unclaimed container: no use to wait for it.
            (
                Self::Unclaimed(_) | Self::Awaited(_) | Self::Draining(_),
                Event::TimeUp | Event::StopAsked | Event::StopTold,
            )
            | (Self::Claimed, Event::StopAsked)
            | (Self::Leaving(_), Event::StopAsked | Event::TimeUp)
            | (Self::Telling(_), Event::StopAsked | Event::OwnerGone | Event::TimeUp) => {
                Self::Stopping(now + grace / 2)
            }
            (Self::Claimed | Self::Leaving(_), Event::StopTold) => Self::Telling(now + ANSWERED_WITHIN),
            // What a server that ended by itself leaves behind goes with it, as with any PID 1. Nobody has spoken to one that
            // is too many, and while it took its time somebody could claim it.
            (_, Event::ServerEnded | Event::Unprotected)
            | (Self::Stopping(_), Event::TimeUp)
            | (Self::Unclaimed(_), Event::Surplus) => Self::Over,
            (phase, _) => phase,
        }
    }

    pub(super) fn deadline(self) -> Option<Instant> {
        match self {
            Self::Unclaimed(until)
            | Self::Awaited(until)
            | Self::Telling(until)
            | Self::Draining(until)
            | Self::Stopping(until) => Some(until),
            Self::Leaving(until) => Some(until + OWNER_ASKS_FIRST),
            Self::Claimed | Self::Over => None,
        }
    }

    pub(super) fn is_ending(self) -> bool {
        matches!(self, Self::Draining(_) | Self::Stopping(_))
    }
}
