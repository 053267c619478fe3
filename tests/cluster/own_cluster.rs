//! What needs the cluster of `fixtures/cluster.sh`: its parts are ended and cut off, its files are read, and images, volumes,
//! routes and a registry are given to it.

mod crash;
pub(crate) mod cuts;
mod images;
mod lists;
pub(crate) mod nodes;
mod ports;
mod proof;
mod requests;
mod traces;
mod volumes;
