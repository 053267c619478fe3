//! `berth ps`, `kill`, `gc` and `run --dry-run`: they show the sessions that are there, and nothing else is there.

use serde_json::{Value, json};

use crate::dind::own::OwnDaemon;
use crate::harness::{
    Berth, Session, berth, berth_says, containers_of, daemon, docker_says, expect_gone, inspect,
};

/// A session whose container has its number.
fn numbered(client: &str) -> Session {
    let session = Berth::run("fixture").client(client).started();
    session.container();
    session
}

/// The rows of `berth ps --json` that are this client's.
fn rows(client: &str) -> Vec<Value> {
    rows_of(client, &["ps", "--json"])
}

fn rows_of(client: &str, command: &[&str]) -> Vec<Value> {
    let (code, out, err) = berth_says(command);
    assert_eq!(code, Some(0), "{err}");
    let rows: Vec<Value> = serde_json::from_str(&out).unwrap();
    rows.into_iter().filter(|row| row["client"] == client).collect()
}

/// A call that will not be answered before the end.
fn wait_for_the_end(session: &mut Session) {
    session.send(&json!({
        "jsonrpc": "2.0", "id": "in flight", "method": "tools/call",
        "params": { "name": "sleep", "arguments": { "ms": 60_000 } },
    }));
}

