//! `--trace`, to a file and to a person: what is recorded, what never is, and that standard output stays free of it.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::Berth;

const SECRET: &str = "hunter2-of-the-trace";

/// All that the documentation of a record names.
const MEMBERS: [&str; 20] = [
    "time",
    "session",
    "direction",
    "kind",
    "name",
    "method",
    "id",
    "bytes",
    "batch",
    "latency_ms",
    "duration_ms",
    "code",
    "count",
    "detail",
    "body",
    "tool",
    "how",
    "server",
    "client",
    "container",
];
const KINDS: [&str; 8] = ["request", "notification", "response", "error", "other", "step", "up", "note"];
const STEPS: [&str; 7] = [
    "connect for the container",
    "connect for the server",
    "create, start and attach",
    "inspect the image",
    "start the server",
    "take a name",
    "take the server's pipes",
];

/// One session with something of everything, traced into `file`; what the client saw.
fn traced(client: &str, file: &Path, bodies: bool) -> Vec<Value> {
    let trace = format!("--trace={}", file.display());
    let hidden = format!("HIDDEN={SECRET}");
    let mut berth = Berth::run("fixture").client(client).args([trace.as_str(), "--secret", hidden.as_str()]);
    if bodies {
        berth = berth.args(["--trace-bodies"]);
    }
    let mut session = berth.start();
    session.initialize();
    session.container();
    let call = |id: &str, tool: &str, arguments: Value| json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": tool, "arguments": arguments } });
    let mut seen = Vec::new();
    for request in [
        call("noisy", "noise", json!({ "text": "a stray print" })),
        call("secret", "env", json!({ "name": "HIDDEN" })),
        call("keyed", "echo", json!({ "text": "keyed", "api_key": "looks-like-one" })),
        call("slow", "sleep", json!({ "ms": 300 })),
        json!({ "jsonrpc": "2.0", "id": "wrong", "method": "no/such" }),
    ] {
        session.send(&request);
        // The very next line: the stray print and the trace must not be there.
        seen.push(session.message());
    }
    session.close();
    assert_eq!(session.exit_code(), Some(0));
    assert_eq!(session.rest(), Vec::<Vec<u8>>::new());
    seen
}

/// Each line is an object of the documented form.
fn records(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.ends_with('\n'), "the last line is whole");
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(!records.is_empty(), "a session has passed");
    for record in &records {
        let members = record.as_object().unwrap();
        for (name, value) in members {
            let right = match name.as_str() {
                "time" => value.as_str().is_some_and(|time| time.len() == 27 && time.ends_with('Z')),
                "direction" => value == "client->server" || value == "server->client",
                "kind" => KINDS.iter().any(|kind| value == kind),
                "session" | "name" | "method" | "detail" => value.is_string(),
                "bytes" | "batch" | "count" => value.is_u64(),
                "code" => value.is_i64(),
                "latency_ms" | "duration_ms" => {
                    value.as_f64().is_some_and(|ms| (0.0..60_000.0).contains(&ms))
                }
                name => MEMBERS.contains(&name),
            };
            assert!(right, "`{name}` of {record}");
        }
        let has = |name: &str| members.contains_key(name);
        assert!(has("time") && has("kind") && has("session"), "{record}");
        let kind = record["kind"].as_str().unwrap();
        let ours = kind == "step" || kind == "up" || record["name"] == "server ended";
        assert_eq!(has("direction"), !ours, "{record}");
        assert_eq!(has("tool"), record["method"] == "tools/call", "{record}");
        assert_eq!(has("name"), kind == "step" || kind == "note", "{record}");
        assert_eq!(has("duration_ms"), kind == "step" || kind == "up", "{record}");
        assert_eq!(has("method"), kind == "request" || kind == "notification", "{record}");
        assert_eq!(has("id"), ["request", "response", "error"].contains(&kind), "{record}");
        assert_eq!(has("code"), kind == "error", "{record}");
    }
    records
}

/// The record of this kind with this id.
fn of<'a>(records: &'a [Value], kind: &str, id: &str) -> &'a Value {
    let found: Vec<&Value> =
        records.iter().filter(|record| record["kind"] == kind && record["id"] == id).collect();
    assert_eq!(found.len(), 1, "{kind} {id} in {records:#?}");
    found[0]
}

