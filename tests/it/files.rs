//! The person's files in a server's container: only shared folders, and with the person's own user id.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use serde_json::{Value, json};

use crate::dind::own::host;
use crate::harness::{Berth, Session, berth_says, expect_gone, inspect, shared};

fn mounted(client: &str, mount: &str) -> Session {
    let mut session = Berth::run("fixture").client(client).args(["--mount", mount]).start();
    session.initialize();
    session
}

fn mount(source: &Path, target: &str) -> String {
    format!("{}:{target}", source.display())
}

/// What a tool says, and whether it has failed.
fn attempt(session: &mut Session, tool: &str, arguments: Value) -> (String, bool) {
    let result = session.call(tool, arguments);
    let text = result["content"][0]["text"].as_str().unwrap_or_default().to_owned();
    (text, result["isError"] == true)
}

/// What the first request is told, where there is no server.
fn refused(client: &str, options: &[&str]) -> String {
    let mut run = Berth::run("fixture").client(client);
    for option in options {
        run = run.args([option]);
    }
    let mut session = run.start();
    let answer =
        session.request("initialize", json!({ "protocolVersion": "2025-06-18", "capabilities": {} }));
    let message =
        answer["error"]["message"].as_str().unwrap_or_else(|| panic!("it was let in: {answer}")).to_owned();
    session.close();
    assert_ne!(session.exit_code(), Some(0));
    message
}

#[test]
fn what_a_server_writes_belongs_to_the_caller() {
    let folder = shared("caller");
    let mut session = mounted("it-files-caller", &mount(&folder, "/workspace:rw"));
    assert!(!attempt(&mut session, "write", json!({ "path": "/workspace/made", "text": "by the server" })).1);
    let made = folder.join("made");
    let (file, ours) = (fs::metadata(&made).unwrap(), fs::metadata("/proc/self").unwrap());
    assert_eq!((file.uid(), file.gid()), (ours.uid(), ours.gid()));
    assert_eq!(fs::read_to_string(&made).unwrap(), "by the server");
    assert_eq!(inspect(&session.container())["Config"]["User"], "", "it is the image's user");
}

#[test]
fn a_user_whom_the_image_does_not_know_writes_and_has_a_home() {
    let folder = shared("stranger");
    fs::set_permissions(&folder, PermissionsExt::from_mode(0o777)).unwrap();
    let user = ["--user", "1234:5678"];
    let mut session = Berth::run("fixture")
        .client("it-files-stranger")
        .args(["-v", &mount(&folder, "/w:rw")])
        .args(user)
        .start();
    session.initialize();
    assert!(!attempt(&mut session, "write", json!({ "path": "/w/made", "text": "" })).1);
    let file = fs::metadata(folder.join("made")).unwrap();
    assert_eq!((file.uid(), file.gid()), (1234, 5678));
    let home = session.call("env", json!({ "name": "HOME" }))["structuredContent"]["value"].take();
    assert_eq!(home, "/tmp");
    assert!(!attempt(&mut session, "write", json!({ "path": "/tmp/made", "text": "" })).1);
    // What the configuration says goes before.
    let mut session =
        Berth::run("fixture").client("it-files-homely").args(["--env", "HOME=/srv"]).args(user).start();
    session.initialize();
    assert_eq!(session.call("env", json!({ "name": "HOME" }))["structuredContent"]["value"], "/srv");
}

