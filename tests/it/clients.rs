//! Real clients, as installed from npm: what they make of a server that berth runs, and what they leave behind after
//! each way of quitting. The model that drives them is ours; see `model.rs`.

mod import;
mod meaning;
mod model;
mod moved;
mod one_entry;
mod person;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{PATIENCE, at_once, berth_says, containers_of, eventually, expect_gone};
use model::call;
use person::{Person, cache, succeeds};

/// Longer than any test waits; it ends with its client.
const FOREVER_MS: u32 = 600_000;

/// With one server, whose containers are the test's own.
fn person(client: &str, tool: &str, arguments: Value) -> Person {
    let person = Person::new(vec![call("fixture", tool, arguments)]);
    person.has_server("fixture", &["run", "fixture", "--client", client]);
    person
}

#[test]
fn claude_mcp_list_says_connected() {
    let person = person("it-claude-list", "echo", json!({}));
    let mut list = person.claude();
    list.args(["mcp", "list"]);
    let said = succeeds(list);
    assert!(said.lines().any(|line| line.starts_with("fixture:") && line.ends_with("Connected")), "{said}");
    expect_gone("it-claude-list");
}

#[test]
fn claude_code_calls_a_tool_and_hears_its_answer() {
    let person = person("it-claude-call", "echo", json!({ "text": "salt and tar" }));
    let mut prompt = person.claude_prompt();
    prompt.arg("mcp__fixture__echo");
    assert_eq!(succeeds(prompt).trim(), "done");
    let results = person.model.results();
    assert!(matches!(&results[..], [result] if result.contains("salt and tar")), "{results:?}");
    expect_gone("it-claude-call");
}

#[test]
fn codex_calls_a_tool_and_hears_its_answer() {
    let person = person("it-codex-call", "echo", json!({ "text": "salt and tar" }));
    assert_eq!(succeeds(person.codex_prompt()).trim(), "done");
    let results = person.model.results();
    assert!(matches!(&results[..], [result] if result.contains("salt and tar")), "{results:?}");
    expect_gone("it-codex-call");
}

#[test]
fn claude_code_leaves_nothing_however_it_quits() {
    quits_in_each_way("claude", |person| {
        let mut prompt = person.claude_prompt();
        prompt.arg("mcp__fixture__sleep");
        prompt
    });
}

#[test]
fn codex_leaves_nothing_however_it_quits() {
    quits_in_each_way("codex", Person::codex_prompt);
}

/// In the middle of a call.
fn quits_in_each_way(name: &str, prompt: impl Fn(&Person) -> Command + Sync) {
    at_once(vec!["INT", "TERM", "KILL"], |_, signal| {
        let own = format!("it-{name}-{}", signal.to_lowercase());
        let person = person(&own, "sleep", json!({ "ms": FOREVER_MS }));
        let trace = person.home().join("trace.jsonl");
        person.has_server(
            "fixture",
            &["run", "fixture", "--client", &own, &format!("--trace={}", trace.display()), "--trace-bodies"],
        );
        let mut client = Running(
            prompt(&person).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the client starts"),
        );
        eventually("the call", PATIENCE, || {
            let trace = std::fs::read_to_string(&trace).unwrap_or_default();
            trace.contains("tools/call").then_some(())
        });
        assert!(!containers_of(&own).is_empty(), "{own}");
        client.signal(signal);
        eventually("the client's end", Duration::from_secs(20), || client.0.try_wait().expect("a child"));
        expect_gone(&own);
        assert_eq!(person.model.results(), Vec::<String>::new(), "{own}");
    });
}

