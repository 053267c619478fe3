//! How many containers of each kind stand by: as many sessions as come while one replenishment takes (Little's law).
//!
//! ```text
//!  journals -> Watch (a Sink) -> Demand of each kind -> targets.json -> `berth run`, when it replenishes
//!  a person -> ByHand ---^                          \-> who stands by beyond the target gives way
//!                                                   \-> each change is an event of the index
//! ```
//!
//! The manager starts no container: sessions do, after their first answer, one at a time. What comes faster than that is a
//! burst, so the number is that of the most sessions that came within one replenishment, not of a mean rate.

mod by_hand;
mod demand;
mod watch;
mod work;

pub(crate) use by_hand::SetError;
pub(crate) use watch::{Known, Watch};
pub(crate) use work::work;
