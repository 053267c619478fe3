//! Images that nobody vetted: what lies in them, and what they declare, puts nothing in the place of PID 1.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::dind::own::OwnDaemon;
use crate::harness::{
    Berth, PATIENCE, Session, containers_of, docker_command, docker_says, eventually, expect_gone, home,
    inspect, shared,
};

const PRETENDER: &str = include_str!("../../fixtures/hostile/pretender");

/// Makes the image `berth-test-NAME` in the tests' daemon: the pretender is its server, `lines` are what it does besides.
fn image(name: &str, lines: &str) -> String {
    let (image, context) = (format!("berth-test-{name}"), tempfile::tempdir().unwrap());
    let dockerfile = format!(
        "FROM berth-everything\nUSER root\nCOPY pretender /pretender\nRUN chmod 755 /pretender\n{lines}\n\
         ENTRYPOINT [\"/pretender\"]\nCMD []\n"
    );
    fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
    fs::write(context.path().join("pretender"), PRETENDER).unwrap();
    // It is loaded into the daemon by `berth up`.
    let mut docker = docker_command(&["build", "--quiet", "--network", "none", "--tag", &image]);
    let built = docker.arg(context.path()).env("DOCKER_BUILDKIT", "0").output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    image
}

/// What the pretender says of PID 1 and of what it has found, or the error that the client was told.
fn asked(session: &mut Session) -> Result<(String, String), String> {
    let answer =
        session.request("initialize", json!({ "protocolVersion": "2025-06-18", "capabilities": {} }));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let server = &answer["result"]["serverInfo"];
    match answer.get("error") {
        Some(error) => Err(text(&error["message"])),
        None => Ok((text(&server["name"]), text(&server["version"]).replace("found:", "").trim().to_owned())),
    }
}

fn run(image: &str, client: &str, mounts: &[(&Path, &str)]) -> Session {
    let mut run = Berth::image(image).client(client);
    for (source, target) in mounts {
        run = run.args(["--mount", &format!("{}:{target}", source.display())]);
    }
    run.start()
}

fn expect_keeper(mut session: Session) {
    let client = session.client().to_owned();
    assert_eq!(
        asked(&mut session),
        Ok(("the keeper is PID 1".to_owned(), String::new())),
        "{}",
        session.stderr()
    );
    session.close();
    session.wait();
    expect_gone(&client);
}

fn volumes() -> Vec<String> {
    let mut names: Vec<_> = docker_says(&["volume", "ls", "-q"]).lines().map(str::to_owned).collect();
    names.retain(|name| name.len() == 64);
    names
}

/// Other tests have some for a while.
fn none_more_than(before: &[String]) {
    eventually("the end of every volume without a name", PATIENCE, || {
        volumes().iter().all(|volume| before.contains(volume)).then_some(())
    });
}

#[test]
fn a_volume_that_a_link_leads_elsewhere_replaces_nothing() {
    let before = volumes();
    for (name, lines) in [
        ("keeper", "RUN mkdir /.berth && cp /pretender /.berth/keeper && ln -s /.berth /.a\nVOLUME /.a"),
        ("here", "RUN mkdir /.berth && cp /pretender /.berth/keeper\nVOLUME /.berth"),
        ("folder", "RUN mkdir -p /b && cp /pretender /b/keeper && ln -s /b /.berth\nVOLUME /b /.berth"),
    ] {
        let (image, client) = (image(name, lines), format!("it-image-{name}"));
        for _ in 0..5 {
            expect_keeper(run(&image, &client, &[]));
        }
    }
    none_more_than(&before);
}

