//! `berth logs`, `sessions` and `calls`: what past and present sessions left.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::cli::{Among, CallsArgs, LogsArgs, SessionsArgs};
use crate::config::Home;
use crate::failure::{Code, Failure};
use crate::history::calls::{self, Call, Wanted};
use crate::history::manager::{self, Asked};
use crate::history::session::{self, Past};
use crate::history::{list, tell};
use crate::human::table;
use crate::values::Ago;

/// So many sessions of one container's name are looked through at the most.
const NAMED: usize = 1000;

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

/// The manager's index may hold more than the journals, which are asked where no manager has an answer.
pub async fn sessions(args: &SessionsArgs, home: &Home) -> anyhow::Result<ExitCode> {
    let told = match Asked::find(&home.state) {
        Some(manager) => manager.sessions(&filter(&args.among), args.number).await,
        None => None,
    };
    let all = told.unwrap_or_else(|| among(session::all(&home.state), &args.among));
    show(&all[..all.len().min(args.number)], args.json)?;
    Ok(ExitCode::SUCCESS)
}

pub async fn calls(args: &CallsArgs, home: &Home) -> anyhow::Result<ExitCode> {
    let wanted = Wanted {
        since: args.among.since.and_then(Ago::then),
        slowest: args.slow,
        failed: args.errors,
        number: args.number,
    };
    let calls = if let Some(calls) = told(args, &wanted, home).await {
        calls
    } else {
        let mut all = session::all(&home.state);
        if let Some(meant) = &args.session {
            let path = find(&all, meant)?.path.clone();
            all.retain(|past| past.path == path);
        }
        calls::of(&among(all, &args.among), wanted)
    };
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

/// What a manager says of the requests, if one says anything.
async fn told(args: &CallsArgs, wanted: &Wanted, home: &Home) -> Option<Vec<Call>> {
    let manager = Asked::find(&home.state)?;
    let session = match args.session.as_deref() {
        None => None,
        Some(meant) => {
            let (name, number) = if meant == "last" { (None, 1) } else { (Some(meant), NAMED) };
            let all = manager.sessions(&manager::Among { name, ..Default::default() }, number).await?;
            Some(session::find(&all, meant).ok()?.session.clone())
        }
    };
    manager.calls(wanted, &filter(&args.among), session.as_deref()).await
}

fn filter(among: &Among) -> manager::Among<'_> {
    manager::Among {
        server: among.server.as_deref(),
        client: among.client.as_deref(),
        since: among.since.and_then(Ago::then),
        name: None,
    }
}

/// Sessions of that server and client that have lived since then.
fn among(mut all: Vec<Past>, among: &Among) -> Vec<Past> {
    let is_meant = |meant: &Option<String>, is: &Option<String>| meant.is_none() || meant == is;
    let since = among.since.and_then(Ago::then);
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
