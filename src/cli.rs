//! The command line as clap has it: every command, every argument, and what `--help` says of them. No logic.

mod clients;
mod daemon;
mod examinations;
pub mod help;
mod run;
mod sessions;
mod shell;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub use clients::{ImportArgs, InstallArgs, UninstallArgs};
pub use daemon::{BakeArgs, DownArgs, StatusArgs, UpArgs};
pub use examinations::{ChaosArgs, DoctorArgs, ValidateArgs};
pub use run::{RunArgs, SettingsArgs};
pub use sessions::{KillArgs, LogsArgs, PsArgs, ReplayArgs, TraceArgs, TraceCommand};
pub use shell::{CompletionsArgs, HelpArgs, ManArgs};

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
    Logs(LogsArgs),
    /// Tell what a trace comes to: where the start went, the slowest calls, errors, what nobody answered.
    Trace(TraceArgs),
    /// Remove what crashed sessions left behind; should never find anything.
    Gc,
    /// Look at everything that sessions need, and say what mends it.
    Doctor(DoctorArgs),
    /// Examine this system with real sessions, and report.
    Validate(ValidateArgs),
    /// Break everything while sessions are under load, on a daemon of its own, and count what went wrong.
    Chaos(ChaosArgs),
    /// Show a topic of the manual, or a command's help.
    Help(HelpArgs),
    /// Print what a shell needs to complete berth's command lines, the configured servers' names included.
    Completions(CompletionsArgs),
    /// Write the manual's pages.
    Man(ManArgs),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;
    use crate::values::Standby;
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
