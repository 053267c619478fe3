//! `berth`: each AI client session's MCP servers in containers of its own.
//!
//! The data path:
//!
//! ```text
//!  client stdin  -> rpc::codec -> session::lane::to_server -> dock::exec -> server stdin
//!  client stdout <- session::client::writer <- session::lane::to_client <- dock::exec <- server stdout
//! ```
//!
//! The floors, from the roof to the ground. A module names only what stands below it (`tests/layers.rs`).
//!
//! | floor | modules |
//! |---|---|
//! | wiring | [`commands`]: one file for each subcommand |
//! | examinations | [`validate`], [`doctor`], [`chaos`]; they do not know each other |
//! | command line | [`cli`]: every argument; [`help`]: the manual |
//! | tools | [`exam`]: what examinations share; [`clients`]: the AI clients' configurations |
//! | backends | [`backend`]: starts a session's server, and is its [`session::upstream::Upstream`] |
//! | sessions | [`session`]: one client, its server, both directions; it knows no Docker. [`history`] reads what sessions left |
//! | images, the daemon | [`bake`]: packages made into images; [`dind`]: the Docker-in-Docker daemon |
//! | the Docker boundary | [`dock`]: leases, exec streams, volumes; it knows no MCP |
//! | configuration | [`config`]: `berth.toml` and flags; [`docker_cli`]: the docker CLI's own files |
//! | records | [`observe`]: trace, journal, standard error; [`logging`] |
//! | command lines | [`runner`]: `npx …`, `uvx …`, `docker run …` as people write them |
//! | the ground | [`values`], [`rpc`], [`failure`], [`human`]: they know nobody |
//!
//! The keeper, PID 1 of every session container, is a program of its own (`keeper.rs`).
//!
//! Invariants: standard output carries MCP messages only (`session::client::writer`) or a command's report (`commands`).
//! Every queue is bounded. The daemon's names and labels are the only truth about leases.
#![forbid(unsafe_code)]

pub mod backend;
pub mod bake;
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
pub mod rpc;
pub mod runner;
pub mod session;
pub mod validate;
pub mod values;
