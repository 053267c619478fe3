//! `berth logs`, `sessions` and `calls`: what past and present sessions left.

use std::io::{self, Write};
use std::process::ExitCode;

use jiff::Timestamp;

use crate::cli::{Among, CallsArgs, LogsArgs, SessionsArgs};
use crate::config::Home;
use crate::failure::{Code, Failure};
use crate::history::calls::{self, Wanted};
use crate::history::session::{self, Past};
use crate::history::{list, tell};
use crate::human::table;

pub async fn run(args: &LogsArgs, home: &Home) -> anyhow::Result<ExitCode> {
    let mut all = session::all(&home.state);
    if let Some(server) = &args.server {
        all.retain(|past| past.server.as_ref() == Some(server));
    }
    let done = match &args.session {
        None => show(&all[..all.len().min(args.number)], args.json),
        Some(meant) => tell::tell(find(&all, meant)?, args.json, args.follow, &mut io::stdout().lock()).await,
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

fn find<'a>(all: &'a [Past], meant: &str) -> Result<&'a Past, Failure> {
    session::find(all, meant).map_err(|several| unknown(meant, &several))
}

pub fn sessions(args: &SessionsArgs, home: &Home) -> anyhow::Result<ExitCode> {
    let all = among(session::all(&home.state), &args.among);
    show(&all[..all.len().min(args.number)], args.json)?;
    Ok(ExitCode::SUCCESS)
}

pub fn calls(args: &CallsArgs, home: &Home) -> anyhow::Result<ExitCode> {
    let mut all = session::all(&home.state);
    if let Some(meant) = &args.session {
        let path = find(&all, meant)?.path.clone();
        all.retain(|past| past.path == path);
    }
    let wanted =
        Wanted { since: since(&args.among), slowest: args.slow, failed: args.errors, number: args.number };
    let calls = calls::of(&among(all, &args.among), wanted);
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &calls)?;
        writeln!(out)?;
    } else {
        let width = table::terminal_width(&out);
        calls::write(&mut out, &calls, width)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn since(among: &Among) -> Option<Timestamp> {
    among.since.and_then(|span| Timestamp::now().checked_sub(span.duration()).ok())
}

/// Sessions of that server and client that have lived since then.
fn among(mut all: Vec<Past>, among: &Among) -> Vec<Past> {
    let is_meant = |meant: &Option<String>, is: &Option<String>| meant.is_none() || meant == is;
    let since = since(among);
    all.retain(|past| {
        is_meant(&among.server, &past.server)
            && is_meant(&among.client, &past.client)
            && since.is_none_or(|since| past.ended.is_none_or(|ended| ended >= since))
    });
    all
}

fn show(all: &[Past], json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, all)?;
        return writeln!(out);
    }
    let width = table::terminal_width(&out);
    list::write(&mut out, all, width)
}
