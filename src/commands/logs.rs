//! `berth logs`: recent sessions, and the history that each left.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::cli::LogsArgs;
use crate::config::Home;
use crate::failure::{Code, Failure};
use crate::history;
use crate::history::session::{self, Past};
use crate::human::table;

pub async fn run(args: &LogsArgs, home: &Home) -> anyhow::Result<ExitCode> {
    let mut all = session::all(&home.state);
    if let Some(server) = &args.server {
        all.retain(|past| past.server.as_ref() == Some(server));
    }
    let done = match &args.session {
        None => list(args, &all),
        Some(meant) => {
            let past = session::find(&all, meant).map_err(|several| unknown(meant, &several))?;
            history::tell::tell(past, args.json, args.follow, &mut io::stdout().lock()).await
        }
    };
    done?;
    Ok(ExitCode::SUCCESS)
}

fn unknown(meant: &str, several: &[&str]) -> Failure {
    let (text, next) = if several.is_empty() {
        (format!("no history of a session `{meant}`"), "see `berth logs`".to_owned())
    } else {
        let next = format!("name one of {}", several.join(", "));
        (format!("{} sessions' ids begin with `{meant}`", several.len()), next)
    };
    Failure { code: Code::Usage, text, next: Some(next) }
}

fn list(args: &LogsArgs, all: &[Past]) -> io::Result<()> {
    let all = &all[..all.len().min(args.number)];
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, all)?;
        return writeln!(out);
    }
    let width = table::terminal_width(&out);
    history::list::write(&mut out, all, width)
}
