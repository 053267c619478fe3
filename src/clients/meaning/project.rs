//! Servers that work on the project that their client is in.

use super::known::{Known, names_any};
use crate::clients::{Entry, Machine};
use crate::runner::{Parsed, Program};

/// What Claude Code says, else the folder in which the client starts berth.
const PROJECT: &str = "${CLAUDE_PROJECT_DIR:-.}";

/// A word that says so, whatever the package.
const SIGN: &str = "--project-from-cwd";

/// Words of packages that work on documents, wherever these lie.
const DOCUMENTS: [&str; 13] = [
    "csv",
    "docx",
    "elevenlabs",
    "excel",
    "ffmpeg",
    "markitdown",
    "office",
    "pandoc",
    "pdf",
    "powerpoint",
    "pptx",
    "word",
    "xlsx",
];

/// Mounts the project at its own path, and starts the server there.
pub(super) fn mount(parsed: &mut Parsed, writable: bool) {
    let mode = if writable { ":rw" } else { "" };
    parsed.mounts.push(format!("{PROJECT}:{PROJECT}{mode}"));
    if parsed.settings.iter().all(|(key, _)| *key != "workdir") {
        parsed.set("workdir", PROJECT);
    }
}

/// Mounts the project where that was asked for; else says how. Who names folders has no need of it.
pub(super) fn offer(
    parsed: &mut Parsed,
    entry: &Entry,
    machine: &Machine<'_>,
    known: &Known,
    has_places: bool,
) {
    let is_bound = known.project || entry.args.iter().any(|arg| arg == SIGN);
    let has_documents = !is_bound && names_any(parsed, &DOCUMENTS);
    if !(is_bound || has_documents) || has_places || matches!(parsed.program, Program::Image { .. }) {
        return;
    }
    let writes = known.writes || !known.project;
    let mode = if writes { ":rw" } else { "" };
    if machine.asked.project {
        mount(parsed, writes);
        let how = if writes { "`:rw`" } else { "read-only" };
        parsed.notes.push(format!(
            "it works on the project, which is mounted at its own path, {how}; the server starts there"
        ));
        return;
    }
    let what = if has_documents {
        "a package of this name may work on files of yours, and sees none yet; for those of the project that its client is in,"
    } else {
        "it works on the project that its client is in, and sees nothing of it yet;"
    };
    parsed.notes.push(format!(
        "{what} write `mounts = [\"{PROJECT}:{PROJECT}{mode}\"]` \
         and `workdir = \"{PROJECT}\"` into its [servers.NAME] (`berth import --project` writes both)"
    ));
}
