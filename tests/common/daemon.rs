//! The tests' own daemon, and the state folder that knows it.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::program;

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
    let mut config = include_str!("../it/berth.toml").replacen("[dind]\n", &share, 1);
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
    let start = || program::berth(home()).arg("up").output().expect("berth runs");
    let mut up = start();
    if !up.status.success() {
        // A run with another state folder was cut off and left its daemon; the name is the tests' own.
        let _ = program::berth(home()).args(["down", "--force"]).output();
        up = start();
    }
    assert!(
        up.status.success(),
        "these tests need Docker and the images of fixtures/setup.sh; `berth up` says:\n{}",
        String::from_utf8_lossy(&up.stderr)
    );
});

/// Where the daemon listens; `fixtures/matrix.sh` has one of its own.
pub(crate) fn port() -> String {
    std::env::var("BERTH_TEST_PORT").unwrap_or_else(|_| "22376".to_owned())
}

/// Beside the home, which can't be shared.
pub(crate) fn files_of(home: &Path) -> PathBuf {
    home.with_extension("files")
}

pub(crate) fn home() -> &'static Path {
    &HOME
}

/// Makes sure that the daemon runs.
pub(crate) fn daemon() {
    LazyLock::force(&DAEMON);
}
