//! A manager's databases: how each is opened.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

/// Somebody else may be writing for so long.
const BUSY: Duration = Duration::from_secs(5);

/// A connection that may write; the file is made if there is none.
pub(crate) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A kill takes nothing. A power failure takes the last moments, of all tables alike: records' numbers go with what was
    // made of them, and both come again.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    Ok(connection)
}

/// Makes the tables that a new file lacks. `tables` sets `user_version` to `schema`.
///
/// # Errors
/// The file cannot be used, or is a later berth's.
pub(crate) fn prepare(
    file: &mut Connection,
    schema: i32,
    tables: &str,
    first: impl FnOnce(&Connection) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let found: i32 = file.pragma_query_value(None, "user_version", |row| row.get(0))?;
    anyhow::ensure!(found <= schema, "a later berth has written it");
    if found == 0 {
        let making = file.transaction()?;
        making.execute_batch(tables)?;
        first(&making)?;
        making.commit()?;
    }
    Ok(())
}
