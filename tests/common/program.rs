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

/// What a command says: exit code, standard output, standard error.
pub(crate) fn says(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}
