//! Where git goes on from a project's `.git`: to the real repository, to more configuration, to hooks in a folder of their
//! own. Git obeys those as it obeys `.git`.
//!
//! Only what a project's own files say is looked at. What the person's configuration names belongs to the person.

use std::collections::VecDeque;
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
    // First what the repository says itself: what it includes may be a server's to fill.
    let mut files = VecDeque::from([common.join("config"), git.join("config.worktree")]);
    let mut read = Vec::new();
    while let Some(file) = files.pop_front().filter(|_| read.len() < MOST) {
        if read.contains(&file) {
            continue;
        }
        let folder = file.parent().unwrap_or(project);
        for (key, value) in text(&file).as_deref().map(values).unwrap_or_default() {
            match key {
                // Whatever its condition is: it may hold by then.
                Key::Included => {
                    let included = joined(folder, &value);
                    found.push(included.clone());
                    files.push_back(included);
                }
                Key::Hooks => found.push(joined(project, &value)),
                Key::Command => found.extend(named(&value, project)),
            }
        }
        read.push(file);
    }
    // The names have that.
    found.retain(|path| !path.starts_with(project.join(".git")));
    found.truncate(MOST);
    found
}

/// The same of each repository that `folder` lies in: it is run there, and may name something in here.
pub(super) fn led_from_above(folder: &Path) -> Vec<PathBuf> {
    let above = folder.ancestors().skip(1).filter(|above| above.join(".git").symlink_metadata().is_ok());
    above.flat_map(led).collect()
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
    /// A program with its arguments, there too, which git starts unasked. It may be another word, for git's own.
    Command,
}

impl Key {
    /// git-config(1). A name between section and key is any.
    fn of(section: &str, key: &str) -> Option<Self> {
        Some(match (section, key) {
            ("include" | "includeif", "path") => Self::Included,
            ("core", "hookspath") => Self::Hooks,
            ("core", "fsmonitor" | "sshcommand" | "editor" | "pager" | "askpass" | "gitproxy")
            | ("sequence", "editor")
            | ("filter", "clean" | "smudge" | "process")
            | ("credential", "helper")
            | ("diff", "command" | "textconv" | "external")
            | ("merge", "driver")
            | ("gpg", "program")
            | ("interactive", "difffilter")
            | ("uploadpack", "packobjectshook")
            | ("pager" | "alias", _) => Self::Command,
            _ => return None,
        })
    }
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
        let Some(key) = Key::of(&section, &name.trim().to_ascii_lowercase()) else { continue };
        found.push((key, plain(value)));
    }
    found
}

/// What a command names in the project: a program by its path, for others are found elsewhere; and the files that it is given,
/// for `sh` and its like run them.
fn named(command: &str, project: &Path) -> Vec<PathBuf> {
    let words = command.split(|c: char| c.is_whitespace() || "'\"!;&|()<>=".contains(c));
    let words = words.filter(|word| !word.is_empty()).enumerate();
    words
        .filter_map(|(n, word)| {
            let path = joined(project, word);
            let is_file = || path.symlink_metadata().is_ok_and(|found| found.is_file());
            (if n == 0 { word.contains('/') } else { is_file() }).then_some(path)
        })
        .collect()
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
        // Files that include one another, and more than anybody has.
        for n in 0..100 {
            let text = format!("[include]\npath = {}\npath = 0\n", n + 1);
            fs::write(project.path().join(n.to_string()), text).unwrap();
        }
        fs::write(git.join("config"), "[include]\npath = ../0\n").unwrap();
        assert_eq!(led(project.path()).len(), MOST);
    }

    #[test]
    fn what_is_included_names_more_and_each_command_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path();
        let write = |path: &str, text: &str| {
            let path = project.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("tools/clean.sh", "");
        write("sh", "");
        write(".git/config", "[include]\npath = ../tools/git.conf\n[core]\nfsmonitor = true\neditor = sh\n");
        write(
            "tools/git.conf",
            "[includeIf \"onbranch:x\"]\npath = deep/more.conf\n[core]\nhooksPath = hooks\n",
        );
        write(
            "tools/deep/more.conf",
            "[filter \"f\"]\nclean = sh -c 'exec tools/clean.sh %f'\nrequired = true\n[credential \"https://x\"]\n\
             helper = !./login x\n[core]\nsshCommand = bin/ssh -v\n[alias]\nst = status tools\n",
        );
        let led = led(project).into_iter();
        let led: Vec<_> =
            led.map(|path| path.strip_prefix(project).unwrap().to_str().unwrap().to_owned()).collect();
        let expected =
            ["tools/git.conf", "tools/deep/more.conf", "hooks", "tools/clean.sh", "login", "bin/ssh"];
        assert_eq!(led, expected);
    }
}
