//! The keeper of pods: PID 1 there, and what berth runs beside it. The same modules as in `keeper.rs`, and fewer of them.
//!
//! It comes into a pod by a config map, which holds no more than 1 MiB. So it leaves out what only a daemon needs, and what
//! std brings along for panics and threads (`keeper/bare.rs`).
#![no_main]
#![allow(dead_code, reason = "the modules are those of the other keeper, too")]

#[path = "keeper/allow.rs"]
mod allow;
#[path = "keeper/bare.rs"]
mod bare;
#[path = "keeper/door.rs"]
mod door;
#[path = "keeper/egress.rs"]
mod egress;
#[path = "keeper/exec.rs"]
mod exec;
#[path = "keeper/filter.rs"]
mod filter;
#[path = "keeper/frames.rs"]
mod frames;
#[path = "keeper/json.rs"]
mod json;
#[path = "keeper/limits.rs"]
mod limits;
#[path = "keeper/modes.rs"]
mod modes;
#[path = "keeper/names.rs"]
mod names;
#[path = "keeper/needs.rs"]
mod needs;
#[path = "keeper/numbered.rs"]
mod numbered;
#[path = "keeper/phase.rs"]
mod phase;
#[path = "keeper/pod.rs"]
mod pod;
#[path = "keeper/ports.rs"]
mod ports;
#[path = "keeper/probe.rs"]
mod probe;
#[path = "keeper/protocol.rs"]
mod protocol;
#[path = "keeper/records.rs"]
mod records;
#[path = "keeper/resolv_conf.rs"]
mod resolv_conf;
#[path = "keeper/resolve.rs"]
mod resolve;
#[path = "keeper/serve.rs"]
mod serve;
#[path = "keeper/server.rs"]
mod server;
#[path = "keeper/signals.rs"]
mod signals;
#[path = "keeper/sys.rs"]
mod sys;
#[path = "keeper/within.rs"]
mod within;
#[path = "keeper/words.rs"]
mod words;

use std::ffi::OsString;
use std::io::{self, Write};

use words::{Failure, Words};

/// Gives the exit code.
fn run(words: impl Iterator<Item = OsString>) -> u8 {
    execute(&mut Words(words)).unwrap_or_else(|failure| {
        // Nobody is left to be told when this cannot be written.
        let _ = writeln!(io::stderr(), "berth: {}", failure.message);
        failure.code
    })
}

fn execute<I: Iterator<Item = OsString>>(words: &mut Words<I>) -> Result<u8, Failure> {
    let done = match words.text("a subcommand")?.as_str() {
        egress::far::NAME => egress::far::Far::parse(words)?.execute().map(|()| 0)?,
        egress::near::NAME => egress::near::Near::parse(words)?.execute().map(|()| 0)?,
        "hold-pod" => pod::Pod::parse(words)?.hold(),
        "ports" => ports::Ports::parse(words)?.execute().map(|()| 0)?,
        "probe" => probe::Probe::parse(words)?.execute().map(|()| 0)?,
        "resume" => serve::resume(words.parsed("an epoch")?)?,
        "serve" => serve::serve()?,
        other => return Err(Failure::usage(format_args!("unknown subcommand `{other}`"))),
    };
    Ok(done)
}
