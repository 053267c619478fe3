//! Where git goes on from a project's `.git`: to the real repository, to more configuration, to hooks in a folder of their
//! own. Git obeys those as it obeys `.git`.
//!
//! Only what a project's own files say is looked at. What the person's configuration names belongs to the person.

use std::io::Read;
use std::path::{Component, Path, PathBuf};

use crate::regular;

/// Of a longer file the rest is not read (bytes).
const LONGEST: u64 = 64 << 10;
/// Of one project. Nobody has more of them; a server could write as many as it likes.
const MOST: usize = 16;

/// Files and folders that git obeys in `project`, besides `.git`; absolute, without `..`. Whether they exist is not looked
/// at. gitrepository-layout(5), git-config(1).
pub(super) fn led(project: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut git = project.join(".git");
    // A worktree, a submodule, or `git init --separate-git-dir`.
    if let Some(real) = line(&git).and_then(|line| Some(line.strip_prefix("gitdir:")?.trim().to_owned())) {
        git = joined(project, &real);
        found.push(git.clone());
    }
    let mut common = git.clone();
    if let Some(folder) = line(&git.join("commondir")) {
        common = joined(&git, &folder);
        found.push(common.clone());
    }
    for file in [common.join("config"), git.join("config.worktree")] {
        let folder = file.parent().unwrap_or(project);
        for (key, value) in text(&file).as_deref().map(values).unwrap_or_default() {
            match key {
                Key::Included => found.push(joined(folder, &value)),
                Key::Hooks => found.push(joined(project, &value)),
                Key::Monitor => found.extend(program(&value).map(|program| joined(project, program))),
            }
        }
    }
    // The names have that.
    found.retain(|path| !path.starts_with(project.join(".git")));
    found.truncate(MOST);
    found
}

fn text(file: &Path) -> Option<String> {
    // A server may have put anything there.
    let file = regular::open(file).ok()??;
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// The first line of a file that has hardly more.
fn line(file: &Path) -> Option<String> {
    text(file)?.lines().next().map(|line| line.trim().to_owned())
}

/// By the names alone, as git does it.
fn joined(folder: &Path, path: &str) -> PathBuf {
    let mut joined = PathBuf::new();
    for part in folder.join(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(joined.pop()),
            other => joined.push(other),
        }
    }
    joined
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    /// Relative to the file that names it.
    Included,
    /// Relative to the project, where hooks run.
    Hooks,
    /// A program with its arguments, there too; or whether git's own is to be used.
    Monitor,
}

/// The keys that name files.
fn values(config: &str) -> Vec<(Key, String)> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in config.lines() {
        let mut line = line.trim();
        if let Some((name, rest)) = line.strip_prefix('[').and_then(|line| line.split_once(']')) {
            section = name.split([' ', '\t', '.']).next().unwrap_or_default().to_ascii_lowercase();
            line = rest.trim();
        }
        let Some((name, value)) = line.split_once('=') else { continue };
        let key = match (section.as_str(), name.trim().to_ascii_lowercase().as_str()) {
            ("include" | "includeif", "path") => Key::Included,
            ("core", "hookspath") => Key::Hooks,
            ("core", "fsmonitor") => Key::Monitor,
            _ => continue,
        };
        found.push((key, plain(value)));
    }
    found
}

/// A program by its path; others are found elsewhere.
fn program(value: &str) -> Option<&str> {
    value.split_whitespace().next().filter(|word| word.contains('/'))
}

/// Without quotes and comments.
fn plain(value: &str) -> String {
    let (mut plain, mut is_quoted) = (String::new(), false);
    let mut letters = value.trim().chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => is_quoted = !is_quoted,
            '\\' => plain.extend(letters.next()),
            '#' | ';' if !is_quoted => break,
            other => plain.push(other),
        }
    }
    plain.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn git_is_followed_out_of_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("p");
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let led = |project: &Path| {
            let led = led(project).into_iter();
            led.map(|path| path.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned()).collect()
        };
        let nothing: Vec<String> = led(&project);
        assert_eq!(nothing, Vec::<String>::new());
        write(
            "p/.git/config",
            "[core]\n\tbare = false\n\tHooksPath = \".git hooks\" ; ours\n[remote \"o\"]\n\turl = ../x\n\tpath = no\n\
             [include] path = ../tools/git.conf\n[includeIf \"gitdir:~/w/\"]\n\tpath = hooks/../more\n[include]\npath = ../a\\\\b # c\n",
        );
        let all: Vec<String> = led(&project);
        assert_eq!(all, ["p/.git hooks", "p/tools/git.conf", "p/a\\b"], "and nothing in `.git` itself");
        // A worktree of it, whose own settings are in the repository.
        write("tree/.git", "gitdir: ../p/.git/worktrees/tree\n");
        write("p/.git/worktrees/tree/commondir", "../..\n");
        write("p/.git/worktrees/tree/config.worktree", "[core]\nfsmonitor = ./watch.sh -x\n");
        let all: Vec<String> = led(&folder.path().join("tree"));
        assert_eq!(
            all,
            [
                "p/.git/worktrees/tree",
                "p/.git",
                "tree/.git hooks",
                "p/tools/git.conf",
                "p/.git/more",
                "p/a\\b",
                "tree/watch.sh"
            ]
        );
    }

    #[test]
    fn nothing_is_waited_for_and_nothing_is_endless() {
        let project = tempfile::tempdir().unwrap();
        let git = project.path().join(".git");
        let pipe = |path: &Path| {
            rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
        };
        pipe(&git);
        assert_eq!(led(project.path()), Vec::<PathBuf>::new());
        fs::remove_file(&git).unwrap();
        fs::create_dir(&git).unwrap();
        pipe(&git.join("config"));
        pipe(&git.join("commondir"));
        assert_eq!(led(project.path()), Vec::<PathBuf>::new());
        fs::remove_file(git.join("config")).unwrap();
        fs::write(git.join("config"), "[include]\n".to_owned() + &"path = ../x\n".repeat(1000)).unwrap();
        assert_eq!(led(project.path()).len(), MOST);
        for (value, expected) in [("true", None), ("watchman", None), ("tools/w -x", Some("tools/w"))] {
            assert_eq!(program(value), expected);
        }
    }
}
