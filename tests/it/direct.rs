//! A server's input and output by pipes of its own: however its session begins, and whatever it does with them.

use std::fs::{self, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::json;

use crate::dind::own::OwnDaemon;
use crate::harness::{
    Berth, PATIENCE, Session, docker_says, eventually, expect_gone, home, inspect, until_traced,
};
use crate::standby::{Tidy, claimed, container_of, standby};

/// What the trace of a session says whose bytes come by pipes.
pub(crate) const TAKEN: &str = "take the server's pipes";

/// Which door a container was made with, as the daemon has it: its name and whether it can be written to.
pub(crate) fn door_of(container: &str) -> Option<(String, bool)> {
    let found = inspect(container);
    let mounts = found["Mounts"].as_array().unwrap();
    let door = mounts.iter().find(|mount| mount["Destination"].as_str().unwrap().ends_with("/door"))?;
    let name = door["Source"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    Some((name, door["RW"] == true))
}

/// The folder of all doors of a berth with this home and one daemon.
pub(crate) fn folder_of_doors(home: &Path) -> PathBuf {
    let within = |folder: PathBuf, is_it: fn(&Path) -> bool| {
        let mut entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.find(|path| is_it(path)).expect("the folder of all doors")
    };
    let of_machine = within(home.join("state/doors"), Path::is_dir);
    let of_daemon = within(of_machine, |path| path.join("shared").exists());
    within(of_daemon, Path::is_dir)
}

/// Waits at a door as a session does; its path is too long for a socket's address.
pub(crate) fn listen(door: &Path) -> UnixListener {
    let folder = fs::File::open(door).unwrap();
    let listener = UnixListener::bind(format!("/proc/self/fd/{}/s", folder.as_raw_fd())).unwrap();
    fs::set_permissions(door.join("s"), Permissions::from_mode(0o666)).unwrap();
    listener
}

/// The names of all doors.
fn doors(home: &Path) -> Vec<String> {
    let names = fs::read_dir(folder_of_doors(home)).unwrap();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The session's container has a door that it cannot write to and nobody is behind; whoever lists processes sees the way.
fn expect_direct(session: &Session, container: &str) {
    session.expect_stderr(TAKEN);
    let (door, is_writable) = door_of(container).expect("a door");
    let left = fs::read_dir(folder_of_doors(home()).join(&door)).unwrap().count();
    assert_eq!((is_writable, left), (false, 0), "{door}");
    eventually("the way among the processes", PATIENCE, || {
        docker_says(&["top", container, "-eo", "pid,args"]).contains(" streams=direct").then_some(())
    });
}

#[test]
fn however_a_session_begins_its_servers_bytes_come_by_pipes() {
    let mut cold = Berth::run("fixture").client("it-direct").args(["--trace"]).started();
    expect_direct(&cold, &cold.container());
    cold.close();
    assert_eq!(cold.exit_code(), Some(0));
    for (server, client) in [("ready", "it-direct-standby"), ("ahead", "it-direct-ahead")] {
        let _tidy = Tidy(if server == "ready" { "it-direct-standby" } else { "it-direct-ahead" });
        let (mut session, id) = claimed(|| Berth::run(server).client(client).args(["--trace"]).started());
        assert_eq!(container_of(&mut session), id, "{}", session.stderr());
        expect_direct(&session, &id);
        assert_eq!(session.call_text("echo", json!({ "text": "é" })), "é");
        // What stands by for the next one has its door still.
        let (_, next) = standby(client);
        let (door, is_writable) = door_of(&next).expect("a door");
        assert!(!is_writable && doors(home()).contains(&door), "{door}");
    }
}

#[test]
fn a_server_that_replaces_a_lost_one_has_pipes_too() {
    let mut session = Berth::run("durable").client("it-direct-replaced").args(["--trace"]).started();
    let before = session.container();
    expect_direct(&session, &before);
    docker_says(&["rm", "-f", &before]);
    session.expect_stderr("a new server `durable` has started");
    assert_eq!(session.call_text("echo", json!({ "text": "on" })), "on");
    // The trace is written behind it.
    eventually("the new server's pipes", PATIENCE, || {
        (session.stderr().matches(TAKEN).count() == 2).then_some(())
    });
    expect_direct(&session, &session.container());
}

#[test]
fn who_asks_for_the_daemons_stream_has_it_and_no_door() {
    let options = ["--trace", "--streams", "exec"];
    let mut session = Berth::run("fixture").client("it-direct-exec").args(options).started();
    let container = session.container();
    assert_eq!(door_of(&container), None);
    assert_eq!(session.call_text("echo", json!({ "text": "through" })), "through");
    assert!(!session.stderr().contains("pipes"), "{}", session.stderr());
    assert!(!docker_says(&["top", &container, "-eo", "pid,args"]).contains("streams="));
    let _tidy = Tidy("it-direct-ahead-exec");
    let run = || Berth::run("ahead").client("it-direct-ahead-exec").args(options).started();
    let (mut session, id) = claimed(run);
    assert_eq!(door_of(&id), None);
    assert_eq!(session.call_text("echo", json!({ "text": "through" })), "through");
    assert!(!session.stderr().contains("pipes"), "{}", session.stderr());
}

/// A session with a script for a server, and a request on its way there.
fn asked(client: &str, way: &str, script: &str) -> Session {
    let run = Berth::image("berth-everything").client(client).args(["--trace", "--streams", way]);
    let mut session = run.args(["--", "sh", "-c", script]).start();
    session.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {} }));
    session
}

