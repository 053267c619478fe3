//! `berth install`, `uninstall` and `import`, in the home folder of a person who has never used berth or these servers
//! in containers.

use std::process::Command;

use serde_json::{Value, json};

use super::model::call;
use super::person::{Person, succeeds};
use crate::harness::{self, GONE_WITHIN, docker_says, eventually};

/// With a configuration of the person's own, for the tests' daemon.
pub(super) fn newcomer(calls: Vec<super::model::Call>, servers: &str) -> Person {
    let person = Person::new(calls);
    let all = include_str!("../berth.toml");
    // Those of the daemon and of packages; no server of the tests.
    let is_servers = |table: &&str| {
        ["servers.", "profiles."].iter().any(|head| table.trim_start_matches('[').starts_with(head))
    };
    let tables = all.split("\n[").filter(|table| !is_servers(table));
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
pub(super) fn says(mut command: Command) -> (Option<i32>, String) {
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
    assert_eq!(entry["mcpServers"]["fixture"]["command"], env!("CARGO_BIN_EXE_berth"), "{entry}");
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

    // `claude mcp add-json` refuses a name with a dot; Claude Code runs it all the same.
    let dotted = |command| berth(&person, &[command, "claude-code", "a.dot"]);
    person.write(
        "berth.toml",
        &(person.read("berth.toml") + "\n[servers.\"a.dot\"]\nimage = \"berth-fixture\"\n"),
    );
    succeeds(dotted("install"));
    let entry: Value = serde_json::from_str(&person.read(".claude.json")).unwrap();
    assert_eq!(entry["mcpServers"]["a.dot"]["args"][1], "a.dot", "{entry}");
    let mut list = person.claude();
    list.args(["mcp", "list"]);
    let said = succeeds(list);
    assert!(said.lines().any(|line| line.starts_with("a.dot:") && line.ends_with("Connected")), "{said}");
    succeeds(dotted("uninstall"));
    let left: Value = serde_json::from_str(&person.read(".claude.json")).unwrap();
    assert_eq!(left["mcpServers"].get("a.dot"), None, "{left}");

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
    let audit = std::fs::read_to_string(harness::home().join("state/audit.jsonl")).unwrap();
    let file = person.home().join(".codex/config.toml").display().to_string();
    for (command, done) in [("install", "installed"), ("uninstall", "taken out")] {
        let noted = format!("`berth {command}`: Codex, user ({file}): `fixture` {done}");
        assert!(audit.contains(&noted), "{noted}");
    }
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
    assert!(!shown.contains("hunter2") && shown.contains("+env_vars = [\"GH_TOKEN\"]"), "{shown}");
    assert_eq!((person.read("project/.mcp.json"), person.read("berth.toml")), (mcp, config.clone()));

    let (code, said) = says(berth(&person, &["import", "claude-code"]));
    assert_eq!((code, said.contains("cannot import 1 of the servers")), (Some(78), true), "{said}");
    for part in
        ["`memory` runs in a container now; it has 9 tools", "`time` runs in a container now; it has 2 tools"]
    {
        assert!(said.contains(part), "{part} in {said}");
    }
    let imported = person.read("berth.toml");
    assert!(imported.starts_with(&config) && !imported.contains("hunter2"), "{imported}");
    assert!(imported.contains("env_vars = [\"GH_TOKEN\"]"), "{imported}");
    let entries: Value = serde_json::from_str(&person.read("project/.mcp.json")).unwrap();
    let entries = &entries["mcpServers"];
    assert_eq!(entries["fixture"]["env"]["GH_TOKEN"], "hunter2-hunter2");
    assert_eq!((&entries["odd"]["command"], &entries["web"]["type"]), (&json!("/opt/odd"), &json!("http")));
    let own = person.home().join("berth.toml");
    for name in ["memory", "time", "fixture"] {
        assert_eq!(entries[name]["command"], "berth");
        assert_eq!(entries[name]["args"], json!(["run", name, "--client", "claude-code", "--config", own]));
    }
    // The container of such a server is shown with its entry's variables, and none of their values.
    let preview = succeeds(berth(&person, &["run", "--dry-run", "fixture"]));
    assert!(preview.contains("\"GH_TOKEN=[redacted]\"") && !preview.contains("hunter2"), "{preview}");
    // Twice changes nothing.
    let (_, again) = says(berth(&person, &["import", "claude-code"]));
    assert!(again.contains("`memory` is berth's already"), "{again}");
    assert_eq!(person.read("berth.toml"), imported);

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
        &codex.replace("\nargs = [\"run\"", "\nrequired = true\nargs = [\"run\""),
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
    let (code, said) = says(berth(&person, &["import", "claude-code", "--no-check"]));
    assert_eq!((code, said.contains("`kept` stays as it is")), (Some(78), true), "{said}");
    assert!(said.contains("`near` is taken over; not tried") && !said.contains("runs in a"), "{said}");
    assert!(!said.contains("hunter"), "{said}");
    let after: Value = serde_json::from_str(&person.read(".claude.json")).unwrap();
    assert_eq!(
        after["projects"][project.to_str().unwrap()]["mcpServers"]["near"]["command"],
        env!("CARGO_BIN_EXE_berth")
    );
    assert_eq!(after["mcpServers"]["far"]["command"], env!("CARGO_BIN_EXE_berth"));
    assert_eq!(after["mcpServers"]["far"]["env"]["A_TOKEN"], "hunter3-hunter3");
    assert_eq!(after["mcpServers"]["kept"], config["mcpServers"]["kept"]);
    assert!(!person.read("berth.toml").contains("hunter"));
    assert_eq!(backups(&person, "."), 2);
}

#[test]
fn a_server_that_does_not_start_stays_with_its_client_and_the_reason_is_told() {
    let person = newcomer(Vec::new(), "");
    let dies = "echo 'npm warn x' >&2; echo 'Error: spawn git ENOENT' >&2; for i in 1 2 3 4 5 6; do echo '    at f (x.js)' >&2; done; exit 3";
    let full = "dd if=/dev/zero of=/tmp/full bs=1M count=2000 >&2; exit 4";
    let shell = |script| json!({ "command": "docker", "args": ["run", "-i", "--rm", "--entrypoint", "/bin/sh", "berth-node", "-c", script] });
    let mcp = json!({ "mcpServers": {
        "@scope/the fixture": {
            "command": "docker", "args": ["run", "-i", "--rm", "berth-fixture"],
            "env": { "PATH": "/nowhere", "BERTH_HOME": "/nowhere" },
        },
        "dies": shell(dies),
        "full": shell(full),
    } });
    person.write("project/.mcp.json", &mcp.to_string());
    let config = person.read("berth.toml");

    let (code, said) = says(berth(&person, &["import", "claude-code"]));
    assert_eq!(code, Some(78), "{said}");
    let why = "`dies` stays as it is: the server `dies` exited with code 3; its last words: Error: spawn git ENOENT; it needs `git`";
    assert!(said.contains(why), "{said}");
    assert!(said.contains("No space left on device") && said.contains("raise it with `tmpfs"), "{said}");
    let after: Value = serde_json::from_str(&person.read("project/.mcp.json")).unwrap();
    for name in ["dies", "full"] {
        assert_eq!(after["mcpServers"][name], mcp["mcpServers"][name]);
    }
    let own = person.home().join("berth.toml");
    let fixture = json!({ "command": "berth", "args": ["run", "scope-the-fixture", "--client", "claude-code", "--config", own] });
    assert_eq!(after["mcpServers"]["@scope/the fixture"], fixture);
    let table = "\n[servers.scope-the-fixture]\nimage = \"berth-fixture\"\n";
    assert_eq!(person.read("berth.toml"), format!("{config}{table}"));
    let names = std::fs::read_dir(person.home()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with(".berth-import")).collect();
    assert!(left.is_empty(), "{left:?}");
    // What it has said comes true in the client.
    let mut list = person.claude();
    list.args(["mcp", "list"]);
    let listed = succeeds(list);
    assert!(listed.contains("@scope/the fixture"), "{listed}");
    // A project's servers wait for their person's word there; as one's own, Claude Code connects to it.
    person.write(".claude.json", &person.read("project/.mcp.json"));
    std::fs::remove_file(person.project().join(".mcp.json")).unwrap();
    let mut list = person.claude();
    list.args(["mcp", "list"]);
    let listed = succeeds(list);
    let is_connected = |line: &str| line.starts_with("@scope/the fixture:") && line.ends_with("Connected");
    assert!(listed.lines().any(is_connected), "{listed}");
}

#[test]
fn without_a_daemon_nothing_is_tried_and_nothing_is_changed() {
    let person = newcomer(Vec::new(), "");
    person.write("berth.toml", "[dind]\nname = \"berth-test-none\"\nport = 22495\n");
    let mcp = r#"{ "mcpServers": { "a": { "command": "npx", "args": ["-y", "a"] } } }"#;
    person.write("project/.mcp.json", mcp);
    let (code, said) = says(berth(&person, &["import", "claude-code"]));
    assert_eq!(code, Some(69), "{said}");
    assert!(
        said.contains("type `berth up` and import again, or leave the trial out with `--no-check`"),
        "{said}"
    );
    assert_eq!((person.read("project/.mcp.json").as_str(), backups(&person, ".")), (mcp, 0));
}
