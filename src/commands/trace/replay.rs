//! `berth trace replay`: repeats a recorded session in a fresh container, through `berth run` itself.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context;
use tokio::process::Command;

use crate::cli::ReplayArgs;
use crate::failure::{Code, Failure};
use crate::history::replay::recording::Recording;
use crate::history::replay::{Outcome, replay};
use crate::history::show::plain;
use crate::human::count;
use crate::values::is_server_name;

/// What was examined did not pass.
const DIFFERENT: u8 = 1;

/// Who the session's container is for.
const CLIENT: &str = "replay";

/// The session is over when its input is; it has its own grace for that.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

pub async fn run(args: &ReplayArgs, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    let unusable = |error: &dyn std::error::Error| Failure {
        code: Code::Usage,
        text: format!("cannot replay `{}`: {}", args.file.display(), crate::failure::chain(error)),
        next: Some("make a trace with `berth run --trace=FILE --trace-bodies SERVER`".to_owned()),
    };
    let file = File::open(&args.file).map_err(|error| unusable(&error))?;
    let recording = Recording::read(BufReader::new(file)).map_err(|error| unusable(&error))?;
    let Some(server) = args.server.clone().or_else(|| recording.server.clone()) else {
        return Err(Failure {
            code: Code::Usage,
            text: format!("the trace `{}` does not name its server", args.file.display()),
            next: Some("name the server after the file".to_owned()),
        }
        .into());
    };
    // It may come from somebody else's file, and is to be no flag.
    if !is_server_name(&server) {
        return Err(Failure {
            code: Code::Usage,
            text: format!("`{}` is not a server's name", plain(&server)),
            next: Some("name the server after the file".to_owned()),
        }
        .into());
    }
    // Whatever the recording calls is really done.
    tracing::warn!(
        "repeating the messages of the session {} to `{server}`, its calls included",
        plain(&recording.session)
    );
    let mut command = Command::new(std::env::current_exe().context("cannot find berth's own program")?);
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    command.args(["run", "--client", CLIENT, "--standby", "0", &server]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start `berth run`")?;
    let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        anyhow::bail!("`berth run` has no pipes");
    };
    let output = tokio::io::BufReader::new(output);
    let outcome = replay(recording, (output, input), &args.ignore, args.timeout.duration()).await?;
    // One that does not end is killed.
    _ = tokio::time::timeout(ENDS_WITHIN, child.wait()).await;
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &outcome)?;
        writeln!(out)?;
    } else {
        write(&mut out, &outcome, &server)?;
    }
    Ok(if outcome.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}

fn write(out: &mut impl Write, outcome: &Outcome, server: &str) -> io::Result<()> {
    let Outcome { session, requests, compared, redacted, not_compared, differences } = outcome;
    let requests = count(*requests, "request");
    writeln!(out, "{requests} of the session {} repeated to `{server}`", plain(session))?;
    if *not_compared > 0 {
        let answers = count(*not_compared, "recorded answer");
        writeln!(out, "{answers} not compared: cut, or berth's own")?;
    }
    for id in redacted {
        writeln!(out, "id={}: sent with «[redacted]», as the trace has it", plain(&id.to_string()))?;
    }
    for changed in differences {
        let tool = changed.tool.as_deref().map(|tool| format!(" {}", plain(tool))).unwrap_or_default();
        writeln!(out, "{}{tool} id={}", plain(&changed.method), plain(&changed.id.to_string()))?;
        for difference in &changed.differences {
            writeln!(out, "  {}", plain(&difference.pointer))?;
            writeln!(out, "    recorded: {}", plain(&difference.recorded))?;
            writeln!(out, "    now:      {}", plain(&difference.now))?;
        }
    }
    let compared = count(*compared, "answer");
    match differences.len() {
        0 => writeln!(out, "{compared} compared, no differences"),
        different => writeln!(out, "{compared} compared, differences: {different}"),
    }
}
