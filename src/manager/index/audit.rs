//! Follows the audit file: each of its lines is an event, once.

use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use mcp_berth::history::Lines;
use mcp_berth::observe::audit::{Entry, SCHEMA};
use rusqlite::{Connection, OptionalExtension, params};

use super::batch::ADD_EVENT;
use super::event::Kind;
use super::{micros, number};

/// So many lines are taken at once.
const TOGETHER: usize = 1000;

const MARK: &str = "audit";

/// How far the file is read: which file it was, and how many bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Mark {
    inode: i64,
    passed: i64,
}

#[derive(Debug)]
pub(super) struct Follower {
    path: PathBuf,
    /// As the index has it; `None`: it is to be asked.
    mark: Option<Mark>,
}

impl Follower {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, mark: None }
    }

    /// Takes some of the new lines; gives their number, and whether these were all.
    pub(super) fn look(&mut self, connection: &mut Connection) -> anyhow::Result<(usize, bool)> {
        let Ok(Some(file)) = mcp_berth::regular::open(&self.path) else { return Ok((0, true)) };
        let metadata = file.metadata()?;
        let (inode, length) = (number(metadata.ino()), number(metadata.len()));
        // It is asked again after an error.
        let known = match self.mark.take() {
            Some(mark) => mark,
            None => read_mark(connection)?,
        };
        let is_same = known.inode == inode && known.passed <= length;
        let from = if is_same { known.passed } else { 0 };
        let mark = Mark { inode, passed: from };
        let (new, mark, is_all) = if from < length { take(connection, file, mark)? } else { (0, mark, true) };
        self.mark = Some(mark);
        Ok((new, is_all))
    }
}

fn read_mark(connection: &Connection) -> rusqlite::Result<Mark> {
    let mut ask = connection.prepare("SELECT inode, passed FROM marks WHERE name = ?1")?;
    let mark = ask.query_row([MARK], |row| Ok(Mark { inode: row.get(0)?, passed: row.get(1)? }));
    Ok(mark.optional()?.unwrap_or_default())
}

fn take(connection: &mut Connection, mut file: File, mark: Mark) -> anyhow::Result<(usize, Mark, bool)> {
    file.seek(SeekFrom::Start(mark.passed.try_into()?))?;
    let mut lines = Lines::new(BufReader::new(file));
    let transaction = connection.transaction()?;
    let mut new = 0;
    let mut is_all = true;
    {
        let mut add = transaction.prepare(ADD_EVENT)?;
        while let Some(line) = lines.next_line()? {
            let entry = serde_json::from_slice::<Entry>(line).ok();
            // A later berth's lines may mean something else.
            if let Some(entry) = entry.filter(|entry| entry.schema <= SCHEMA) {
                let Entry { time, event, session, client, server, detail, .. } = &entry;
                let (kind, seq) = (Kind::of_audit(event).as_str(), None::<i64>);
                add.execute(params![micros(*time), kind, event, session, seq, server, client, detail])?;
                new += 1;
            }
            if new == TOGETHER {
                is_all = false;
                break;
            }
        }
    }
    let mark = Mark { passed: mark.passed + number(lines.passed()), ..mark };
    transaction.execute(
        "INSERT OR REPLACE INTO marks (name, inode, passed) VALUES (?1, ?2, ?3)",
        params![MARK, mark.inode, mark.passed],
    )?;
    transaction.commit()?;
    Ok((new, mark, is_all))
}
