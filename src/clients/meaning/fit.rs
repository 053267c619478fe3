//! Which paths of this machine a server may be given, and whether it is to write there.

use std::path::Path;

use super::words::parts;
use crate::runner::is_systems_own;

/// Names of flags and variables whose folder or file is written.
const WRITTEN: [&str; 33] = [
    "archive",
    "backup",
    "cache",
    "data",
    "database",
    "datadir",
    "db",
    "download",
    "downloads",
    "export",
    "exports",
    "index",
    "indexes",
    "log",
    "logs",
    "memory",
    "out",
    "output",
    "outputs",
    "persist",
    "profile",
    "recordings",
    "results",
    "save",
    "screenshot",
    "screenshots",
    "session",
    "sessions",
    "sqlite",
    "state",
    "storage",
    "store",
    "vault",
];

/// Endings of files that are written.
const WRITTEN_ENDINGS: [&str; 6] = ["db", "duckdb", "jsonl", "log", "sqlite", "sqlite3"];

/// Folders of the home whose files say what runs on this machine, and as whom.
const POWERFUL: [&str; 13] = [
    ".agents",
    ".bashrc.d",
    ".claude",
    ".codex",
    ".config",
    ".cursor",
    ".gemini",
    ".git",
    ".gnupg",
    ".local",
    ".ssh",
    ".vscode",
    ".zsh",
];

/// Folders below those, and others, that hold programs, or say which are started and when.
const PROGRAMS: [&str; 17] = [
    ".cargo/bin",
    ".config/autostart",
    ".config/berth",
    ".config/environment.d",
    ".config/fish",
    ".config/git",
    ".config/nvim",
    ".config/systemd",
    ".local/bin",
    ".local/lib",
    ".local/share/applications",
    ".local/share/berth",
    ".local/share/systemd",
    ".local/share/uv",
    ".npm-global",
    "bin",
    "go/bin",
];

/// Whether it means what the container has there, whatever this machine has.
pub(super) fn is_containers_own(path: &Path) -> bool {
    [Path::new("/"), Path::new("/tmp"), Path::new("/var/tmp")].contains(&path) || is_systems_own(path)
}

/// Whether each container has the very same: a device without anything behind it.
pub(super) fn is_every_containers(path: &Path) -> bool {
    const PLAIN: [&str; 8] = ["fd", "full", "null", "random", "stderr", "stdout", "urandom", "zero"];
    PLAIN.iter().any(|name| path.strip_prefix("/dev").is_ok_and(|rest| rest.starts_with(name)))
}

/// Whether what is called `name` is a folder, by that name.
pub(super) fn is_folder_name(name: &str) -> bool {
    const FOLDERS: [&str; 12] = [
        "dir",
        "directories",
        "directory",
        "dirs",
        "folder",
        "folders",
        "home",
        "repo",
        "repository",
        "root",
        "vault",
        "workspace",
    ];
    parts(name).last().is_some_and(|last| FOLDERS.contains(&last.as_str()))
}

/// Whether it is made of nothing but names, so that it is the same place in a container.
pub(super) fn is_plain(path: &Path) -> bool {
    use std::path::Component::{Normal, RootDir};
    path.to_str().is_some_and(|text| !text.contains([':', ',', '$', '\n', '"']))
        && path.components().all(|part| matches!(part, Normal(_) | RootDir))
}

/// Whether who writes to this folder has a hand in what runs on this machine.
pub(super) fn is_powerful(folder: &Path, home: Option<&Path>) -> bool {
    let Some(home) = home else { return false };
    let is_settings = |name: &str| {
        let settings = home.join(name);
        settings == folder || (folder.starts_with(&settings) && ![".config", ".local"].contains(&name))
    };
    home.starts_with(folder)
        || PROGRAMS.iter().any(|name| folder.starts_with(home.join(name)))
        || POWERFUL.iter().any(|name| is_settings(name))
}

/// Whether what is called `name` is written, by that name.
pub(super) fn is_written(name: &str) -> bool {
    parts(name).any(|part| WRITTEN.contains(&part.as_str()))
}

/// Whether what is called `name` is read and never made, by that name.
pub(super) fn is_read(name: &str) -> bool {
    const READ: [&str; 9] =
        ["ca", "cert", "certificate", "config", "credentials", "key", "kubeconfig", "keys", "oauth"];
    parts(name).any(|part| READ.contains(&part.as_str())) && !is_written(name)
}

fn ending(path: &Path) -> String {
    path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase()
}

pub(super) fn is_written_file(path: &Path) -> bool {
    WRITTEN_ENDINGS.contains(&ending(path).as_str())
}

/// Whether what is not there yet is to be a file.
pub(super) fn is_file_to_be(text: &str, name: &str) -> bool {
    let is_folder = parts(name)
        .any(|part| ["dir", "directory", "folder", "root", "datadir", "dirs"].contains(&part.as_str()));
    !is_folder && !text.ends_with('/') && Path::new(text).extension().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_known_by_its_name_or_its_ending() {
        for (name, written) in [
            ("LOGS_DIR", true),
            ("--db-path", true),
            ("--data-dir", true),
            ("--user-data-dir", true),
            ("MEMORY_FILE_PATH", true),
            ("KUBECONFIG", false),
            ("GOOGLE_APPLICATION_CREDENTIALS", false),
            ("--config", false),
            ("NODE_EXTRA_CA_CERTS", false),
            ("UPLOADS", false),
        ] {
            assert_eq!(is_written(name), written, "{name}");
        }
        assert!(
            is_read("SSL_CERT_FILE") && is_read("--config") && !is_read("CONFIG_CACHE") && !is_read("FILE")
        );
        assert!(is_written_file(Path::new("/a.LOG")) && !is_written_file(Path::new("a.json")));
        assert!(is_file_to_be("/a/b.json", "X_PATH") && !is_file_to_be("/a/b.d", "LOG_DIR"));
        assert!(!is_file_to_be("/a/b", "X") && !is_file_to_be("/a/b.c/", "X"));
    }

    #[test]
    fn some_folders_are_nobodys_to_write() {
        let home = Some(Path::new("/home/me"));
        for (folder, powerful) in [
            ("/home/me", true),
            ("/home", true),
            ("/home/me/.claude", true),
            ("/home/me/.ssh/x", true),
            ("/home/me/.config", true),
            ("/home/me/.config/app", false),
            ("/home/me/.local/share/x", false),
            ("/home/me/notes", false),
            ("/home/me/bin", true),
            ("/home/me/.local/bin", true),
            ("/home/me/.local/bin/x", true),
            ("/home/me/.config/systemd/user", true),
            ("/home/me/.config/autostart", true),
            ("/home/me/.config/fish/conf.d", true),
            ("/srv", false),
        ] {
            assert_eq!(is_powerful(Path::new(folder), home), powerful, "{folder}");
        }
        for path in ["/", "/tmp", "/usr/bin/git", "/dev/null", "/etc/ssl/certs/x.pem"] {
            assert!(is_containers_own(Path::new(path)), "{path}");
        }
        assert!(!is_containers_own(Path::new("/tmp/x")) && !is_containers_own(Path::new("/usrx")));
        assert!(
            is_plain(Path::new("/a b/c")) && !is_plain(Path::new("/a/../b")) && !is_plain(Path::new("/a:b"))
        );
    }
}
