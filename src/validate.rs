//! `berth validate`: the reference report's examination, on the user's own system, with real sessions.
//!
//! ```text
//! plan -> gather (sessions, probes) -> observations -> checks (pure) -> report
//! ```
//!
//! Whoever gathers judges nothing, and whoever judges speaks to nobody: so each check can be shown to fail. Its
//! sessions are `berth run` as child processes, half of them as Claude Code starts it and half as Codex does.

pub mod checks;
pub mod figures;
pub(crate) mod gather;
pub mod plan;
pub mod report;
pub mod session;

pub use gather::gather;
