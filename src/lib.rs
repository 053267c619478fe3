//! `berth`: each AI client session's MCP servers in containers of its own.
//!
//! The data path:
//!
//! ```text
//!  client stdin  -> rpc::codec -> session::lane::to_server -> dock::streams -> server stdin
//!  client stdout <- session::client::writer <- session::lane::to_client <- dock::streams <- server stdout
//! ```
//!
//! The floors, from the roof to the ground. A module names only what stands below it (`tests/layers.rs`).
//!
//! | floor | modules |
//! |---|---|
//! | wiring | [`commands`]: one file for each subcommand |
//! | examinations | [`validate`], [`doctor`], [`chaos`], [`offer`]: what a client would be offered |
//! | command line | [`cli`]: every argument, `--help`, completions |
//! | tools | [`backend`]: starts a session's server, and is its [`session::upstream::Upstream`]; [`exam`]: what examinations share; [`clients`]: the AI clients' configurations, read and edited; [`help`]: the manual |
//! | images | [`bake`]: packages made into images |
//! | the daemon | [`dind`]: the Docker-in-Docker daemon |
//! | trust | [`signatures`]: whether an image has the signature that it needs |
//! | two worlds | [`session`]: one client, its server, both directions, and no Docker; [`dock`]: leases, servers' streams by pipes (`dock::door`) or through the daemon (`dock::exec`), volumes, and no MCP; [`history`]: what sessions left; [`secrets`]: read from where people keep them; [`logging`] |
//! | configuration | [`config`]: `berth.toml` and flags; `config::settings` has each setting of a server once (`every`) |
//! | what is read and written | [`catalogue`]: what servers told of themselves; [`docker_cli`]: the docker CLI's own files; [`observe`]: trace, journal, standard error; [`runner`]: `npx …`, `uvx …`, `docker run …` as people write them |
//! | words | [`rpc`]: lines and JSON-RPC; [`values`]: what a setting's text means |
//! | the ground | [`failure`]: what an error means to others; [`human`]: sizes, times, tables; [`regular`]: files that may be anything |
//!
//! Modules of one floor do not know each other.
//!
//! `berth-manager` (`manager/`) is a program of its own that uses these modules; none of them knows it.
//!
//! So is `berth-backup` (`backup/`), with what it compresses with.
//!
//! `berth-verify` (`verifier/`) is a program and a workspace of its own; `signatures/protocol.rs` is a part of both.
//!
//! The keeper, PID 1 of every session container, is a program of its own (`keeper.rs`). What it shares with [`dock`] is std only
//! and a part of both: `keeper/protocol.rs`, `keeper/frames.rs`, `keeper/numbered.rs`, `keeper/records.rs`,
//! `keeper/resolv_conf.rs`.
//!
//! Invariants: standard output carries MCP messages only (`session::client::writer`) or a command's report (`commands`).
//! Every queue is bounded. The daemon's names and labels are the only truth about leases.
#![forbid(unsafe_code)]

pub mod backend;
pub mod bake;
pub mod catalogue;
pub mod chaos;
pub mod cli;
pub mod clients;
pub mod commands;
pub mod config;
pub mod dind;
pub mod dock;
pub mod docker_cli;
pub mod doctor;
pub mod exam;
pub mod failure;
pub mod help;
pub mod history;
pub mod human;
pub mod logging;
pub mod observe;
pub mod offer;
pub mod regular;
pub mod rpc;
pub mod runner;
pub mod secrets;
pub mod session;
pub mod signatures;
pub mod validate;
pub mod values;
