//! The files of a project's folder that say what its packages are.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use crate::regular;

/// They decide what `uv sync` installs.
const NAMES: [&str; 4] = ["pyproject.toml", "uv.lock", "uv.toml", ".python-version"];

/// None is longer (bytes).
const LONGEST: u64 = 16 << 20;

/// Those that are there and can be read; what is missing is told when it is baked. Nothing else of the person's is packed:
/// no link leads out of the folder.
pub(super) fn files(folder: &str) -> BTreeMap<&'static str, Vec<u8>> {
    let read = |name: &'static str| {
        let file = regular::open_beneath(Path::new(folder), name).ok()??;
        let is_short = file.metadata().is_ok_and(|about| about.len() <= LONGEST);
        let mut text = Vec::new();
        (is_short && file.take(LONGEST).read_to_end(&mut text).is_ok()).then_some((name, text))
    };
    NAMES.into_iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn a_project_gives_its_own_files_alone() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("project");
        fs::create_dir_all(folder.join("sub")).unwrap();
        fs::write(outer.path().join("key"), "theirs").unwrap();
        fs::write(folder.join("sub/uv.toml"), "[pip]").unwrap();
        symlink("../key", folder.join(".python-version")).unwrap();
        symlink(outer.path().join("key"), folder.join("pyproject.toml")).unwrap();
        symlink("sub/uv.toml", folder.join("uv.toml")).unwrap();
        // Nobody ever writes to it.
        mknodat(CWD, folder.join("uv.lock"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let (sender, found) = mpsc::channel();
        thread::spawn(move || sender.send(files(folder.to_str().unwrap())));
        let found = found.recv_timeout(Duration::from_secs(30)).expect("nobody waits for a pipe");
        assert_eq!(found, BTreeMap::from([("uv.toml", b"[pip]".to_vec())]));
    }
}
