//! One keeper at a time holds a folder, until that keeper ends.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::hold::{Berth, CLAIM, MINUTE};
use super::{AT_ONCE, KEEPER};

fn hold(folders: &[&Path], grace: u32, company: &str) -> Berth {
    let options: Vec<&str> = folders.iter().flat_map(|folder| ["--lock", folder.to_str().unwrap()]).collect();
    Berth::with(grace, company, &options)
}

fn is_free(folder: &Path) -> bool {
    match File::open(folder).unwrap().try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(error)) => panic!("{error}"),
    }
}

fn until_free(folder: &Path) {
    let began = Instant::now();
    while !is_free(folder) {
        assert!(began.elapsed() < AT_ONCE, "nobody frees it");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn who_claims_has_the_folders_and_nobody_else_until_he_lets_go() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    for folder in [&one, &two] {
        fs::create_dir(folder).unwrap();
    }
    let unclaimed = hold(&[&one], MINUTE, "");
    let mut first = hold(&[&one, &two], MINUTE, "").send(CLAIM);
    assert_eq!(first.line(), "ready");
    assert!(!is_free(&one) && !is_free(&two));
    // All of them or none.
    let mut second = hold(&[&folder.path().join("."), &two], MINUTE, "").send(CLAIM);
    assert_eq!(second.line(), format!("held {}", two.display()));
    assert!(is_free(folder.path()), "who waits for one keeps no other");
    let mut second = second.send(b"l");
    assert_eq!(second.line(), format!("held {}", two.display()));
    first.let_go().end();
    let mut second = second.send(b"l");
    assert_eq!(second.line(), "ready");
    assert!(is_free(&one) && !is_free(&two));
    // It has them already.
    let mut second = second.send(b"l");
    assert_eq!(second.line(), "ready");
    drop(unclaimed);
}

#[test]
fn a_death_by_whatever_signal_frees_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut berth = hold(&[folder.path()], MINUTE, "").send(CLAIM);
    assert_eq!(berth.line(), "ready");
    berth.kill();
    until_free(folder.path());
}

#[test]
fn nobody_in_the_container_inherits_them() {
    let folder = tempfile::tempdir().unwrap();
    // It would outlive the keeper, if anybody could.
    let company = "(trap '' TERM; echo here; exec sleep 60) &";
    let mut berth = hold(&[folder.path()], 200, company).send(CLAIM);
    // Two processes, in whichever order.
    let mut said = [berth.line(), berth.line()];
    said.sort();
    assert_eq!(said, ["here", "ready"]);
    berth.let_go().end();
    assert!(is_free(folder.path()));
}

#[test]
fn a_new_folder_that_is_not_to_be_written_is_told_from_one_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut berth = hold(&[path], MINUTE, "").send(CLAIM);
    assert_eq!(berth.line(), "ready");
    assert_eq!(fs::read_dir(path).unwrap().count(), 0, "nothing is left in it");
    let allow = |mode| fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    allow(0o555);
    // It keeps what it has while its owner mends that.
    let mut berth = berth.send(b"l");
    assert_eq!(berth.line(), format!("foreign 0:0 {}", path.display()));
    assert!(!is_free(path));
    allow(0o755);
    let mut berth = berth.send(b"l");
    assert_eq!(berth.line(), "ready");
    fs::write(path.join("file"), "").unwrap();
    allow(0o555);
    let mut berth = berth.send(b"l");
    let refused = format!("unusable it is another user's, and not empty: {}", path.display());
    assert_eq!(berth.line(), refused, "what is in use is left as it is");
    allow(0o755);
    let mut berth = berth.send(b"l");
    assert_eq!(berth.line(), "ready");
    let none = path.join("none");
    let mut berth = hold(&[&none], MINUTE, "").send(CLAIM);
    assert_eq!(berth.line(), format!("unusable No such file or directory: {}", none.display()));
}

#[test]
fn those_that_look_at_once_whether_they_may_write_do_not_meet() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..200).for_each(|_| crate::limits::write_in(folder.path()).unwrap()));
        }
    });
}

#[test]
fn those_that_say_so_have_a_folder_together_and_keep_out_who_wants_it_alone() {
    let folder = tempfile::tempdir().unwrap();
    let together = ["--lock-together", folder.path().to_str().unwrap()];
    let mut first = Berth::with(MINUTE, "", &together).send(CLAIM);
    let mut second = Berth::with(MINUTE, "", &together).send(CLAIM);
    assert_eq!((first.line(), second.line()), ("ready".to_owned(), "ready".to_owned()));
    let mut alone = hold(&[folder.path()], MINUTE, "").send(CLAIM);
    assert_eq!(alone.line(), format!("held {}", folder.path().display()));
    first.let_go().end();
    second.let_go().end();
    let mut alone = alone.send(b"l");
    assert_eq!(alone.line(), "ready");
    let mut late = Berth::with(MINUTE, "", &together).send(CLAIM);
    assert_eq!(late.line(), format!("held {}", folder.path().display()));
}

#[test]
fn content_that_is_on_its_way_is_had_by_a_restoration_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let content = |words: &[&str]| {
        let output = Command::new(KEEPER).arg("content").args(words).arg(path).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    };
    fs::create_dir_all(path.join("a/b")).unwrap();
    fs::write(path.join("a/b/file"), [1; 8192]).unwrap();
    fs::hard_link(path.join("a/b/file"), path.join("again")).unwrap();
    std::os::unix::fs::symlink("/etc", path.join("link")).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o2770)).unwrap();
    let said = content(&["measure"]);
    let numbers: Vec<u64> = said.split(' ').skip(1).map(|number| number.parse().unwrap()).collect();
    assert_eq!(numbers[0], 0o2770, "{said}");
    assert!((8192..16384).contains(&(numbers[1] - 2 * 4096)), "two folders, and one file: {said}");
    assert!(numbers[2] > 1 << 20, "{said}");

    assert_eq!(content(&["empty"]), "done");
    assert_eq!(fs::read_dir(path).unwrap().count(), 0);
    assert!(Path::new("/etc/passwd").exists(), "no link is followed");
    assert_eq!(content(&["measure"]).split(' ').nth(1), Some("2048"));
    let unfinished = format!("unfinished {}", path.display());
    for flag in ["--lock", "--lock-together"] {
        let options = [flag, path.to_str().unwrap()];
        for session in [Berth::with(MINUTE, "", &options), Berth::with_all_files(&options)] {
            assert_eq!(session.send(CLAIM).line(), unfinished);
            assert!(is_free(path), "it keeps nothing");
        }
    }
    let mut restoration = Berth::with_all_files(&["--lock-to-restore", path.to_str().unwrap()]).send(CLAIM);
    assert_eq!(restoration.line(), "ready");
    let other = Berth::with_all_files(&["--lock", path.to_str().unwrap()]);
    assert_eq!(other.send(CLAIM).line(), format!("held {}", path.display()));
    assert_eq!(content(&["open", "1528"]), "done");
    restoration.let_go().end();
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o7777, 0o2770);
    assert_eq!(hold(&[path], MINUTE, "").send(CLAIM).line(), "ready");
}
