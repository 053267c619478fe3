//! One session's history, told as it grows.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::session::Past;
use super::{Lines, Record, show};
use crate::observe::journal;

/// How often a living session's history is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Writes one session's history; where `follow` says so, until the session ends.
pub async fn tell(past: &Past, json: bool, follow: bool, out: &mut impl Write) -> io::Result<()> {
    let mut teller = Teller { json, day: String::new(), last: None, told: None, ended: false };
    let mut source = Source::open(&past.path)?;
    loop {
        // Before the last look: what it writes before it dies is seen by that.
        let live = journal::is_live(&past.path);
        teller.read(&mut source.lines, out)?;
        if !follow || !live || teller.ended {
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
    fn read(&mut self, lines: &mut Lines<BufReader<File>>, out: &mut impl Write) -> io::Result<()> {
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
