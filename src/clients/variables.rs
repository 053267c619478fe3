//! Variables in a client's entry that are about this machine, or that berth itself would obey in the server's place.

/// What decides where berth's files are, which engine it asks, and whose session it believes to be.
const OBEYED: [&str; 10] = [
    "CLAUDECODE",
    "CLAUDE_CODE_SESSION_ID",
    "CLAUDE_PROJECT_DIR",
    "DOCKER_AUTH_CONFIG",
    "DOCKER_CERT_PATH",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_HOST",
    "DOCKER_TLS_VERIFY",
    "GCONV_PATH",
];

/// Whether a variable says where things are on this machine, or who is at it.
pub(super) fn is_of_machine(name: &str) -> bool {
    ["HOME", "LOGNAME", "PATH", "PWD", "SHELL", "TMPDIR", "USER"].contains(&name) || name.starts_with("NVM_")
}

/// Whether berth, or the linker that loads it, would take a variable for its own. One from a project's file could lead berth
/// to another configuration.
pub(super) fn is_obeyed(name: &str) -> bool {
    OBEYED.contains(&name) || ["BERTH_", "LD_", "XDG_"].iter().any(|prefix| name.starts_with(prefix))
}

/// Whether the value names a file or a folder of this machine.
pub(super) fn is_path(value: &str) -> bool {
    value.starts_with(['/', '~', '.']) || value.starts_with("unix:") || value.contains(":/home/")
}

/// Whether a name is better none of a variable that is put into an entry, where berth itself has it, too.
pub(super) fn is_berths(name: &str) -> bool {
    is_obeyed(name) || ["DOCKER_", "RUST_"].iter().any(|prefix| name.starts_with(prefix))
}

/// A value as a template that gives just that.
pub(super) fn literal(value: &str) -> String {
    value.replace('$', "$$")
}
