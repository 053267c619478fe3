//! The command line as clap has it. No logic.

pub mod help;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::clients::{Kind, Scope};
use crate::commands::{down::DownArgs, status::StatusArgs, up::UpArgs};
use crate::config::{EnvEntry, MountEntry, Overrides, Volume};
use crate::values::{
    AbsolutePath, Capability, Cpus, Image, LineLimit, Memory, Network, OnFailure, Pids, Span, Standby,
    ToolPattern, User,
};

/// Gives every AI client session its own MCP server containers.
#[derive(Debug, Parser)]
#[command(name = "berth", version, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Arguments {
    /// Configuration file instead of `berth.toml` in the configuration folder.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    #[command(subcommand)]
    pub command: Subcommands,
}

#[derive(Debug, Subcommand)]
pub enum Subcommands {
    /// Start the Docker-in-Docker daemon, and put the configured images into it.
    Up(UpArgs),
    /// Stop the daemon.
    Down(DownArgs),
    /// Say whether the daemon is healthy; exits with 0 only then.
    Status(StatusArgs),
    /// Print the variables that point the docker CLI at the daemon: eval "$(berth env)".
    Env,
    /// Make images of the packages that servers come from, ahead of their first start.
    Bake(BakeArgs),
    /// Run an MCP server in a container of its own, speaking MCP on standard input and output.
    Run(Box<RunArgs>),
    /// Put servers of the configuration into an AI client's configuration.
    Install(InstallArgs),
    /// Take servers of berth's out of an AI client's configuration.
    Uninstall(UninstallArgs),
    /// Have the servers of an AI client's configuration run by berth from now on.
    Import(ImportArgs),
    /// List the sessions.
    Ps(PsArgs),
    /// End a session, or all that belong to one session of a client.
    Kill(KillArgs),
    /// List the sessions of late, or tell what one of them left behind: its start, what berth and the server said, its end.
    Logs(crate::commands::logs::LogsArgs),
    /// Tell what a trace comes to: where the start went, the slowest calls, errors, what nobody answered.
    Trace(crate::commands::trace::TraceArgs),
    /// Remove what crashed sessions left behind; should never find anything.
    Gc,
    /// Look at everything that sessions need, and say what mends it.
    Doctor(crate::commands::doctor::DoctorArgs),
    /// Examine this system with real sessions, and report.
    Validate(crate::commands::validate::ValidateArgs),
    /// Break everything while sessions are under load, on a daemon of its own, and count what went wrong.
    Chaos(crate::commands::chaos::ChaosArgs),
    /// Print what a shell needs to complete berth's command lines, the configured servers' names included.
    Completions(crate::commands::completions::CompletionsArgs),
    /// Write the manual's pages.
    Man(crate::commands::man::ManArgs),
}

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

#[derive(Debug, Args)]
pub struct BakeArgs {
    /// Servers of the configuration; all that come from packages, if none is named.
    #[arg(value_name = "SERVER", conflicts_with = "line")]
    pub servers: Vec<String>,

    /// Ask the registries again: what is baked stays as it is otherwise.
    #[arg(long)]
    pub update: bool,

    /// Write the versions and digests that were found into the configuration.
    #[arg(long, conflicts_with = "line")]
    pub pin: bool,

    /// A line such as `npx PACKAGE` instead of a configured server.
    #[arg(last = true, value_name = "COMMAND")]
    pub line: Vec<String>,
}

#[derive(Debug, Args)]
pub struct InstallArgs {
    /// Whose configuration.
    pub client: Kind,
    /// The servers' names in berth's configuration.
    #[arg(required = true, value_name = "SERVER")]
    pub servers: Vec<String>,
    /// For whom: `user` (the default) for you everywhere, `project` for all who work in this project, `local` for you in it.
    #[arg(long)]
    pub scope: Option<Scope>,
    /// Replace entries of the same names, whatever they are.
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct UninstallArgs {
    /// Whose configuration.
    pub client: Kind,
    /// The servers' names.
    #[arg(required = true, value_name = "SERVER")]
    pub servers: Vec<String>,
    /// Only of this scope, instead of wherever they stand.
    #[arg(long)]
    pub scope: Option<Scope>,
}

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Whose configuration.
    pub client: Kind,
    /// Only these servers, instead of all.
    #[arg(value_name = "SERVER")]
    pub servers: Vec<String>,
    /// Only of this scope, instead of wherever they stand.
    #[arg(long)]
    pub scope: Option<Scope>,
    /// Show what would change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct PsArgs {
    /// Print a JSON list of objects.
    #[arg(long)]
    pub json: bool,
    /// Only what belongs to this session of a client, by the client's own id.
    #[arg(long, value_name = "ID")]
    pub client_session: Option<String>,
}

#[derive(Debug, Args)]
pub struct KillArgs {
    /// A session's id, its container's name, or the client's own id of its session.
    pub session: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    fn run(words: &str) -> Result<RunArgs, clap::Error> {
        let words = words.split_whitespace();
        match Arguments::try_parse_from(words)?.command {
            Subcommands::Run(args) => Ok(*args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn trace_takes_a_file_only_after_an_equals_sign() {
        assert_eq!(run("berth run --trace files").unwrap().trace, Some("-".into()));
        assert_eq!(run("berth run --trace=t.jsonl files").unwrap().trace, Some("t.jsonl".into()));
        assert_eq!(run("berth run files").unwrap().trace, None);
    }

    #[test]
    fn a_flag_says_how_many_stand_by() {
        let standby = |words| {
            let overrides = Overrides::from(run(words).unwrap().settings);
            overrides.standby.map(Standby::count)
        };
        assert_eq!(standby("berth run files"), None);
        assert_eq!(standby("berth run files --standby 0"), Some(0));
        assert_eq!(standby("berth run --standby 3 files"), Some(3));
        let error = run("berth run files --standby 65").unwrap_err().to_string();
        assert!(error.contains("expected a number of containers from 0 to 64"), "{error}");
    }

    #[test]
    fn flags_say_which_tools_may_be_used() {
        let overrides = |words| Overrides::from(run(words).unwrap().settings);
        let given = overrides("berth run files --tool read_* --tool list --deny-tool read_secret");
        assert_eq!(given.tools.map(|tools| tools.len()), Some(2));
        assert_eq!(given.deny_tools[0].as_str(), "read_secret");
        assert_eq!(overrides("berth run files").tools, None, "no flag is no list");
    }

    #[test]
    fn flags_mount_folders_and_volumes() {
        let settings =
            run("berth run files -v /a:/b:rw --mount ${X:-/c}:/d --volume memory:/data:ro").unwrap().settings;
        let overrides = Overrides::from(settings);
        assert_eq!(overrides.mounts.map(|mounts| mounts.len()), Some(2));
        assert_eq!(overrides.volumes.unwrap()[0].name, "memory");
        let none = Overrides::from(run("berth run files").unwrap().settings);
        assert_eq!((none.mounts, none.volumes), (None, None), "nothing is taken away");
        let error = run("berth run files -v /a").unwrap_err().to_string();
        assert!(error.contains("expected a mount such as \"~/src/project:/workspace\""), "{error}");
    }

    #[test]
    fn a_server_or_an_image_and_not_both() {
        let args = run("berth run --image busybox --memory 64m -- /bin/cat -u").unwrap();
        assert_eq!(args.command, ["/bin/cat", "-u"]);
        assert!(run("berth run").is_err());
        assert!(run("berth run --image busybox files").is_err());
    }
}
