//! The users of session containers: their own on the machine. What the kernel counts for a user, no session takes from another
//! one or from the machine; files that are mounted stay the person's.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::fs::inotify;
use serde_json::{Value, json};

use crate::dind::own::OwnDaemon;
use crate::harness::{Berth, Session, berth, berth_says, containers_of, docker_says, expect_gone, shared};

/// Takes as many inotify instances and queued signals as it gets, and keeps them.
const TAKE: &str = r#"
import ctypes, os, signal, sys
kernel = ctypes.CDLL(None)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN})
instances = signals = 0
while instances < 100000 and kernel.inotify_init1(0) >= 0:
    instances += 1
while signals < 1000000 and kernel.sigqueue(os.getpid(), signal.SIGRTMIN, ctypes.c_void_p(0)) == 0:
    signals += 1
print(f"{os.getuid()} took {instances} instances {signals} signals;", file=sys.stderr, flush=True)
sys.stdin.read()
"#;

/// A session that has taken all it gets: how many of both.
fn greedy(client: &str, user: &str) -> (Session, u64, u64) {
    let mut session = Berth::image("berth-time")
        .client(client)
        .args(["--user", user, "--memory", "512m", "--", "python3", "-c", TAKE])
        .start();
    session.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    session.expect_stderr("signals;");
    let said = session.stderr();
    let number = |word: &str| {
        let (before, _) = said.split_once(word).unwrap_or_else(|| panic!("{said}"));
        before.trim_end().rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap()
    };
    let (instances, signals) = (number("instances"), number("signals"));
    (session, instances, signals)
}

/// Whether this process, which is no session, can have some.
fn taken_here() -> usize {
    let instances: Vec<_> =
        (0..20).map_while(|_| inotify::init(inotify::CreateFlags::CLOEXEC).ok()).collect();
    instances.len()
}

#[test]
fn what_one_session_takes_no_other_lacks_nor_the_machine() {
    let ours = fs::metadata("/proc/self").unwrap();
    let own = format!("{}:{}", ours.uid(), ours.gid());
    assert_eq!(taken_here(), 20, "before");
    let (_root, instances, signals) = greedy("it-users-root", "0:0");
    assert!(instances > 20 && signals > 20, "there is a limit that can be reached: {instances}, {signals}");
    let (_person, others, signals_of_others) = greedy("it-users-person", &own);
    let (_other, third, signals_of_third) = greedy("it-users-other", "1000:1000");
    assert_eq!((others, third), (instances, instances));
    // They are as many as memory allows; nobody else has any here.
    assert_eq!((signals_of_others, signals_of_third), (signals, signals));
    assert_eq!(taken_here(), 20, "with three of them beside");
}

#[test]
fn a_container_that_is_no_sessions_takes_its_own_share_only() {
    let _root = greedy("it-users-beside-plain", "0:0");
    let take = TAKE.replace("sys.stdin.read()", "");
    let run = ["run", "--rm", "--network", "none", "--entrypoint", "python3", "berth-time", "-c", &take];
    let output = crate::harness::docker(&run);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(" took ") && !said.contains(" 0 instances"), "{said}");
    assert_eq!(taken_here(), 20);
}

/// What the kernel says of a session's own process: its ids inside, and those outside.
fn map_of(container: &str, map: &str) -> Vec<u32> {
    let keeper = docker_says(&["inspect", "--format", "{{index .Config.Entrypoint 0}}", container]);
    let read = docker_says(&["exec", container, &keeper, "probe", "read", &format!("/proc/self/{map}")]);
    let read: Value = serde_json::from_str(&read).unwrap();
    read["text"].as_str().unwrap().split_whitespace().map(|number| number.parse().unwrap()).collect()
}

#[test]
fn a_sessions_users_are_nobody_on_the_machine_and_are_told() {
    let session = Berth::run("fixture").client("it-users-map").started();
    let container = session.container();
    for map in ["uid_map", "gid_map"] {
        let [inside, outside, count] = map_of(&container, map)[..] else { panic!("{container}: {map}") };
        assert_eq!((inside, count), (0, 262_143));
        assert!((0x7800_0000..0x7ffe_0000).contains(&outside), "{outside}");
    }
    let rows: Value =
        serde_json::from_slice(&berth().args(["ps", "--json"]).output().unwrap().stdout).unwrap();
    let row = rows.as_array().unwrap().iter().find(|row| row["name"] == *container).unwrap();
    assert_eq!(row["host_user"], "own");
    let (_, doctor, _) = berth_says(&["doctor"]);
    let line = doctor.lines().find(|line| line.contains(" users ")).unwrap_or_else(|| panic!("{doctor}"));
    assert!(line.starts_with("ok") && line.contains("a session's users 0 to 262142 are"), "{line}");
}

