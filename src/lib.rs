//! `berth`: each AI client session's MCP servers in containers of its own.
//!
//! The data path, and the modules that own its parts:
//!
//! ```text
//!  client stdin  -> rpc::codec -> rpc::envelope -> session::relay -> dock::exec -> server stdin
//!  client stdout <- session::downstream <- session::judge <- rpc::codec <- dock::exec <- server stdout
//! ```
//!
//! - [`rpc`] knows lines and JSON-RPC, and nobody else.
//! - [`dock`] knows the Docker daemon (leases, exec streams), and no MCP.
//! - [`session`] joins the two; its loop alone writes to the client.
//! - [`dind`] makes and watches the Docker-in-Docker daemon.
//! - [`docker_cli`] reads what the docker CLI's own files say: contexts, credentials, proxies.
//! - [`doctor`] looks at all that sessions need, and says what mends it.
//! - [`observe`] writes down what passed; [`history`] reads it again, for people's questions only.
//! - [`runner`] understands the command lines that people start servers with today.
//! - [`bake`] makes images of the packages that these name.
//! - [`failure`] says of every error what a person is told, and what the process exits with.
//! - [`clients`] edits the AI clients' configurations.
//! - [`help`] is the manual: its topics, on a terminal and as pages of `man`.
//! - [`commands`] wires a subcommand from these; [`cli`] and [`config`] say what it was told.
//!
//! Invariants: standard output carries MCP messages only (`session::downstream`) or a command's report
//! (`commands`); every queue is bounded; the daemon's names and labels are the only truth about leases.
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
