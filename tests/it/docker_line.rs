//! What a line of `docker run` means stays what it means: variables and files of them, memory with programs in it, the image's
//! own user, and volumes of the engine's. Its image comes from the host's engine, and what is not understood is said.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use serde_json::json;

use crate::bake::first_answer;
use crate::dind::own::host;
use crate::harness::{Berth, Session, berth_says, docker, docker_command, docker_says, expect_gone, shared};

/// A session whose server is a script: what it says on standard error before `all done`.
fn said(berth: Berth, script: &str) -> String {
    let script = format!("exec 3>&1 >&2; {script}; echo all done; exec cat");
    let mut session: Session = berth.args(["--", "sh", "-c", &script]).start();
    session.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    session.expect_stderr("all done");
    let said = session.stderr();
    let client = session.client().to_owned();
    session.close();
    expect_gone(&client);
    said
}

/// Makes an image in the tests' daemon whose user has a home that nobody else can enter.
fn image(name: &str, lines: &str) -> String {
    let (image, context) = (format!("berth-test-{name}"), tempfile::tempdir().unwrap());
    let dockerfile = format!("FROM berth-base\nUSER root\n{lines}\n");
    fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
    let mut build = docker_command(&["build", "--quiet", "--network", "none", "--tag", &image]);
    let output = build.arg(context.path()).env("DOCKER_BUILDKIT", "0").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    image
}

fn owner(path: &Path) -> (u32, u32) {
    let found = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (found.uid(), found.gid())
}

