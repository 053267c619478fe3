//! The tests' own daemon, and what it and `berth` say. Sessions and waits are those of all tests.

#[path = "../common/daemon.rs"]
mod daemon;
#[path = "../common/program.rs"]
mod program;
#[path = "../common/session.rs"]
mod session;
#[path = "../common/sockets.rs"]
pub(crate) mod sockets;
#[path = "../common/waits.rs"]
mod waits;

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

pub(crate) use daemon::{daemon, home};
use daemon::{files_of, port};
pub(crate) use session::{Berth, Session};
pub(crate) use waits::{GONE_WITHIN, PATIENCE, at_once, eventually, expect_gone, until_traced};

/// Whether `fixtures/matrix.sh` gives every container a kernel of its own.
pub(crate) fn own_kernel() -> bool {
    std::env::var("BERTH_TEST_DEFAULTS").is_ok_and(|defaults| defaults.contains("gvisor"))
}

/// A folder that the daemon shares, emptied for a test of this name.
pub(crate) fn shared(name: &str) -> PathBuf {
    let folder = files_of(home()).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::canonicalize(folder).expect("a folder")
}

/// The program, pointed at the tests' state folder.
pub(crate) fn berth() -> Command {
    program::berth(home())
}

/// The docker CLI on the tests' daemon: an eye that is not berth's own.
pub(crate) fn docker(args: &[&str]) -> Output {
    docker_command(args).output().expect("the docker CLI runs")
}

/// The same, for what runs beside a test.
pub(crate) fn docker_command(args: &[&str]) -> Command {
    daemon();
    let mut command = Command::new("docker");
    command
        .args(args)
        .env("DOCKER_HOST", format!("tcp://127.0.0.1:{}", port()))
        .env("DOCKER_TLS_VERIFY", "1")
        .env("DOCKER_CERT_PATH", home().join("certs"));
    command
}

/// What a `berth` command says: exit code, standard output, standard error.
pub(crate) fn berth_says(args: &[&str]) -> (Option<i32>, String, String) {
    program::says(berth().args(args))
}

/// What a successful docker command printed, trimmed.
pub(crate) fn docker_says(args: &[&str]) -> String {
    let output = docker(args);
    assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Names of a client's containers, running or not, as the daemon has them.
pub(crate) fn containers_of(client: &str) -> Vec<String> {
    let filter = format!("label=io.mcp-berth.client={client}");
    docker_says(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"])
        .lines()
        .map(str::to_owned)
        .collect()
}

/// What the daemon knows of a container.
pub(crate) fn inspect(container: &str) -> Value {
    let mut found: Value = serde_json::from_str(&docker_says(&["inspect", container])).expect("JSON");
    found[0].take()
}