#[test]
fn the_file_has_each_step_of_the_start_and_each_message() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace.jsonl");
    let seen = traced("it-trace", &file, false);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let records = records(&file);

    let steps: BTreeSet<&str> = records
        .iter()
        .filter(|record| record["kind"] == "step")
        .map(|record| record["name"].as_str().unwrap())
        .collect();
    assert_eq!(steps, BTreeSet::from(STEPS));
    let took = |name: &str| {
        records.iter().find(|record| record["name"] == name).unwrap()["duration_ms"].as_f64().unwrap()
    };
    assert!(took("create, start and attach") > 10.0, "nobody starts a container faster");

    for (id, tool) in [("noisy", "noise"), ("secret", "env"), ("keyed", "echo"), ("slow", "sleep")] {
        let (request, response) = (of(&records, "request", id), of(&records, "response", id));
        assert_eq!((&request["method"], &request["tool"]), (&json!("tools/call"), &json!(tool)));
        assert_eq!(
            (&request["direction"], &response["direction"]),
            (&json!("client->server"), &json!("server->client"))
        );
        assert_eq!(request.get("latency_ms"), None);
        assert!(request["time"].as_str() < response["time"].as_str(), "{request} {response}");
        assert!(response["latency_ms"].as_f64().unwrap() > 0.0, "{response}");
    }
    let slow = of(&records, "response", "slow")["latency_ms"].as_f64().unwrap();
    assert!((300.0..10_000.0).contains(&slow), "it slept for 300 ms: {slow}");
    let wrong = of(&records, "error", "wrong");
    assert_eq!(wrong["code"], seen[4]["error"]["code"]);
    assert_eq!(wrong["bytes"], seen[4].to_string().len() + 1);
    let notified = records.iter().find(|record| record["kind"] == "notification").expect("a notification");
    assert_eq!(notified["method"], "notifications/initialized");

    let stray: Vec<&Value> = records.iter().filter(|record| record["name"] == "stray output").collect();
    assert_eq!(stray.len(), 1, "{stray:?}");
    assert_eq!(stray[0]["bytes"], "a stray print\n".len());
    assert_eq!(stray[0]["direction"], "server->client");
}

#[test]
fn bodies_are_there_only_when_asked_for_and_show_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let (without, with) = (folder.path().join("without"), folder.path().join("with"));
    traced("it-trace-plain", &without, false);
    let plain = records(&without);
    assert!(plain.iter().all(|record| record.get("body").is_none()));
    for kind in ["request", "response"] {
        assert_eq!(of(&plain, kind, "secret")["id"], "secret", "it would have had one");
    }

    let seen = traced("it-trace-bodies", &with, true);
    assert!(seen[1].to_string().contains(SECRET), "the client gets what the server says: {}", seen[1]);
    let shown = records(&with);
    let body = |kind: &str, id: &str| of(&shown, kind, id)["body"].clone();
    assert_eq!(body("response", "slow"), seen[3]);
    assert_eq!(body("request", "secret")["params"]["arguments"]["name"], "HIDDEN");
    assert!(body("response", "secret").to_string().contains("[redacted]"), "{}", body("response", "secret"));
    assert_eq!(
        body("request", "keyed")["params"]["arguments"],
        json!({ "text": "keyed", "api_key": "[redacted]" })
    );

    for file in [without, with] {
        let text = std::fs::read_to_string(file).unwrap();
        assert!(!text.contains(SECRET) && !text.contains("looks-like-one"), "{text}");
    }
}

#[test]
fn for_a_person_it_is_lines_on_standard_error_and_standard_output_stays_clean() {
    let mut session = Berth::run("fixture").client("it-trace-lines").args(["--trace"]).start();
    session.initialize();
    session.call_first("echo", json!({ "text": "echoed" }));
    session.close();
    assert_eq!(session.exit_code(), Some(0));
    assert_eq!(session.rest(), Vec::<Vec<u8>>::new());
    let said = session.stderr();
    let line = |words: &[&str]| {
        let found = said.lines().find(|line| words.iter().all(|word| line.contains(word)));
        assert!(found.is_some(), "no line with {words:?} in:\n{said}");
    };
    // Some times are of microseconds, and some of seconds.
    line(&["berth ", "step ", "create, start and attach ", "s "]);
    line(&["berth ", "step ", "inspect the image ", "s "]);
    line(&["client->server", "request ", "initialize", " B"]);
    line(&["server->client", "response ", "id=", " B ", "s"]);
    line(&["client->server", "notification ", "notifications/initialized"]);
    assert!(!said.contains("echoed"), "bodies were not asked for:\n{said}");
}
