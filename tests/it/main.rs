//! Tests of the real thing: the `berth` program, a DinD daemon, servers in containers.
//!
//! The daemon is the tests' own (`berth-test-dind`, port 22376). The first test starts it; `fixtures/test.sh` stops it.
//! Each test has a client name of its own, so all tests can run at once and count only their own containers.
#![forbid(unsafe_code)]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "all of this crate is tests, their helpers too")]
#![allow(clippy::needless_pass_by_value, reason = "a test hands over a `json!(…)` that it has just written")]

mod backup;
mod bad_input;
mod bake;
mod bytes;
mod catalogue;
mod ceilings;
mod chaos;
mod clients;
mod conformance;
mod dind;
mod direct;
mod dns;
mod docker_line;
mod doctor;
mod egress;
mod endings;
mod engine;
mod entry;
mod escapes;
mod failures;
mod files;
mod flow;
mod gvisor;
mod hardening;
mod harness;
mod help;
mod history;
mod hostile;
mod identity;
mod images;
mod lifecycle;
mod manager;
mod peers;
mod place;
mod ports;
mod prestart;
mod protect;
mod protocol;
mod recovery;
mod registry;
mod removal;
mod rewrite;
mod roster;
mod secrets;
mod sessions;
mod several;
mod standby;
mod survival;
mod trace;
mod trusted;
mod users;
mod validate;
mod volumes;