#[test]
fn the_images_user_reaches_its_home_and_has_the_callers_rights_on_what_is_mounted_there() {
    let homes = "RUN chmod 0700 /root && mkdir -p /home/appuser && chown 1500:1501 /home/appuser \
                 && chmod 0700 /home/appuser && echo 'appuser:x:1500:1501::/home/appuser:/bin/sh' >>/etc/passwd";
    let ours = fs::metadata("/proc/self").unwrap();
    let (uid, gid) = (ours.uid(), ours.gid());
    for (name, user, home, own) in [
        ("line-appuser", "USER 1500:1501", "/home/appuser", (1500, 1501)),
        ("line-root", "USER 0:0", "/root", (0, 0)),
    ] {
        let image = image(name, &format!("{homes}\n{user}"));
        let project = shared(name);
        fs::write(project.join("mine"), "before").unwrap();
        fs::set_permissions(project.join("mine"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(&project, fs::Permissions::from_mode(0o700)).unwrap();
        let client = format!("it-{name}");
        let mount = format!("{}:{home}/.kube:rw", project.display());
        let berth = Berth::image(&image).client(&client).args(["--mount", &mount]);
        let said = said(
            berth,
            "id -u; echo \"home $HOME\"; cat ~/.kube/mine && echo more >>~/.kube/mine && echo new >~/.kube/new; \
             touch ~/own && stat -c '%n %u:%g' ~/.kube/mine ~/.kube/new ~/own",
        );
        assert!(said.contains(&format!("home {home}")), "{said}");
        for path in [".kube/mine", ".kube/new", "own"] {
            assert!(said.contains(&format!("{home}/{path} {}:{}", own.0, own.1)), "{path}: {said}");
        }
        for file in ["mine", "new"] {
            assert_eq!(owner(&project.join(file)), (uid, gid), "{file}");
        }
        assert_eq!(fs::read_to_string(project.join("mine")).unwrap(), "beforemore\n");
        // Nobody else's rights come along: what is closed to the caller is closed to the server.
        if uid == 0 {
            fs::write(project.join("closed"), "theirs").unwrap();
            fs::set_permissions(project.join("closed"), fs::Permissions::from_mode(0o600)).unwrap();
            chown(project.join("closed"), Some(own.0 + 7), Some(own.1 + 7)).unwrap();
            let berth = Berth::image(&image).client(&client).args(["--mount", &mount]);
            let said = self::said(berth, "cat ~/.kube/closed; echo over >~/.kube/closed");
            assert_eq!(said.matches("ermission denied").count(), 2, "{said}");
            assert_eq!(fs::read_to_string(project.join("closed")).unwrap(), "theirs");
        }
    }
}

#[test]
fn neither_a_group_of_the_images_nor_another_user_of_it_has_what_the_caller_has_not() {
    // Whoever may give files away can tell theirs from the caller's.
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return;
    }
    let lines = "RUN echo 'theirs:x:1777:appuser' >>/etc/group && echo 'root:x:0:appuser' >>/etc/group && \
                 echo 'appuser:x:1500:1501::/home/appuser:/bin/sh' >>/etc/passwd\nUSER appuser";
    let image = image("line-groups", lines);
    let project = shared("line-groups");
    for (name, uid, gid) in [("group", 1778, 1777), ("own", 1500, 1500), ("owngroup", 1777, 1501)] {
        fs::write(project.join(name), "theirs").unwrap();
        chown(project.join(name), Some(uid), Some(gid)).unwrap();
        fs::set_permissions(project.join(name), fs::Permissions::from_mode(0o660)).unwrap();
    }
    fs::set_permissions(project.join("own"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(&project, fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(project.join("mine"), "mine").unwrap();
    chown(project.join("mine"), Some(0), Some(1777)).unwrap();
    let mount = format!("{}:/w:rw", project.display());
    let berth = Berth::image(&image).client("it-line-groups").args(["--mount", &mount]);
    let script = "exec 3>&1 >&2; id -G; cd /w; for file in group own owngroup; do cat $file; echo over >$file; done; \
                  echo more >>mine && cat mine; stat -c '%n %u' *; echo all done; exec cat";
    let mut session = berth.args(["--", "sh", "-c", script]).start();
    session.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    session.expect_stderr("all done");
    let said = session.stderr();
    assert!(said.contains("1777"), "the image's groups are there: {said}");
    assert_eq!(said.matches("ermission denied").count(), 6, "{said}");
    assert!(said.contains("minemore"), "a file of the caller's is the server's, whatever its group: {said}");
    assert!(said.contains("mine 1500\n") && said.contains("own 65534\n"), "{said}");
    // Nor is the container's own root the machine's 1500, or anybody else.
    let container = session.container();
    for (user, file) in [("0:0", "own"), ("0:1777", "group"), ("1777:1777", "owngroup"), ("0:0", "mine")] {
        let read = docker(&["exec", "--user", user, &container, "cat", &format!("/w/{file}")]);
        let said = String::from_utf8_lossy(&read.stderr);
        let is_open = file == "mine";
        assert_eq!(read.status.success(), is_open, "{user} {file}: {said}");
    }
    let made = docker(&["exec", "--user", "0:0", &container, "sh", "-c", "echo x >/w/new"]);
    assert!(!made.status.success() && !project.join("new").exists(), "nobody else makes a file");
    session.close();
    expect_gone("it-line-groups");
}

#[test]
fn variables_come_from_the_client_and_from_files_at_each_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.env");
    let run = |text: &str, passed: Option<&str>| {
        fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        let mut berth = Berth::line().client("it-line-env");
        if let Some(passed) = passed {
            berth = berth.env("PASSED", passed);
        }
        let berth = berth.args(["--", "docker", "run", "-i", "--rm", "-e", "PASSED", "-e", "BOTH=own"]);
        let script = "exec 3>&1 >&2; echo \"<$FILE|${PASSED-unset}|$BOTH>\"; echo all done; exec cat";
        let berth = berth.args(["--env-file", file, "--entrypoint", "sh", "berth-base", "-c", script]);
        let mut session = berth.start();
        session.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        session.expect_stderr("all done");
        session.stderr()
    };
    let said = run("# one\nFILE=first\nBOTH=file\n", None);
    assert!(said.contains("<first|unset|own>"), "{said}");
    let said = run("FILE=second\n", Some("on"));
    assert!(said.contains("<second|on|own>"), "{said}");
}

#[test]
fn a_folder_in_memory_may_have_programs_where_the_line_says_so() {
    let script =
        "for at in /x /tmp; do cp /bin/true $at/program; $at/program && echo \"$at runs\"; done; exec 2>&1";
    let script = format!("exec 3>&1 >&2; {script}; echo all done; exec cat");
    let berth = Berth::line().client("it-line-tmpfs").args(["--", "docker", "run", "-i", "--rm"]);
    let berth = berth.args(["--tmpfs", "/x:exec,size=8m", "--entrypoint", "sh", "berth-base", "-c", &script]);
    let mut session = berth.start();
    session.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    session.expect_stderr("all done");
    let said = session.stderr();
    assert!(said.contains("/x runs") && !said.contains("/tmp runs"), "{said}");
}

/// Volumes of both engines, removed with the test.
struct Volumes;

impl Volumes {
    const NAMES: [&'static str; 2] = ["it-line-notes", "berth-data-it-line-import_it-line-notes"];
    /// Of the person's engine: what it stands for is nowhere.
    const BROKEN: &'static str = "it-line-broken";

    fn new() -> Self {
        Self::remove();
        Self
    }

    fn remove() {
        host(&["volume", "rm", "-f", Self::NAMES[0], Self::BROKEN]);
        docker(&["volume", "rm", "-f", Self::NAMES[1]]);
    }
}

impl Drop for Volumes {
    fn drop(&mut self) {
        Self::remove();
    }
}

#[test]
fn a_volume_of_the_engines_is_copied_once_and_again_only_by_force() {
    let _volumes = Volumes::new();
    let fill = "mkdir /d/sub; echo kept >/d/sub/note; chown 1000:1000 /d/sub/note; chmod 604 /d/sub/note; ln -s sub/note /d/link";
    let filled = host(&["run", "--rm", "-v", "it-line-notes:/d", "berth-base", "sh", "-c", fill]);
    assert!(filled.status.success(), "{}", String::from_utf8_lossy(&filled.stderr));
    let import = |options: &[&str]| {
        berth_says(&[&["volume", "import", "it-line-notes", "--client", "it-line-import"], options].concat())
    };
    let (code, out, err) = import(&[]);
    assert_eq!(code, Some(0), "{err}");
    assert!(
        out.contains("copied the volume `it-line-notes`") && out.contains(" bytes of an archive)"),
        "{out}"
    );
    let look = || {
        let berth = Berth::run("notes").client("it-line-import");
        said(berth, "cat /data/link; stat -c '%n %u:%g %a' /data/sub/note; echo more >/data/more; ls /data")
    };
    let seen = look();
    assert!(seen.contains("kept\n") && seen.contains("/data/sub/note 1000:1000 604"), "{seen}");
    let labels = docker_says(&["volume", "inspect", "--format", "{{json .Labels}}", Volumes::NAMES[1]]);
    assert!(labels.contains("\"io.mcp-berth.client\":\"it-line-import\""), "{labels}");
    let (code, _, err) = import(&[]);
    assert_eq!(code, Some(78), "{err}");
    assert!(
        err.contains("holds something already; type `berth volume import --force it-line-notes`"),
        "{err}"
    );
    // Nothing of it goes for a source that cannot be read.
    let broken =
        ["type=none", "o=bind", "device=/nowhere/of/a/test"].map(|option| ["--opt", option]).concat();
    let made = host(&[&["volume", "create"], &broken[..], &[Volumes::BROKEN]].concat());
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (code, _, err) = import(&["--force", "--from", Volumes::BROKEN]);
    assert!(code != Some(0) && err.contains("/nowhere/of/a/test"), "{err}");
    let seen = look();
    assert!(seen.contains("kept\n") && seen.contains("more\n"), "{seen}");
    let (code, _, err) = import(&["--force"]);
    assert_eq!(code, Some(0), "{err}");
    // A single file without a byte is something, too.
    said(Berth::run("notes").client("it-line-import"), "rm -r /data/*; : >/data/empty; ls -A /data");
    let (code, _, err) = import(&[]);
    assert!(code == Some(78) && err.contains("holds something already"), "{err}");
    said(Berth::run("notes").client("it-line-import"), "rm /data/empty");
    let (code, _, err) = import(&[]);
    assert_eq!(code, Some(0), "an empty one is filled: {err}");
    assert!(
        docker_says(&["ps", "-a", "--format", "{{.Names}}"])
            .lines()
            .all(|name| !name.contains("berth-import"))
    );
    let (code, _, err) = import(&["--from", "it-line-none"]);
    assert_eq!(code, Some(78));
    assert!(err.contains("has no volume `it-line-none`; see its names with `docker volume ls`"), "{err}");
    let (code, _, err) = berth_says(&["volume", "import", "it-line-none"]);
    assert_eq!(code, Some(78));
    assert!(err.contains("no server of the configuration has a volume `it-line-none`"), "{err}");
}

#[test]
fn a_docker_line_runs_as_it_is() {
    const SERVER: &str =
        r#"read line; echo "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"serverInfo\":\"$0 $A $(id -u)\"}}""#;
    let line = [
        "--",
        "docker",
        "run",
        "-i",
        "--rm",
        "--init",
        "-p",
        "22489:1",
        "-e",
        "A=$5",
        "-u",
        "7",
        "--entrypoint",
        "sh",
    ];
    // It is in no configuration: the start fetches it from the host's engine, if it is not there yet.
    let mut session =
        Berth::line().client("it-line-as-it-is").args(line).args(["berth-uv", "-c", SERVER, "a$b"]).start();
    let answer = first_answer(&mut session);
    assert_eq!(answer["result"]["serverInfo"], "a$b $5 7", "{answer}");
    session.expect_stderr("`-p` leads from this machine alone");
}

#[test]
fn what_is_fetched_is_told_and_nobody_has_to_read_it() {
    const IMAGE: &str = "berth-it-unread";
    assert!(host(&["tag", "berth-fixture", IMAGE]).status.success());
    docker(&["rmi", "--force", IMAGE]);
    let line = ["--", "docker", "run", "-i", "--rm", IMAGE];
    let mut unread = Berth::line().client("it-line-unread").unread().args(line).started();
    assert_eq!(unread.call_text("echo", json!({ "text": "on" })), "on");
    unread.close();
    assert_eq!(unread.exit_code(), Some(0));

    docker(&["rmi", "--force", IMAGE]);
    let read = Berth::line().client("it-line-read").args(line).started();
    read.expect_stderr(&format!("loaded `{IMAGE}` from the host's engine"));
    drop(read);
    host(&["rmi", IMAGE]);
}

#[test]
fn what_nobody_understands_is_said_to_the_client() {
    let mut session =
        Berth::line().client("it-line-refused").args(["--", "docker", "run", "--privileged", "x"]).start();
    let answer = first_answer(&mut session);
    assert_eq!(answer["error"]["code"], 78, "{answer}");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("does not take over `--privileged` of `docker run`"), "{message}");
}
