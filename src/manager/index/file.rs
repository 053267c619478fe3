//! The index's file: what is in it, and what becomes of one that this berth does not know.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use mcp_berth::failure::{Code, Failure};
use rusqlite::{Connection, ErrorCode, params};

use crate::database;

/// What the tables mean. An index with another number is put aside.
const VERSION: i64 = 1;

/// Times are microseconds. A session's `state` is `pruned` where nothing but its numbers is kept, so that its journal is
/// not read again.
const SCHEMA: &str = "
CREATE TABLE sessions (
    key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, state TEXT NOT NULL, schema INTEGER NOT NULL,
    started INTEGER NOT NULL, last INTEGER NOT NULL, ended INTEGER,
    server TEXT, client TEXT, client_session TEXT, project TEXT, image TEXT, version TEXT,
    containers TEXT NOT NULL, how TEXT, start_took INTEGER, recoveries INTEGER NOT NULL,
    why TEXT, code INTEGER, code_of TEXT, requests INTEGER, errors INTEGER, lost INTEGER, unanswered INTEGER,
    last_seq INTEGER NOT NULL, indexed INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_by_start ON sessions (started, id);
CREATE TABLE steps (
    session INTEGER NOT NULL, seq INTEGER NOT NULL, ended INTEGER NOT NULL, name TEXT NOT NULL, took INTEGER NOT NULL,
    detail TEXT, PRIMARY KEY (session, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE calls (
    id INTEGER PRIMARY KEY, session INTEGER NOT NULL, seq INTEGER NOT NULL, time INTEGER NOT NULL,
    method TEXT NOT NULL, tool TEXT, latency INTEGER NOT NULL, bytes INTEGER NOT NULL, answer_bytes INTEGER NOT NULL,
    outcome TEXT NOT NULL, code INTEGER, UNIQUE (session, seq)
) STRICT;
CREATE INDEX calls_by_time ON calls (time);
CREATE INDEX calls_by_latency ON calls (latency);
CREATE INDEX calls_that_failed ON calls (time) WHERE outcome <> 'ok';
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
    session TEXT, seq INTEGER, server TEXT, client TEXT, detail TEXT, UNIQUE (session, seq)
) STRICT;
CREATE INDEX events_by_time ON events (time);
CREATE TABLE marks (name TEXT PRIMARY KEY, inode INTEGER NOT NULL, passed INTEGER NOT NULL) STRICT;
";

/// Makes the index ready to be used.
///
/// # Errors
/// Where it can be neither used nor put aside.
pub(super) fn open(path: &Path) -> Result<Connection, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure {
        code: Code::Unavailable,
        text: format!("cannot use the index `{}`: {error}", path.display()),
        next: Some("correct the folder, or remove the file: the next manager makes another one".to_owned()),
    };
    private(path).map_err(|error| failed(&error))?;
    let why = match usable(path) {
        Ok(Ok(connection)) => return Ok(connection),
        Ok(Err(other)) => other,
        Err(error) if is_broken(&error) => format!("it is broken: {error}"),
        Err(error) => return Err(failed(&error)),
    };
    let aside = put_aside(path).map_err(|error| failed(&error))?;
    tracing::warn!(
        "cannot use the index `{}`, {why}; it is `{}` now, and the journals make another one",
        path.display(),
        aside.display()
    );
    private(path).map_err(|error| failed(&error))?;
    match usable(path) {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(why)) => Err(failed(&why)),
        Err(error) => Err(failed(&error)),
    }
}

/// The index; or why it is another berth's.
fn usable(path: &Path) -> rusqlite::Result<Result<Connection, String>> {
    let mut connection = database::connect(path)?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (version, tables) {
        (0, 0) => make(&mut connection)?,
        (VERSION, _) => {
            let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
            if found != "ok" {
                return Ok(Err(format!("it is broken: {found}")));
            }
        }
        (other, _) => return Ok(Err(format!("it is another berth's (version {other}, not {VERSION})"))),
    }
    Ok(Ok(connection))
}

fn make(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    // An event's number is higher than each of an index before this one: who has read as far as that goes on here.
    let first = Timestamp::now().as_millisecond();
    transaction.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?1)", params![first])?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

fn is_broken(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
}

/// Only this user reads it. `SQLite` gives its other two files the same mode.
fn private(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    file.set_permissions(PermissionsExt::from_mode(0o600))
}

/// What is in the write-ahead log is a part of the index.
fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = path.with_extension("db.old");
    for end in ["-wal", "-shm", ""] {
        let (from, to) =
            (path.with_extension(format!("db{end}")), path.with_extension(format!("db.old{end}")));
        match std::fs::rename(&from, &to) {
            // It is not to be taken for the log of the one that comes now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => _ = std::fs::remove_file(&to),
            renamed => renamed?,
        }
    }
    Ok(aside)
}