#[test]
fn what_a_session_makes_in_a_mount_belongs_to_who_it_is_there() {
    let ours = fs::metadata("/proc/self").unwrap();
    let own = (ours.uid(), ours.gid());
    // A person's own user, and another one, where we can make files for it.
    let users = if own.0 == 0 { vec![own, (1000, 1000), (1_168_400_512, 1_168_400_513)] } else { vec![own] };
    for (uid, gid) in users {
        let project = shared(&format!("users-{uid}"));
        fs::write(project.join("there"), "before").unwrap();
        for path in [project.clone(), project.join("there")] {
            std::os::unix::fs::chown(path, Some(uid), Some(gid)).unwrap();
        }
        let script = "exec 3>&1 >&2; echo more >>/w/there; mkdir /w/new; echo x >/w/new/x; echo x >/v/x; \
                      stat -c '%n %u:%g' /w/there /v/x; echo all done; exec cat";
        let client = format!("it-users-mount-{uid}");
        let mut session = Berth::image("berth-base")
            .client(&client)
            .args(["--mount", &format!("{}:/w:rw", project.display()), "--user", &format!("{uid}:{gid}")])
            .args(["--volume", &format!("{client}:/v"), "--", "sh", "-c", script])
            .start();
        session.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        session.expect_stderr("all done");
        let said = session.stderr();
        for path in ["/w/there", "/v/x"] {
            assert!(said.contains(&format!("{path} {uid}:{gid}")), "{path}: {said}");
        }
        for path in ["there", "new", "new/x"] {
            let found = fs::metadata(project.join(path)).unwrap();
            assert_eq!((found.uid(), found.gid()), (uid, gid), "{path}");
        }
        assert_eq!(fs::read_to_string(project.join("there")).unwrap(), "beforemore\n");
        let container = session.container();
        let pid = docker_says(&["inspect", "--format", "{{.State.Pid}}", &container]);
        let users = docker_says(&["top", &container, "-eo", "pid,uid"]);
        let user = users
            .lines()
            .find_map(|line| line.trim().strip_prefix(&pid))
            .unwrap_or_else(|| panic!("{users}"));
        assert!(user.trim().parse::<u32>().unwrap() >= 0x7800_0000, "{user} on the machine");
        session.close();
        expect_gone(&client);
        let copies = crate::dind::own::host(&["exec", "berth-test-dind", "ls", "-A", "/run/berth"]);
        let copies = String::from_utf8_lossy(&copies.stdout).into_owned();
        assert!(containers_of(&client).is_empty() && !copies.contains(&container), "{copies}");
    }
}

/// A file system that maps no ids, while it lives.
struct Overlay(tempfile::TempDir);

impl Overlay {
    /// `None` for those who may not mount.
    fn mount() -> Option<Self> {
        let overlay = Self(tempfile::tempdir().unwrap());
        for folder in ["lower", "upper", "work", "merged"] {
            fs::create_dir(overlay.0.path().join(folder)).unwrap();
        }
        let option = |name: &str, folder: &str| format!("{name}={}", overlay.0.path().join(folder).display());
        let options =
            [option("lowerdir", "lower"), option("upperdir", "upper"), option("workdir", "work")].join(",");
        let mut mount = Command::new("mount");
        mount.args(["-t", "overlay", "overlay", "-o", &options]).arg(overlay.merged());
        mount.output().is_ok_and(|output| output.status.success()).then_some(overlay)
    }

    fn merged(&self) -> PathBuf {
        self.0.path().join("merged")
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.merged()).output();
    }
}

