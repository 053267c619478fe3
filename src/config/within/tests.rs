//! What is mounted within mounts, from folders as they may look.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::config::protect::PROTECTED;
use crate::config::{Overrides, Settings};

fn server(protect: &[&str]) -> Server {
    let over = Overrides::default().with("protect", if protect.is_empty() { &["true"] } else { protect });
    Server::from_image("i".parse().unwrap(), Vec::new(), &Settings::default()).with_overrides(&over)
}

/// A folder with these in it: a file, a folder (`x/`) or a link (`x->y`).
fn folder(entries: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in entries {
        let path = |name: &str| folder.path().join(name);
        if let Some((name, to)) = entry.split_once("->") {
            fs::create_dir_all(path(name).parent().unwrap()).unwrap();
            symlink(to, path(name)).unwrap();
        } else if entry.ends_with('/') {
            fs::create_dir_all(path(entry)).unwrap();
        } else {
            fs::create_dir_all(path(entry).parent().unwrap()).unwrap();
            fs::write(path(entry), "").unwrap();
        }
    }
    folder
}

fn mount(source: &Path, target: &str, writable: bool) -> Mount {
    let found = fs::metadata(source).unwrap();
    Mount::new(source.to_str().unwrap(), target, writable, (found.dev(), found.ino()))
}

/// Of what lies within: the place in the container, and whether it can be written.
fn inner(within: &Within) -> Vec<(&str, bool)> {
    let inner = within.mounts.iter().filter(|mount| mount.within);
    let mut inner: Vec<_> = inner.map(|mount| (mount.target.as_str(), mount.writable)).collect();
    inner.sort_unstable();
    inner
}

fn missing<'a>(within: &'a Within, folder: &Path) -> Vec<&'a str> {
    within.missing.iter().map(|path| path.strip_prefix(folder).unwrap().to_str().unwrap()).collect()
}

#[test]
fn what_is_there_is_mounted_and_what_is_not_is_missing() {
    let project = folder(&[".git/config", ".mcp.json", "src/main.rs"]);
    let asked = [mount(project.path(), "/w", true)];
    let found = within(&server(&[".git", ".mcp.json", ".vscode"]), &asked).unwrap();
    assert_eq!(inner(&found), [("/w/.git", false), ("/w/.mcp.json", false), ("/w/.vscode", false)]);
    assert_eq!(missing(&found, project.path()), [".vscode"]);
    let git = fs::metadata(project.path().join(".git")).unwrap();
    let identity = format!("ro:{}:{}:/w/.git", git.dev(), git.ino());
    assert!(found.mounts.iter().any(|mount| mount.option() == ["--within", identity.as_str()]), "{found:?}");
    let mut filled = found.clone();
    filled.fill(&project.path().join(".vscode"), (7, 8));
    assert!(filled.mounts.iter().any(|mount| mount.option()[1] == "ro:7:8:/w/.vscode"), "{filled:?}");
    // All of the usual names, and none.
    assert_eq!(within(&server(&[]), &asked).unwrap().mounts.len(), 1 + PROTECTED.len());
    assert_eq!(within(&server(&["false"]), &asked).unwrap().mounts, asked);
    let read_only = [mount(project.path(), "/w", false)];
    assert_eq!(within(&server(&[]), &read_only).unwrap().mounts, read_only);
    let file = [mount(&project.path().join(".mcp.json"), "/w", true)];
    assert_eq!(within(&server(&[]), &file).unwrap().mounts, file, "it was asked for by its name");
}

#[test]
fn folders_on_the_way_cannot_be_moved() {
    let project = folder(&[".git/hooks/", ".git/config", "work"]);
    let asked = [mount(project.path(), "/w", true)];
    let names = server(&[".git/hooks", ".git/config", ".git/info/x", "work/tree"]);
    let found = within(&names, &asked).unwrap();
    let expected = [
        ("/w/.git", true),
        ("/w/.git/config", false),
        ("/w/.git/hooks", false),
        ("/w/.git/info", false),
        // A file: nothing can be made in it, unless it goes.
        ("/w/work", false),
    ];
    assert_eq!(inner(&found), expected);
    assert_eq!(missing(&found, project.path()), [".git/info"]);
}

#[test]
fn projects_below_are_found() {
    let names = [".git", ".mcp.json"];
    let group = folder(&[
        "a/.git/",
        "a/.mcp.json",
        "b/c/.git",
        "b/.mcp.json",
        "d/e/f/g/.git/",
        "node_modules/m/.git/",
        "x/.git->../a",
    ]);
    let asked = [mount(group.path(), "/w", true)];
    let found = within(&server(&names), &asked).unwrap();
    let expected = [
        ("/w/.git", false),
        ("/w/.mcp.json", false),
        ("/w/a", true),
        ("/w/a/.git", false),
        ("/w/a/.mcp.json", false),
        ("/w/b", true),
        ("/w/b/c", true),
        ("/w/b/c/.git", false),
    ];
    assert_eq!(inner(&found), expected);
    assert_eq!(missing(&found, group.path()), [".git", ".mcp.json"], "and nothing is made in other projects");
}

