//! What is done for a container with a kernel of its own: outside, by the runtime and the guard, and inside.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::KEEPER;
use crate::json;
use crate::runtime::{Plan, Real, request, value};

const FOLDER: &str = "/.berth-0123456789abcdef0123456789abcdef";

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(Into::into).collect()
}

#[test]
fn the_name_chooses_the_real_runtime() {
    let called = |name: &str| Real::called(name.as_ref());
    assert_eq!(called("/berth/runtime"), Some(Real::Shared));
    assert_eq!(called("/berth/runtime-gvisor"), Some(Real::Gvisor));
    for other in ["/berth/keeper", "runtime-other", "", "/"] {
        assert_eq!(called(other), None, "{other}");
    }
}

#[test]
fn a_request_is_found_behind_its_options() {
    let line = words("--root /r --log /l --log-format json kill --all id 9");
    let (name, options, of) = request(&line).unwrap();
    assert_eq!((name, of), ("kill", &words("--all id 9")[..]));
    assert_eq!(value(options, "--root").as_deref(), Some(Path::new("/r")));
    assert_eq!(request(&words("--version")), None);
}

#[test]
fn the_guard_is_told_of_all_that_the_kernel_inside_cannot_see_to() {
    let guarded = |arguments: &str, mounts: &str| {
        let arguments: Vec<String> = arguments.split_whitespace().map(json::quoted).collect();
        let text = format!(
            r#"{{"root":{{"path":"/r"}},"process":{{"args":[{}]}},"mounts":[{{"destination":"{FOLDER}","type":"bind",
            "source":"/var/lib/docker/volumes/k/_data","options":["rbind","ro"]}}{mounts}]}}"#,
            arguments.join(",")
        );
        Plan::of(&json::read(&text).unwrap()).unwrap().guarded().to_vec()
    };
    let hold = format!("{FOLDER}/keeper hold --grace 500");
    let keeper = format!("--read-only {FOLDER}");
    assert_eq!(guarded(&hold, ""), words(&format!("{keeper} --patience 2500")));
    let all = guarded(
        &format!(
            "{hold} --lock /data --mount 1:2:/w --within ro:1:3:/w/.git -- server --lock /x --within ro:9:9:/y"
        ),
        r#",{"destination":"/data","type":"bind","source":"/var/lib/docker/volumes/d/_data","options":["rbind"]},
        {"destination":"/w","type":"bind","source":"/home/me","options":["bind"]},
        {"destination":"/etc/resolv.conf","type":"bind","source":"/var/lib/docker/containers/c/resolv.conf","options":["ro"]},
        {"destination":"/w/.git","type":"bind","source":"/home/me/.git","options":["bind","rro"]}"#,
    );
    let expected = format!(
        "--within ro:1:3:/w/.git {keeper} --lock /data /var/lib/docker/volumes/d/_data --read-only /w/.git --patience 2500"
    );
    assert_eq!(all, words(&expected));
}

