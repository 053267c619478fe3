//! A server's memory: kept between sessions, with one writer at a time and a volume for each kind of client.

use serde_json::{Value, json};

use crate::harness::{Berth, PATIENCE, Session, containers_of, docker, docker_says, eventually, expect_gone};

/// Volumes that are removed with the test, also where it fails.
struct Volume(&'static [&'static str]);

impl Volume {
    fn new(names: &'static [&'static str]) -> Self {
        let volume = Self(names);
        volume.remove();
        volume
    }

    fn remove(&self) {
        for name in self.0 {
            docker(&["volume", "rm", "-f", name]);
        }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        self.remove();
    }
}

fn run(client: &str, options: &[&str]) -> Berth {
    let mut run = Berth::run("fixture").client(client);
    for option in options {
        run = run.args([option]);
    }
    run
}

fn write(session: &mut Session, path: &str, text: &str) -> Value {
    session.call("write", json!({ "path": path, "text": text }))
}

fn read(session: &mut Session, path: &str) -> String {
    session.call_text("read", json!({ "path": path }))
}

fn refused(session: &mut Session) -> Value {
    let answer =
        session.request("initialize", json!({ "protocolVersion": "2025-06-18", "capabilities": {} }));
    assert_eq!(answer["error"]["code"], 69, "{answer}");
    answer["error"]["message"].clone()
}

#[test]
fn what_one_session_writes_the_next_one_reads() {
    let _volume = Volume::new(&["berth-data-it-volume-kept_kept"]);
    let option = ["--volume", "kept:/data"];
    let mut session = run("it-volume-kept", &option).started();
    assert_eq!(write(&mut session, "/data/note", "for later")["isError"], false);
    session.close();
    session.wait();
    let mut session = run("it-volume-kept", &option).started();
    assert_eq!(read(&mut session, "/data/note"), "for later");
    let found = docker_says(&[
        "volume",
        "ls",
        "--filter",
        "label=io.mcp-berth.volume=kept",
        "--format",
        "{{.Name}} {{.Label \"io.mcp-berth.client\"}}",
    ]);
    assert_eq!(found, "berth-data-it-volume-kept_kept it-volume-kept");
    drop(session);
    expect_gone("it-volume-kept");
}

#[test]
fn the_second_writer_is_told_who_has_it_and_is_let_in_after_whatever_death() {
    let _volume = Volume::new(&["berth-data-it-volume-one_one"]);
    let option = ["--volume", "one:/data", "--stop-grace", "1s"];
    let mut first = run("it-volume-one", &option).started();
    write(&mut first, "/data/writer", "first");
    let holder = first.container();
    let mut second = run("it-volume-one", &option).start();
    let said = refused(&mut second);
    let said = said.as_str().unwrap();
    for part in [&format!("the volume `one` is in use by `{holder}`"), &format!("`berth kill {holder}`")] {
        assert!(said.contains(part), "no {part:?} in {said:?}");
    }
    second.close();
    assert_eq!(second.exit_code(), Some(69));
    eventually("the end of the second one's container", PATIENCE, || {
        (containers_of("it-volume-one") == [holder.as_str()]).then_some(())
    });
    // Readers wait for nobody.
    let mut reader = run("it-volume-one", &["--volume", "one:/data:ro"]).started();
    assert_eq!(read(&mut reader, "/data/writer"), "first");
    assert_eq!(write(&mut reader, "/data/writer", "reader")["isError"], true);
    // No code of berth's runs any more, and the next one comes at once.
    first.signal("-KILL");
    let mut third = run("it-volume-one", &option).started();
    assert_eq!(read(&mut third, "/data/writer"), "first");
    assert_eq!(write(&mut third, "/data/writer", "third")["isError"], false);
    assert_eq!(read(&mut reader, "/data/writer"), "third");
    drop((third, reader));
    expect_gone("it-volume-one");
}

#[test]
fn several_sessions_write_at_once_where_the_volume_says_so() {
    let _volume = Volume::new(&["berth-data-it-volume-many_many"]);
    let option = ["--volume", "many:/data:concurrent"];
    let mut first = run("it-volume-many", &option).started();
    let mut second = run("it-volume-many", &option).started();
    assert_eq!(write(&mut first, "/data/first", "one")["isError"], false);
    assert_eq!(write(&mut second, "/data/second", "two")["isError"], false);
    assert_eq!(read(&mut first, "/data/second"), "two");
    // Who wants it alone waits, and is told.
    let mut alone = run("it-volume-many", &["--volume", "many:/data", "--stop-grace", "1s"]).start();
    let said = refused(&mut alone);
    assert!(said.as_str().unwrap().contains("the volume `many` is in use by"), "{said}");
    drop((first, second, alone));
    expect_gone("it-volume-many");
}

#[test]
fn each_kind_of_client_has_its_own_unless_it_is_shared() {
    let _volume = Volume::new(&[
        "berth-data-it-volume-a_own",
        "berth-data-it-volume-b_own",
        "berth-data_it-volume-all",
    ]);
    let options = ["--volume", "own:/own", "--volume", "it-volume-all:/all:shared"];
    let mut one = run("it-volume-a", &options).started();
    write(&mut one, "/own/note", "a");
    write(&mut one, "/all/note", "from a");
    // Its own is free; the shared one is not.
    let mut two = run("it-volume-b", &options).start();
    let said = refused(&mut two);
    assert!(said.as_str().unwrap().contains("the volume `it-volume-all` is in use by"), "{said}");
    one.close();
    one.wait();
    let mut two = run("it-volume-b", &options).started();
    assert_eq!(read(&mut two, "/all/note"), "from a");
    assert_eq!(
        two.call("read", json!({ "path": "/own/note" }))["isError"],
        true,
        "that is the other client's"
    );
    drop(two);
    expect_gone("it-volume-a");
    expect_gone("it-volume-b");
}

#[test]
fn a_new_volume_is_its_servers_users() {
    let _volume = Volume::new(&["berth-data-it-volume-user_one", "berth-data-it-volume-user_two"]);
    let options = ["--volume", "one:/one", "--volume", "two:/deep/er/two", "--user", "1234:5678"];
    for text in ["first", "second"] {
        let mut session = run("it-volume-user", &options).started();
        for path in ["/one/note", "/deep/er/two/note"] {
            assert_eq!(write(&mut session, path, text)["isError"], false, "{path}");
            assert_eq!(read(&mut session, path), text);
        }
        session.close();
        session.wait();
    }
    assert_eq!(
        docker_says(&["ps", "-a", "--filter", "name=berth-data-filler", "--format", "{{.Names}}"]),
        ""
    );
    expect_gone("it-volume-user");
}

#[test]
fn a_lost_servers_successor_has_the_volume() {
    let _volume = Volume::new(&["berth-data-it-volume-lost_lost"]);
    let mut session = Berth::run("durable").client("it-volume-lost").args(["--volume", "lost:/data"]).start();
    session.initialize();
    write(&mut session, "/data/note", "before");
    let container = session.container();
    docker_says(&["kill", &container]);
    // Answered with an error, and by the next one from then on.
    let text = eventually("another server", PATIENCE, || {
        let answer =
            session.request("tools/call", json!({ "name": "read", "arguments": { "path": "/data/note" } }));
        answer["result"]["content"][0]["text"].as_str().map(str::to_owned)
    });
    assert_eq!(text, "before");
    drop(session);
    expect_gone("it-volume-lost");
}
