//! berth's records: the trace, each session's journal, and the process's standard error, which it shares with the
//! servers' own output.
//!
//! Nothing here ever makes its caller wait. Each writer has a thread and a bounded queue (`queue`); an entry that does
//! not fit is dropped and counted. Nothing here writes to standard output. No value of a configured secret leaves
//! through [`trace`] or [`journal`] ([`redact`]).
pub mod audit;
pub mod call;
mod context;
pub mod event;
pub mod journal;
mod outcome;
mod queue;
pub mod redact;
pub mod stderr;
pub mod trace;

pub use call::{Arrival, Call, Handing, Returning};
pub use context::TraceContext;
pub use event::Direction;
pub use journal::Journal;
pub use outcome::Outcome;
pub use redact::Redactor;
pub use stderr::StderrSink;
pub use trace::{Sink, Trace};
