//! What a server writes into a project and the host would obey later: names that it can neither change nor make, and
//! bits that it cannot set.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::harness::{Berth, PATIENCE, Session, berth_says, eventually, expect_gone, shared};

/// All that lies in a folder, by its path: what it is, its permissions, and what a file says.
fn tree(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        // Something may be on its way out.
        for entry in fs::read_dir(next).into_iter().flatten() {
            let Ok(entry) = entry else { continue };
            let path = entry.path();
            let Ok(stat) = fs::symlink_metadata(&path) else { continue };
            let what = if stat.is_dir() {
                folders.push(path.clone());
                "folder".to_owned()
            } else if stat.is_symlink() {
                format!("link to {}", fs::read_link(&path).unwrap().display())
            } else {
                fs::read_to_string(&path).unwrap_or_else(|error| error.to_string())
            };
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            found.insert(name, format!("{:o} {what}", stat.permissions().mode() & 0o7777));
        }
    }
    found
}

/// A project as a person has it.
fn project(name: &str) -> std::path::PathBuf {
    let folder = shared(name);
    for (file, text) in [
        (".git/config", "[core]\n"),
        (".git/HEAD", "ref: refs/heads/main\n"),
        (".git/hooks/pre-commit.sample", "#!/bin/sh\n"),
        (".mcp.json", "{}"),
        (".claude/settings.json", "{}"),
        ("src/main.rs", "fn main() {}\n"),
    ] {
        fs::create_dir_all(folder.join(file).parent().unwrap()).unwrap();
        fs::write(folder.join(file), text).unwrap();
    }
    folder
}

/// A server that is a script, with the project at `/w`; `ready` is a file that it makes there.
fn script(client: &str, folder: &Path, options: &[&str], script: &str) -> Session {
    let mount = format!("{}:/w:rw", folder.display());
    let mut run = Berth::image("berth-everything").client(client).args(["--mount", &mount]);
    // The missing names, too.
    let all = if options.contains(&"--protect") { &[][..] } else { &["--protect", "true"] };
    for option in options.iter().chain(all) {
        run = run.args([option]);
    }
    run.args(["--", "sh", "-c", script]).start()
}

/// Runs a script to its end, which it shows by the file `said`; gives what stands there.
fn ran(client: &str, folder: &Path, options: &[&str], text: &str) -> String {
    let mut session = script(client, folder, options, &format!("cd /w || exit 1\n{text}\n"));
    let said = folder.join("said");
    eventually("the script's end", PATIENCE, || {
        let stderr = session.stderr();
        let ended = stderr.contains("berth: ");
        assert!(said.exists() || !ended, "{stderr}");
        said.exists().then_some(())
    });
    session.close();
    session.wait();
    fs::read_to_string(said).unwrap()
}

/// Every way to put something in the place of a name, or to get at what is there.
const ATTACK: &str = r#"
    exec 2>/dev/null
    echo ordinary > ordinary; mkdir more; mv more other; ln ordinary twin
    for name in .git .mcp.json .claude .envrc .vscode .idea .husky .cursor .devcontainer .codex .gemini .agents; do
        mkdir $name; mkdir $name/evil; echo evil > $name; echo evil > $name/evil; echo evil >> $name
        chmod 777 $name; touch -d 2001-01-01 $name; truncate -s 0 $name
        rm -f $name; rmdir $name; rm -rf $name
        mv $name moved; ln $name hard; mv -T $name moved
        echo evil > evil; mkdir evils; echo evil > evils/evil; ln -s /w/evils evil-link
        mv -fT evil $name; mv -fT evils $name; mv -fT evil-link $name; ln -sT /w/evils $name; ln evil $name
        cp -r evils $name; mkfifo $name; rm -rf evil evils evil-link
        perl -e 'for $w (@ARGV) { for $flag (2, 1) { syscall(316, -100, "$w", -100, "$w-x", $flag);
            syscall(316, -100, "ordinary", -100, "$w", $flag) } }' $name
    done
    for file in config hooks/pre-commit hooks/pre-commit.sample commondir HEAD; do echo evil > .git/$file; ln .git/$file hard; done
    mv .git/hooks .git/h; mkdir .git/hooks; rm -rf .git/hooks .claude/settings.json
    echo evil > .claude/settings.json; echo evil > .claude/x; rm -rf hard moved
    echo done > said