#[test]
fn a_mount_is_read_only_unless_it_is_said() {
    let folder = shared("read-only");
    fs::write(folder.join("note"), "read me").unwrap();
    let mut session = mounted("it-files-read-only", &mount(&folder, "/w"));
    assert_eq!(attempt(&mut session, "read", json!({ "path": "/w/note" })), ("read me".to_owned(), false));
    let (said, failed) = attempt(&mut session, "write", json!({ "path": "/w/note", "text": "mine" }));
    assert!(failed && said.contains("Read-only file system"), "{said}");
    assert_eq!(fs::read_to_string(folder.join("note")).unwrap(), "read me");
    // One file alone, too; and what else is shared stays out of sight.
    let mut session = mounted("it-files-one", &mount(&folder.join("note"), "/w/note"));
    assert_eq!(attempt(&mut session, "read", json!({ "path": "/w/note" })).0, "read me");
    assert_eq!(attempt(&mut session, "list", json!({ "path": "/w" })).0, r#"{"names":["note"]}"#);
    let (mounts, _) = attempt(&mut session, "read", json!({ "path": "/proc/self/mounts" }));
    assert!(!mounts.contains(folder.parent().unwrap().to_str().unwrap()), "{mounts}");
}

#[test]
fn the_projects_folder_is_the_clients_own() {
    let (one, two) = (shared("project-one"), shared("project-two"));
    for (folder, name) in [(&one, "one"), (&two, "two")] {
        fs::write(folder.join("name"), name).unwrap();
        let mut session = Berth::run("fixture")
            .client("it-files-project")
            .env("CLAUDE_PROJECT_DIR", folder.to_str().unwrap())
            .args(["--mount", "${CLAUDE_PROJECT_DIR}:/workspace", "--standby", "1"])
            .start();
        session.initialize();
        assert_eq!(attempt(&mut session, "read", json!({ "path": "/workspace/name" })).0, name);
    }
    let said = refused("it-files-no-project", &["--mount", "${CLAUDE_PROJECT_DIR}:/workspace"]);
    assert!(said.contains("needs the variable `CLAUDE_PROJECT_DIR` for a mount"), "{said}");
}

#[test]
fn a_project_is_at_its_own_path_and_its_server_starts_there() {
    let folder = shared("project-itself");
    fs::write(folder.join("name"), "itself").unwrap();
    let project = "${CLAUDE_PROJECT_DIR:-.}";
    let mut session = Berth::run("fixture")
        .client("it-files-itself")
        .env("CLAUDE_PROJECT_DIR", folder.to_str().unwrap())
        .args(["--mount", &format!("{project}:{project}:rw"), "--workdir", project])
        .start();
    session.initialize();
    let own = folder.join("name");
    assert_eq!(attempt(&mut session, "read", json!({ "path": own })).0, "itself");
    assert_eq!(attempt(&mut session, "read", json!({ "path": "name" })).0, "itself");
    assert!(!attempt(&mut session, "write", json!({ "path": "./made", "text": "here" })).1);
    assert_eq!(fs::read_to_string(folder.join("made")).unwrap(), "here");
    drop(session);
    let said = refused("it-files-itself", &["--mount", "/x:${CLAUDE_PROJECT_DIR}"]);
    assert!(said.contains("cannot have a mount at `${CLAUDE_PROJECT_DIR}`: the variable"), "{said}");
    expect_gone("it-files-itself");
}

#[test]
fn what_is_outside_is_refused_with_the_line_to_add() {
    let folder = shared("outside");
    let elsewhere = tempfile::tempdir().unwrap();
    let elsewhere = fs::canonicalize(elsewhere.path()).unwrap();
    let said = refused("it-files-outside", &["-v", &mount(&elsewhere, "/w")]);
    let line = format!(
        "\"{}\"]` under [dind] in {}/berth.toml, then type `berth up`",
        elsewhere.display(),
        crate::harness::home().display()
    );
    assert!(said.contains("write `share = [") && said.ends_with(&line), "{said}");
    symlink(&elsewhere, folder.join("link")).unwrap();
    let said = refused("it-files-outside", &["-v", &mount(&folder.join("link"), "/w")]);
    assert!(said.contains("a link leads out of the shared folders"), "{said}");
    expect_gone("it-files-outside");
}

#[test]
fn what_the_daemon_resolves_to_something_else_is_never_seen_by_a_server() {
    // As if somebody had put a link there after berth has looked: the daemon mounts its own keys.
    let folder = shared("swapped");
    let path = folder.to_str().unwrap();
    fs::write(folder.join("good"), "").unwrap();
    let daemon = |command: &[&str]| host(&[&["exec", "berth-test-dind"], command].concat());
    crate::harness::daemon();
    assert!(daemon(&["mount", "--bind", "/berth/certs", path]).status.success());
    let said = refused("it-files-swapped", &["-v", &mount(&folder, "/w")]);
    assert!(daemon(&["umount", path]).status.success());
    assert!(said.contains("what is mounted at `/w` is not what was to be"), "{said}");
    expect_gone("it-files-swapped");
    // By the same way it is let in, when nobody meddles.
    let mut session = mounted("it-files-swapped", &mount(&folder, "/w"));
    assert_eq!(attempt(&mut session, "list", json!({ "path": "/w" })).0, r#"{"names":["good"]}"#);
}

#[test]
fn a_daemon_that_was_started_before_the_share_is_named_as_such() {
    let folder = shared("late");
    let daemon = |command: &[&str]| host(&[&["exec", "berth-test-dind"], command].concat());
    crate::harness::daemon();
    // Hidden, so that the daemon has no such folder.
    let path = folder.to_str().unwrap();
    assert!(daemon(&["mount", "-t", "tmpfs", "tmpfs", path]).status.success());
    fs::create_dir(folder.join("inner")).unwrap();
    let said = refused("it-files-late", &["-v", &mount(&folder.join("inner"), "/w")]);
    assert!(daemon(&["umount", path]).status.success());
    let unknown = format!("cannot mount `{path}/inner`: the DinD daemon does not have it");
    assert!(said.contains(&unknown), "{said}");
    assert!(said.contains("type `berth up`"), "{said}");
    expect_gone("it-files-late");
}

#[test]
fn a_dry_run_shows_mounts_and_user() {
    let folder = shared("dry");
    let (code, out, said) = berth_says(&["run", "--dry-run", "fixture", "--mount", &mount(&folder, "/w:rw")]);
    assert_eq!(code, Some(0), "{said}");
    let shown: Value = serde_json::from_str(&out).unwrap();
    let mount = &shown["container"]["HostConfig"]["Mounts"][1];
    assert_eq!((&mount["Source"], &mount["ReadOnly"]), (&json!(folder), &json!(false)), "{shown}");
    assert_eq!(shown["container"]["User"], "");
    let words: Vec<&str> =
        shown["container"]["Cmd"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let ours = fs::metadata("/proc/self").unwrap();
    assert!(
        words.windows(2).any(|pair| pair == ["--caller", &format!("{}:{}", ours.uid(), ours.gid())]),
        "{shown}"
    );
}
