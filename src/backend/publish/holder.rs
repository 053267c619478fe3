//! Who listens at a port of this machine's loopback, as far as the kernel lets this user see.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::observe::journal;

/// The state of a listening socket in the kernel's lists (`proc_net_tcp`).
const LISTENS: &str = "0A";

/// Where it has the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Any,
    /// At an address of IPv6.
    Six,
}

/// The process that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) pid: u32,
    pub(super) program: String,
    /// berth's own id, where it is a session that leaves a history.
    pub(super) session: Option<String>,
}

impl Holder {
    /// `None`: of another user, or gone by now. It reads files, and blocks.
    pub(super) fn of(port: u16, family: Family, state: &Path) -> Option<Self> {
        let list = |name: &str| fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default();
        let lists: &[&str] = if family == Family::Six { &["tcp6"] } else { &["tcp", "tcp6"] };
        let inodes: Vec<u64> = lists.iter().flat_map(|name| listening(&list(name), port)).collect();
        fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let sockets = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect::<Vec<_>>();
            let files: Vec<_> = fs::read_dir(entry.path().join("fd"))
                .ok()?
                .flatten()
                .filter_map(|fd| fs::read_link(fd.path()).ok())
                .collect();
            if !files
                .iter()
                .any(|file| file.to_str().is_some_and(|file| sockets.iter().any(|socket| socket == file)))
            {
                return None;
            }
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            // A name is what the program says of itself.
            let program: String = name.trim().chars().filter(|char| !char.is_control()).collect();
            let folder = state.join(journal::FOLDER);
            let session = files.iter().find_map(|file| session_of(file, &folder));
            Some(Self { pid, program, session })
        })
    }
}

/// The session whose history a file is. A program of another's could have it open; then it is only named wrongly.
fn session_of(file: &Path, folder: &Path) -> Option<String> {
    if file.extension()? != "jsonl" {
        return None;
    }
    let same = |one: &Path, other: &Path| {
        let (one, other) = (fs::metadata(one).ok()?, fs::metadata(other).ok()?);
        Some((one.dev(), one.ino()) == (other.dev(), other.ino()))
    };
    same(file.parent()?, folder)?.then(|| file.file_stem()?.to_str().map(str::to_owned))?
}

/// The inodes of the sockets that listen at a port of the loopback, or of all addresses.
fn listening(list: &str, port: u16) -> Vec<u64> {
    const PLACES: [&str; 6] = [
        "0100007F",
        "00000000",
        "00000000000000000000000001000000",
        "00000000000000000000000000000000",
        "0000000000000000FFFF00000100007F",
        "0000000000000000FFFF000000000000",
    ];
    let of_line = |line: &str| {
        let mut fields = line.split_whitespace();
        let (address, number) = fields.nth(1)?.split_once(':')?;
        let is_it = u16::from_str_radix(number, 16) == Ok(port) && PLACES.contains(&address);
        let listens = fields.nth(1)? == LISTENS;
        (is_it && listens).then(|| fields.nth(5)?.parse().ok())?
    };
    list.lines().filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_list_is_read() {
        let list = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                    0: 0100007F:1F95 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 f 100 0 0 10 0\n   \
                    1: 0100007F:1F95 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 f 20 4 30 10 -1\n   \
                    2: 0500000A:1F95 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 f 100 0 0 10 0\n   \
                    3: 00000000:1F96 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4714 1 f 100 0 0 10 0\n";
        assert_eq!(listening(list, 8085), [4711]);
        assert_eq!(listening(list, 8086), [4714]);
        assert!(listening(list, 80).is_empty());
    }

    #[test]
    fn a_listener_of_this_process_is_found() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let holder =
            Holder::of(listener.local_addr().unwrap().port(), Family::Any, Path::new("/nowhere")).unwrap();
        assert_eq!((holder.pid, holder.session), (std::process::id(), None));
        assert!(!holder.program.is_empty());
    }
}