#[test]
fn a_mount_that_a_link_leads_elsewhere_is_refused_before_it_is_made() {
    let folder = shared("image-mount");
    fs::write(folder.join("keeper"), PRETENDER).unwrap();
    assert!(Command::new("chmod").args(["-R", "755"]).arg(&folder).status().unwrap().success());
    for (name, lines) in [
        ("mount", "RUN mkdir /.berth && ln -s /.berth /w"),
        ("mount-root", "RUN ln -s / /w"),
        ("mount-proc", "RUN ln -s /proc /w"),
        ("mount-nowhere", "RUN ln -s /nowhere /w"),
    ] {
        let (image, client) = (image(name, lines), format!("it-image-{name}"));
        let said = asked(&mut run(&image, &client, &[(&folder, "/w:rw")])).unwrap_err();
        let why = "the container was not let run: a link in the image leads elsewhere what is to be mounted at `/w`";
        assert!(said.contains(why) && said.contains("choose another place"), "{name}: {said}");
        expect_gone(&client);
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing was made in it");
}

#[test]
fn a_declared_volume_has_a_size_and_is_gone_with_its_session() {
    let image = image("declares", "RUN mkdir -p /data/deep\nVOLUME /data /data/deep");
    let before = volumes();
    let mut session = Berth::image(&image)
        .client("it-image-declares")
        .args(["--read-only"])
        .args([
            "--",
            "/bin/sh",
            "-c",
            "grep ' /data' /proc/mounts >&2; echo x >/data/x && echo wrote >&2; exec cat",
        ])
        .start();
    session.expect_stderr("wrote");
    let said = session.stderr();
    let mounts: Vec<&str> = said.lines().filter(|line| line.starts_with("tmpfs /data")).collect();
    assert_eq!(mounts.len(), 2, "{said}");
    for mount in mounts {
        for option in ["size=65536k", "nosuid", "nodev", "noexec"] {
            assert!(mount.contains(option), "no {option} in {mount}");
        }
    }
    let declared = &inspect(&session.container())["HostConfig"]["Mounts"];
    // The two, the keeper's, and the door.
    assert_eq!(declared.as_array().map(Vec::len), Some(4), "{declared}");
    session.close();
    session.wait();
    expect_gone("it-image-declares");
    none_more_than(&before);
}

#[test]
fn a_volume_where_none_may_be_is_refused_with_the_next_command() {
    let folder = shared("image-below");
    for (name, lines, mounts, part) in [
        (
            "proc",
            "VOLUME /proc/x",
            vec![],
            "`/proc/x`, which no session can have: the container needs its own `/proc`",
        ),
        ("below", "VOLUME /w/below", vec![(folder.as_path(), "/w")], "it lies in what is mounted at `/w`"),
    ] {
        let (image, client) = (image(name, lines), format!("it-image-{name}"));
        let mut session = run(&image, &client, &mounts);
        let said = asked(&mut session).unwrap_err();
        for part in [part, &format!("the image `{image}`"), "`docker image inspect`"] {
            assert!(said.contains(part), "no {part:?} in {said:?}");
        }
        assert_eq!(session.close().exit_code(), Some(78));
        expect_gone(&client);
    }
    assert!(fs::read_dir(&folder).unwrap().next().is_none(), "nothing was made in it");
}

#[test]
fn what_an_image_has_the_daemon_do_is_not_done() {
    let image = image(
        "busy",
        "HEALTHCHECK --interval=1s CMD touch /w/checked\nSTOPSIGNAL SIGCONT\nENV LD_PRELOAD=/pretender",
    );
    let folder = shared("image-busy");
    fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let session = run(&image, "it-image-busy", &[(&folder, "/w:rw")]);
    let container = session.container();
    let config = inspect(&container)["Config"].take();
    assert_eq!(
        (&config["Healthcheck"]["Test"], &config["StopSignal"]),
        (&json!(["NONE"]), &json!("SIGTERM"))
    );
    std::thread::sleep(Duration::from_secs(3));
    assert!(!folder.join("checked").exists());
    docker_says(&["stop", "--time", "30", &container]);
    eventually("its end", PATIENCE, || containers_of("it-image-busy").is_empty().then_some(()));
}

#[test]
fn a_daemon_that_is_not_berths_own_is_asked_for_the_images_links() {
    let folder = shared("image-remote");
    let image = image("remote", "RUN mkdir -p /x && ln -s / /x/w");
    let remote = OwnDaemon::new("berth-test-dind-remote", 22404);
    let (certs, share) = (home().join("certs"), folder.display());
    remote.configure(&format!(
        "host = \"tcp://127.0.0.1:22376\"\ncerts = \"{}\"\nshare = [\"{share}\"]\n\
         [servers.linked]\nimage = \"{image}\"\nmounts = [\"{share}:/x/w/deep\"]\n\
         [servers.plain]\nimage = \"{image}\"\nmounts = [\"{share}:/x/plain\"]",
        certs.display()
    ));
    let start = |server: &str| {
        let run = Berth::run(server).client("it-image-remote").env("BERTH_HOME", remote.home_folder());
        run.start()
    };
    let said = asked(&mut start("linked")).unwrap_err();
    assert!(
        said.contains("a link in the image leads elsewhere what is to be mounted at `/x/w/deep`"),
        "{said}"
    );
    expect_gone("it-image-remote");
    let mut session = start("plain");
    assert_eq!(
        asked(&mut session),
        Ok(("the keeper is PID 1".to_owned(), String::new())),
        "{}",
        session.stderr()
    );
    assert_eq!(inspect(&session.container())["HostConfig"]["Runtime"], "plain", "the daemon's own default");
    session.close();
    session.wait();
    expect_gone("it-image-remote");
}

/// Swaps `/p/sub`, which others mount, for links to what is the daemon's, and back.
const SWAPPER: &str = "while :; do for to in /berth/certs /var/run /proc; do ln -sfnT $to /p/link; \
    mv --exchange -T /p/link /p/sub; mv --exchange -T /p/link /p/sub; done; done";

#[test]
fn a_session_that_swaps_a_mounts_source_gets_another_nothing() {
    let folder = shared("image-swapped");
    fs::create_dir(folder.join("sub")).unwrap();
    fs::write(folder.join("sub/keeper"), PRETENDER).unwrap();
    let image = image(
        "swapped",
        "RUN mkdir /.berth && cp /pretender /.berth/keeper && ln -s /.berth /.a\nVOLUME /.a",
    );
    let mount = format!("{}:/p:rw", folder.display());
    let swapper = Berth::image("berth-everything").client("it-image-swapper").args(["--mount", &mount]);
    let _swapper = swapper.args(["--", "sh", "-c", SWAPPER]).start();
    let _other =
        Berth::run("secretive").client("it-image-other").env("BERTH_TEST_HIDDEN", "a token").started();
    eventually("a swap", PATIENCE, || folder.join("link").symlink_metadata().is_ok().then_some(()));
    let mut let_run = 0;
    for _ in 0..12 {
        let mut session = run(&image, "it-image-swapped", &[(&folder.join("sub"), "/w")]);
        if let Ok(answer) = asked(&mut session) {
            assert_eq!(answer, ("the keeper is PID 1".to_owned(), String::new()));
            let_run += 1;
        }
        session.close();
        session.wait();
        expect_gone("it-image-swapped");
    }
    println!("{let_run} of 12 were let run");
}
