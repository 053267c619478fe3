//! `berth catalogue`: what servers told of themselves, asked ahead by sessions as both clients begin them.

use serde_json::json;

use crate::harness::{Berth, berth_says, containers_of, daemon, docker_says};

/// Of `berth catalogue`: each client and revision that a server has told something, and how many tools.
fn told(server: &str) -> Vec<(String, String, String)> {
    let (code, out, err) = berth_says(&["catalogue"]);
    assert_eq!(code, Some(0), "{err}");
    let rows = out.lines().map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()));
    let rows = rows.map(|cells| cells.map(str::to_owned).collect::<Vec<_>>());
    rows.filter(|row| row[0] == server).map(|row| (row[1].clone(), row[2].clone(), row[5].clone())).collect()
}

#[test]
fn a_server_is_asked_as_both_clients_and_answers_then_without_running() {
    daemon();
    let (code, out, err) = berth_says(&["catalogue", "--refresh", "paged"]);
    assert_eq!(code, Some(0), "{out}\n{err}");
    // Other tests' clients have sessions of it as well.
    let mut told = told("paged");
    told.retain(|(client, ..)| !client.starts_with("it-"));
    let mut clients: Vec<&str> = told.iter().map(|(client, ..)| client.as_str()).collect();
    // An image that was there before has entries of its own.
    clients.dedup();
    assert_eq!(clients, ["claude-code", "codex"]);
    let tools: usize = told[0].2.parse().unwrap();
    assert!(tools >= 120 && told[0].2 == told[1].2, "all pages: {told:?}");
    for line in ["for claude-code", "for codex"] {
        assert!(out.contains(&format!("paged {line}: {tools} tools")), "{out}");
    }
    for client in ["claude-code", "codex"] {
        let of_client = format!("label=io.mcp-berth.client={client}");
        let of_server = "label=io.mcp-berth.server=paged";
        let left = docker_says(&[
            "ps",
            "-a",
            "--filter",
            of_server,
            "--filter",
            &of_client,
            "--format",
            "{{.Names}}",
        ]);
        assert_eq!(left, "", "no session is left, and nothing waits for one");
    }

    let client = "it-catalogue";
    let mut session = Berth::run("paged").client(client).args(["--start", "first-call"]).started();
    let answer = session.request("tools/list", json!({}));
    assert_eq!(answer["result"]["tools"].as_array().unwrap().len(), tools, "in one page");
    assert_eq!(containers_of(client), [""; 0]);
    session.close();
    assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
}

#[test]
fn a_server_that_tells_nothing_is_named_with_its_last_words() {
    daemon();
    let (code, _, err) = berth_says(&["catalogue", "--refresh", "absent"]);
    assert_eq!(code, Some(69), "{err}");
    assert!(
        err.contains("`absent` told claude-code nothing") && err.contains("berth run --trace absent"),
        "{err}"
    );
    assert_eq!(told("absent"), []);
}