#[test]
fn an_answer_after_the_end_of_the_input_arrives() {
    let script = r#"cat >/dev/null; sleep 0.5; echo '{"jsonrpc":"2.0","id":1,"result":{"late":true}}'; sleep 0.5; exit 0"#;
    let mut session = asked("it-direct-late", "direct", script);
    session.close();
    assert_eq!(session.message()["result"], json!({ "late": true }));
    assert_eq!(session.exit_code(), Some(0));
    expect_gone("it-direct-late");
}

#[test]
fn a_server_that_closes_its_output_and_goes_on_is_not_waited_for() {
    let mut session = asked("it-direct-silent", "direct", "read -r _; exec >&-; exec sleep 600");
    let answer = session.answer(1);
    let message = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert!(message.contains("has closed its output and goes on without it"), "{message}");
    assert_eq!(session.exit_code(), Some(69));
    expect_gone("it-direct-silent");
}

#[test]
fn a_child_that_has_the_servers_pipe_is_heard_after_the_server() {
    let child = r#"sleep 0.3; echo '{"jsonrpc":"2.0","id":1,"result":{"by":"a child"}}'"#;
    // The daemon's stream is at its end before.
    let script = format!("read -r _; ({child}) 2>/dev/null & exit 0");
    for (client, way) in [("it-direct-child", "direct"), ("it-exec-child", "exec")] {
        let mut session = asked(client, way, &script);
        assert_eq!(session.message()["result"], json!({ "by": "a child" }), "{way}: {}", session.stderr());
        session.close();
        session.wait();
        expect_gone(client);
    }
}

#[test]
fn a_server_that_ends_before_its_child_is_no_end_that_is_missed() {
    let script = "read -r _; echo dying >&2; sleep 600 & exit 3";
    let mut took = Vec::new();
    for (client, way) in [("it-direct-orphan", "direct"), ("it-exec-orphan", "exec")] {
        let mut session = asked(client, way, script);
        session.expect_stderr("dying");
        let began = Instant::now();
        let answer = session.answer(1);
        took.push((way, began.elapsed()));
        let message = answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{answer}"));
        assert!(message.contains("exited with code 3") && message.contains("dying"), "{way}: {message}");
        assert_eq!(session.exit_code(), Some(3));
        expect_gone(client);
    }
    println!("until the client hears of it: {took:?}");
}

#[test]
fn a_server_without_a_standard_error_is_served_as_long_as_it_runs() {
    let script = r#"exec 2>&-; read -r _; echo '{"jsonrpc":"2.0","id":1,"result":{}}'; exec cat"#;
    let mut session = asked("it-direct-no-stderr", "direct", script);
    assert_eq!(session.answer(1)["result"], json!({}));
    std::thread::sleep(std::time::Duration::from_secs(4));
    let message = json!({ "jsonrpc": "2.0", "method": "still" });
    session.send(&message);
    assert_eq!(session.message(), message, "{}", session.stderr());
    session.close();
    assert_eq!(session.exit_code(), Some(0));
}

#[test]
fn all_of_standard_error_comes_in_its_own_order() {
    let script = r#"read -r _; echo '{"jsonrpc":"2.0","id":1,"result":{}}'
        for n in $(seq 2000); do echo "line $n"; done >&2; echo the very last >&2; exit 3"#;
    let mut session = asked("it-direct-stderr", "direct", script);
    assert_eq!(session.answer(1)["result"], json!({}));
    let message = session.request("ping", json!({}))["error"]["message"].take();
    assert!(message.as_str().unwrap().contains("line 2000 | the very last"), "{message}");
    assert_eq!(session.exit_code(), Some(3));
    let said = session.stderr();
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("line ")).collect();
    let expected: Vec<String> = (1..=2000).map(|n| format!("line {n}")).collect();
    assert!(lines == expected, "{} lines: {:?}", lines.len(), lines.last());
    // Its last words, although its output ended before.
    for (client, end) in
        [("it-direct-dies", "exit 3"), ("it-direct-closes", "exec >&-; sleep 0.3; echo why >&2; exit 3")]
    {
        let mut session = asked(client, "direct", &format!("read -r _; echo why not >&2; {end}"));
        let message = session.answer(1)["error"]["message"].take();
        let message = message.as_str().unwrap();
        assert!(message.contains("exited with code 3") && message.contains("why"), "{message}");
    }
}

