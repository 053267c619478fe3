//! What needs the cluster of `fixtures/cluster.sh`: its parts are ended and cut off, and its files are read.

pub(crate) mod cuts;
pub(crate) mod nodes;
mod ports;
mod requests;
mod traces;
