//! A server of one era in a session of the other: what either side says, as the other one has it.
//!
//! ```text
//! mux -> inward  -> a lane's pipe -> server
//! mux <- outward <- a lane's pipe <- server
//! ```
//!
//! Towards the multiplexer each of the two is a server of the session's era. It is pure: it reads no clock and speaks to nobody.

mod call;
mod calls;
mod listening;
mod results;
mod rounds;
mod text;
mod to_legacy;
mod to_modern;

use bytes::Bytes;
use tokio::time::Instant;

use crate::rpc::raw::{self, Raw};
use crate::rpc::{Frame, Look, look};

pub(super) use text::{Ids, LEGACY, MODERN, Step};
pub(super) use to_legacy::{ToLegacy, discovered};
pub(super) use to_modern::{ToModern, initialized};

#[derive(Debug, Default)]
pub(super) enum Bridge {
    /// The server speaks as the session does.
    #[default]
    Level,
    /// A session up to 2025-11-25, and a server since 2026-07-28.
    Modern(Box<ToModern>),
    /// The other way round.
    Legacy(Box<ToLegacy>),
}

impl Bridge {
    /// A line for the server: what goes to either side instead. `None`: the line itself goes on.
    pub(super) fn inward(&mut self, line: &Bytes, now: Instant) -> Option<Vec<Step>> {
        if matches!(self, Self::Level) {
            return None;
        }
        let text = std::str::from_utf8(line.trim_ascii_end()).ok()?;
        let Ok(Look::One(envelope)) = look(text.as_bytes()) else { return None };
        let mut steps = Vec::new();
        match self {
            Self::Level => {}
            Self::Modern(bridge) => bridge.inward(&envelope, text, &mut steps),
            Self::Legacy(bridge) => bridge.inward(&envelope, text, now, &mut steps),
        }
        Some(steps)
    }

    /// The same for a line of the server's.
    pub(super) fn outward(&mut self, frame: &Frame, now: Instant) -> Option<Vec<Step>> {
        if matches!(self, Self::Level) {
            return None;
        }
        let text = std::str::from_utf8(frame.message()).ok()?;
        let mut steps = Vec::new();
        let mut one = |text: &str| {
            let Ok(Look::One(envelope)) = look(text.as_bytes()) else { return };
            match self {
                Self::Level => {}
                Self::Modern(bridge) => bridge.outward(&envelope, text, now, &mut steps),
                Self::Legacy(bridge) => bridge.outward(&envelope, text, now, &mut steps),
            }
        };
        match Raw::parse(text) {
            Some(all) if all.get().starts_with('[') => {
                raw::elements(all, |element| one(element.get()));
            }
            _ => one(text),
        }
        Some(steps)
    }

    /// The client says nothing more.
    pub(super) fn leaves(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        match self {
            Self::Level => {}
            Self::Modern(bridge) => bridge.leaves(&mut steps),
            Self::Legacy(bridge) => bridge.expire(None, &mut steps),
        }
        steps
    }

    /// The time has come for something.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        match self {
            Self::Level => {}
            Self::Modern(bridge) => bridge.tick(now, &mut steps),
            Self::Legacy(bridge) => bridge.expire(Some(now), &mut steps),
        }
        steps
    }

    pub(super) fn next_tick(&self) -> Option<Instant> {
        match self {
            Self::Level => None,
            Self::Modern(bridge) => bridge.next_tick(),
            Self::Legacy(bridge) => bridge.next_tick(),
        }
    }

    /// Whether a call waits for its client to come again.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self, Self::Legacy(bridge) if bridge.is_busy())
    }

    pub(super) fn is_level(&self) -> bool {
        matches!(self, Self::Level)
    }

    /// What an older server has answered to `initialize`.
    pub(super) fn initialized(&self) -> Option<&Bytes> {
        match self {
            Self::Legacy(bridge) => bridge.initialized(),
            Self::Level | Self::Modern(_) => None,
        }
    }

    /// The server has not said who it is in its own era.
    pub(super) fn is_beginning(&self) -> bool {
        matches!(self, Self::Legacy(bridge) if bridge.initialized().is_none())
    }
}
