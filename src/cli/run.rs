//! The arguments of `berth run`.

use std::path::PathBuf;

use clap::Args;

use crate::config::{EnvEntry, MountEntry, Overrides, Volume};
use crate::values::{
    AbsolutePath, Capability, Cpus, Image, LineLimit, Memory, Network, OnFailure, Pids, Span, Standby,
    ToolPattern, User,
};

#[derive(Debug, Args)]
pub struct RunArgs {
    /// A server of the configuration; or name an image with `--image`, or write a line such as `npx PACKAGE` behind `--`.
    #[arg(required_unless_present_any = ["image", "command"], conflicts_with = "image")]
    pub server: Option<String>,

    /// An image instead of a configured server.
    #[arg(long)]
    pub image: Option<Image>,

    /// What the client is called, if not what it says itself.
    #[arg(long, value_name = "NAME")]
    pub client: Option<String>,

    /// Trace each message and each step of the start: to standard error, or as JSON lines to FILE.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub trace: Option<PathBuf>,

    /// Have the trace contain the messages' bodies, credentials redacted.
    #[arg(long, requires = "trace")]
    pub trace_bodies: bool,

    /// Print what would be created, and create nothing.
    #[arg(long)]
    pub dry_run: bool,

    /// The command and its arguments, instead of the image's own; or, without SERVER, what starts the server today: `npx …`,
    /// `uvx …`, `docker run …`, `node FILE…`.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,

    // Last: its heading is for all that follows.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Flags that go before the configuration's values.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Container")]
pub struct SettingsArgs {
    /// Set a variable of the server; `${VAR}` is taken from the client's environment.
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub env: Vec<EnvEntry>,
    /// The same, its value redacted wherever it would be shown.
    #[arg(long, value_name = "NAME=VALUE")]
    pub secret: Vec<EnvEntry>,
    /// `egress` (out to the world, nothing in) or `none`.
    #[arg(long)]
    pub network: Option<Network>,
    /// Memory limit, such as 512m.
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Memory>,
    /// Processors' worth of time, such as 0.5.
    #[arg(long)]
    pub cpus: Option<Cpus>,
    /// Processes and threads at the most.
    #[arg(long, value_name = "N")]
    pub pids: Option<Pids>,
    /// A capability to give, such as `NET_BIND_SERVICE`; all are dropped by default.
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_add: Vec<Capability>,
    /// Make the container's root file system read-only.
    #[arg(long)]
    pub read_only: bool,
    /// A folder or file of this machine in the container, read-only unless `:rw` is behind it; `[dind] share` has to hold it.
    #[arg(short = 'v', long = "mount", value_name = "SOURCE:TARGET[:rw]")]
    pub mounts: Vec<MountEntry>,
    /// A volume of this client's that is kept between sessions; `:shared` behind it makes it all clients' own.
    #[arg(long = "volume", value_name = "NAME:TARGET[:ro]")]
    pub volumes: Vec<Volume>,
    /// User (and group) of the server, such as 1000:1000; `caller` is yourself, and the default where there are mounts.
    #[arg(long)]
    pub user: Option<User>,
    /// Folder in which the server starts.
    #[arg(long, value_name = "PATH")]
    pub workdir: Option<AbsolutePath>,
    /// Longest message of either direction, such as 16m.
    #[arg(long, value_name = "SIZE")]
    pub max_line: Option<LineLimit>,
    /// From the end of the client's input to SIGKILL, such as 3s.
    #[arg(long, value_name = "TIME")]
    pub stop_grace: Option<Span>,
    /// Containers to keep ready for the next sessions; 0 for none, and to use none.
    #[arg(long, value_name = "N")]
    pub standby: Option<Standby>,
    /// What to do when the server is lost in the middle of the session: `restart` or `exit`.
    #[arg(long, value_name = "WHAT")]
    pub on_failure: Option<OnFailure>,
    /// A tool that may be used, such as `read_*`; all others may not. Instead of the configuration's `tools`.
    #[arg(long, value_name = "PATTERN")]
    pub tool: Vec<ToolPattern>,
    /// A tool that may not be used; beside the configuration's `deny_tools`.
    #[arg(long, value_name = "PATTERN")]
    pub deny_tool: Vec<ToolPattern>,
}

impl From<SettingsArgs> for Overrides {
    fn from(args: SettingsArgs) -> Self {
        let secrets = args.secret.into_iter().map(EnvEntry::secret);
        Self {
            env: args.env.into_iter().chain(secrets).collect(),
            network: args.network,
            memory: args.memory,
            cpus: args.cpus,
            pids: args.pids,
            cap_add: (!args.cap_add.is_empty()).then_some(args.cap_add),
            read_only: args.read_only.then_some(true),
            user: args.user,
            workdir: args.workdir,
            max_line: args.max_line,
            stop_grace: args.stop_grace,
            standby: args.standby,
            on_failure: args.on_failure,
            tools: (!args.tool.is_empty()).then_some(args.tool),
            deny_tools: args.deny_tool,
            mounts: (!args.mounts.is_empty()).then_some(args.mounts),
            volumes: (!args.volumes.is_empty()).then_some(args.volumes),
            ..Self::default()
        }
    }
}
