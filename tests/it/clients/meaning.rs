//! What an imported server is for, in Claude Code itself: nobody writes a line by hand.

use serde_json::{Value, json};

use super::import::{berth, newcomer, says};
use super::model::{Call, Model, call};
use super::person::{Person, succeeds};
use crate::harness::{Berth, docker};

/// Removed with the test, also where it fails.
struct Volume(&'static str);

impl Volume {
    fn new(name: &'static str) -> Self {
        docker(&["volume", "rm", "-f", name]);
        Self(name)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        docker(&["volume", "rm", "-f", self.0]);
    }
}

/// What the tools of one session of Claude Code answer.
fn session(person: &mut Person, calls: Vec<Call>) -> String {
    person.model = Model::with(calls);
    let mut prompt = person.claude_prompt();
    prompt.arg("mcp__remembering").arg("--strict-mcp-config");
    prompt
        .arg("--mcp-config")
        .arg(person.project().join(".mcp.json"))
        .env("MCP_CONNECTION_NONBLOCKING", "false");
    assert_eq!(succeeds(prompt).trim(), "done");
    person.model.results().join("\n")
}

#[test]
fn the_second_session_of_claude_code_knows_what_the_first_remembered() {
    let _volume = Volume::new("berth-data-claude-code_server-memory-data");
    let mut person = newcomer(Vec::new(), "");
    let entry = json!({ "command": "npx", "args": ["-y", "@modelcontextprotocol/server-memory@2026.7.4"] });
    person.write("project/.mcp.json", &json!({ "mcpServers": { "remembering": entry } }).to_string());
    let said = succeeds(berth(&person, &["import", "claude-code"]));
    assert!(said.contains("kept in the volume `server-memory-data`"), "{said}");
    succeeds(berth(&person, &["bake", "remembering"]));

    let thing = json!({ "name": "Ahoy", "entityType": "ship", "observations": ["has two masts"] });
    session(&mut person, vec![call("remembering", "create_entities", json!({ "entities": [thing] }))]);
    let read = || vec![call("remembering", "read_graph", json!({}))];
    let known = session(&mut person, read());
    assert!(known.contains("has two masts"), "{known}");

    // Another window, and the health check, while the first window is open.
    let config = person.home().join("berth.toml");
    let mut window = Berth::run("remembering")
        .client("claude-code")
        .args(["--config", config.to_str().unwrap()])
        .started();
    let known = session(&mut person, read());
    assert!(known.contains("has two masts"), "{known}");
    let mut list = person.claude();
    list.args(["mcp", "list"]);
    person.write(".claude.json", &person.read("project/.mcp.json"));
    assert!(succeeds(list).contains("Connected"));
    let answer: Value = window.call("read_graph", json!({}));
    assert!(answer.to_string().contains("has two masts"), "{answer}");
}

#[test]
fn what_the_daemon_does_not_see_yet_is_told_and_nothing_is_tried() {
    let person = newcomer(Vec::new(), "");
    let notes = tempfile::tempdir().unwrap();
    let notes = notes.path();
    let mount = format!("{}:/notes", notes.display());
    let entry = json!({ "command": "docker", "args": ["run", "-i", "--rm", "-v", mount, "berth-fixture"] });
    let text = json!({ "mcpServers": { "notes": entry } }).to_string();
    person.write("project/.mcp.json", &text);
    let (code, said) = says(berth(&person, &["import", "claude-code"]));
    assert_eq!(code, Some(78), "{said}");
    let told = format!(
        "`notes` stays as it is: it mounts `{}`, which the daemon is not to see yet",
        notes.display()
    );
    assert!(said.contains(&told) && said.contains("`berth import --share` writes it"), "{said}");
    // The file that servers are tried with is nobody's to correct.
    assert!(!said.contains(".berth-import-"), "{said}");
    assert_eq!(person.read("project/.mcp.json"), text);
}
