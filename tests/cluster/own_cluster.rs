//! What needs the cluster of `fixtures/cluster.sh`: its parts are ended and cut off, and its files are read.

mod cuts;
mod traces;
