//! The boundary to Docker daemons: connections, leases, servers' streams (by pipes that come through a [`door`], or those of
//! an [`exec`]). Knows no MCP.
//!
//! Only [`docker`] and its folder name bollard. [`wire`] speaks HTTP/1.1 itself where bollard cannot: pipelined
//! requests, and hijacked streams whose halves close separately.

pub mod declared;
pub mod dial;
pub mod docker;
pub mod door;
pub mod exec;
#[path = "keeper/frames.rs"]
mod frames;
pub mod keeper;
pub mod labels;
pub mod lease;
#[path = "keeper/numbered.rs"]
pub mod numbered;
pub mod owner;
pub mod peers;
pub mod place;
pub mod ports;
#[path = "keeper/protocol.rs"]
pub mod protocol;
#[path = "keeper/records.rs"]
pub mod records;
pub mod refused;
pub mod reserved;
#[path = "keeper/resolv_conf.rs"]
mod resolv_conf;
pub mod resolver;
pub mod roster;
pub mod spec;
pub mod standby;
pub mod streams;
pub mod volume;
pub mod wire;

pub use lease::error::LeaseError;