"#;

#[test]
fn what_the_host_obeys_can_be_neither_changed_nor_made() {
    let folder = project("protect-attack");
    let mut expected = tree(&folder);
    let said = ran("it-protect-attack", &folder, &[], ATTACK);
    assert_eq!(said, "done\n");
    // What is no name of these is the server's to write.
    for (name, what) in [
        ("ordinary", "644 ordinary\n"),
        ("twin", "644 ordinary\n"),
        ("other", "755 folder"),
        ("said", "644 done\n"),
    ] {
        expected.insert(name.to_owned(), what.to_owned());
    }
    expect_tree(&folder, &expected);
    expect_gone("it-protect-attack");
}

/// Waits until a folder holds this and nothing else.
fn expect_tree(folder: &Path, expected: &BTreeMap<String, String>) {
    let mut found = BTreeMap::new();
    let until = std::time::Instant::now() + PATIENCE;
    while std::time::Instant::now() < until {
        found = tree(folder);
        if found == *expected {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(found, *expected);
}

/// Each way to set the bits, said with whether it was let.
const BITS: &str = r#"
    try() { "$@" 2>/dev/null && echo "done: $*" >> said; }
    touch file; mkdir folder; : > said
    try chmod 4755 file; try chmod 2755 file; try chmod 6755 file; try chmod u+s file; try chmod g+s folder
    try install -m 4755 file installed; try mkdir -m 2777 folder2; try mkfifo -m 4755 fifo
    try tar -C / -cf t.tar bin/true; try cp --preserve=mode file copied
    perl -e 'my %call = (open => [2, "a", 0101, 04755], creat => [85, "b", 06755], chmod => [90, "file", 04755],
        mknod => [133, "c", 0106755, 0], openat => [257, -100, "d", 0101, 06755],
        tmpfile => [257, -100, ".", 020200001, 04755],
        openat2 => [437, -100, "e", pack("QQQ", 0101, 04755, 0), 24],
        mkdir => [83, "f", 06755], mkdirat => [258, -100, "g", 06755], mknodat => [259, -100, "h", 0106755, 0],
        fchmodat => [268, -100, "file", 04755], fchmodat2 => [452, -100, "file", 04755, 0],
        io_uring_setup => [425, 4, "\0" x 120]);
        for my $name (sort keys %call) { my $made = syscall($call{$name}[0], map { $_ =~ /^-?\d+$/ ? $_ + 0 : $_ } @{$call{$name}}[1..$#{$call{$name}}]);
            print STDERR "$name: $made $!\n" }' 2>>/dev/stdout >>tries
    chmod 1777 folder && chmod 640 file && echo plain >> said
"#;

#[test]
fn bits_that_change_the_user_cannot_be_set_through_a_mount() {
    let folder = shared("protect-bits");
    let said = ran("it-protect-bits", &folder, &["--protect", "false"], BITS);
    let marked: Vec<_> = tree(&folder)
        .into_iter()
        .filter(|(_, what)| u32::from_str_radix(what.split(' ').next().unwrap(), 8).unwrap() & 0o6000 != 0)
        .collect();
    assert_eq!(marked, [], "{said}\n{}", fs::read_to_string(folder.join("tries")).unwrap_or_default());
    assert!(said.ends_with("plain\n"), "ordinary modes are the server's to choose: {said}");
    assert!(!said.contains("chmod"), "{said}");
}

#[test]
fn by_default_what_exists_is_protected_and_nothing_is_reserved() {
    let folder = project("protect-existing");
    let said = ran(
        "it-protect-existing",
        &folder,
        &["--protect", "existing"],
        "exec 2>/dev/null; mv .git g; for file in .git/config .mcp.json .envrc; do echo x >> $file && echo $file; done > /tmp/said; cp /tmp/said said",
    );
    assert_eq!(said, ".envrc\n", "what is missing can be made");
    assert!(!folder.join(".vscode").exists() && folder.join(".git/HEAD").exists());
}

#[test]
fn two_sessions_at_once_keep_each_others_names() {
    let folder = project("protect-two");
    let before = tree(&folder);
    let wait = "cd /w; touch ready-$0; until [ -e go-$0 ]; do sleep 0.05; done 2>/dev/null";
    let attack = "mkdir .vscode; echo evil > .vscode/tasks.json; rmdir .vscode; mkdir .vscode; touch .vscode/evil; touch tried";
    let start = |client: &'static str, n: &str| {
        let text = format!("{wait}\n{attack}").replace("$0", n);
        script(client, &folder, &[], &text)
    };
    let mut one = start("it-protect-one", "1");
    let mut two = start("it-protect-two", "2");
    for n in ["ready-1", "ready-2"] {
        eventually(n, PATIENCE, || folder.join(n).exists().then_some(()));
    }
    // The first ends, and what it made stays for the second.
    one.kill();
    expect_gone("it-protect-one");
    std::thread::sleep(std::time::Duration::from_secs(1));
    fs::write(folder.join("go-2"), "").unwrap();
    eventually("the attack", PATIENCE, || folder.join("tried").exists().then_some(()));
    two.close();
    two.wait();
    assert!(folder.join("tried").exists(), "{}", two.stderr());
    for made in ["ready-1", "ready-2", "go-2", "tried"] {
        fs::remove_file(folder.join(made)).unwrap();
    }
    expect_tree(&folder, &before);
}

#[test]
fn a_killed_proxy_leaves_nothing_in_the_project() {
    let folder = project("protect-killed");
    let before = tree(&folder);
    let mut session = script("it-protect-killed", &folder, &[], "touch /w/ready; cat");
    eventually("the server", PATIENCE, || folder.join("ready").exists().then_some(()));
    session.kill();
    fs::remove_file(folder.join("ready")).unwrap();
    expect_tree(&folder, &before);
    expect_gone("it-protect-killed");
}

#[test]
fn what_a_power_cut_leaves_is_removed_by_the_next_berth() {
    let folder = project("protect-cut");
    let before = tree(&folder);
    let mut session = script("it-protect-cut", &folder, &[], "touch /w/ready; cat");
    eventually("the server", PATIENCE, || folder.join("ready").exists().then_some(()));
    fs::remove_file(folder.join("ready")).unwrap();
    // Its helper goes with it.
    let helper = Command::new("pgrep").args(["-P", &session.pid().to_string()]).output().unwrap();
    let helper = String::from_utf8(helper.stdout).unwrap();
    assert_eq!(helper.lines().count(), 1, "one stands behind it: {helper}");
    assert!(Command::new("kill").args(["-KILL", helper.trim()]).status().unwrap().success());
    session.kill();
    expect_gone("it-protect-cut");
    // A session beside this test may have been the next.
    let (code, _, said) = berth_says(&["gc"]);
    assert_eq!(code, Some(0), "{said}");
    expect_tree(&folder, &before);
}

#[test]
fn what_a_person_makes_meanwhile_stays() {
    let folder = project("protect-person");
    let mut session = script("it-protect-person", &folder, &[], "touch /w/ready; cat");
    eventually("the server", PATIENCE, || folder.join("ready").exists().then_some(()));
    fs::create_dir_all(folder.join(".vscode")).unwrap();
    fs::write(folder.join(".vscode/settings.json"), "{}").unwrap();
    session.close();
    session.wait();
    eventually("the other names' end", PATIENCE, || (!folder.join(".idea").exists()).then_some(()));
    assert_eq!(fs::read_to_string(folder.join(".vscode/settings.json")).unwrap(), "{}");
}

#[test]
fn a_mount_may_lie_in_another() {
    let folder = project("protect-within");
    fs::create_dir_all(folder.join("deep/vendor")).unwrap();
    let vendor = format!("{}:/w/deep/vendor", folder.join("deep/vendor").display());
    let git = format!("{}:/w/.git:rw", folder.join(".git").display());
    let said = ran(
        "it-protect-within",
        &folder,
        &["--mount", &vendor, "--mount", &git],
        "exec 2>/dev/null; echo x > deep/vendor/x; mv deep deeper; mkdir -p deep/vendor/y; echo mine > .git/config
         mv .git g; echo x > deep/x; echo done > said",
    );
    assert_eq!(said, "done\n");
    let found = tree(&folder);
    assert!(
        !found.keys().any(|name| name.starts_with("deep/vendor/") || name.starts_with("deeper")),
        "{found:?}"
    );
    assert_eq!(fs::read_to_string(folder.join("deep/x")).unwrap(), "x\n");
    assert_eq!(
        fs::read_to_string(folder.join(".git/config")).unwrap(),
        "mine\n",
        "it was asked for by its name"
    );
}

#[test]
fn a_server_ends_with_its_protection() {
    let folder = project("protect-replaced");
    // It waits for the file that a program of the host puts in the place of the protected one.
    let text = "cd /w; touch ready; until grep -q new .mcp.json; do :; done; sleep 0.3; echo evil > .mcp.json; sleep 60";
    let mut session = script("it-protect-replaced", &folder, &["--on-failure", "exit"], text);
    eventually("the server", PATIENCE, || folder.join("ready").exists().then_some(()));
    fs::write(folder.join("new"), "new").unwrap();
    fs::rename(folder.join("new"), folder.join(".mcp.json")).unwrap();
    expect_gone("it-protect-replaced");
    session.expect_stderr("replaced or removed a protected name");
    session.close();
    session.wait();
    assert_eq!(fs::read_to_string(folder.join(".mcp.json")).unwrap(), "new");
}

#[test]
fn protection_can_be_chosen() {
    let folder = project("protect-chosen");
    let attempt = |client: &str, options: &[&str]| {
        let _ = fs::remove_file(folder.join("said"));
        ran(
            client,
            &folder,
            options,
            "exec 2>/dev/null; for file in .git/config .git/HEAD .mcp.json Makefile; do
             echo x >> $file && echo $file; done >> /tmp/said; mv .git g; mv .git/hooks .git/h; cp /tmp/said said",
        )
    };
    assert_eq!(attempt("it-protect-default", &[]), "Makefile\n");
    let list = ["--protect", ".git/hooks", "--protect", ".git/config", "--protect", "Makefile"];
    assert_eq!(attempt("it-protect-list", &list), ".git/HEAD\n.mcp.json\n");
    assert!(folder.join(".git/hooks/pre-commit.sample").exists() && !folder.join("g").exists());
    assert_eq!(attempt("it-protect-none", &["--protect", "false"]).lines().count(), 4);
}

#[test]
fn a_link_in_a_protected_place_is_named() {
    let folder = project("protect-link");
    symlink("src", folder.join(".vscode")).unwrap();
    let mount = format!("{}:/w:rw", folder.display());
    let (code, _, said) = berth_says(&["run", "--dry-run", "fixture", "--mount", &mount]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("`.vscode` is a link") && said.contains("`protect`"), "{said}");
    let (code, out, said) = berth_says(&[
        "run",
        "--dry-run",
        "fixture",
        "--protect",
        "true",
        "--mount",
        &format!("{}:/w:rw", project("protect-dry").display()),
    ]);
    assert_eq!(code, Some(0), "{said}");
    assert!(out.contains("/w/.git") && out.contains("/w/.vscode"), "{out}");
}
