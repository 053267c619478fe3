//! A restoration that is cut off loses nothing, and no session takes a part for the whole; a full disk leaves no file.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;

use super::{end, home, names, read, start, write};
use crate::dind::own::{OwnDaemon, host};
use crate::harness::Berth;

const VOLUME: &str = "berth-data-it-backup_memory";
const STAGING: &str = "berth-staging-it-backup_memory";
/// The time of a fill, which nobody could miss.
const FILES: usize = 8;
const LENGTH: usize = 4_000_000;
const PATIENCE: Duration = Duration::from_mins(1);

/// A small disk.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(size: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path()).status();
        assert!(mounted.unwrap().success(), "this test mounts a small disk, which root alone may");
        Self(folder)
    }

    /// A backup does not fit on it, and leaves nothing.
    fn is_too_small(&self, own: &OwnDaemon, args: &[&str]) {
        let file = self.0.path().join("backup");
        let said = own.fails(&[&["backup", file.to_str().unwrap()], args].concat(), 69);
        let expected = format!("the disk of {} is full", self.0.path().display());
        assert!(said.contains(&expected) && said.contains("free some space there"), "{said}");
        assert_eq!(names(self.0.path()), [""; 0]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_backup_that_does_not_fit_on_its_disk_leaves_nothing() {
    let own = OwnDaemon::new("berth-test-backup-full", 22468);
    let mut random = vec![0; 200_000];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut random).unwrap();
    let random: String = random.iter().map(|byte| char::from(b'a' + byte % 16)).collect();
    own.configure(&format!("port = 22468\n# {random}\n"));
    Disk::new("16k").is_too_small(&own, &["--no-volumes"]);
}

/// `berth restore`, as soon as the content of the volume at this place is on its way.
fn restoring(own: &OwnDaemon, args: &[&str], place: &str) -> Child {
    let mut command = own.command();
    command.arg("restore").args(args).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    // The mark may be there for a moment only.
    let look = format!("until [ \"$(stat -c %a {place} 2>/dev/null)\" = 4000 ]; do :; done");
    let looked = host(&["exec", &own.name, "timeout", &PATIENCE.as_secs().to_string(), "sh", "-c", &look]);
    assert!(looked.status.success(), "a volume to be filled");
    child
}

fn has(own: &OwnDaemon, volume: &str) -> bool {
    own.inner(&["volume", "ls", "-q"]).lines().any(|name| name == volume)
}

fn note(own: &OwnDaemon, now: Option<&str>) -> String {
    let mut session = start(own);
    let note = read(&mut session, "/data/note").as_str().unwrap().to_owned();
    if let Some(now) = now {
        write(&mut session, "/data/note", now);
    }
    end(session);
    own.until_nobody();
    note
}

#[test]
fn a_restoration_that_is_cut_off_loses_nothing_and_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("berth.tar.zst");
    let path = file.to_str().unwrap();
    let own = home("berth-test-backup-cut", 22469);
    own.up();
    let mut session = start(&own);
    write(&mut session, "/data/note", "for later");
    for n in 0..FILES {
        write(&mut session, &format!("/data/{n}"), &n.to_string().repeat(LENGTH));
    }
    end(session);
    own.until_nobody();
    Disk::new("1m").is_too_small(&own, &[]);
    own.succeeds(&["backup", path]);
    note(&own, Some("newer"));

    let place = own.inner(&["volume", "inspect", "--format", "{{.Mountpoint}}", VOLUME]);
    let staging = place.replace(VOLUME, STAGING);

    // While it fills the other volume.
    let mut child = restoring(&own, &["--force", path], &staging);
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9), "it was at it");
    own.until_nobody();
    assert_eq!(note(&own, None), "newer");
    own.succeeds(&["restore", "--force", path]);
    assert!(!has(&own, STAGING), "it took the other one's, and removed it");
    assert_eq!(note(&own, Some("newer still")), "for later");

    // What nobody comes back to is leftover.
    let mut child = restoring(&own, &["--force", path], &staging);
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9), "it was at it");
    own.until_nobody();
    assert_eq!(own.swept(), format!("removed the volume {STAGING}"));

    // In the last step, with a whole volume beside the one that is none.
    let label = |of: &str| format!("io.mcp-berth.{of}");
    let labels = [label("managed-by=berth"), label("staging=memory"), label("client=it-backup")];
    let labels = labels.iter().flat_map(|label| ["--label", label]);
    own.inner(&["volume", "create"].into_iter().chain(labels).chain([STAGING]).collect::<Vec<_>>());
    let script = format!("rm {place}/0 && chmod 4000 {place}");
    assert!(host(&["exec", &own.name, "sh", "-c", &script]).status.success());
    let expected = "the volume `memory` is not restored to its end";
    let run = Berth::run("memory").client("it-backup").env("BERTH_HOME", own.home_folder());
    let mut session = run.start_without_daemon();
    let said = session.request("initialize", json!({ "protocolVersion": "2025-06-18", "capabilities": {} }));
    assert!(said["error"]["message"].as_str().is_some_and(|said| said.contains(expected)), "{said}");
    session.close();
    assert_eq!(session.exit_code(), Some(69));
    own.until_nobody();
    let said = own.fails(&["backup", folder.path().join("part").to_str().unwrap()], 69);
    assert!(said.contains(expected) && said.contains("type the same command again"), "{said}");
    let said = own.swept();
    assert!(
        said.starts_with(&format!("kept the volume {STAGING}: `memory` is not restored to its end")),
        "{said}"
    );
    assert!(has(&own, STAGING), "it may be the only whole one");
    own.succeeds(&["restore", path]);
    assert!(!has(&own, STAGING));
    assert_eq!(note(&own, None), "for later");

    // Into nothing.
    own.inner(&["volume", "rm", VOLUME]);
    let child = restoring(&own, &[path], &place);
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("interrupted"), "{said}");
    assert!(said.contains("the volume `memory` of `it-backup` is not there, as it was"), "{said}");
    assert!(!has(&own, VOLUME));
    own.succeeds(&["restore", path]);
    assert_eq!(note(&own, None), "for later");
    assert_eq!(own.swept(), "nothing was left behind");
}
