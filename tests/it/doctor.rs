//! `berth doctor` for real: it reports no failure on a healthy system, and finds each fault with the command that mends
//! it.
//!
//! The tests in `src/doctor` show each line as right, as a warning and as a failure, with made-up facts.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::dind::own::{OwnDaemon, host};
use crate::direct::folder_of_doors;
use crate::harness::{PATIENCE, eventually};

/// What the doctor said, with a home folder and a working folder of its own, so that no client of this machine's counts.
struct Diagnosis {
    code: Option<i32>,
    report: Value,
}

impl Diagnosis {
    fn of(own: &OwnDaemon, person: &Path, flags: &[&str]) -> Self {
        Self::by(own.command(), person, flags)
    }

    fn by(mut command: Command, person: &Path, flags: &[&str]) -> Self {
        command.args(["doctor", "--json"]).args(flags).env("HOME", person).current_dir(person);
        for name in ["CLAUDE_CONFIG_DIR", "CODEX_HOME"] {
            command.env_remove(name);
        }
        let output = command.output().expect("berth runs");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { code: output.status.code(), report: serde_json::from_slice(&output.stdout).expect(&stderr) }
    }

    fn lines(&self) -> &[Value] {
        self.report["lines"].as_array().expect("lines")
    }

    fn in_state(&self, state: &str) -> Vec<&str> {
        let lines = self.lines().iter().filter(|line| line["state"] == state);
        lines.map(|line| line["name"].as_str().expect("a name")).collect()
    }

    /// The line of that name is in that state, for a reason with these words in it; gives what mends it.
    fn finds(&self, name: &str, state: &str, why: &str) -> &str {
        let about = |line: &&Value| {
            line["name"] == name && line["fact"].as_str().is_some_and(|fact| fact.contains(why))
        };
        let line = self.lines().iter().find(about);
        let line = line.unwrap_or_else(|| panic!("no «{name}» says {why:?}: {:#}", self.report));
        assert_eq!(line["state"], state, "{line}");
        line["next"].as_str().unwrap_or_default()
    }
}

#[test]
fn a_healthy_system_has_no_failure_and_each_fault_is_found() {
    let own = OwnDaemon::new("berth-test-dind-doctor", 22391);
    own.succeeds(&["up"]);
    let person = tempfile::tempdir().expect("a folder");
    let person = person.path();

    let healthy = Diagnosis::of(&own, person, &[]);
    assert_eq!((healthy.code, healthy.in_state("failed")), (Some(0), Vec::new()), "{:#}", healthy.report);
    for name in ["engine", "container", "daemon", "clock", "data disk", "image", "standby", "orphans"] {
        assert!(healthy.in_state("ok").contains(&name), "{name}: {:#}", healthy.report);
    }
    healthy.finds("confinement", "ok", "session containers have a seccomp filter");
    healthy.finds("limits", "ok", "memory 64 MiB, 32 processes, 0.5 processors");
    healthy.finds("end of input", "ok", "over mutual TLS: 27 of 27 bytes");
    healthy.finds("streams", "ok", "by pipes: a process's own were here");
    healthy.finds("streams", "ok", "27 of 27 bytes arrived");
    healthy.finds("lifeline", "ok", "after its connection was dropped");
    healthy.finds("client", "not_applicable", "neither");
    healthy.finds("server", "ok", "its image is there; no client starts it");
    assert_eq!(own.inner(&["ps", "-aq"]), "", "the probe container has gone");

    finds_orphans(&own, person);
    finds_clients_that_start_nothing(&own, person);
    finds_open_keys(&own, person);

    host(&["kill", "berth-test-dind-doctor"]);
    let stopped = Diagnosis::of(&own, person, &[]);
    assert_eq!((stopped.code, stopped.in_state("failed")), (Some(69), vec!["container"]));
    assert_eq!(stopped.finds("container", "failed", "is exited"), "berth up");
    for name in ["clock", "data disk", "image", "orphans", "limits", "lifeline"] {
        stopped.finds(name, "not_applicable", "the daemon does not answer");
    }
}

