//! The command line as clap has it: every command, every argument, and what `--help` and shells say of them. Runs none.

mod backup;
mod catalogue;
mod clients;
pub mod completions;
mod daemon;
mod examinations;
pub mod help;
mod kubernetes;
mod manager;
mod run;
mod secret;
mod sessions;
mod shell;
mod tools;
mod volume;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub use backup::{BackupArgs, RestoreArgs};
pub use catalogue::CatalogueArgs;
pub use clients::{ImportArgs, InstallArgs, UninstallArgs};
pub use daemon::{BakeArgs, DownArgs, SbomArgs, StatusArgs, UpArgs};
pub use examinations::{ChaosArgs, DoctorArgs, ValidateArgs};
pub use kubernetes::{KubernetesArgs, KubernetesCommand};
pub use manager::{ManagerArgs, ManagerCommand, ManagerRunArgs, UnitKind};
pub use run::{RunArgs, SettingsArgs};
pub use secret::{SecretArgs, SecretCommand};
pub use sessions::{
    Among, AuditArgs, CallsArgs, GcArgs, KillArgs, LogsArgs, PsArgs, ReplayArgs, SessionsArgs, TraceArgs,
    TraceCommand,
};
pub use shell::{CompletionsArgs, HelpArgs, ManArgs};
pub use tools::ToolsArgs;
pub use volume::{VolumeArgs, VolumeCommand, VolumeImportArgs};

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
    /// List the packages in a server's baked image.
    Sbom(SbomArgs),
    /// List what servers told of themselves, for clients that are answered before a server runs.
    Catalogue(CatalogueArgs),
    /// Run an MCP server in a container of its own, speaking MCP on standard input and output.
    Run(Box<RunArgs>),
    /// Add configured servers to an AI client's configuration.
    Install(InstallArgs),
    /// Remove berth's servers from an AI client's configuration.
    Uninstall(UninstallArgs),
    /// Move the servers of an AI client's configuration to berth.
    Import(ImportArgs),
    /// Show the tools that a client would be offered, and what its limits take away.
    Tools(ToolsArgs),
    /// Keep secrets in your keyring for servers' `secrets`.
    Secret(SecretArgs),
    /// Bring volumes of your own engine to berth's servers.
    Volume(VolumeArgs),
    /// List the sessions.
    Ps(PsArgs),
    /// End a session, or all that belong to one session of a client.
    Kill(KillArgs),
    /// List recent sessions, or show the history of one: its start, messages of berth and the server, its end.
    Logs(LogsArgs),
    /// List past and present sessions.
    Sessions(SessionsArgs),
    /// List what clients asked: the last requests, the slowest ones, or those that failed.
    Calls(CallsArgs),
    /// List who was refused what, and what was ended and accepted by hand.
    Audit(AuditArgs),
    /// Sum up a trace: where the start went, the slowest calls, errors, unanswered requests.
    Trace(TraceArgs),
    /// Keep an index of all sessions, and serve an API, metrics and a page of them; no session needs it.
    Manager(ManagerArgs),
    /// Lay the ground for sessions in a Kubernetes cluster, take it back, or examine it.
    Kubernetes(KubernetesArgs),
    /// Write configuration, catalogue and servers' volumes into one file.
    Backup(BackupArgs),
    /// Bring back what a backup holds.
    Restore(RestoreArgs),
    /// Remove the leftovers of crashed sessions; it should never find any.
    Gc(GcArgs),
    /// Look at everything that sessions need, and name the command that mends it.
    Doctor(DoctorArgs),
    /// Examine this system with real sessions, and report.
    Validate(ValidateArgs),
    /// Break everything under load, on a daemon of its own, and count what went wrong.
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
    use crate::config::Settings;
    use crate::values::{Network, OnFailure, Standby};
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

    /// The settings that the flags make.
    fn settings(words: &str) -> Settings {
        run(words).unwrap().settings.0.on_the_defaults()
    }

    #[test]
    fn a_flag_says_how_many_stand_by() {
        assert_eq!(settings("berth run files").standby, Standby::fixed(1));
        assert_eq!(settings("berth run files --standby 0").standby, Standby::fixed(0));
        assert_eq!(settings("berth run --standby 3 files").standby, Standby::fixed(3));
        let error = run("berth run files --standby 65").unwrap_err().to_string();
        assert!(error.contains("expected a number of containers from 0 to 64"), "{error}");
    }

    #[test]
    fn flags_say_which_tools_may_be_used() {
        let given = settings("berth run files --tool read_* --tool list --deny-tool read_secret");
        assert_eq!(given.tools.map(|tools| tools.len()), Some(2));
        assert_eq!(given.deny_tools[0].as_str(), "read_secret");
        assert_eq!(settings("berth run files").tools, None, "no flag is no list");
    }

    #[test]
    fn flags_mount_folders_and_volumes() {
        let given = settings("berth run files -v /a:/b:rw --mount ${X:-/c}:/d --volume memory:/data:ro");
        assert_eq!(given.mounts().len(), 2);
        assert_eq!(given.volumes[0].name, "memory");
        let none = settings("berth run files");
        assert!(none.mounts().is_empty() && none.volumes.is_empty());
        let given = run("berth run files").unwrap().settings.0;
        assert_eq!(format!("{given:?}"), "{}", "nothing is taken away");
        let error = run("berth run files -v /a").unwrap_err().to_string();
        assert!(error.contains("expected a mount such as \"~/src/project:/workspace\""), "{error}");
    }

    #[test]
    fn each_option_of_a_setting_is_taken() {
        let line = "berth run files -e A=1 --secret B=2 --network none --memory 64m --cpus 0.5 --pids 9 --user 1:1 \
                    --workdir /w --cap-add NET_RAW --read-only --max-line 1m --stop-grace 1s --on-failure exit";
        let given = settings(line);
        assert_eq!((given.memory, given.nano_cpus, given.pids), (64 << 20, 500_000_000, 9));
        assert_eq!((given.user.as_deref(), given.workdir.as_deref()), (Some("1:1"), Some("/w")));
        assert_eq!((given.max_line, given.stop_grace.as_secs()), (1 << 20, 1));
        assert!(given.read_only && given.cap_add == ["NET_RAW"]);
        assert_eq!((given.network, given.on_failure), (Network::None, OnFailure::Exit));
    }

    #[test]
    fn a_server_or_an_image_and_not_both() {
        let args = run("berth run --image busybox --memory 64m -- /bin/cat -u").unwrap();
        assert_eq!(args.command, ["/bin/cat", "-u"]);
        assert_eq!(args.server(), None);
        assert!(run("berth run").is_err());
        assert!(run("berth run --image busybox files").is_err());
    }

    #[test]
    fn several_servers_or_a_profile_share_a_session() {
        let one = run("berth run files --entry work -- serve").unwrap();
        assert_eq!(
            (one.server(), one.entry.as_deref(), one.is_shared()),
            (Some("files"), Some("work"), false)
        );
        let two = run("berth run files git --memory 64m").unwrap();
        assert_eq!((two.server(), two.servers.len(), two.is_shared()), (None, 2, true));
        let profile = run("berth run --profile work").unwrap();
        assert_eq!((profile.server(), profile.profile.as_deref()), (None, Some("work")));
        assert!(profile.is_shared() && profile.check().is_ok() && one.check().is_ok());
        for line in ["--profile work files", "--profile work --image busybox", "--profile work -- serve"] {
            assert!(run(&format!("berth run {line}")).is_err(), "{line}");
        }
        let error = run("berth run files git -- serve").unwrap().check().unwrap_err();
        assert!(error.to_string().starts_with("error: several servers cannot have one COMMAND"), "{error}");
        for line in ["files git", "--profile work"] {
            let error = run(&format!("berth run --dry-run {line}")).unwrap().check().unwrap_err();
            assert!(error.to_string().contains("`--dry-run` shows the container of one server"), "{error}");
        }
        assert!(run("berth run --dry-run files").unwrap().check().is_ok());
    }
}
