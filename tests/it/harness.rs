//! The tests' own daemon, and what it and `berth` say. Sessions and waits are those of all tests.

#[path = "../common/program.rs"]
mod program;
#[path = "../common/session.rs"]
mod session;
#[path = "../common/waits.rs"]
mod waits;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use serde_json::Value;

pub(crate) use session::{Berth, Session};
pub(crate) use waits::{GONE_WITHIN, PATIENCE, at_once, eventually, expect_gone, until_traced};

/// The tests' own state folder. Never a person's own `BERTH_HOME`: the configuration in it is overwritten.
static HOME: LazyLock<PathBuf> = LazyLock::new(|| {
    let home = std::env::var_os("BERTH_TEST_HOME").map_or_else(
        || {
            let user = || Path::new(&std::env::var_os("HOME").expect("HOME is set")).join(".cache");
            let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(user, PathBuf::from);
            cache.join("mcp-berth/test-home")
        },
        PathBuf::from,
    );
    std::fs::create_dir_all(&home).expect("the tests' state folder");
    std::fs::create_dir_all(files_of(&home)).expect("the folder that is shared");
    let share = format!("[dind]\nshare = [\"{}\"]\n", files_of(&home).display());
    let mut config = include_str!("berth.toml").replacen("[dind]\n", &share, 1);
    if let Ok(image) = std::env::var("BERTH_TEST_IMAGE") {
        config = config.replacen("\"berth-dind\"", &format!("\"{image}\""), 1);
    }
    if let Ok(defaults) = std::env::var("BERTH_TEST_DEFAULTS") {
        config = config.replacen("[defaults]\n", &format!("[defaults]\n{defaults}\n"), 1);
    }
    if let Ok(name) = std::env::var("BERTH_TEST_DAEMON") {
        config = config.replacen("berth-test-dind", &name, 1);
        config = config.replacen("22376", &port(), 1);
    }
    std::fs::write(home.join("berth.toml"), config).expect("the tests' configuration");
    home
});

/// Starts the daemon, once for all tests.
static DAEMON: LazyLock<()> = LazyLock::new(|| {
    let start = || berth().arg("up").output().expect("berth runs");
    let mut up = start();
    if !up.status.success() {
        // A run with another state folder was cut off and left its daemon; the name is the tests' own.
        let _ = berth().args(["down", "--force"]).output();
        up = start();
    }
    assert!(
        up.status.success(),
        "these tests need Docker and the images of fixtures/setup.sh; `berth up` says:\n{}",
        String::from_utf8_lossy(&up.stderr)
    );
});

/// Where the daemon listens; `fixtures/matrix.sh` has one of its own.
fn port() -> String {
    std::env::var("BERTH_TEST_PORT").unwrap_or_else(|_| "22376".to_owned())
}

/// Whether `fixtures/matrix.sh` gives every container a kernel of its own.
pub(crate) fn own_kernel() -> bool {
    std::env::var("BERTH_TEST_DEFAULTS").is_ok_and(|defaults| defaults.contains("gvisor"))
}

/// Beside the home, which can't be shared.
fn files_of(home: &Path) -> PathBuf {
    home.with_extension("files")
}

/// A folder that the daemon shares, emptied for a test of this name.
pub(crate) fn shared(name: &str) -> PathBuf {
    let folder = files_of(&HOME).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::canonicalize(folder).expect("a folder")
}

pub(crate) fn home() -> &'static Path {
    &HOME
}

/// The program, pointed at the tests' state folder.
pub(crate) fn berth() -> Command {
    program::berth(&HOME)
}

/// Makes sure that the daemon runs.
pub(crate) fn daemon() {
    LazyLock::force(&DAEMON);
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
        .env("DOCKER_CERT_PATH", HOME.join("certs"));
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
