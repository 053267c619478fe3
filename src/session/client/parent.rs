//! Which client has started us, by the program that it is. It says nothing that a client could not say wrongly: it chooses
//! names and labels, as all that a client says of itself.

use std::fs;
use std::path::Path;

use super::identity::Client;

/// Whoever stands between a client and us, so many at the most.
const BETWEEN: [&str; 9] = ["ash", "bash", "busybox", "dash", "env", "fish", "sh", "timeout", "zsh"];
const GENERATIONS: usize = 4;

/// Programs of clients, and what these clients call themselves in their first message.
const CLIENTS: [(&str, &str); 15] = [
    ("claude", "claude-code"),
    ("claude-code", "claude-code"),
    ("claude-desktop", "claude-ai"),
    ("code", "visual-studio-code"),
    ("code-insiders", "visual-studio-code"),
    ("codex", "codex"),
    ("codium", "visual-studio-code"),
    ("cursor", "cursor-vscode"),
    ("gemini", "gemini-cli-mcp-client"),
    ("gemini-cli", "gemini-cli-mcp-client"),
    ("goose", "goose"),
    ("opencode", "opencode"),
    ("windsurf", "windsurf"),
    ("zed", "zed"),
    ("zed-editor", "zed"),
];

/// Programs that run another one's text.
const INTERPRETERS: [&str; 5] = ["node", "nodejs", "bun", "deno", "electron"];

/// A process, as far as its name needs.
#[derive(Debug, Default)]
struct Process {
    /// The program's file.
    program: String,
    arguments: Vec<String>,
}

impl Process {
    /// By its number; `None` where it is gone, or another user's.
    fn of(pid: u32) -> Option<Self> {
        let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?.to_string_lossy().into_owned();
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let arguments = line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        Some(Self { program, arguments: arguments.collect() })
    }

    fn client(&self) -> Option<Client> {
        let name = stem(&self.program);
        if !INTERPRETERS.contains(&name) {
            // Claude Code keeps its versions as files of that name.
            let of_versions = self.program.rsplit_once("/versions/").map(|(folder, _)| stem(folder));
            return named(name).or_else(|| named(of_versions?));
        }
        // Its text: by the name that it was called by, or by the package that it lies in.
        let text = self.arguments.iter().skip(1).find(|word| !word.starts_with('-'))?;
        let package = text
            .rsplit_once("/node_modules/")
            .and_then(|(_, package)| package.split('/').find(|part| !part.starts_with('@')));
        named(stem(text)).or_else(|| named(package?))
    }
}

/// A file's name without what stands behind its first dot, and without what Linux says of one that was replaced.
fn stem(path: &str) -> &str {
    let name = Path::new(path.trim_end_matches(" (deleted)")).file_name();
    let name = name.and_then(|name| name.to_str()).unwrap_or_default();
    name.split('.').next().unwrap_or(name)
}

fn named(program: &str) -> Option<Client> {
    let (_, client) = CLIENTS.iter().find(|(name, _)| *name == program)?;
    Some(Client::new(client))
}

/// The parent of a process.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses, and may have some of its own.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok().filter(|parent| *parent > 1)
}

/// The client that has started us, itself or by a shell.
pub fn client() -> Option<Client> {
    let parents = std::iter::successors(Some(std::os::unix::process::parent_id()), |pid| parent_of(*pid));
    nearest(parents.take(GENERATIONS).map_while(Process::of))
}

fn nearest(processes: impl Iterator<Item = Process>) -> Option<Client> {
    let mut above = processes.skip_while(|process| BETWEEN.contains(&stem(&process.program)));
    above.next()?.client()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_known_by_its_program_or_the_text_that_one_runs() {
        let client = |program: &str, arguments: &[&str]| {
            let arguments = arguments.iter().map(|&word| word.to_owned()).collect();
            let process = Process { program: program.to_owned(), arguments };
            process.client().map(|client| client.as_str().to_owned())
        };
        for (program, arguments, expected) in [
            ("/home/a/.local/share/claude/versions/2.1.330", &[][..], Some("claude-code")),
            ("/usr/lib/zed/zed-editor", &[], Some("zed")),
            ("/usr/bin/codex", &["codex", "exec"], Some("codex")),
            ("/usr/share/code/code", &["/usr/share/code/code", "--type=utility"], Some("visual-studio-code")),
            ("/opt/cursor/cursor (deleted)", &[], Some("cursor-vscode")),
            ("/usr/bin/node", &["node", "/usr/bin/claude", "-p"], Some("claude-code")),
            (
                "/usr/bin/node",
                &["node", "--no-warnings", "/n/node_modules/@google/gemini-cli/dist/index.js"],
                Some("gemini-cli-mcp-client"),
            ),
            (
                "/usr/bin/node",
                &["node", "/n/node_modules/@anthropic-ai/claude-code/cli.js"],
                Some("claude-code"),
            ),
            ("/usr/bin/node", &["node", "/home/a/code/agent/index.js"], None),
            ("/usr/bin/node", &["node", "/n/node_modules/agent/codex/index.js"], None),
            ("/usr/bin/node", &["node"], None),
            ("/usr/bin/bash", &["bash", "-c", "claude"], None),
            ("", &[], None),
        ] {
            assert_eq!(client(program, arguments).as_deref(), expected, "{program} {arguments:?}");
        }
    }

    #[test]
    fn a_shell_may_stand_between_and_no_other_program() {
        let found = |programs: &[&str]| {
            let all = programs
                .iter()
                .map(|program| Process { program: (*program).to_owned(), ..Process::default() });
            nearest(all).map(|client| client.as_str().to_owned())
        };
        assert_eq!(found(&["/bin/sh", "/usr/bin/timeout", "/opt/codex"]).as_deref(), Some("codex"));
        assert_eq!(found(&["/target/debug/it", "/bin/bash", "/usr/share/code/code"]), None);
        assert_eq!(found(&["/bin/sh"]), None);
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn the_processes_above_are_found() {
        let own = std::process::id();
        assert_eq!(parent_of(own), Some(std::os::unix::process::parent_id()));
        let process = Process::of(own).unwrap();
        assert!(!process.program.is_empty() && !process.arguments.is_empty());
        assert!(Process::of(u32::MAX).is_none() && parent_of(u32::MAX).is_none());
    }
}
