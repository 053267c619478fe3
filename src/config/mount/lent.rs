//! Whether the daemon can lend a person's rights on a mount to an image's user: by an id-mapped mount, which takes the file
//! system, the kernel and user namespaces.

use std::path::Path;

use super::Mount;
use crate::config::Config;

/// File systems, as statfs(2) numbers them, and the first kernel that has such mounts of each.
const MAPPED: [(u64, (u32, u32)); 4] = [
    // ext4
    (0xef53, (5, 12)),
    // XFS
    (0x5846_5342, (5, 12)),
    // Btrfs
    (0x9123_683e, (5, 15)),
    // tmpfs
    (0x0102_1994, (6, 3)),
];

const RELEASE: &str = "/proc/sys/kernel/osrelease";

/// A host that allows no user namespaces says 0 there.
const NAMESPACES: &str = "/proc/sys/user/max_user_namespaces";

impl Config {
    /// Whether its daemon can do so for all of these. It is on this machine, where it sees the very same files.
    pub fn lends(&self, mounts: &[Mount]) -> bool {
        if self.dind.host.is_some() || mounts.is_empty() {
            return false;
        }
        let Some(kernel) = std::fs::read_to_string(RELEASE).ok().and_then(|release| version(&release)) else {
            return false;
        };
        let forbidden = std::fs::read_to_string(NAMESPACES).is_ok_and(|most| most.trim() == "0");
        !forbidden && mounts.iter().all(|mount| is_mapped(Path::new(&mount.source), kernel))
    }
}

fn is_mapped(path: &Path, kernel: (u32, u32)) -> bool {
    let Ok(found) = rustix::fs::statfs(path) else { return false };
    // The number's type is each architecture's own.
    let Ok(kind) = u64::try_from(found.f_type) else { return false };
    knows(kind, kernel)
}

fn knows(kind: u64, kernel: (u32, u32)) -> bool {
    MAPPED.iter().any(|(known, since)| *known == kind && kernel >= *since)
}

/// `6.1.0-28-amd64`
fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_and_a_file_system_lend_rights_together() {
        assert_eq!(version("6.1.0-28-amd64"), Some((6, 1)));
        assert_eq!(version("5.15.167.4-microsoft-standard-WSL2"), Some((5, 15)));
        assert_eq!(version("linux"), None);
        let (ext4, btrfs, tmpfs, overlay) = (0xef53, 0x9123_683e, 0x0102_1994, 0x794c_7630);
        assert!(knows(ext4, (5, 12)) && !knows(ext4, (5, 10)), "Debian 11 has no such mounts");
        assert!(knows(btrfs, (5, 15)) && !knows(btrfs, (5, 14)));
        assert!(knows(tmpfs, (6, 3)) && !knows(tmpfs, (5, 15)));
        assert!(!knows(overlay, (7, 0)) && !is_mapped(Path::new("/nowhere"), (7, 0)));
        assert!(!is_mapped(Path::new("/proc"), (7, 0)));
    }
}
