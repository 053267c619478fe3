//! Reads the files that [`observe`](crate::observe) wrote: the sessions' journals, and traces. It only answers people's
//! questions: no session depends on it.
//!
//! The writer may have been killed in mid-line, or the file may be a stranger's. So broken lines are skipped, lengths
//! are bounded, and no text reaches a terminal with its control characters.
pub mod calls;
pub mod lines;
pub mod list;
pub mod manager;
pub mod record;
pub mod replay;
pub mod session;
pub mod show;
pub mod tell;
pub mod timeline;

pub use lines::Lines;
pub use record::Record;
