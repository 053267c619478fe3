//! What berth removes when it is asked to: images that nobody needs, and everything.

use std::path::Path;
use std::process::{Child, Stdio};

use crate::dind::own::{OwnDaemon, host};
use crate::harness::{Berth, PATIENCE, eventually};

/// Does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn images(own: &OwnDaemon) -> Vec<String> {
    let mut names: Vec<_> =
        own.inner(&["images", "--format", "{{.Repository}}"]).lines().map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn images_go_that_nobody_needs_and_all_others_stay() {
    let own = OwnDaemon::new("berth-test-removal-images", 22464);
    let time = "port = 22464\n[servers.time]\nimage = \"berth-time\"\nnetwork = \"none\"";
    own.configure(time);
    own.up();
    own.inner(&["tag", "berth-time", "a-persons-own"]);
    assert_eq!(images(&own), ["a-persons-own", "berth-fixture", "berth-time"]);
    assert_eq!(
        own.succeeds(&["gc", "--images"]),
        "every image that berth has put into the daemon is needed\n"
    );

    // A container has it, and nobody's configuration.
    own.configure("port = 22464");
    let run = Berth::image("berth-time").client("it-removal").env("BERTH_HOME", own.home_folder());
    let mut session = run.start_without_daemon();
    session.initialize();
    assert_eq!(
        own.succeeds(&["gc", "--images"]),
        "every image that berth has put into the daemon is needed\n"
    );
    session.close();
    session.wait();
    own.until_nobody();
    let said = own.succeeds(&["gc", "--images", "--dry-run"]);
    assert!(said.starts_with("would remove the image berth-time:latest ("), "{said}");
    assert_eq!(images(&own).len(), 3);
    // A configuration that cannot be read is no reason to remove what its servers need.
    own.configure("port = 22464\n[servers.broken]\nimagine = 1");
    own.fails(&["gc", "--images"], 78);
    own.configure("port = 22464");
    let said = own.succeeds(&["gc", "--images"]);
    assert!(said.starts_with("removed the image berth-time:latest ("), "{said}");
    assert_eq!(images(&own), ["a-persons-own", "berth-fixture"]);

    // Room for the next one is made of what nobody needs.
    own.configure(time);
    own.up();
    own.configure(
        "port = 22464\n[limits]\ndisk = \"1m\"\n[servers.everything]\nimage = \"berth-everything\"",
    );
    let said = own.up();
    assert!(said.contains("removed the image `berth-time:latest`"), "{said}");
    assert!(said.contains("for `berth-everything`"), "{said}");
    assert!(said.contains("warning: images take"), "{said}");
    assert_eq!(images(&own), ["a-persons-own", "berth-everything", "berth-fixture"]);
}

#[test]
fn a_session_and_bake_make_room_for_what_comes_with_them() {
    let own = OwnDaemon::new("berth-test-removal-room", 22470);
    own.configure("port = 22470\n[servers.time]\nimage = \"berth-time\"");
    own.up();
    assert_eq!(images(&own), ["berth-fixture", "berth-time"]);
    // Nobody needs `berth-time` from here on. What a session's line names comes from the host's engine.
    let crowded = "port = 22470\n[limits]\ndisk = \"1m\"\n[bake]\nnode = \"berth-fixture\"";
    own.configure(crowded);
    let run = Berth::line().client("it-removal-room").env("BERTH_HOME", own.home_folder());
    let mut session =
        run.args(["--", "docker", "run", "-i", "--rm", "berth-everything"]).start_without_daemon();
    session.initialize();
    session.expect_stderr("removed the image `berth-time:latest`");
    session.expect_stderr("for `berth-everything`");
    assert_eq!(images(&own), ["berth-everything", "berth-fixture"]);
    session.close();
    session.wait();
    own.until_nobody();

    // The room is there before the installation, which no image of this kind can do.
    let output = own.says(&["bake", "--", "npx", "there-is-no-such-server@1.0.0"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("removed the image `berth-everything:latest`"), "{said}");
    assert!(said.contains("for `berth-npx/there-is-no-such-server:"), "{said}");
    assert_eq!(images(&own), ["berth-fixture"]);
}

#[test]
fn everything_of_berths_is_removed_and_nothing_else() {
    let own = OwnDaemon::new("berth-test-removal-all", 22465);
    own.up();
    let person = tempfile::tempdir().unwrap();
    let claude = person.path().join(".claude.json");
    let entries =
        r#"{"mcpServers":{"files":{"command":"berth","args":["run","files"]},"own":{"command":"own"}}}"#;
    std::fs::write(&claude, entries).unwrap();
    let uninstall = |args: &[&str], code: i32| {
        let mut command = own.command();
        command.env("HOME", person.path()).env_remove("XDG_CONFIG_HOME").env_remove("CODEX_HOME");
        command.env_remove("CLAUDE_CONFIG_DIR").current_dir(person.path());
        let output = command.args(["uninstall", "--all"]).args(args).output().unwrap();
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert_eq!(output.status.code(), Some(code), "{said:?}");
        said
    };
    let state = Path::new(own.home_folder()).join("state");
    let is_whole = || {
        assert!(own.container().is_some() && state.exists());
        assert_eq!(std::fs::read_to_string(&claude).unwrap(), entries);
    };
    let [said, _] = uninstall(&["--dry-run"], 0);
    for part in ["the entry `files`", "the DinD daemon `berth-test-removal-all`", "/state\n", "/certs\n"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("`own`"), "{said}");
    is_whole();
    let [_, said] = uninstall(&[], 64);
    assert!(said.contains("nothing was removed"), "{said}");
    let mut manager = own.command();
    manager.args(["manager", "run", "--api", "127.0.0.1:0", "--monitor", "127.0.0.1:0"]);
    let mut manager = Killed(manager.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let status = || own.says(&["manager", "status"]).status.code();
    eventually("the manager", PATIENCE, || (status() == Some(0)).then_some(()));
    let mut session = own.session("it-removal-all");
    let [_, said] = uninstall(&["--yes"], 69);
    assert!(said.contains("1 session is active"), "{said}");
    is_whole();
    assert_eq!(status(), Some(0), "the manager stays, as everything does");
    session.close();
    session.wait();
    own.until_nobody();
    let volumes = || {
        let named = host(&["volume", "ls", "-q", "--filter", "name=berth-test-removal-all"]);
        String::from_utf8_lossy(&named.stdout).into_owned()
    };
    assert_ne!(volumes(), "");
    uninstall(&["--yes"], 0);
    assert!(manager.0.wait().unwrap().success(), "it was asked to end");
    assert_eq!((own.container(), volumes()), (None, String::new()));
    let mut left: Vec<_> =
        std::fs::read_dir(own.home_folder()).unwrap().map(|at| at.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["berth.toml"]);
    let text = std::fs::read_to_string(&claude).unwrap();
    assert!(text.contains("\"own\"") && !text.contains("files"), "{text}");
    let [said, _] = uninstall(&["--yes", "--config-too"], 0);
    assert!(said.contains("berth.toml"), "{said}");
    let [said, _] = uninstall(&[], 0);
    assert!(said.starts_with("nothing of berth's is left"), "{said}");
}
