//! What berth writes down about what passed: the trace, each session's journal, and the process's standard error
//! that it shares with the servers' own output.
//!
//! Nothing here ever makes its caller wait: each writer has a thread and a bounded queue (`queue`), and what
//! does not fit is dropped and counted. Nothing here writes to standard output, and no value of a configured
//! secret leaves through [`trace`] or [`journal`] ([`redact`]).
pub mod event;
pub mod journal;
mod queue;
pub mod redact;
pub mod stderr;
pub mod trace;

pub use event::Direction;
pub use journal::Journal;
pub use redact::Redactor;
pub use stderr::StderrSink;
pub use trace::{Sink, Trace};
