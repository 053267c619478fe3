//! Which nameservers this machine asks. It reads a few files, which is cheap.

use std::fs::{self, Metadata};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Resolver;

const FILE: &str = "etc/resolv.conf";
/// Where those keep whom they ask that are asked themselves at an address that is this machine's alone.
const SYSTEMD: &str = "run/systemd/resolve/resolv.conf";
const NETWORK_MANAGER: &str = "run/NetworkManager/no-stub-resolv.conf";
/// Where systemd-resolved answers.
const SYSTEMD_STUBS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53)), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 54))];
/// In the mount of an engine's: in a container this file is a copy that the engine has made at the container's start.
const ENGINES: [&str; 2] = ["containers/", "sandboxes/"];

/// `root` is where all paths begin.
pub(super) fn resolver(root: &Path) -> Option<Resolver> {
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).unwrap_or_default();
    if is_a_copy(&mounts) {
        return None;
    }
    let own = own(root);
    let is_stub = own.nameservers.iter().any(|address| SYSTEMD_STUBS.contains(address));
    let behind = if is_stub { SYSTEMD } else { NETWORK_MANAGER };
    own.without_loopback()
        .or_else(|| Resolver::parse(&fs::read_to_string(root.join(behind)).ok()?).without_loopback())
}

/// What the file says that this machine's programs read.
pub(super) fn own(root: &Path) -> Resolver {
    Resolver::parse(&fs::read_to_string(root.join(FILE)).unwrap_or_default())
}

/// What changes when a file does, its replacement by another included.
pub(super) fn state(root: &Path) -> [Option<(u64, i64, i64, u64)>; 3] {
    let state = |file: Metadata| (file.ino(), file.mtime(), file.mtime_nsec(), file.size());
    [FILE, SYSTEMD, NETWORK_MANAGER].map(|file| fs::metadata(root.join(file)).ok().map(state))
}

/// `proc_pid_mountinfo(5)`: the fourth field is what is mounted, the fifth where.
fn is_a_copy(mounts: &str) -> bool {
    mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(3);
        let (what, place) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        place == "/etc/resolv.conf" && ENGINES.iter().any(|engine| what.contains(engine))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn asked(files: &[(&str, &str)]) -> Option<String> {
        resolver(machine(files).path()).map(|resolver| resolver.to_string())
    }

    #[test]
    fn a_machine_asks_what_its_file_says_or_what_is_behind_that() {
        let (systemd, manager) =
            ((SYSTEMD, "nameserver 10.0.0.1\n"), (NETWORK_MANAGER, "nameserver 10.0.0.2\n"));
        let all = |own| asked(&[(FILE, own), systemd, manager]);
        assert_eq!(all("nameserver 192.168.1.1\n").as_deref(), Some("192.168.1.1"));
        assert_eq!(all("nameserver 127.0.0.53\n").as_deref(), Some("10.0.0.1"));
        assert_eq!(all("nameserver 127.0.0.1\n").as_deref(), Some("10.0.0.2"));
        assert_eq!(all("nameserver ::1\nnameserver 192.168.1.1\n").as_deref(), Some("192.168.1.1"));
        assert_eq!(
            asked(&[(FILE, "nameserver 127.0.0.1\n"), systemd]),
            None,
            "nothing that others could ask"
        );
        assert_eq!(asked(&[(FILE, "nameserver 127.0.0.53\n"), (SYSTEMD, "# offline\n")]), None);
        assert_eq!(asked(&[]), None);
    }

    #[test]
    fn what_an_engine_has_made_for_a_container_is_not_this_machines() {
        let mount =
            |what: &str| format!("98 87 254:0 {what} /etc/resolv.conf rw,relatime - ext4 /dev/vda rw\n");
        let with = |mounts: &str| asked(&[(FILE, "nameserver 10.0.0.1\n"), ("proc/self/mountinfo", mounts)]);
        assert!(with("").is_some());
        assert!(with(&mount("/tmp/resolv.conf")).is_some());
        for made in [
            "/var/lib/docker/containers/0123/resolv.conf",
            "/containers/overlay-containers/0123/userdata/resolv.conf",
            "/io.containerd.grpc.v1.cri/sandboxes/0123/resolv.conf",
        ] {
            assert_eq!(with(&mount(made)), None, "{made}");
        }
    }

    #[test]
    fn a_change_of_any_file_is_seen() {
        let root = machine(&[(FILE, "nameserver 10.0.0.1\n"), (SYSTEMD, "nameserver 10.0.0.1\n")]);
        let before = state(root.path());
        assert_eq!(state(root.path()), before);
        // As those do it that write a new file and put it in the place of the old one, of the same size.
        let new = root.path().join("new");
        fs::write(&new, "nameserver 10.0.0.2\n").unwrap();
        fs::rename(&new, root.path().join(SYSTEMD)).unwrap();
        let after = state(root.path());
        assert_ne!(after, before);
        fs::remove_file(root.path().join(FILE)).unwrap();
        assert_ne!(state(root.path()), after);
    }
}
