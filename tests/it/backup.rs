//! What a backup brings to another machine, and what is refused.

mod cut_off;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::dind::own::OwnDaemon;
use crate::harness::{Berth, Session};

/// A home with a daemon of its own, whose server has a memory.
fn home(name: &str, port: u16) -> OwnDaemon {
    let own = OwnDaemon::new(name, port);
    own.configure(&format!(
        "port = {port}\n[servers.memory]\nimage = \"berth-fixture\"\nnetwork = \"none\"\n\
         volumes = [\"memory:/data\", \"all:/all:shared\"]\nuser = \"1234:5678\""
    ));
    own
}

fn start(own: &OwnDaemon) -> Session {
    let run = Berth::run("memory").client("it-backup").args(["--stop-grace", "1s"]);
    let mut session = run.env("BERTH_HOME", own.home_folder()).start_without_daemon();
    session.initialize();
    session
}

fn end(mut session: Session) {
    session.close();
    assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
}

fn write(session: &mut Session, path: &str, text: &str) {
    let said = session.call("write", json!({ "path": path, "text": text }));
    assert_eq!(said["isError"], false, "{said}");
}

fn read(session: &mut Session, path: &str) -> Value {
    session.call("read", json!({ "path": path }))["content"][0]["text"].take()
}

fn flipped(file: &Path) -> PathBuf {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    let path = file.with_extension("flipped");
    std::fs::write(&path, bytes).unwrap();
    path
}

fn half(file: &Path) -> PathBuf {
    let bytes = std::fs::read(file).unwrap();
    let path = file.with_extension("half");
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    path
}

/// The names of the files in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_server_knows_on_another_machine_what_it_knew() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("berth.tar.zst");
    let path = file.to_str().unwrap();
    let first = home("berth-test-backup-1", 22461);
    first.up();
    let mut session = start(&first);
    write(&mut session, "/data/note", "for later");
    write(&mut session, "/all/note", "for all");

    first.until_named("mcp-it-backup-1");
    // Nobody reads while somebody writes, and nothing is left of the attempt.
    let said = first.fails(&["backup", path], 69);
    assert!(said.contains("is in use by `mcp-it-backup-1`"), "{said}");
    assert_eq!(names(folder.path()), [""; 0]);
    end(session);
    first.until_nobody();
    let said = first.succeeds(&["backup", path]);
    assert!(said.contains("volumes/berth-data-it-backup_memory.tar"), "{said}");
    assert_eq!(names(folder.path()), ["berth.tar.zst"]);
    assert!(first.fails(&["backup", path], 69).contains("is there already"));
    // What was written is a file that other tools read.
    let listed = std::process::Command::new("tar").args(["--zstd", "-tf", path]).output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).starts_with("manifest.json\nconfig/berth.toml\n"));
    assert_eq!(first.swept(), "nothing was left behind");

    let second = home("berth-test-backup-2", 22462);
    second.up();
    let volumes = || second.inner(&["volume", "ls", "-q", "--filter", "label=io.mcp-berth.volume"]);
    for wrong in [flipped(&file), half(&file)] {
        let said = second.fails(&["restore", wrong.to_str().unwrap()], 78);
        assert!(said.contains("nothing was changed"), "{said}");
        assert!(said.contains("is damaged") || said.contains("it is cut off"), "{said}");
        assert_eq!(volumes(), "");
    }
    let said = second.succeeds(&["restore", "--dry-run", path]);
    assert!(said.contains("would restore the volume `memory` of `it-backup`"), "{said}");
    assert_eq!(volumes(), "");
    let said = second.succeeds(&["restore", path]);
    assert!(said.contains("restored the volume `memory` of `it-backup`"), "{said}");
    // It has a configuration of its own.
    let text = |own: &OwnDaemon, name: &str| std::fs::read_to_string(Path::new(own.home_folder()).join(name));
    assert_eq!(text(&second, "berth.toml.restored").unwrap(), text(&first, "berth.toml").unwrap());
    let again = second.succeeds(&["restore", path]);
    assert!(again.ends_with("nothing to change: all of it is there\n"), "{again}");

    let mut session = start(&second);
    assert_eq!(read(&mut session, "/data/note"), "for later");
    assert_eq!(read(&mut session, "/all/note"), "for all");
    second.until_named("mcp-it-backup-1");
    let said = second.fails(&["restore", path], 69);
    assert!(said.contains("is in use by `mcp-it-backup-1`"), "{said}");
    // Its own user can go on.
    write(&mut session, "/data/note", "later than the backup");
    end(session);
    second.until_nobody();

    let said = second.says(&["restore", path]);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert_eq!(said.status.code(), Some(78), "{text}");
    assert!(
        text.contains("left alone the volume `memory` of `it-backup`: it was last written to at"),
        "{text}"
    );
    let mut session = start(&second);
    assert_eq!(read(&mut session, "/data/note"), "later than the backup");
    end(session);
    second.until_nobody();
    second.succeeds(&["restore", "--force", path]);
    let mut session = start(&second);
    assert_eq!(read(&mut session, "/data/note"), "for later");
    end(session);
    assert_eq!(second.swept(), "nothing was left behind");
}

