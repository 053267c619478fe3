//! `berth import --one-entry`, in Claude Code itself: what was allowed is allowed still, and what was denied is denied.

use serde_json::{Value, json};

use super::import::{berth, newcomer, says};
use super::model::call;
use super::person::succeeds;

/// The rules of a person for three servers: of a whole server, of a tool, by a wildcard.
const RULES: &str = r#"{
  "permissions": {
    "allow": ["mcp__files", "mcp__git__echo", "mcp__time__*"],
    "deny": ["mcp__files__pid", "mcp__time__lim*"]
  }
}
"#;

/// What is called, and whether it was allowed.
const CALLS: [(&str, &str, bool); 6] = [
    ("files", "echo", true),
    ("files", "pid", false),
    ("git", "echo", true),
    ("git", "pid", false),
    ("time", "echo", true),
    ("time", "limits", false),
];

#[test]
fn an_allowed_tool_of_three_servers_stays_allowed_and_a_denied_one_denied() {
    let calls = CALLS.map(|(server, tool, _)| {
        call("work", &format!("{server}__{tool}"), json!({ "text": format!("ahoy from {server}") }))
    });
    let person = newcomer(calls.to_vec(), "");
    let entry = json!({ "command": "docker", "args": ["run", "-i", "--rm", "berth-fixture"] });
    let servers = json!({ "mcpServers": { "files": entry, "git": entry, "time": entry } });
    let servers = format!("{servers:#}\n");
    person.write(".claude.json", &servers);
    person.write(".claude/settings.json", RULES);

    let (code, said) = says(berth(&person, &["import", "claude-code", "--one-entry"]));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("`files`, `git`, `time` became the entry `work`, by [profiles.work]"), "{said}");
    let entries: Value = serde_json::from_str(&person.read(".claude.json")).unwrap();
    let names: Vec<&String> = entries["mcpServers"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["work"]);
    let rules = RULES
        .replace("\"mcp__files\"", "\"mcp__work__files__*\"")
        .replace("mcp__git__echo", "mcp__work__git__echo")
        .replace("mcp__time__", "mcp__work__time__")
        .replace("mcp__files__pid", "mcp__work__files__pid");
    assert_eq!(person.read(".claude/settings.json"), rules);

    let mut prompt = person.claude();
    prompt.args(["-p", "go", "--permission-mode", "dontAsk"]).env("MCP_CONNECTION_NONBLOCKING", "false");
    assert_eq!(succeeds(prompt).trim(), "done");
    let results = person.model.results();
    assert_eq!(results.len(), CALLS.len(), "{results:?}");
    for ((server, tool, is_allowed), result) in CALLS.iter().zip(&results) {
        let ran = result.contains(&format!("ahoy from {server}"));
        assert_eq!(ran, *is_allowed, "{server} {tool}: {result}");
        // A tool that is denied by its name is not there at all.
        let refused = result.contains("denied") || result.contains("No such tool");
        assert_eq!(refused, !is_allowed, "{server} {tool}: {result}");
    }

    let (code, said) = says(berth(&person, &["import", "claude-code", "--undo"]));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(person.read(".claude/settings.json"), RULES);
    // Claude Code has written into its own file since.
    let entries: Value = serde_json::from_str(&person.read(".claude.json")).unwrap();
    let before: Value = serde_json::from_str(&servers).unwrap();
    assert_eq!(entries["mcpServers"], before["mcpServers"]);
    assert!(!person.read("berth.toml").contains("[profiles"));
}
