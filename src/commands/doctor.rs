//! `berth doctor`: what sessions need, line by line, each with the command that mends it.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use crate::cli::DoctorArgs;
use crate::config::{Config, ConfigError, Home};
use crate::dind::progress::Progress;
use crate::doctor::line::Line;
use crate::doctor::report::{Look, Report};
use crate::doctor::{self, Options};
use crate::failure::Code;

/// `loaded` may be an error: it is a line of the report then. `beside` sees what this program does not know.
pub async fn run(
    args: &DoctorArgs,
    loaded: Result<(Config, Home), ConfigError>,
    beside: impl AsyncFnOnce(&Config) -> Vec<Line>,
) -> anyhow::Result<ExitCode> {
    let (config, home) = match &loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            write(args, &doctor::misconfigured(error))?;
            return Ok(ExitCode::from(Code::Configuration.exit_code()));
        }
    };
    let folder = std::env::current_dir().unwrap_or_default();
    let options = Options { quick: args.quick, patience: args.patience, folder };
    let progress = if std::io::stderr().is_terminal() { Progress::stderr() } else { Progress::silent() };
    let examined = doctor::examine(config, home, &super::variable, &options, &progress, beside(config));
    let report = Box::pin(examined).await;
    write(args, &report)?;
    Ok(if report.healthy { ExitCode::SUCCESS } else { ExitCode::from(Code::Unavailable.exit_code()) })
}

fn write(args: &DoctorArgs, report: &Report) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(report)?)?;
        return Ok(());
    }
    let look = if out.is_terminal() {
        Look::Terminal { colours: super::variable("NO_COLOR").is_none_or(|value| value.is_empty()) }
    } else {
        Look::Plain
    };
    report.write(&mut out, look)?;
    Ok(())
}