#[test]
fn each_client_tells_its_session_and_its_project() {
    type Prompt = fn(&Person) -> Command;
    let prompts: [(&str, Prompt); 2] = [
        ("it-codex-whose", Person::codex_prompt),
        ("it-claude-whose", |person| {
            let mut prompt = person.claude_prompt();
            prompt.arg("mcp__fixture__sleep");
            prompt
        }),
    ];
    for (own, prompt) in prompts {
        let person = person(own, "sleep", json!({ "ms": FOREVER_MS }));
        let client =
            prompt(&person).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the client starts");
        let client = Running(client);
        let row = eventually("a client that has said who it is", PATIENCE, || {
            let rows: Value = serde_json::from_str(&berth_says(&["ps", "--json"]).1).expect("JSON");
            let rows = rows.as_array().expect("a list").clone();
            rows.into_iter().find(|row| row["client"] == own && row["client_session"] != "")
        });
        assert_eq!(row["project"], json!(person.project()), "{row}");
        let session = row["client_session"].as_str().expect("a text");
        assert!(session.len() == 36 && session.split('-').count() == 5, "a UUID: {session}");
        drop(client);
        expect_gone(own);
    }
}

#[test]
fn the_inspector_reads_the_same_directly_and_through_berth() {
    let person = Person::new(Vec::new());
    let programs = glob(&cache().join("fixture"), "release/berth-fixture");
    let servers = json!({ "mcpServers": {
        "direct": { "command": programs, "args": [] },
        "berth": {
            "command": "berth", "args": ["run", "fixture", "--client", "it-inspector"],
            "env": { "BERTH_HOME": crate::harness::home() },
        },
    } });
    person.write("servers.json", &servers.to_string());
    let ask = |server: &str, args: &[&str]| -> Value {
        let mut inspector = person.inspector();
        inspector.args(["--cli", "--config"]).arg(person.home().join("servers.json"));
        inspector.args(["--server", server, "--method"]).args(args);
        let said = succeeds(inspector);
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error} in {said}"))
    };
    let questions: [&[&str]; 2] =
        [&["tools/list"], &["tools/call", "--tool-name", "echo", "--tool-arg", "text=\u{e4}\u{1f980} \\n"]];
    for question in questions {
        let (direct, through_berth) = (ask("direct", question), ask("berth", question));
        assert_eq!(direct, through_berth);
        assert!(
            direct.get("tools").is_some() || direct["content"][0]["text"] == "\u{e4}\u{1f980} \\n",
            "{direct}"
        );
    }
    expect_gone("it-inspector");
}

/// The one file that ends with `end` in a folder of `folder`.
fn glob(folder: &std::path::Path, end: &str) -> std::path::PathBuf {
    let entries = std::fs::read_dir(folder).expect("`bash fixtures/setup.sh` compiles the fixture");
    let found = entries.filter_map(|entry| Some(entry.ok()?.path().join(end))).find(|path| path.exists());
    found.expect("`bash fixtures/setup.sh` compiles the fixture")
}

/// A client, killed when it is dropped.
struct Running(Child);

impl Running {
    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.0.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// With two servers behind one entry, the second with a list of several pages.
fn person_of_several(client: &str, calls: Vec<model::Call>) -> Person {
    let person = Person::new(calls);
    person.has_server("work", &["run", "first", "paged", "--entry", "work", "--client", client]);
    person
}

#[test]
fn claude_code_calls_tools_of_two_servers_behind_one_entry() {
    let calls = vec![
        call("work", "first__echo", json!({ "text": "salt and tar" })),
        call("work", "paged__extra_119", json!({})),
    ];
    let person = person_of_several("it-claude-several", calls);
    let mut prompt = person.claude_prompt();
    prompt.arg("mcp__work__first__echo,mcp__work__paged__extra_119");
    assert_eq!(succeeds(prompt).trim(), "done");
    let results = person.model.results();
    assert!(
        matches!(&results[..], [one, two] if one.contains("salt and tar") && two.contains("extra_119")),
        "{results:?}"
    );
    expect_gone("it-claude-several");
}

#[test]
fn codex_sees_all_pages_of_all_servers_behind_one_entry() {
    let calls = vec![
        call("work", "paged__extra_119", json!({})),
        call("work", "first__echo", json!({ "text": "tar" })),
    ];
    let person = person_of_several("it-codex-several", calls);
    assert_eq!(succeeds(person.codex_prompt()).trim(), "done");
    let results = person.model.results();
    assert!(
        matches!(&results[..], [one, two] if one.contains("extra_119") && two.contains("tar")),
        "{results:?}"
    );
    expect_gone("it-codex-several");
}
