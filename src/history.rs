//! Reading what [`observe`](crate::observe) wrote: the sessions' journals, and traces. For people's questions only: nothing
//! that a session does depends on any of it.
//!
//! What is read was written by a program that may have been killed in mid-line, or by somebody else: broken lines are
//! passed over, lengths are bounded, and no text reaches a terminal with its control characters.
pub mod lines;
pub mod list;
pub mod record;
pub mod replay;
pub mod session;
pub mod show;
pub mod tell;
pub mod timeline;

pub use lines::Lines;
pub use record::Record;
