//! The arguments of `berth manager`, which `berth` hands on to `berth-manager`.

use std::ffi::OsString;
use std::net::SocketAddr;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
pub struct ManagerArgs {
    #[command(subcommand)]
    pub command: Option<ManagerCommand>,
    #[command(flatten)]
    pub run: ManagerRunArgs,
}

#[derive(Debug, Clone, Default, Args)]
pub struct ManagerRunArgs {
    /// Address of the API, instead of the configured one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub api: Option<SocketAddr>,
    /// Address of the metrics and the page, instead of the configured one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub monitor: Option<SocketAddr>,
}

#[derive(Debug, Clone, Subcommand)]
pub enum ManagerCommand {
    /// Run in the foreground, as without a subcommand.
    Run(ManagerRunArgs),
    /// Open the page in a browser: prints a link that does so once, within a minute.
    Open,
    /// Print the token that the API and the metrics ask for.
    Token,
    /// Say whether a manager runs, and where; exits with 0 only then.
    Status,
    /// End the manager.
    Stop,
    /// Print the units by which systemd runs the manager for this user.
    Unit {
        /// Print this one alone.
        which: Option<UnitKind>,
    },
}

/// A unit of systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UnitKind {
    Service,
    Socket,
}

impl UnitKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Socket => "socket",
        }
    }
}

impl ManagerArgs {
    /// The command; without one, `run`.
    pub fn command(&self) -> ManagerCommand {
        match self.command.clone() {
            None => ManagerCommand::Run(self.run.clone()),
            Some(ManagerCommand::Run(run)) => ManagerCommand::Run(ManagerRunArgs {
                api: run.api.or(self.run.api),
                monitor: run.monitor.or(self.run.monitor),
            }),
            Some(other) => other,
        }
    }

    /// The same arguments as words of a command line.
    pub fn words(&self) -> Vec<OsString> {
        let word = match self.command() {
            ManagerCommand::Run(run) => {
                let options = [("--api", run.api), ("--monitor", run.monitor)];
                let options = options.into_iter().filter_map(|(flag, address)| Some((flag, address?)));
                let options = options.flat_map(|(flag, address)| [flag.into(), address.to_string().into()]);
                return std::iter::once("run".into()).chain(options).collect();
            }
            ManagerCommand::Open => "open",
            ManagerCommand::Token => "token",
            ManagerCommand::Status => "status",
            ManagerCommand::Stop => "stop",
            ManagerCommand::Unit { which } => {
                let which = which.map(|which| which.as_str().into());
                return std::iter::once("unit".into()).chain(which).collect();
            }
        };
        vec![word.into()]
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        args: ManagerArgs,
    }

    fn words(line: &str) -> Vec<OsString> {
        Program::try_parse_from(line.split(' ')).unwrap().args.words()
    }

    #[test]
    fn the_words_say_the_same() {
        assert_eq!(words("m"), ["run"]);
        assert_eq!(words("m --api [::1]:1"), ["run", "--api", "[::1]:1"]);
        for line in [
            "run --api 127.0.0.1:1 --monitor 127.0.0.1:2",
            "open",
            "token",
            "status",
            "stop",
            "unit",
            "unit socket",
        ] {
            let again = words(&format!("m {line}"));
            assert_eq!(again.join(" ".as_ref()), *line);
        }
        assert_eq!(words("m --api 127.0.0.1:1 run --monitor 127.0.0.1:2").len(), 5);
        assert_eq!(words("m --api 127.0.0.1:1 token"), ["token"], "it listens nowhere");
    }
}