#[test]
fn secrets_leave_the_machine_encrypted_or_not_at_all() {
    let age = |args: &[&str]| {
        let output = std::process::Command::new(args[0]).args(&args[1..]).output();
        output.unwrap_or_else(|error| {
            panic!("this test needs age, which `bash fixtures/setup.sh` installs: {error}")
        })
    };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    assert!(age(&["age-keygen", "-o", &at("key")]).status.success());
    let recipient = String::from_utf8(age(&["age-keygen", "-y", &at("key")]).stdout).unwrap();
    // No daemon is needed.
    let here = OwnDaemon::new("berth-test-backup-none", 22463);
    here.configure(
        "port = 22463\n[servers.a]\nimage = \"berth-fixture\"\nenv_file = [\"a.env\"]\n\
         secrets = { T = { file = \"token\" } }",
    );
    let secret = |name: &str| Path::new(here.home_folder()).join(name);
    std::fs::write(secret("a.env"), "A=hunter2\n").unwrap();
    std::fs::write(secret("token"), "hunter3").unwrap();
    here.succeeds(&["backup", &at("plain"), "--no-volumes"]);
    let with = ["backup", &at("secret"), "--no-volumes", "--with-secrets", "--recipient", recipient.trim()];
    here.succeeds(&with);
    for name in ["plain", "secret"] {
        let tar = std::process::Command::new("zstd").args(["-dc", &at(name)]).output().unwrap().stdout;
        assert!(tar.len() > 1000, "zstd reads it");
        assert!(!String::from_utf8_lossy(&tar).contains("hunter"), "{name}");
    }
    std::fs::remove_file(secret("a.env")).unwrap();
    std::fs::write(secret("token"), "another").unwrap();
    let said = here.succeeds(&["restore", &at("secret")]);
    assert!(said.contains("left out the secrets: `--identity FILE` decrypts them"), "{said}");
    assert!(!secret("a.env").exists());
    let restore = ["restore", &at("secret"), "--identity", &at("key")];
    let said = here.fails(&restore, 78);
    assert!(said.contains("1 thing left alone"), "{said}");
    assert_eq!(std::fs::read_to_string(secret("a.env")).unwrap(), "A=hunter2\n");
    assert_eq!(std::fs::read_to_string(secret("token")).unwrap(), "another");
    assert!(age(&["age-keygen", "-o", &at("other")]).status.success());
    let said = here.fails(&["restore", &at("secret"), "--identity", &at("other")], 69);
    assert!(said.contains("cannot decrypt the secrets"), "{said}");

    // A secret in the configuration itself.
    here.configure("port = 22463\n[servers.a]\nimage = \"i\"\nsecrets = { T = \"hunter4\" }");
    let said = here.fails(&["backup", &at("written"), "--no-volumes"], 78);
    assert!(said.contains("has a secret written out: `T` of server `a`"), "{said}");
    assert!(!Path::new(&at("written")).exists());
}
