//! The clients' own commands for their configuration, where they can express everything that berth needs.
//!
//! Only Claude Code's commands are of use, and only for the file that Claude Code itself keeps and may be writing now.
//! They would reformat a project's `.mcp.json`. `codex mcp add` loses comments and cannot set `env_vars`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::json;

use super::berth::find;
use super::{Entry, Kind, Place, Scope};
use crate::failure::{Code, Failure};
use crate::values::Lookup;

/// The command of a client.
#[derive(Debug, Clone)]
pub struct Cli {
    program: PathBuf,
    scope: Scope,
}

impl Cli {
    /// That for a place, if it is installed and can do the work.
    pub fn of(place: &Place, lookup: Lookup) -> Option<Self> {
        let own = place.kind == Kind::ClaudeCode && place.scope != Scope::Project;
        let program = own.then(|| find("claude", lookup)).flatten()?;
        Some(Self { program, scope: place.scope })
    }

    /// Whether it accepts a server's name. The client itself runs others, too.
    pub fn takes(name: &str) -> bool {
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    }

    /// Adds an entry that is not there yet.
    pub fn add(&self, name: &str, entry: &Entry) -> Result<(), Failure> {
        let entry = json!({ "type": "stdio", "command": entry.command, "args": entry.args });
        self.run(&["add-json", "--scope", self.scope.as_str(), name, &entry.to_string()])
    }

    pub fn remove(&self, name: &str) -> Result<(), Failure> {
        self.run(&["remove", "--scope", self.scope.as_str(), name])
    }

    fn run(&self, args: &[&str]) -> Result<(), Failure> {
        let failed = |why: String| Failure {
            code: Code::Unavailable,
            text: format!("`claude mcp {}` failed: {why}", args.first().copied().unwrap_or_default()),
            next: Some(
                "correct that, or take `claude` out of PATH: berth then edits the file itself".to_owned(),
            ),
        };
        let output = Command::new(&self.program)
            .arg("mcp")
            .args(args)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(failed(said.lines().last().unwrap_or("it says nothing").trim().to_owned()))
    }
}
