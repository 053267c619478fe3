//! `berth install`, `uninstall` and `import`, in the home folder of a person who has never used berth or these servers
//! in containers.

use std::process::Command;

use serde_json::{Value, json};

use super::model::call;
use super::person::{Person, succeeds};
use crate::harness::{GONE_WITHIN, docker_says, eventually};

/// With a configuration of the person's own, for the tests' daemon.
pub(super) fn newcomer(calls: Vec<super::model::Call>, servers: &str) -> Person {
    let person = Person::new(calls);
    let all = include_str!("../berth.toml");
    // Those of the daemon and of packages; no server of the tests.
    let tables = all.split("\n[").filter(|table| !table.trim_start_matches('[').starts_with("servers."));
    let config = tables.collect::<Vec<_>>().join("\n[");
    person.write("berth.toml", &format!("{config}\n{servers}"));
    person
}

/// `berth --config …`, as that person.
pub(super) fn berth(person: &Person, args: &[&str]) -> Command {
    let mut command = person.berth();
    command.arg("--config").arg(person.home().join("berth.toml")).args(args);
    command
}

/// Exit code, and all that is said.
fn says(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// The names in a folder that end like a backup's.
fn backups(person: &Person, folder: &str) -> usize {
    let entries = std::fs::read_dir(person.home().join(folder)).expect("a folder");
    entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "bak")).count()
}

const FIXTURE: &str = "[servers.fixture]\nimage = \"berth-fixture\"\nenv = { MODE = \"${MODE:-none}\" }\n";

#[test]
fn an_installed_server_is_connected_and_taken_out_again_without_a_trace() {
    let person = newcomer(vec![call("fixture", "echo", json!({ "text": "ahoy" }))], FIXTURE);
    let (code, said) = says(berth(&person, &["install", "claude-code", "fixtrue"]));
    assert_eq!((code, said.contains("did you mean `fixture`?")), (Some(78), true), "{said}");

    // By Claude Code's own command, into its own file.
    succeeds(berth(&person, &["install", "claude-code", "fixture"]));
    let entry: Value = serde_json::from_str(&person.read(".claude.json")).unwrap();
    assert_eq!(entry["mcpServers"]["fixture"]["command"], "berth", "{entry}");
    let mut list = person.claude();
    list.args(["mcp", "list"]);
    assert!(succeeds(list).contains("Connected"));
    let before = person.read(".claude.json");
    assert!(succeeds(berth(&person, &["install", "claude-code", "fixture"])).contains("is there already"));
    assert_eq!(person.read(".claude.json"), before);
    succeeds(berth(&person, &["uninstall", "claude-code", "fixture"]));
    let left: Value = serde_json::from_str(&person.read(".claude.json")).unwrap();
    assert_eq!(left["mcpServers"].get("fixture"), None, "{left}");
    assert!(
        succeeds(berth(&person, &["uninstall", "claude-code", "fixture"])).contains("there is no `fixture`")
    );

    // Into the project's file, whose layout is the project's.
    let mcp = "{\n    \"mcpServers\": {\n        \"other\": {\"command\": \"x\"}\n    }\n}\n";
    person.write("project/.mcp.json", mcp);
    let project = |command, name| berth(&person, &[command, "claude-code", "--scope", "project", name]);
    succeeds(project("install", "fixture"));
    let installed = person.read("project/.mcp.json");
    assert!(installed.starts_with(mcp.split_once("}\n    }").unwrap().0), "{installed}");
    assert_eq!(backups(&person, "project"), 1);
    succeeds(project("uninstall", "fixture"));
    assert_eq!(person.read("project/.mcp.json"), mcp);
    let (code, said) = says(project("uninstall", "other"));
    assert_eq!((code, said.contains("not berth's")), (Some(78), true), "{said}");

    // Codex, which would pass none of the variables.
    let before = person.read(".codex/config.toml");
    succeeds(berth(&person, &["install", "codex", "fixture"]));
    let installed = person.read(".codex/config.toml");
    assert!(
        installed.starts_with(&before) && installed.contains("env_vars = [\"BERTH_HOME\", \"MODE\"]"),
        "{installed}"
    );
    assert_eq!(succeeds(person.codex_prompt()).trim(), "done");
    let results = person.model.results();
    assert!(matches!(&results[..], [result] if result.contains("ahoy")), "{results:?}");
    succeeds(berth(&person, &["uninstall", "codex", "fixture"]));
    assert_eq!(person.read(".codex/config.toml"), before);
}