#[test]
fn where_mounts_map_no_ids_one_user_is_the_machines_and_alone() {
    // It takes the right to mount, and a file of another user.
    let Some(overlay) = Overlay::mount() else { return };
    let project = overlay.merged().join("p");
    fs::create_dir(&project).unwrap();
    std::os::unix::fs::chown(&project, Some(1000), Some(1000)).unwrap();
    let own = OwnDaemon::new("berth-test-dind-overlay", 22426);
    own.configure(&format!(
        "port = 22426\nshare = [\"{}\"]\n[servers.base]\nimage = \"berth-base\"\n",
        overlay.0.path().display()
    ));
    own.up();
    let run = |client: &str, user: &str| {
        let script = "exec 3>&1 >&2; touch /w/made; echo kept >>/v/a; stat -c '%n %u:%g' /w/made /v/a /bin/sh /etc; \
                      cat /proc/self/uid_map; echo all done; exec cat";
        let mut session = Berth::image("berth-base")
            .client(client)
            .env("BERTH_HOME", own.home_folder())
            .args(["--mount", &format!("{}:/w:rw", project.display()), "--volume", "kept:/v:shared"])
            .args(["--user", user, "--", "sh", "-c", script])
            .start_without_daemon();
        session.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }));
        session
    };
    let session = run("it-overlay", "1000:1000");
    session.expect_stderr("all done");
    let said = session.stderr();
    for line in ["/w/made 1000:1000", "/v/a 1000:1000", "/bin/sh 0:0", "/etc 0:0"] {
        assert!(said.contains(line), "{said}");
    }
    let map: Vec<u32> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let map = &map[map.len() - 9..];
    assert_eq!((&map[3..6], map[0], map[2]), (&[1000, 1000, 1][..], 0, 1000), "{said}");
    assert!(map[1] >= 0x7800_0000 && map[7] == map[1] + 1001, "all others are nobody there: {map:?}");
    let made = fs::metadata(project.join("made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (1000, 1000));
    own.until_named("mcp-it-overlay-1");
    assert_eq!(own.rows()[0]["host_user"], "1000");
    let doctor = String::from_utf8(own.says(&["doctor"]).stdout).unwrap();
    assert!(doctor.contains("`mcp-it-overlay-1` has user 1000 of the machine"), "{doctor}");
    drop(session);

    // The machine's root it is not.
    let mut session = run("it-overlay-root", "0:0");
    let said = session.answer(1)["error"]["message"].to_string();
    assert!(
        said.contains("on a file system without id-mapped mounts") && said.contains("userns = false"),
        "{said}"
    );
}

#[test]
fn volumes_and_images_come_along_when_users_change() {
    const PORT: &str = "port = 22425";
    let own = OwnDaemon::new("berth-test-dind-users", 22425);
    own.configure(&format!("{PORT}\nuserns = false"));
    own.up();
    let make = "echo kept >/d/a; mkdir /d/b; echo x >/d/b/c; ln -s /nowhere /d/l; chmod 4755 /d/a; \
                chown -R 1000:2000 /d/b; chown -h 3000 /d/l";
    let look = "cat /d/a; stat -c '%n %u:%g %a' /d /d/a /d/b /d/b/c /d/l; cat /proc/self/uid_map";
    let run = |script: &str| {
        let run =
            ["run", "--rm", "--network", "none", "-v", "kept:/d", "--entrypoint", "sh", "berth-base", "-c"];
        own.inner(&[&run[..], &[script]].concat())
    };
    own.configure(&format!("{PORT}\nuserns = false\n[servers.base]\nimage = \"berth-base\""));
    own.up();
    own.inner(&["volume", "create", "--label", "whose=mine", "kept"]);
    // Made in the daemon, and nowhere else.
    own.inner(&["tag", "berth-base", "only-here"]);
    run(make);
    let (before, images) = (run(look), own.inner(&["images", "-q", "--no-trunc"]));
    let (files, map) = before.rsplit_once('\n').unwrap();
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "0", "4294967295"]);

    for (userns, is_own) in [("", true), ("userns = false", false), ("", true)] {
        own.configure(&format!("{PORT}\n{userns}\n[servers.base]\nimage = \"berth-base\""));
        let said = own.up();
        assert!(said.contains("gave the images and volumes in the daemon"), "{said}");
        let after = run(look);
        let (same, map) = after.rsplit_once('\n').unwrap();
        assert_eq!(same, files, "as seen inside");
        assert_eq!(map.split_whitespace().nth(1) != Some("0"), is_own, "{map}");
        assert_eq!(own.inner(&["images", "-q", "--no-trunc"]), images);
        assert_eq!(own.inner(&["volume", "inspect", "-f", "{{.Labels.whose}}", "kept"]), "mine");
        assert_eq!(own.inner(&["run", "--rm", "--entrypoint", "echo", "only-here", "there"]), "there");
        own.session("moved");
        assert!(!own.up().contains("gave the"), "nothing is moved twice");
    }
}
