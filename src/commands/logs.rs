//! `berth logs`: the sessions of late, and what one of them left behind.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;

use crate::cli::LogsArgs;
use crate::config::Home;
use crate::failure::{Code, Failure};
use crate::history::session::{self, Past, State};
use crate::history::{Lines, Record, show};
use crate::human::table::{self, Cut};

/// How often a living session's history is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Of the reason of an end, so many characters are in the list.
const WHY: usize = 90;

pub async fn run(args: &LogsArgs, home: &Home) -> anyhow::Result<ExitCode> {
    let mut all = session::all(&home.state);
    if let Some(server) = &args.server {
        all.retain(|past| past.server.as_ref() == Some(server));
    }
    let done = match &args.session {
        None => list(args, &all),
        Some(meant) => {
            let past = session::find(&all, meant).map_err(|several| unknown(meant, &several))?;
            tell(args, past).await
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
        (format!("`{meant}` is the beginning of {} sessions' ids", several.len()), next)
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
    let titles = ["STARTED", "LENGTH", "SESSION", "CLIENT", "SERVER", "START", "END"];
    let mut rows = vec![titles.map(str::to_owned)];
    rows.extend(all.iter().map(|past| {
        let known = |text: &Option<String>| show::plain(text.as_deref().unwrap_or("-"));
        [
            show::local(past.started, "%Y-%m-%d %H:%M:%S"),
            length(past),
            past.session.clone(),
            known(&past.client),
            known(&past.server),
            known(&past.how),
            end(past),
        ]
    }));
    let width = table::terminal_width(&out);
    table::write(&mut out, &rows, [Cut::Never; 7], width)
}

fn length(past: &Past) -> String {
    let seconds = past.ended.unwrap_or_else(Timestamp::now).duration_since(past.started).as_secs_f64();
    match seconds.max(0.0) {
        seconds @ ..60.0 => format!("{seconds:.1}s"),
        seconds @ ..3600.0 => format!("{:.0}m", (seconds / 60.0).floor()),
        seconds => format!("{:.1}h", seconds / 3600.0),
    }
}

fn end(past: &Past) -> String {
    let why = show::plain(past.why.as_deref().unwrap_or_default());
    match (past.state, past.code) {
        (State::Live, _) => "live".to_owned(),
        (State::Killed, _) => "without a word: killed, or its machine was".to_owned(),
        (State::Ended, Some(0) | None) => why,
        (State::Ended, Some(code)) => {
            let short: String = why.chars().take(WHY).collect();
            let cut = if short.len() < why.len() { "…" } else { "" };
            format!("exit {code}: {short}{cut}")
        }
    }
}

/// Prints one session's history.
async fn tell(args: &LogsArgs, past: &Past) -> io::Result<()> {
    let mut teller = Teller { json: args.json, day: String::new(), last: None, told: None, ended: false };
    let mut source = Source::open(&past.path)?;
    loop {
        // Before the last look: what it writes before it dies is seen by that.
        let live = session_lives(&past.path);
        teller.read(&mut source.lines)?;
        if !args.follow || !live || teller.ended {
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        // A long history is shortened by putting another file in its place.
        if source.is_another(&past.path) {
            source = Source::open(&past.path)?;
            teller.again();
        }
    }
}

fn session_lives(path: &Path) -> bool {
    crate::observe::journal::is_live(path)
}

struct Source {
    lines: Lines<BufReader<File>>,
    inode: u64,
}

impl Source {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let inode = file.metadata()?.ino();
        Ok(Self { lines: Lines::new(BufReader::new(file)), inode })
    }

    fn is_another(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|now| now.ino() != self.inode)
    }
}

struct Teller {
    json: bool,
    /// Of the last line.
    day: String,
    last: Option<Timestamp>,
    /// What is no later has been told from another file.
    told: Option<Timestamp>,
    ended: bool,
}

impl Teller {
    fn read(&mut self, lines: &mut Lines<BufReader<File>>) -> io::Result<()> {
        let mut out = io::stdout().lock();
        while let Some(line) = lines.next_line()? {
            let Some(record) = Record::parse(line) else { continue };
            if self.told.is_some_and(|told| record.time <= told) {
                continue;
            }
            self.ended |= record.kind == "end";
            self.last = Some(record.time);
            if self.json {
                out.write_all(line)?;
                writeln!(out)?;
                continue;
            }
            let day = show::local(record.time, "%Y-%m-%d");
            if day != self.day {
                writeln!(out, "{day}{}", session_of(&record))?;
                self.day = day;
            }
            writeln!(out, "{}", show::line(&record))?;
        }
        out.flush()
    }

    /// The file is another one, which begins with what has been told.
    fn again(&mut self) {
        self.told = self.last;
    }
}

fn session_of(record: &Record) -> String {
    record.session.as_deref().map(|session| format!(" session {}", show::plain(session))).unwrap_or_default()
}
