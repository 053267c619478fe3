//! `protect`: names in a project that programs of the host obey unasked.
//!
//! A server may write a project, but not what the host runs later because it lies there. `within.rs` finds out what that
//! is in the mounts of a server.

use crate::values::{Value, ValueError, from_str};

from_str!(ProtectedName);

/// What `protect = true` protects. Programs run or obey these where a person only enters, opens or commits to a project;
/// what is run when it is asked for (`Makefile`, `package.json`) is the project's own.
pub const PROTECTED: [&str; 32] = [
    // Hooks, and settings that name commands: `core.fsmonitor`, `core.hooksPath`, aliases, another repository to obey.
    ".git",
    // What git's hooks run that were set up by husky, pre-commit and lefthook.
    ".husky",
    ".pre-commit-config.yaml",
    "lefthook.yml",
    // What AI clients start, and their own hooks and commands.
    ".mcp.json",
    ".claude",
    ".codex",
    ".agents",
    ".gemini",
    ".cursor",
    ".amazonq",
    ".continue",
    ".crush.json",
    ".junie",
    ".kiro",
    ".opencode",
    "opencode.json",
    ".qwen",
    ".roo",
    ".trae",
    ".windsurf",
    ".zed",
    // Tasks, interpreters, extensions of editors.
    ".vscode",
    ".idea",
    ".fleet",
    ".devcontainer",
    ".devcontainer.json",
    ".exrc",
    ".nvim.lua",
    // Run when a shell enters the folder.
    ".envrc",
    ".mise.toml",
    "mise.toml",
];

/// A name in a project, or a path of some.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProtectedName(String);

impl ProtectedName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in the project itself.
    pub fn first(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }
}

impl Value for ProtectedName {
    const EXPECTED: &'static str = "true, false, or names in the project such as \".git\" or \".git/hooks\"";

    fn from_text(text: &str) -> Option<Self> {
        let plain = !text.contains([',', ':']) && !text.chars().any(char::is_control);
        let mut parts = text.split('/');
        (plain && parts.all(|part| !["", ".", ".."].contains(&part))).then(|| Self(text.to_owned()))
    }
}

/// How far the usual names are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Those that exist.
    Existing,
    /// The missing names as well: their places are reserved.
    All,
    None,
}

impl Value for Extent {
    const EXPECTED: &'static str = "true, false, \"existing\", or a list of names such as [\".git\"]";

    fn from_text(text: &str) -> Option<Self> {
        (text == "existing").then_some(Self::Existing)
    }

    fn from_bool(value: bool) -> Option<Self> {
        Some(if value { Self::All } else { Self::None })
    }
}

/// The usual ones.
pub(super) fn all() -> Vec<ProtectedName> {
    PROTECTED.iter().filter_map(|name| ProtectedName::from_text(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_path_in_the_project() {
        let parse = |text: &str| ProtectedName::from_text(text).is_some();
        for good in [".git", ".git/hooks", "a b", "ä"] {
            assert!(parse(good), "{good}");
        }
        for bad in ["", "/", "/x", "x/", "a//b", "..", "a/../b", ".", "./a", "a:b", "a,b", "a\nb"] {
            assert!(!parse(bad), "{bad}");
        }
        assert_eq!(all().len(), PROTECTED.len());
    }
}
