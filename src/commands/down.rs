//! `berth down`: ends the DinD daemon, and its sessions with it.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

use crate::cli::DownArgs;
use crate::config::{Config, Home};
use crate::dind::ActiveSessions;
use crate::dind::down;
use crate::dind::progress::Progress;

pub async fn run(args: &DownArgs, config: &Config, home: &Home) -> anyhow::Result<ExitCode> {
    let progress = Progress::stderr();
    let options = down::Options { volumes: args.volumes, force: args.force };
    let confirm = |active| std::io::stdin().is_terminal() && ask(active);
    let report = down::down(config, home, &super::variable, options, confirm, &progress)
        .await
        .map_err(|error| super::up::failure(&error, &progress))?;
    let name = &config.dind.name;
    let mut out = std::io::stdout().lock();
    if report == down::Report::default() {
        writeln!(out, "the DinD daemon `{name}` is not there")?;
    } else {
        let rest =
            if args.volumes { "" } else { "; its images are kept (`berth down --volumes` removes them)" };
        writeln!(out, "the DinD daemon `{name}` is down{rest}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks the person on the terminal; anything but a yes is a no.
fn ask(active: ActiveSessions) -> bool {
    let mut answer = String::new();
    let asked = write!(std::io::stderr().lock(), "{active} and will be ended. Go on? [y/N] ")
        .and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    asked.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}
