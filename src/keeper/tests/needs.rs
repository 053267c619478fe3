//! A server starts only with the right mounts, and with a home.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use super::KEEPER;
use super::hold::{Berth, CLAIM, MINUTE};

fn identity(path: &Path) -> String {
    let found = fs::metadata(path).unwrap();
    format!("{}:{}:{}", found.dev(), found.ino(), path.display())
}

/// What `exec` prints, and its exit code.
fn exec(options: &[&str], home: Option<&str>, command: &[&str]) -> (String, String, Option<i32>) {
    let mut keeper = Command::new(KEEPER);
    keeper.args(["exec", "--session", "s1"]).args(options).arg("--").args(command).env_remove("HOME");
    let output = keeper.envs(home.map(|home| ("HOME", home))).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

#[test]
fn a_server_starts_only_on_what_was_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let (good, evil) = (folder.path().join("good"), folder.path().join("evil"));
    fs::create_dir(&good).unwrap();
    fs::create_dir(&evil).unwrap();
    let expected = identity(&good);
    let attempt = || exec(&["--mount", &expected], None, &["echo", "started"]);
    assert_eq!(attempt(), ("started".to_owned(), String::new(), Some(0)));
    // Somebody puts another folder, or a link to one, in its place.
    fs::rename(&good, folder.path().join("away")).unwrap();
    symlink(&evil, &good).unwrap();
    for _ in 0..2 {
        let (printed, said, code) = attempt();
        assert_eq!((printed.as_str(), code), ("", Some(78)), "{said}");
        assert!(
            said.starts_with(&format!("berth: what is mounted at `{}` is not what", good.display())),
            "{said}"
        );
        fs::remove_file(&good).ok();
        fs::rename(&evil, &good).ok();
    }
    fs::remove_dir(&good).unwrap();
    let (_, said, code) = attempt();
    assert!(code == Some(78) && said.contains("cannot be looked at: No such file"), "{said}");
    fs::rename(folder.path().join("away"), &good).unwrap();
    assert_eq!(attempt().2, Some(0));
    // All of them count.
    let other = identity(folder.path());
    let both = exec(&["--mount", &other, "--mount", "1:1:/"], None, &["echo", "started"]);
    assert_eq!((both.0.as_str(), both.2), ("", Some(78)));
}

#[test]
fn whoever_has_no_home_is_given_one() {
    let print = ["sh", "-c", "echo $HOME"];
    let home = |home, options: &[&str]| exec(options, home, &print).0;
    assert_eq!(home(None, &["--home", "/tmp"]), "/tmp");
    assert_eq!(home(Some("/"), &["--home", "/tmp"]), "/tmp", "what a stranger gets");
    assert_eq!(home(Some("/home/node"), &["--home", "/tmp"]), "/home/node");
    assert_eq!(home(Some("/"), &[]), "/");
}

#[test]
fn nor_is_one_started_ahead_on_anything_else() {
    let folder = tempfile::tempdir().unwrap();
    let good = identity(folder.path());
    let wrong = format!("1:1:{}", folder.path().display());
    for (expected, code, printed) in [(&good, 0, "started\n"), (&wrong, 78, "")] {
        let options = ["--mount", expected, "--", "echo", "started"];
        let (ended, out, _) = Berth::with(MINUTE, "", &options).send(CLAIM).exit();
        assert_eq!((ended, out.as_str()), (Some(code), printed), "{expected}");
    }
}
