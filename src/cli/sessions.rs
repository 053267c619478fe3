//! The arguments of the commands about present and past sessions: `ps`, `kill`, `logs`, `sessions`, `calls`, `audit`, `trace`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::history::replay::difference::Pointer;
use crate::values::{Ago, Span};

#[derive(Debug, Args)]
pub struct PsArgs {
    /// Print a JSON list of objects.
    #[arg(long)]
    pub json: bool,
    /// Sample the CPU for a second, instead of its average since the container's start.
    #[arg(long)]
    pub stats: bool,
    /// Only what belongs to this session of a client, by the id that it was started as.
    #[arg(long, value_name = "ID")]
    pub client_session: Option<String>,
}

#[derive(Debug, Args)]
pub struct GcArgs {
    /// Wait for the end of a session, whose input this is, and clear what it reserved alone.
    #[arg(long, hide = true)]
    pub after_session: bool,
    /// Remove the baked and fetched images that no configured server and no container uses.
    #[arg(long)]
    pub images: bool,
    /// Only say which images these are.
    #[arg(long, requires = "images")]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct KillArgs {
    /// A session's id, or its container's name or id; or all that a client's session, a client's process or a project has, by
    /// the id that it was started as, by the process's number, or by the folder.
    #[arg(value_name = "SESSION|PID|FOLDER", required_unless_present = "idle")]
    pub session: Option<String>,
    /// Those among them that have had no request for so long; without a word, of all. Where a session's history does not tell
    /// (`journal = "calls"` does), it stays.
    #[arg(long, value_name = "TIME")]
    pub idle: Option<Ago>,
    /// Do not ask where that is more than one session.
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct LogsArgs {
    /// A session's id, the beginning of one, its container's name, or `last`; without it, they are listed.
    pub session: Option<String>,

    /// Go on as long as the session lives.
    #[arg(short, long, requires = "session")]
    pub follow: bool,

    /// Only sessions of this server.
    #[arg(long, value_name = "NAME")]
    pub server: Option<String>,

    /// How many are listed, the newest first.
    #[arg(short, long, value_name = "N", default_value_t = 20)]
    pub number: usize,

    /// Print JSON: a list of objects, or the session's records as they are.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct SessionsArgs {
    #[command(flatten)]
    pub among: Among,

    /// How many are listed, the newest first.
    #[arg(short, long, value_name = "N", default_value_t = 20)]
    pub number: usize,

    /// Print a JSON list of objects.
    #[arg(long)]
    pub json: bool,
}

/// Which sessions.
#[derive(Debug, Args)]
pub struct Among {
    /// Only of this server.
    #[arg(long, value_name = "NAME")]
    pub server: Option<String>,

    /// Only of this client.
    #[arg(long, value_name = "NAME")]
    pub client: Option<String>,

    /// Only of the last TIME.
    #[arg(long, value_name = "TIME")]
    pub since: Option<Ago>,
}

#[derive(Debug, Args)]
pub struct CallsArgs {
    /// A session's id, the beginning of one, its container's name, or `last`; without it, those of all.
    pub session: Option<String>,

    #[command(flatten)]
    pub among: Among,

    /// The slowest first.
    #[arg(long)]
    pub slow: bool,

    /// Only those that came to nothing: errors, time-outs, cancelled ones, and those of a lost server.
    #[arg(long)]
    pub errors: bool,

    /// How many are listed.
    #[arg(short, long, value_name = "N", default_value_t = 20)]
    pub number: usize,

    /// Print a JSON list of objects.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Only of the last TIME.
    #[arg(long, value_name = "TIME")]
    pub since: Option<Ago>,

    /// How many are listed, the newest last.
    #[arg(short, long, value_name = "N", default_value_t = 50)]
    pub number: usize,

    /// Print a JSON list of objects.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct TraceArgs {
    #[command(subcommand)]
    pub command: Option<TraceCommand>,

    /// What `berth run --trace=FILE` has written; `-` for standard input.
    #[arg(required = true)]
    pub file: Option<PathBuf>,

    /// Show each record as it comes, and the summary on Ctrl-C.
    #[arg(short, long)]
    pub follow: bool,

    /// Print the summary as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum TraceCommand {
    /// Tell a recorded session to a fresh server again, and show what it answers differently; exits with 1 if it does.
    Replay(ReplayArgs),
}

#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// A trace with bodies: `berth run --trace=FILE --trace-bodies`. The first session in it is replayed.
    pub file: PathBuf,

    /// A server of the configuration, instead of the recorded one.
    pub server: Option<String>,

    /// A place in the answers that may differ, as a JSON pointer; `*` stands for any key.
    #[arg(long, value_name = "POINTER")]
    pub ignore: Vec<Pointer>,

    /// How long an answer may take.
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub timeout: Span,

    /// Print the differences as JSON.
    #[arg(long)]
    pub json: bool,
}