/// A guard, and what it is told and says.
struct Guard {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Guard {
    fn post(options: &[&str]) -> Self {
        let mut keeper = Command::new(KEEPER);
        keeper.arg("guard").args(options).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = keeper.spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    fn says(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn leave(mut self) {
        self.input = None;
        self.child.wait().unwrap();
    }
}

#[test]
fn one_guard_at_a_time_has_a_volume() {
    let volume = tempfile::tempdir().unwrap();
    let folder = volume.path().to_str().unwrap();
    let options = ["--lock", "/data", folder, "--patience", "100"];
    let mut first = Guard::post(&options);
    assert_eq!(first.says(), "ready");
    let mut second = Guard::post(&options);
    assert_eq!(second.says(), "held /data");
    second.leave();
    // It waits for one that leaves.
    let mut third = Guard::post(&["--lock", "/data", folder, "--patience", "60000"]);
    first.leave();
    assert_eq!(third.says(), "ready");
    third.leave();
}

/// A process with mounts of its own, in the place of a gofer; `prepare` makes them.
fn gofer(prepare: &str) -> Child {
    let script = format!("{prepare}\necho made\nread end\n");
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-ec", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut gofer = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(gofer.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "made\n");
    gofer
}

#[test]
fn what_is_read_only_is_so_for_the_gofer_and_the_kernel_dies_with_a_protection() {
    let folder = tempfile::tempdir().unwrap();
    let folder = fs::canonicalize(folder.path()).unwrap();
    let git = folder.join("git");
    fs::create_dir(&git).unwrap();
    let (shown, found) = (git.to_str().unwrap(), fs::metadata(&git).unwrap());
    let within = format!("ro:{}:{}:{shown}", found.dev(), found.ino());
    let mut gofer = gofer(&format!("mount --bind {shown} {shown}"));
    let mut kernel = Command::new("sleep").arg("1000").spawn().unwrap();
    let mut guard = Guard::post(&["--within", &within, "--read-only", shown]);
    assert_eq!(guard.says(), "ready");
    writeln!(guard.input.as_mut().unwrap(), "{} {}", kernel.id(), gofer.id()).unwrap();
    assert_eq!(guard.says(), "on");
    let list = fs::read_to_string(format!("/proc/{}/mountinfo", gofer.id())).unwrap();
    let line = list.lines().find(|line| line.split(' ').nth(4) == Some(shown)).unwrap();
    assert!(line.split(' ').nth(5).unwrap().starts_with("ro"), "{line}");
    assert!(kernel.try_wait().unwrap().is_none(), "all is as it should be");
    // From the host's side it is no mount, and can be replaced.
    fs::rename(&git, folder.join("was")).unwrap();
    fs::create_dir(&git).unwrap();
    fs::remove_dir(folder.join("was")).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while kernel.try_wait().unwrap().is_none() {
        assert!(Instant::now() < until, "the kernel lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
    guard.leave();
    drop(gofer.stdin.take());
    gofer.wait().unwrap();
}

#[test]
fn a_kernel_does_not_outlive_either_of_its_guards() {
    let volume = tempfile::tempdir().unwrap();
    let guards = |parent: u32| {
        let found = Command::new("pgrep").args(["-P", &parent.to_string()]).output().unwrap();
        String::from_utf8(found.stdout).unwrap().trim().to_owned()
    };
    for is_first in [true, false] {
        let mut gofer = gofer("true");
        let mut kernel = Command::new("sleep").arg("1000").spawn().unwrap();
        let mut guard = Guard::post(&["--lock", "/data", volume.path().to_str().unwrap()]);
        assert_eq!(guard.says(), "ready");
        writeln!(guard.input.as_mut().unwrap(), "{} {}", kernel.id(), gofer.id()).unwrap();
        assert_eq!(guard.says(), "on");
        let second = guards(guard.child.id());
        assert!(second.parse::<u32>().is_ok() && kernel.try_wait().unwrap().is_none(), "{second}");
        let killed = if is_first { guard.child.id().to_string() } else { second };
        assert!(Command::new("kill").args(["-KILL", &killed]).status().unwrap().success());
        assert!(!kernel.wait().unwrap().success());
        guard.leave();
        drop(gofer.stdin.take());
        gofer.wait().unwrap();
    }
}

#[test]
fn a_mount_that_is_not_as_asked_ends_the_kernel_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let shown = fs::canonicalize(folder.path()).unwrap();
    let shown = shown.to_str().unwrap();
    let mut gofer = gofer("true");
    let mut kernel = Command::new("sleep").arg("1000").spawn().unwrap();
    let mut guard = Guard::post(&["--within", &format!("ro:1:1:{shown}")]);
    assert_eq!(guard.says(), "ready");
    writeln!(guard.input.as_mut().unwrap(), "{} {}", kernel.id(), gofer.id()).unwrap();
    let said = guard.says();
    assert!(said.contains("is not protected: it was replaced"), "it is not on its post: {said}");
    assert!(!kernel.wait().unwrap().success());
    guard.leave();
    drop(gofer.stdin.take());
    gofer.wait().unwrap();
}

#[test]
fn numbers_of_another_kernel_are_not_compared_and_places_are() {
    let folder = tempfile::tempdir().unwrap();
    let folder = fs::canonicalize(folder.path()).unwrap();
    let shown = folder.display();
    let attempt = |prepare: &str, option: &str| {
        let script = format!(
            "{prepare}\nexec {KEEPER} exec --session s1 {option} --mount 1:1:/ --within ro:1:1:{shown} -- echo started"
        );
        let output = Command::new("unshare").args(["-m", "sh", "-ec", &script]).output().unwrap();
        (output.stdout == b"started\n", String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let bind = format!("mount --bind {shown} {shown}");
    let read_only = format!("{bind}\nmount -o remount,bind,ro {shown}");
    let (started, said) = attempt(&read_only, "--own-kernel");
    assert!(started, "{said}");
    assert!(!attempt(&read_only, "").0);
    for (prepare, why) in [("true", "nothing is mounted there"), (&*bind, "its mount can be written")] {
        let (started, said) = attempt(prepare, "--own-kernel");
        assert!(!started && said.contains(why), "{prepare}: {said}");
    }
}
