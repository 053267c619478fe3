//! Runs a session's server in a container of its own, in a Docker daemon.

mod again;
mod hold;
mod housekeeping;
mod image;
pub mod inquiry;
mod newest;
pub mod peers;
pub mod plan;
mod protect;
mod reach;
pub mod ready;
mod refused;
pub mod start;
pub mod targets;
mod turn;
pub mod upstream;
mod uses;