const CONNECT: &str =
    "my $s; socket($s, AF_UNIX, SOCK_STREAM, 0) && connect($s, pack_sockaddr_un($ARGV[0])) or die qq($!)";

/// Another user of this machine gets to no door, also where all else lets him through.
fn expect_closed(home: &Path, door: &str) {
    let state = home.join("state");
    for folder in [home, &state] {
        fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
    }
    let above = state.join("doors");
    let above = fs::read_dir(above).unwrap().next().unwrap().unwrap().path();
    let door = folder_of_doors(home).join(door);
    assert!(door.is_dir());
    // Somebody waits there, as a session does; by a name that is short enough for a socket's address.
    let _listening = listen(&door);
    let short = tempfile::tempdir().unwrap();
    fs::set_permissions(short.path(), Permissions::from_mode(0o755)).unwrap();
    let short = short.path().join("door");
    symlink(&door, &short).unwrap();
    let short = short.join("s").display().to_string();
    let connect = ["perl", "-MSocket", "-e", CONNECT, &short];
    let own = Command::new(connect[0]).args(&connect[1..]).output().expect("perl runs");
    assert!(own.status.success(), "{}", String::from_utf8_lossy(&own.stderr));
    let (above, inside) = (above.display().to_string(), door.display().to_string());
    for act in [&["ls", &above][..], &["ls", &inside], &connect] {
        let mut other = Command::new("setpriv");
        other.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).args(act);
        let said = other.output().expect("setpriv runs");
        let error = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(!said.status.success() && error.contains("Permission denied"), "{act:?}: {error}");
    }
    fs::remove_file(door.join("s")).unwrap();
}

/// On a daemon of its own: what is swept at once there could be another test's.
#[test]
fn no_door_outlives_its_session_and_who_waits_keeps_its_own() {
    let own = OwnDaemon::new("berth-test-dind-doors", 22457);
    let ready =
        |name: &str| format!("[servers.{name}]\nimage = \"berth-fixture\"\nnetwork = \"none\"\nstandby = 1");
    own.configure(&format!("port = 22457\n{}\n{}\nprestart = true", ready("ready"), ready("ahead")));
    own.up();
    let home = PathBuf::from(own.home_folder());
    let start = |server: &str, client: &str, args: &[&str]| {
        let mut run = Berth::run(server).client(client).env("BERTH_HOME", own.home_folder());
        for arg in args {
            run = run.args([arg]);
        }
        run.start_without_daemon()
    };
    let mut session = start("fixture", "it-doors", &["--trace"]);
    session.initialize();
    session.expect_stderr(TAKEN);
    assert_eq!(doors(&home).len(), 1);
    session.close();
    assert_eq!(session.exit_code(), Some(0));
    assert_eq!(doors(&home), [""; 0], "it ended in order");

    // Killed at each moment of a start.
    for (n, step) in
        ["connect for the container", "inspect the image", "create, start and attach", "start the server"]
            .into_iter()
            .enumerate()
    {
        let trace = home.join(format!("trace-{n}"));
        let mut session = start("fixture", "it-doors-killed", &[&format!("--trace={}", trace.display())]);
        session.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {} }));
        until_traced(&trace, &[step]);
        session.kill();
    }
    // As such a one leaves it for certain, with what stood in it.
    let folder = folder_of_doors(&home);
    let left = "0123456789abcdef0123456789abcdef";
    fs::create_dir(folder.join(left)).unwrap();
    drop(listen(&folder.join(left)));
    let said = own.succeeds(&["gc"]);
    assert!(!said.contains("the door"), "a container may be on its way: {said}");
    let mut removed = String::new();
    eventually("no door", PATIENCE, || {
        removed.push_str(&own.swept());
        doors(&home).is_empty().then_some(())
    });
    assert!(removed.contains(&format!("removed the door {left}")), "{removed}");

    // A container on standby has its door until somebody comes.
    for (client, server) in [("it-doors-standby", "ready"), ("it-doors-ahead", "ahead")] {
        let mut session = start(server, client, &["--trace"]);
        session.initialize();
        session.expect_stderr("put on standby");
        session.close();
        assert_eq!(session.exit_code(), Some(0));
        let waiting = doors(&home);
        assert_eq!(waiting.len(), 1, "{client}");
        expect_closed(&home, &waiting[0]);
        let said = own.swept();
        assert!(!said.contains("the door"), "{said}");
        assert_eq!(doors(&home), waiting);
        let mut next = start(server, client, &["--trace"]);
        next.initialize();
        next.expect_stderr("take over the container");
        next.expect_stderr(TAKEN);
        next.close();
        next.wait();
        assert!(!doors(&home).contains(&waiting[0]), "its session has ended");
        // Whatever stands by still goes with its door.
        for id in own.inner(&["ps", "-aq"]).lines() {
            own.inner(&["rm", "-f", id]);
        }
        eventually("no door", PATIENCE, || {
            own.swept();
            doors(&home).is_empty().then_some(())
        });
    }
}
