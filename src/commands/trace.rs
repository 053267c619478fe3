//! `berth trace`: sums up a recorded trace; and `berth trace replay`.

pub mod replay;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::cli::{TraceArgs, TraceCommand};
use crate::failure::{Code, Failure};
use crate::history::timeline::{self, Timeline};
use crate::history::{Lines, show};

/// How often a file that may grow is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

pub async fn run(args: &TraceArgs, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    if let Some(TraceCommand::Replay(args)) = &args.command {
        return Box::pin(replay::run(args, config)).await;
    }
    let file = args.file.as_deref().unwrap_or(Path::new("-"));
    let done = if file == Path::new("-") {
        tell(args, io::stdin().lock(), false).await
    } else {
        let opened = File::open(file).map_err(|error| Failure {
            code: Code::Usage,
            text: format!("cannot read the trace `{}`: {error}", file.display()),
            next: Some("make one with `berth run --trace=FILE`".to_owned()),
        })?;
        tell(args, BufReader::new(opened), args.follow).await
    };
    done?;
    Ok(ExitCode::SUCCESS)
}

async fn tell(args: &TraceArgs, input: impl BufRead, grows: bool) -> io::Result<()> {
    let mut lines = Lines::new(input);
    let mut timeline = Timeline::default();
    loop {
        {
            let mut out = io::stdout().lock();
            timeline.read(&mut lines, |record| {
                if args.follow && !args.json { writeln!(out, "{}", show::line(record)) } else { Ok(()) }
            })?;
            out.flush()?;
        }
        if !grows {
            break;
        }
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
    timeline.rest(&mut lines);
    let summary = timeline.summary();
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &summary)?;
        writeln!(out)?;
    } else {
        timeline::show::write(&mut out, &summary)?;
    }
    out.flush()
}