#[test]
fn ps_tells_all_of_a_session() {
    daemon();
    let before = jiff::Timestamp::now().as_second();
    let session = numbered("it-ps");
    let rows = rows("it-ps");
    let row = rows[0].as_object().unwrap();
    assert_eq!(rows.len(), 1);
    let fields: Vec<&str> = row.keys().map(String::as_str).collect();
    assert_eq!(
        fields,
        [
            "name",
            "client",
            "server",
            "isolation",
            "session",
            "client_session",
            "project",
            "parent_pid",
            "machine",
            "state",
            "streams",
            "created",
            "idle_seconds",
            "memory_bytes",
            "cpu_percent",
            "host_user",
            "refused"
        ]
    );
    assert_eq!(row["name"], "mcp-it-ps-1");
    assert_eq!(row["server"], "fixture");
    assert_eq!(row["state"], "active");
    assert_eq!(row["streams"], "direct");
    assert_eq!(row["parent_pid"], std::process::id());
    let id = row["session"].as_str().unwrap();
    assert!(id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let label = "{{index .Config.Labels \"io.mcp-berth.session\"}}";
    assert_eq!(docker_says(&["inspect", "--format", label, "mcp-it-ps-1"]), id);
    let created = row["created"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    let now = jiff::Timestamp::now().as_second();
    assert!((before - 1..=now + 1).contains(&created), "{before} <= {created} <= {now}");
    // The keeper and the server touch more than a page, and less than their limit.
    let memory = row["memory_bytes"].as_u64().unwrap();
    assert!((4096..512 << 20).contains(&memory), "{memory}");
    let cpu = row["cpu_percent"].as_f64().unwrap();
    assert!((0.0..=150.0).contains(&cpu), "{cpu}");

    let (code, table, _) = berth_says(&["ps"]);
    assert_eq!(code, Some(0));
    let columns = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut lines = table.lines();
    assert_eq!(
        columns(lines.next().unwrap()),
        [
            "NAME",
            "STATE",
            "SERVER",
            "SESSION",
            "STARTED",
            "AS",
            "PROJECT",
            "AGE",
            "IDLE",
            "MEMORY",
            "CPU",
            "HOST",
            "USER",
            "ISOLATION",
            "STREAMS"
        ]
    );
    let line = columns(lines.find(|line| line.starts_with("mcp-it-ps-1 ")).unwrap());
    assert_eq!(line[..4], ["mcp-it-ps-1", "active", "fixture", id]);
    assert_eq!(line.last().map(String::as_str), Some("direct"));
    assert!(row["idle_seconds"].as_u64().is_some_and(|idle| idle < 60), "its history tells of requests");
    drop(session);
}

#[test]
fn ps_shows_work() {
    let mut session = numbered("it-busy");
    assert_eq!(session.call("eat", json!({ "bytes": 64 << 20 }))["isError"], false);
    session.send(&json!({
        "jsonrpc": "2.0", "id": "burn", "method": "tools/call", "params": { "name": "burn", "arguments": { "ms": 20_000 } },
    }));
    // How much it gets depends on what else runs here.
    crate::harness::eventually("processor time", crate::harness::PATIENCE, || {
        let row = rows_of("it-busy", &["ps", "--json", "--stats"]).remove(0);
        assert!(row["memory_bytes"].as_u64().unwrap() > 64 << 20, "{row}");
        // On the average, too, of which it has had a good part by now.
        let average = rows("it-busy")[0]["cpu_percent"].as_f64().unwrap();
        (row["cpu_percent"].as_f64().unwrap() > 5.0 && average > 0.0).then_some(())
    });
}

#[test]
fn kill_ends_the_session_it_names_and_no_other() {
    // One that would go on in another container after any other loss.
    let mut by_id = Berth::run("durable").client("it-kill-cmd").start();
    by_id.initialize();
    let id = rows("it-kill-cmd")[0]["session"].as_str().unwrap().to_owned();
    let mut by_name = Berth::run("fixture").client("it-kill-cmd").start();
    by_name.initialize();
    let mut other = numbered("it-kill-bystander");
    crate::harness::eventually("two containers", crate::harness::PATIENCE, || {
        containers_of("it-kill-cmd").contains(&"mcp-it-kill-cmd-2".to_owned()).then_some(())
    });
    wait_for_the_end(&mut by_id);
    wait_for_the_end(&mut by_name);
    let (code, _, err) = berth_says(&["kill", "--yes", "--idle", "1d", &id]);
    assert!(code == Some(69) && err.contains(&format!("no session `{id} --idle 86400s`")), "{err}");
    let commands = [vec!["kill", id.as_str()], vec!["kill", "--idle", "0s", "mcp-it-kill-cmd-2"]];
    for (session, command) in [&mut by_id, &mut by_name].into_iter().zip(commands) {
        let word = command[command.len() - 1];
        let (code, out, err) = berth_says(&command);
        assert_eq!(code, Some(0), "{err}");
        assert!(out.starts_with("ended mcp-it-kill-cmd-") && out.contains(word), "{out}");
        let answer = session.answer("in flight");
        assert_eq!(answer["error"]["code"], 69, "{answer}");
        assert!(
            answer["error"]["message"].as_str().unwrap().contains("was ended by `berth kill`"),
            "{answer}"
        );
        assert_eq!(session.exit_code(), Some(69));
    }
    expect_gone("it-kill-cmd");
    assert_eq!(other.call_text("echo", json!({ "text": "untouched" })), "untouched");
}

#[test]
fn an_unknown_session_is_explained() {
    let mut session = numbered("it-kill-nobody");
    let (code, out, err) = berth_says(&["kill", "mcp-nobody-1"]);
    assert_eq!((code, out.as_str()), (Some(69), ""));
    assert!(err.contains("no session `mcp-nobody-1`") && err.contains("`berth ps`"), "{err}");
    assert_eq!(session.call_text("echo", json!({ "text": "untouched" })), "untouched");
}

#[test]
fn what_an_image_says_does_not_pass_for_berths_words() {
    let container = docker_says(&["create", "berth-fixture"]);
    let forged = "LABEL io.mcp-berth.session=feedfeedfeed io.mcp-berth.client-session=it-forged \
                  io.mcp-berth.project=/forged io.mcp-berth.bake=x io.mcp-berth.client=it-forged";
    docker_says(&["commit", "--change", forged, &container, "it-forged"]);
    docker_says(&["rm", &container]);
    let mut session = Berth::image("it-forged").client("it-forger").started();
    let name = session.container();
    let labels = inspect(&name)["Config"]["Labels"].clone();
    for (label, said) in [("client-session", ""), ("bake", ""), ("client", "it-forger")] {
        assert_eq!(labels[format!("io.mcp-berth.{label}")], said, "{labels}");
    }
    let (code, out, _) = berth_says(&["ps", "--json"]);
    let rows: Vec<Value> = serde_json::from_str(&out).unwrap();
    let row = rows.iter().find(|row| row["name"] == name.as_str()).expect("its session");
    assert_eq!((code, &row["client_session"], &row["client"]), (Some(0), &json!(""), &json!("it-forger")));
    assert_ne!(row["session"], "feedfeedfeed");
    let (code, _, err) = berth_says(&["kill", "it-forged"]);
    assert_eq!(code, Some(69), "{err}");
    assert_eq!(session.call_text("echo", json!({ "text": "alive" })), "alive");
    session.close();
    session.wait();
    expect_gone("it-forger");
    docker_says(&["rmi", "-f", "it-forged"]);
}

/// On a daemon of its own: each session that ends sweeps it, too, and so do other tests.
#[test]
fn gc_finds_nothing_and_spares_what_may_be_starting() {
    let own = OwnDaemon::new("berth-test-dind-gc", 22433);
    own.up();
    // As an image's `VOLUME` makes one; and one that a person has named.
    let volume = own.inner(&["volume", "create"]);
    own.inner(&["volume", "create", "it-gc-named"]);
    assert_eq!(own.succeeds(&["gc"]).trim(), format!("removed the volume {volume}"));
    let left = own.inner(&["volume", "ls", "-q"]);
    assert!(!left.contains(&volume) && left.contains("it-gc-named"), "{left}");

    let _session = own.session("it-gc");
    // As a session that was created in this moment and is not started yet.
    let labels = ["io.mcp-berth.managed-by=berth", "io.mcp-berth.client=it-gc-young"];
    own.inner(&["create", "--label", labels[0], "--label", labels[1], "berth-fixture"]);
    assert_eq!(own.succeeds(&["gc"]).trim(), "nothing was left behind");
    let of = |client: &str| {
        let filter = format!("label=io.mcp-berth.client={client}");
        own.inner(&["ps", "-aq", "--filter", &filter]).lines().count()
    };
    assert_eq!(of("it-gc-young"), 1);
    assert_eq!(of("it-gc"), 1, "it runs");
}

#[test]
fn a_dry_run_shows_what_would_be_and_creates_nothing() {
    let hidden = "hunter2-dry";
    let output = berth()
        .args(["run", "--dry-run", "secretive", "--client", "it-dry", "--memory", "77m"])
        .envs([("BERTH_TEST_HIDDEN", hidden), ("BERTH_TEST_PLAIN", "plain")])
        .output();
    let output = output.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(shown["name"], "mcp-it-dry-<n>");
    assert_eq!(shown["daemon"], "tcp://127.0.0.1:22376");
    let container = &shown["container"];
    assert_eq!(container["Image"], "berth-fixture");
    assert_eq!(container["HostConfig"]["CapDrop"], json!(["ALL"]));
    assert_eq!(container["HostConfig"]["Memory"], 77 << 20);
    assert_eq!(container["HostConfig"]["NetworkMode"], "none");
    assert_eq!(container["Labels"]["io.mcp-berth.client"], "it-dry");
    // Whether the daemon has a folder of doors, no dry run asks it.
    assert_eq!(way_of(&["--streams", "exec"]), "exec");
    assert_eq!(way_of(&["--streams", "direct"]), "direct");
    assert_eq!(shown["exec"]["env"], json!(["HIDDEN=[redacted]", "PLAIN=plain"]));
    assert!(!text.contains(hidden), "{text}");
    daemon();
    assert_eq!(way_of(&[]), "direct", "the daemon is berth's own");
    assert_eq!(way_of(&["--isolation", "gvisor"]), "exec");
    assert_eq!(containers_of("it-dry"), Vec::<String>::new());
}

/// What a dry run says of the way of the server's bytes.
fn way_of(options: &[&str]) -> String {
    let (code, out, err) =
        berth_says(&[&["run", "--dry-run", "fixture", "--client", "it-dry"], options].concat());
    assert_eq!(code, Some(0), "{err}");
    serde_json::from_str::<Value>(&out).unwrap()["streams"].as_str().unwrap().to_owned()
}

#[test]
fn a_dry_run_of_a_mistake_is_an_error() {
    daemon();
    let (code, out, err) = berth_says(&["run", "--dry-run", "fixtrue"]);
    assert_eq!((code, out.as_str()), (Some(78), ""));
    assert!(err.contains("did you mean `fixture`?"), "{err}");
}
