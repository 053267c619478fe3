//! `berth validate`: the reference report's examination, on the user's own system, with real sessions.
//!
//! ```text
//! plan -> gather (sessions, probes) -> observations -> checks (pure) -> report
//! ```
//!
//! `gather` judges nothing, and checks speak to no daemon. A `Place` is what it asks: a Docker daemon, or another's cluster. So a test can make each check fail. The sessions are `berth
//! run` as child processes, half of them started as Claude Code does and half as Codex does.

pub mod checks;
pub mod figures;
pub(crate) mod gather;
pub mod place;
pub mod plan;
pub mod report;
pub mod session;

pub use gather::gather;