#[test]
fn another_way_to_the_same_folder_is_no_way_around() {
    let group = folder(&["a/src/", "a/.git/"]);
    let asked = [mount(group.path(), "/group", true), mount(&group.path().join("a"), "/a", true)];
    let found = within(&server(&[".vscode"]), &asked).unwrap();
    let expected =
        [("/a/.vscode", false), ("/group/.vscode", false), ("/group/a", true), ("/group/a/.vscode", false)];
    assert_eq!(inner(&found), expected);
    assert_eq!(missing(&found, group.path()), [".vscode", "a/.vscode"]);
}

#[test]
fn a_mount_in_a_mount_has_its_place_and_keeps_it() {
    let project = folder(&["deep/vendor/", ".git/config", "file", "to->deep"]);
    let outside = folder(&["x"]);
    let path = |name: &str| project.path().join(name);
    let git = mount(&path(".git"), "/w/.git", true);
    let vendor = mount(outside.path(), "/w/deep/vendor", false);
    let asked = [mount(project.path(), "/w", true), git, vendor];
    let found = within(&server(&[".git", "deep/vendor"]), &asked).unwrap();
    assert_eq!(inner(&found), [("/w/.git", true), ("/w/deep", true), ("/w/deep/vendor", false)]);
    assert!(found.missing.is_empty());
    for (target, source, why) in [
        ("/w/none", outside.path(), "none` is no folder"),
        ("/w/file", outside.path(), "file` is no folder"),
        ("/w/to/vendor", outside.path(), "to` is no folder"),
        ("/w/deep", &path("file"), "deep` is no file"),
    ] {
        let asked = [mount(project.path(), "/w", false), mount(source, target, false)];
        let error = within(&server(&["false"]), &asked).unwrap_err().to_string();
        assert!(error.starts_with(&format!("server `i` cannot have a mount at `{target}`: `")), "{error}");
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_link_cannot_be_protected_and_another_sessions_place_is_none_of_the_persons() {
    let project = folder(&["src/", ".vscode->src"]);
    let asked = [mount(project.path(), "/w", true)];
    let error = within(&server(&[]), &asked).unwrap_err().to_string();
    assert!(error.contains("`.vscode` is a link") && error.contains("set `protect`"), "{error}");
    let place = project.path().join(".idea");
    fs::create_dir(&place).unwrap();
    let found = || within(&server(&[".idea"]), &asked).unwrap();
    assert!(missing(&found(), project.path()).is_empty());
    fs::set_permissions(&place, fs::Permissions::from_mode(RESERVED_MODE)).unwrap();
    assert_eq!(missing(&found(), project.path()), [".idea"]);
    fs::write(place.join("workspace.xml"), "").unwrap();
    assert!(missing(&found(), project.path()).is_empty());
}

#[test]
fn by_default_what_exists_is_protected_and_nothing_is_made() {
    let project = folder(&[".git/config", "src/a"]);
    let server = Server::from_image("i".parse().unwrap(), Vec::new(), &Settings::default());
    let within = within(&server, &[mount(project.path(), "/w", true)]).unwrap();
    assert_eq!(inner(&within), [("/w/.git", false)]);
    assert!(within.missing.is_empty(), "{within:?}");
}

#[test]
fn a_worktree_in_a_clients_own_folder_is_a_project() {
    let home = folder(&[".codex/worktrees/p/.git", ".codex/worktrees/p/src/a", ".codex/skills/a"]);
    let protected = |path: &str| {
        let within = within(&server(&[]), &[mount(&home.path().join(path), "/w", true)]).unwrap();
        within.mounts.len() > 1
    };
    assert!(protected(".codex/worktrees/p"));
    assert!(!protected(".codex/skills"), "it was asked for by its name");
}

#[test]
fn where_git_goes_on_is_protected_too() {
    let group = folder(&[
        "p/.git/config",
        "p/.githooks/pre-commit",
        "p/lib/x",
        "q/.git/config",
        "q/deep/hooks/a",
        "q/to->deep",
    ]);
    let hooks = |project: &str, folder: &str| {
        let config = group.path().join(project).join(".git/config");
        fs::write(config, format!("[core]\n\thooksPath = {folder}\n")).unwrap();
    };
    hooks("p", ".githooks");
    hooks("q", "deep/hooks");
    let of = |folder: &Path, protect: &[&str]| {
        let within = within(&server(protect), &[mount(folder, "/w", true)]).unwrap();
        inner(&within).into_iter().map(|(path, writable)| (path.to_owned(), writable)).collect::<Vec<_>>()
    };
    let expected = [("/w/.git".to_owned(), false), ("/w/.githooks".to_owned(), false)];
    assert_eq!(of(&group.path().join("p"), &[".git"]), expected);
    assert_eq!(of(&group.path().join("p"), &[".vscode"]), [("/w/.vscode".to_owned(), false)]);
    let all = of(group.path(), &[".git"]);
    for path in ["/w/p/.githooks", "/w/q/deep/hooks"] {
        assert!(all.contains(&(path.to_owned(), false)), "{all:?}");
    }
    // Below a folder, what cannot be protected is passed over; in the project itself it is a reason to refuse.
    hooks("q", "to/hooks");
    assert!(
        !of(group.path(), &[".git"]).iter().any(|(path, _)| path.contains("hooks") && path.contains("/q/"))
    );
    let refused = within(&server(&[".git"]), &[mount(&group.path().join("q"), "/w", true)]).unwrap_err();
    assert!(refused.to_string().contains("`to` is a link"), "{refused}");
    // A repository in another place of the same mount.
    let apart = folder(&["real/config", ".git"]);
    fs::write(apart.path().join(".git"), "gitdir: real\n").unwrap();
    assert_eq!(of(apart.path(), &[".git"]), [("/w/.git".to_owned(), false), ("/w/real".to_owned(), false)]);
}

#[test]
fn a_repository_around_the_mount_is_followed_into_it() {
    let around = folder(&[".git/config", "p/hooks/a", "p/.git/config", "p/src/deep/x", "q/git.conf"]);
    let config = "[core]\nhooksPath = p/hooks\n[include]\npath = ../q/git.conf\n";
    fs::write(around.path().join(".git/config"), config).unwrap();
    fs::write(around.path().join("q/git.conf"), "[core]\nfsmonitor = sh p/src/deep/x\n").unwrap();
    let of = |path: &str, protect: &str| {
        let within = within(&server(&[protect]), &[mount(&around.path().join(path), "/w", true)]).unwrap();
        inner(&within).into_iter().map(|(path, writable)| (path.to_owned(), writable)).collect::<Vec<_>>()
    };
    let owned = |paths: &[(&str, bool)]| {
        paths.iter().map(|(path, writable)| ((*path).to_owned(), *writable)).collect::<Vec<_>>()
    };
    let expected = [
        ("/w/.git", false),
        ("/w/hooks", false),
        ("/w/src", true),
        ("/w/src/deep", true),
        ("/w/src/deep/x", false),
    ];
    assert_eq!(of("p", ".git"), owned(&expected));
    let expected = [("/w/.git", false), ("/w/deep", true), ("/w/deep/x", false)];
    assert_eq!(of("p/src", ".git"), owned(&expected));
    assert_eq!(of("p/src", ".vscode"), owned(&[("/w/.vscode", false)]), "nothing of git's is protected");
}

#[test]
fn a_repository_that_a_server_made_opens_nothing() {
    let work =
        folder(&["team/proj/.git/config", "team/proj/src/", "x/.git/config", "a/data/", "a/.git/config"]);
    fs::write(work.path().join("x/.git/config"), "[core]\nhooksPath = ../team\n").unwrap();
    let project = work.path().join("team/proj");
    let asked = [mount(work.path(), "/work", true), mount(&project, "/proj", true)];
    let found = within(&server(&[".git"]), &asked).unwrap();
    for path in ["/proj/.git", "/work/team/proj/.git", "/work/a/.git"] {
        assert!(inner(&found).contains(&(path, false)), "{path}: {found:?}");
    }
    assert!(!inner(&found).contains(&("/work/team", false)), "{found:?}");
    // A name around another mount's source is none of that mount's, and a pin is no way around a name.
    let data = folder(&["x"]);
    let asked = [mount(work.path(), "/w", true), mount(data.path(), "/w/a/data", true)];
    let found = within(&server(&["a", ".git"]), &asked).unwrap();
    assert!(inner(&found).contains(&("/w/a", false)), "{found:?}");
    assert!(inner(&found).contains(&("/w/a/data", true)), "{found:?}");
    let asked = [mount(work.path(), "/work", true), mount(&project, "/proj", true)];
    let found = within(&server(&["team", ".git"]), &asked).unwrap();
    assert!(inner(&found).contains(&("/proj/.git", false)), "{found:?}");
}

#[test]
fn so_many_repositories_that_some_would_be_passed_over_are_refused() {
    let group = tempfile::tempdir().unwrap();
    let server = server(&[".git"]);
    let look = || within(&server, &[mount(group.path(), "/w", true)]);
    for n in 0..projects::PROJECTS {
        fs::create_dir_all(group.path().join(format!("{n}/.git"))).unwrap();
    }
    // Each with the folder that holds it, and the missing one of the group itself.
    assert_eq!(inner(&look().unwrap()).len(), 2 * projects::PROJECTS + 1);
    fs::create_dir_all(group.path().join("more/.git")).unwrap();
    let refused = look().unwrap_err();
    assert!(refused.to_string().contains("too many git repositories to protect them all"), "{refused}");
    assert!(within(&self::server(&["false"]), &[mount(group.path(), "/w", true)]).is_ok());
}
