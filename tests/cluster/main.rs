//! Tests of sessions in a real Kubernetes cluster: the `berth` program, an API server, kubelets, servers in pods.
//!
//! `fixtures/test.sh` brings the cluster up, names it in `BERTH_TEST_KUBECONFIG`, and takes it away. Each test has a
//! namespace of its own. Without a cluster cargo says of each test that it was ignored. `fixtures/test.sh` runs them all,
//! and fails where one was ignored though there is a cluster.
#![forbid(unsafe_code)]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "all of this crate is tests, their helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "a test hands over a `json!(…)` that it has just written")]

mod agents;
mod both;
mod causes;
mod connection;
mod examination;
mod failures;
mod ground;
mod harness;
mod manager;
mod own_cluster;
mod pods;
mod ports;
mod roster;
mod sessions;
mod validate;
