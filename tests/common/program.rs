//! The program that is tested.

use std::path::Path;
use std::process::{Command, Stdio};

/// `berth` with this state folder, and with no client's environment.
pub(crate) fn berth(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_berth"));
    command.env("BERTH_HOME", home).stdin(Stdio::null());
    for name in
        ["CLAUDECODE", "CLAUDE_CODE_SESSION_ID", "CLAUDE_PROJECT_DIR", "BERTH_LOG", "BERTH_STALE_AFTER"]
    {
        command.env_remove(name);
    }
    command
}