fn finds_orphans(own: &OwnDaemon, person: &Path) {
    let ours = ["--label", "io.mcp-berth.managed-by=berth"];
    let client = ["--label", "io.mcp-berth.client=orphan", "--label", "io.mcp-berth.server=gone"];
    let sleep = ["berth-fixture"];
    own.inner(&[&["create", "--name", "mcp-orphan-1"][..], &ours, &client, &sleep].concat());
    let standby = ["run", "-di", "--name", "mcp-orphan-2.standby"];
    own.inner(&[&standby[..], &ours, &client, &sleep].concat());
    own.inner(&["volume", "create", ours[0], ours[1], "berth-keeper-0123456789ab"]);

    let folder = folder_of_doors(Path::new(own.home_folder()));
    std::fs::create_dir(folder.join("0a1b2c")).expect("a door");

    let young = Diagnosis::of(own, person, &["--quick"]);
    let next = young.finds("orphans", "warning", "volumes of former versions: `berth-keeper-0123456789ab`");
    assert_eq!(next, "berth gc", "a container that was just created may be about to start");
    let next = young.finds("standby", "ok", "not from the configuration: `mcp-orphan-2.standby`");
    assert_eq!(next, "", "a client's entry with flags may have left it for its next session");
    young.finds("limits", "not_applicable", "--quick");
    young.finds("streams", "ok", "by pipes: the daemon has the folder of doors; not tried");

    // The daemon's clock counts seconds.
    let old = eventually("a second of its age", PATIENCE, || {
        let old = Diagnosis::by(own.impatient(), person, &["--quick"]);
        (old.code == Some(69)).then_some(old)
    });
    let next = old.finds("orphans", "failed", "never started, or ended and not removed: `mcp-orphan-1`");
    assert_eq!(next, "berth gc");

    assert_eq!(old.finds("streams", "warning", "1 door of ended containers"), "berth gc");

    let swept = "removed mcp-orphan-1\nremoved the volume berth-keeper-0123456789ab\nremoved the door 0a1b2c";
    assert_eq!(own.swept(), swept);
    own.succeeds(&["kill", "mcp-orphan-2.standby"]);
    let mended = Diagnosis::of(own, person, &["--quick"]);
    assert_eq!(mended.code, Some(0), "{:#}", mended.report);
    mended.finds("orphans", "ok", "looked at 0 containers");
}

fn finds_clients_that_start_nothing(own: &OwnDaemon, person: &Path) {
    let write = |path: &str, text: &str| {
        let path = person.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    };
    let berth = env!("CARGO_BIN_EXE_berth");
    write(
        ".claude.json",
        r#"{ "mcpServers": { "lost": { "command": "/nowhere/berth", "args": ["run", "fixture"] } } }"#,
    );
    write(
        ".mcp.json",
        &format!(
            r#"{{ "mcpServers": {{ "good": {{ "command": "{berth}", "args": ["run", "fixture"] }} }} }}"#
        ),
    );
    let home = own.certs();
    let home = home.parent().expect("a folder").display();
    write(
        ".codex/config.toml",
        &format!(
            "[mcp_servers.typo]\ncommand = \"{berth}\"\nargs = [\"run\", \"fixtrue\"]\nenv = {{ BERTH_HOME = \"{home}\" }}\n\
             [mcp_servers.cleared]\ncommand = \"{berth}\"\nargs = [\"run\", \"fixture\"]\n"
        ),
    );
    let found = Diagnosis::of(own, person, &["--quick"]);
    assert_eq!(found.code, Some(69));
    let next = found.finds("client", "failed", "`lost` starts `/nowhere/berth`, which is not there");
    assert_eq!(next, "berth install claude-code --scope user fixture");
    found.finds("client", "ok", "1 server, 1 of them berth's: `good`");
    found.finds("client", "failed", "did you mean `fixture`?");
    // Codex hands no BERTH_HOME on: that berth looks elsewhere.
    found.finds("client", "failed", "`cleared`: unknown server `fixture`: there is no");
    // The server's own line says for whom it would not start.
    let line = "Claude Code (user) as `lost` starts `/nowhere/berth`, which is not there";
    assert_eq!(found.finds("server", "failed", line), "berth install claude-code --scope user fixture");
    found.finds("server", "failed", "its image is there; started by Claude Code (user) as `lost`");
    for file in [".claude.json", ".mcp.json", ".codex/config.toml"] {
        std::fs::remove_file(person.join(file)).expect("a file");
    }
}

fn finds_open_keys(own: &OwnDaemon, person: &Path) {
    let key = own.certs().join("key.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("a mode");
    let open = Diagnosis::of(own, person, &["--quick"]);
    assert_eq!(open.finds("key files", "failed", "(mode 0644)"), "berth up");
    own.succeeds(&["up"]);
    assert_eq!(Diagnosis::of(own, person, &["--quick"]).code, Some(0));
}

#[test]
fn a_configuration_that_cannot_be_read_is_the_one_line() {
    let own = OwnDaemon::new("berth-test-dind-none", 22392);
    std::fs::write(own.certs().parent().expect("a folder").join("berth.toml"), "[dind]\nprot = 1\n")
        .expect("a file");
    let person = tempfile::tempdir().expect("a folder");
    let found = Diagnosis::of(&own, person.path(), &[]);
    assert_eq!((found.code, found.lines().len()), (Some(78), 1));
    found.finds("configuration", "failed", "prot");
    own.configure("port = 22392");
}

#[test]
fn without_a_daemon_everything_is_told_at_once_and_in_words_when_nobody_watches() {
    let own = OwnDaemon::new("berth-test-dind-none", 22393);
    let output = own.says(&["doctor"]);
    assert_eq!(output.status.code(), Some(69));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains('\x1b') && !text.contains('✗'), "{text}");
    assert!(text.contains("failed  container") && text.contains("next: berth up"), "{text}");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