#[test]
fn npx_uvx_and_docker_servers_are_imported_and_work_in_both_clients() {
    let calls = || {
        vec![
            call("memory", "read_graph", json!({})),
            call("time", "get_current_time", json!({ "timezone": "UTC" })),
            call("fixture", "env", json!({ "name": "GH_TOKEN" })),
        ]
    };
    let mine = "# berth, my way\n[servers.mine]\nimage = \"berth-fixture\" # as it was\n";
    let person = newcomer(calls(), mine);
    let mcp = json!({ "mcpServers": {
        "memory": { "command": "npx", "args": ["-y", "@modelcontextprotocol/server-memory@2026.7.4"] },
        "time": { "command": "uvx", "args": ["mcp-server-time@2026.10.10"] },
        "fixture": {
            "command": "docker", "args": ["run", "-i", "--rm", "-e", "GH_TOKEN", "berth-fixture"],
            "env": { "GH_TOKEN": "hunter2-hunter2" },
        },
        "web": { "type": "http", "url": "https://127.0.0.1:9/mcp" },
        "odd": { "command": "/opt/odd", "args": [] },
    } });
    let mcp = format!("{mcp:#}\n");
    person.write("project/.mcp.json", &mcp);
    let config = person.read("berth.toml");

    let (code, shown) = says(berth(&person, &["import", "claude-code", "--dry-run"]));
    assert_eq!(code, Some(78), "{shown}");
    for part in [
        "+[servers.memory]",
        "-      \"command\": \"npx\",",
        "+      \"command\": \"berth\",",
        "`web` is not",
        "`odd` stays",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(!shown.contains("hunter2") && shown.contains("+secrets = { GH_TOKEN"), "{shown}");
    assert_eq!((person.read("project/.mcp.json"), person.read("berth.toml")), (mcp, config.clone()));

    let (code, said) = says(berth(&person, &["import", "claude-code"]));
    assert_eq!((code, said.contains("cannot import 1 of the servers")), (Some(78), true), "{said}");
    let imported = person.read("berth.toml");
    assert!(imported.starts_with(&config) && !imported.contains("hunter2"), "{imported}");
    assert!(imported.contains("secrets = { GH_TOKEN = \"${GH_TOKEN}\" }"), "{imported}");
    let entries: Value = serde_json::from_str(&person.read("project/.mcp.json")).unwrap();
    let entries = &entries["mcpServers"];
    assert_eq!(entries["fixture"]["env"]["GH_TOKEN"], "hunter2-hunter2");
    assert_eq!((&entries["odd"]["command"], &entries["web"]["type"]), (&json!("/opt/odd"), &json!("http")));
    let own = person.home().join("berth.toml");
    for name in ["memory", "time", "fixture"] {
        assert_eq!(entries[name]["command"], "berth");
        assert_eq!(entries[name]["args"], json!(["run", name, "--config", own]));
    }
    // Twice changes nothing.
    let (_, again) = says(berth(&person, &["import", "claude-code"]));
    assert!(again.contains("`memory` is berth's already"), "{again}");
    assert_eq!(person.read("berth.toml"), imported);

    succeeds(berth(&person, &["bake", "memory", "time"]));
    let answered = |person: &Person| {
        let results = person.model.results();
        assert_eq!(results.len(), 3, "{results:?}");
        for (result, part) in results.iter().zip(["entities", "UTC", "hunter2-hunter2"]) {
            assert!(result.contains(part), "{part} in {result}");
        }
    };
    let mut prompt = person.claude_prompt();
    prompt.arg("mcp__memory,mcp__time,mcp__fixture").arg("--strict-mcp-config");
    prompt
        .arg("--mcp-config")
        .arg(person.project().join(".mcp.json"))
        .env("MCP_CONNECTION_NONBLOCKING", "false");
    assert_eq!(succeeds(prompt).trim(), "done");
    answered(&person);

    // The same servers for Codex.
    let other = newcomer(calls(), "");
    other.write("berth.toml", &imported);
    succeeds(berth(&other, &["install", "codex", "memory", "time", "fixture"]));
    let codex = other.read(".codex/config.toml");
    other.write(
        ".codex/config.toml",
        &codex.replace("command = \"berth\"", "command = \"berth\"\nrequired = true"),
    );
    let mut prompt = other.codex_prompt();
    prompt.env("GH_TOKEN", "hunter2-hunter2");
    assert_eq!(succeeds(prompt).trim(), "done");
    answered(&other);
    eventually("the end of the imported servers' containers", GONE_WITHIN, || {
        let left = ["memory", "time"].map(|name| {
            docker_says(&[
                "ps",
                "-aq",
                "--filter",
                &format!("label=io.mcp-berth.server={name}"),
                "--filter",
                "label=io.mcp-berth.client=codex",
            ])
        });
        left.iter().all(String::is_empty).then_some(())
    });
}

#[test]
fn two_scopes_in_one_file_are_imported_at_once_and_no_secret_is_shown() {
    let person = newcomer(Vec::new(), "");
    let project = person.project();
    let config = json!({
        "accessToken": "hunter1-hunter1",
        "projects": { project.to_str().unwrap(): { "mcpServers": {
            "near": { "command": "npx", "args": ["near-server"], "env": { "PLAIN": "hunter2-hunter2" } },
        } } },
        "mcpServers": {
            "far": { "command": "docker", "args": ["run", "-i", "-e", "A_TOKEN=hunter3-hunter3", "far"] },
            "kept": { "command": "npx", "args": ["kept-server", "postgres://user:hunter4@host/data"] },
        },
    });
    person.write(".claude.json", &config.to_string());
    let (code, said) = says(berth(&person, &["import", "claude-code"]));
    assert_eq!((code, said.contains("`kept` stays as it is")), (Some(78), true), "{said}");
    assert!(!said.contains("hunter"), "{said}");
    let after: Value = serde_json::from_str(&person.read(".claude.json")).unwrap();
    assert_eq!(after["projects"][project.to_str().unwrap()]["mcpServers"]["near"]["command"], "berth");
    assert_eq!(after["mcpServers"]["far"]["command"], "berth");
    assert_eq!(after["mcpServers"]["far"]["env"]["A_TOKEN"], "hunter3-hunter3");
    assert_eq!(after["mcpServers"]["kept"], config["mcpServers"]["kept"]);
    assert!(!person.read("berth.toml").contains("hunter"));
    assert_eq!(backups(&person, "."), 2);
}
