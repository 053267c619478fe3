//! Mounts in mounts: what is there is told apart from what only looks like it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use super::KEEPER;
use crate::within::{Mounted, Within};

/// In a mount namespace of its own, `prepare` and the keeper: whether the server has started, and what was said.
fn attempt(prepare: &str, options: &[String]) -> (bool, String) {
    let options = options.join(" ");
    let script = format!("{prepare}\nexec {KEEPER} exec --session s1 {options} -- echo started");
    let output = Command::new("unshare").args(["-m", "sh", "-ec", &script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.stdout == b"started\n", said)
}

fn option(mode: &str, path: &Path) -> String {
    let found = fs::metadata(path).unwrap();
    format!("--within {mode}:{}:{}:{}", found.dev(), found.ino(), path.display())
}

#[test]
fn each_must_be_a_mount_of_its_own_and_as_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let folder = fs::canonicalize(folder.path()).unwrap();
    let (git, other) = (folder.join("git"), folder.join("other"));
    fs::create_dir(&git).unwrap();
    fs::create_dir(&other).unwrap();
    let (shown, elsewhere) = (git.display(), other.display());
    let asked = [option("ro", &git)];
    let bind = format!("mount --bind {shown} {shown}");
    let read_only = format!("{bind}\nmount -o remount,bind,ro {shown}");
    let (started, said) = attempt(&read_only, &asked);
    assert!(started, "{said}");
    for (prepare, why) in [
        ("true", "nothing is mounted there"),
        (&*bind, "its mount can be written"),
        (&*format!("{read_only}\nmount --bind {elsewhere} {shown}"), "it was replaced a moment ago"),
        (
            &*format!("{read_only}\nmount --bind {shown} {shown}\nmount -o remount,bind,rw {shown}"),
            "its mount can be written",
        ),
    ] {
        let (started, said) = attempt(prepare, &asked);
        assert!(!started && said.contains(why), "{prepare}: {said}");
    }
    assert!(attempt(&bind, &[option("rw", &git)]).0);
    // A link on the way leads to the same, until it leads elsewhere.
    std::os::unix::fs::symlink(&folder, folder.join("link")).unwrap();
    let linked = [option("ro", &folder.join("link/git"))];
    let (started, said) = attempt(&read_only, &linked);
    assert!(!started && said.contains("replaced"), "{said}");
}

#[test]
fn the_kernels_list_is_read() {
    let mounted = |line: &str| Mounted::parse(line.as_bytes());
    let read = mounted(r"109 56 254:0 /p\040q /w/my\040dir\134x rw,ro,relatime - ext4 /dev/vda rw").unwrap();
    assert_eq!((read.path.to_str(), read.read_only), (Some(r"/w/my dir\x"), true));
    let read = mounted("110 109 254:0 /p /w/a\\b rw,relatime - ext4 /dev/vda ro").unwrap();
    assert_eq!(
        (read.path.to_str(), read.read_only),
        (Some(r"/w/a\b"), false),
        "the file system's own say so"
    );
    assert!(mounted("").is_none());
    for wrong in ["", "ro:1:2", "xx:1:2:/w", "ro:1:2:w", "ro:1:/w", "1:2:/w"] {
        assert!(Within::parse(wrong).is_none(), "{wrong}");
    }
}
