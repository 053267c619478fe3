//! The parts that examinations share: an MCP client, `berth run` as a child process, what a server tells of itself, looks
//! inside a container, its limits, times.
//!
//! `validate`, `chaos` and `doctor` use it. It judges single facts, and knows none of the three.

pub mod check;
pub mod client;
pub mod environment;
pub mod inside;
pub mod limits;
pub mod messages;
pub mod process;
pub mod times;
pub mod told;
pub mod trial;
