//! Servers of one session that share a network: by their names they reach one another, and nobody else reaches them.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    Berth, PATIENCE, Session, berth_says, containers_of, docker_says, eventually, expect_gone, shared,
};

const HOLDER: &str = "peers:peers";

/// Of each container of the client's its id and its server.
fn rows_of(client: &str) -> Vec<(String, String)> {
    let filter = format!("label=io.mcp-berth.client={client}");
    let format = "{{.ID}} {{.Label \"io.mcp-berth.server\"}}";
    let said = docker_says(&["ps", "--no-trunc", "--filter", &filter, "--format", format]);
    let row = |line: &str| line.split_once(' ').map(|(id, server)| (id.to_owned(), server.to_owned()));
    let mut rows: Vec<_> = said.lines().filter_map(row).collect();
    rows.sort_by(|one, other| one.1.cmp(&other.1));
    rows
}

fn servers_of(client: &str) -> Vec<String> {
    rows_of(client).into_iter().map(|(_, server)| server).collect()
}

fn container_of(client: &str, server: &str) -> String {
    eventually("its container", PATIENCE, || {
        rows_of(client).into_iter().find_map(|(id, of)| (of == server).then_some(id))
    })
}

fn session(profile: &str, client: &str) -> Session {
    Berth::several(&["--profile", profile]).client(client).started()
}

fn listens(session: &mut Session, server: &str, port: u16) {
    let answer = session.call_text(&format!("{server}__listen"), json!({ "port": port }));
    assert!(answer.contains(&port.to_string()), "{answer}");
}

/// What comes of a server's connection.
fn connected(session: &mut Session, tool: &str, addr: &str, port: u16) -> String {
    let arguments = json!({ "addr": addr, "port": port });
    let answer = session.request("tools/call", json!({ "name": tool, "arguments": arguments }));
    answer["result"]["content"][0]["text"].as_str().map_or_else(|| answer.to_string(), str::to_owned)
}

fn ends(mut session: Session, client: &str) {
    session.close();
    assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
    expect_gone(client);
}

#[test]
fn peers_reach_one_another_by_their_names_and_nobody_else_does() {
    let (client, other) = ("it-peers", "it-peers-other");
    let mut one = session("peers", client);
    listens(&mut one, "second", 8080);
    assert_eq!(connected(&mut one, "first__connect", "second", 8080), "connected");
    assert_eq!(connected(&mut one, "second__connect", "first", 8080), "connected", "all names lead there");
    assert_eq!(connected(&mut one, "first__connect", "t3", 8080), "connected", "and the aliases");
    assert_eq!(servers_of(client), ["first", HOLDER, "second"], "the third was not called");
    // The same profile in another session, and a session of its own.
    let mut two = session("peers", other);
    listens(&mut two, "second", 8081);
    assert_eq!(connected(&mut two, "first__connect", "second", 8081), "connected");
    let refused = connected(&mut two, "first__connect", "second", 8080);
    assert!(refused.contains("refused"), "{refused}");
    let mut plain = Berth::run("first").client("it-peers-plain").started();
    assert!(connected(&mut plain, "connect", "127.0.0.1", 8080).contains("refused"));
    assert!(!connected(&mut plain, "connect", "second", 8080).contains("connected"));
    let (code, rows, error) = berth_says(&["ps", "--json"]);
    assert_eq!(code, Some(0), "{error}");
    let rows: Value = serde_json::from_str(&rows).unwrap();
    let is_meant = |row: &&Value| row["client"] == client && row["server"] == HOLDER;
    let row = rows.as_array().unwrap().iter().find(is_meant).unwrap_or_else(|| panic!("{rows}"));
    assert_eq!((&row["state"], &row["streams"]), (&json!("active"), &json!("")), "{row}");
    assert_eq!(row["session"].as_str().map(str::len), Some(12), "{row}");
    ends(plain, "it-peers-plain");
    ends(two, other);
    assert_eq!(connected(&mut one, "first__connect", "second", 8080), "connected", "it has its own");
    ends(one, client);
}

#[test]
fn a_shared_network_with_a_way_out_lets_no_other_session_in() {
    let client = "it-peers-lan";
    let mut one = session("peers-lan", client);
    listens(&mut one, "second", 8080);
    assert_eq!(connected(&mut one, "first__connect", "second", 8080), "connected");
    let holder = container_of(client, "peers:peers-lan");
    let address = docker_says(&["inspect", "--format", "{{.NetworkSettings.IPAddress}}", &holder]);
    assert_eq!(
        connected(&mut one, "first__connect", &address, 8080),
        "connected",
        "it is the address of all"
    );
    let mut plain = Berth::run("online").client("it-peers-online").started();
    let outside = connected(&mut plain, "connect", &address, 8080);
    assert!(!outside.contains("connected"), "{outside}");
    ends(plain, "it-peers-online");
    ends(one, client);
}

#[test]
fn nothing_is_left_after_a_kill() {
    let client = "it-peers-kill";
    let mut one = session("peers", client);
    for server in ["first", "second"] {
        assert_eq!(one.call_text(&format!("{server}__echo"), json!({ "text": "x" })), "x");
    }
    assert_eq!(servers_of(client).len(), 3);
    one.kill();
    expect_gone(client);
}

#[test]
fn a_lost_server_finds_its_peers_again_and_a_lost_network_is_made_anew() {
    let client = "it-peers-recovery";
    let mut one = session("peers", client);
    listens(&mut one, "first", 8080);
    assert_eq!(connected(&mut one, "second__connect", "first", 8080), "connected");
    docker_says(&["rm", "-f", &container_of(client, "second")]);
    // A call that was on its way to the lost one is answered with an error.
    eventually("the same network", PATIENCE, || {
        Some(connected(&mut one, "second__connect", "first", 8080)).filter(|said| said == "connected")
    });
    let (holder, first) = (container_of(client, HOLDER), container_of(client, "first"));
    docker_says(&["rm", "-f", &holder]);
    // Both are lost with it, and come again in another one.
    eventually("another network", PATIENCE, || {
        let new = |server: &str, old: &str| rows_of(client).iter().any(|(id, of)| of == server && id != old);
        (new(HOLDER, &holder) && new("first", &first)).then_some(())
    });
    eventually("a peer that answers", PATIENCE, || {
        let listen = json!({ "name": "first__listen", "arguments": { "port": 8081 } });
        one.request("tools/call", listen).get("result").cloned()
    });
    let again = eventually("a connection", PATIENCE, || {
        Some(connected(&mut one, "second__connect", "first", 8081)).filter(|said| said == "connected")
    });
    assert_eq!(again, "connected");
    eventually("one network", PATIENCE, || (rows_of(client).len() == 3).then_some(()));
    ends(one, client);
}

#[test]
fn a_network_that_a_person_ends_ends_its_servers() {
    let client = "it-peers-ended";
    let mut one = session("peers", client);
    for server in ["first", "second"] {
        assert_eq!(one.call_text(&format!("{server}__echo"), json!({ "text": "x" })), "x");
    }
    let id = container_of(client, HOLDER);
    let name = eventually("its number", PATIENCE, || {
        let name = docker_says(&["inspect", "--format", "{{.Name}}", &id]);
        Some(name.trim_start_matches('/').to_owned()).filter(|name| !name.ends_with(".starting"))
    });
    let (code, said, error) = berth_says(&["kill", &name]);
    assert_eq!(code, Some(0), "{said} {error}");
    eventually("the end of all of them", Duration::from_secs(10), || {
        containers_of(client).is_empty().then_some(())
    });
    ends(one, client);
}

#[test]
fn files_of_a_person_are_the_same_for_all_peers() {
    let client = "it-peers-files";
    let folder = shared("peers");
    let mount = format!("{}:/work:rw", folder.display());
    let mut one = Berth::several(&["--profile", "peers"]).client(client).args(["--mount", &mount]).started();
    one.call_text("first__write", json!({ "path": "/work/note", "text": "of the first" }));
    assert_eq!(one.call_text("second__read", json!({ "path": "/work/note" })), "of the first");
    let (made, own) = (folder.join("note").metadata().unwrap(), folder.metadata().unwrap());
    assert_eq!((made.uid(), made.gid()), (own.uid(), own.gid()), "it is the person's");
    ends(one, client);
}
