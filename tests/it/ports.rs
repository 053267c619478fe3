//! `host_services` and `publish`: exactly the named ports of this machine's loopback, for exactly one session.

use std::fs;
use std::net::TcpListener;

use serde_json::json;
use tempfile::TempDir;

use crate::harness::sockets::{ECHO, EXCHANGE, SERVER, echoes, exchange, python, reach, service};
use crate::harness::{Berth, PATIENCE, Session, at_once, docker_says, eventually, expect_gone, home};
use crate::standby::Tidy;

/// The tests' configuration with servers of this kind: each a name, and lines of its own.
fn configured(servers: &[(&str, &str)]) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("berth.toml");
    let mut config = fs::read_to_string(home().join("berth.toml")).unwrap();
    for (name, lines) in servers {
        let command = format!("command = [\"python3\", \"-c\", {}]", json!(SERVER));
        let server = format!("\n[servers.{name}]\nimage = \"berth-time\"\n{command}\n{lines}\n");
        config.push_str(&server);
    }
    fs::write(&file, config).unwrap();
    let path = file.to_str().unwrap().to_owned();
    (folder, path)
}

fn started(server: &str, client: &str, config: &str) -> Session {
    Berth::run(server).client(client).args(["--config", config]).started()
}

#[test]
fn a_service_of_this_machine_is_reached_by_the_server_that_names_it_and_by_no_other() {
    let port = service();
    let (_folder, config) = configured(&[
        ("reaching", &format!("host_services = [\"{port}\", \"their-db:{port}\"]")),
        ("plain", ""),
        ("networked", "network = \"lan\""),
    ]);
    let mut reaching = started("reaching", "it-ports-reaching", &config);
    for host in ["127.0.0.1", "localhost", "host.docker.internal", "their-db"] {
        assert_eq!(exchange(&mut reaching, host, port, 100_000), "same", "{host}");
    }
    assert_eq!(exchange(&mut reaching, "127.0.0.1", port, 20 << 20), "same");
    let network = python(&mut reaching, "import socket; print([name for _, name in socket.if_nameindex()])");
    assert_eq!(network, "['lo']", "`network` is what it was");
    for (server, client) in [("plain", "it-ports-plain"), ("networked", "it-ports-networked")] {
        let mut other = started(server, client, &config);
        assert_eq!(exchange(&mut other, "127.0.0.1", port, 1), "ConnectionRefusedError", "{server}");
        assert_eq!(exchange(&mut other, "host.docker.internal", port, 1), "gaierror", "{server}");
    }
    // Another port of this machine is no more in reach than before.
    let unnamed = service();
    assert_eq!(exchange(&mut reaching, "127.0.0.1", unnamed, 1), "ConnectionRefusedError");
}

#[test]
fn a_services_port_is_at_its_containers_loopback_and_no_other_session_reaches_that_container() {
    let port = service();
    let lines = format!("network = \"lan\"\nhost_services = [{port}]\npublish = [\"22445:8080\"]");
    let (_folder, config) = configured(&[("reaching", &lines), ("networked", "network = \"lan\"")]);
    let mut reaching = started("reaching", "it-ports-own", &config);
    let route =
        "import socket; s = socket.socket(2, 2); s.connect(('192.0.2.1', 9)); print(s.getsockname()[0])";
    let address = python(&mut reaching, route);
    assert!(address.parse::<std::net::Ipv4Addr>().is_ok(), "{address}");
    assert_eq!(python(&mut reaching, &format!("{ECHO}\nbegin(\"0.0.0.0\", 8080)")), "listens");
    let mut other = started("networked", "it-ports-other", &config);
    assert!(python(&mut other, route).parse::<std::net::Ipv4Addr>().is_ok(), "it has a network, too");
    for (host, port) in [("127.0.0.1", port), (&address, 8080)] {
        assert_eq!(reach(&mut reaching, host, port), "on", "{host}:{port} of its own");
    }
    assert_eq!(reach(&mut reaching, &address, port), "ConnectionRefusedError", "at the loopback alone");
    assert!(echoes(22445));
    let (network, _) = address.rsplit_once('.').unwrap();
    let gateway = format!("{network}.1");
    for (host, port) in [(&*address, port), (&address, 8080), (&gateway, port), (&gateway, 22445)] {
        let said = reach(&mut other, host, port);
        assert!(said.ends_with("Error"), "{host}:{port}: {said}");
    }
}

#[test]
fn many_connections_at_once_and_one_that_is_not_read() {
    let port = service();
    let (_folder, config) = configured(&[("reaching", &format!("host_services = [{port}]"))]);
    let mut session = started("reaching", "it-ports-many", &config);
    let stalled = format!(
        "import socket\nstalled = socket.create_connection((\"127.0.0.1\", {port}))\nstalled.settimeout(1)\ntry:\n    \
         while True: stalled.send(b\"x\" * 65536)\nexcept TimeoutError:\n    print(\"full\")"
    );
    assert_eq!(python(&mut session, &stalled), "full");
    let all = format!(
        "{EXCHANGE}\nthreads = [threading.Thread(target=exchange, args=(\"127.0.0.1\", {port}, 300000)) for _ in range(50)]\n\
         [thread.start() for thread in threads]\n[thread.join() for thread in threads]"
    );
    let said = python(&mut session, &all);
    assert_eq!(said.lines().filter(|line| *line == "same").count(), 50, "{said}");
}

#[test]
fn where_nobody_listens_the_server_sees_a_reset_and_the_person_is_told() {
    let port = {
        let listener = TcpListener::bind(("127.0.0.1", 22488)).unwrap();
        listener.local_addr().unwrap().port()
    };
    let (folder, config) = configured(&[("reaching", &format!("host_services = [{port}]"))]);
    let trace = folder.path().join("trace");
    let trace_option = format!("--trace={}", trace.display());
    let mut session = Berth::run("reaching")
        .client("it-ports-refused")
        .args(["--config", &config, &trace_option])
        .started();
    let code =
        format!("import socket\nwith socket.create_connection((\"127.0.0.1\", {port})) as s: s.recv(1)");
    for _ in 0..2 {
        assert_eq!(python(&mut session, &code), "ConnectionResetError");
    }
    session.expect_stderr("nothing listens at 127.0.0.1:22488 of this machine, which server `reaching`");
    let _held = TcpListener::bind(("127.0.0.1", port)).unwrap();
    assert_eq!(
        python(
            &mut session,
            &format!("{EXCHANGE}\nsocket.create_connection((\"127.0.0.1\", {port}))\nprint(1)")
        ),
        "1"
    );
    session.close();
    assert_eq!(session.exit_code(), Some(0));
    assert_eq!(session.stderr().matches("nothing listens").count(), 1, "{}", session.stderr());
    let traced = fs::read_to_string(trace).unwrap();
    for note in ["connection refused", "connection opened", "connection closed"] {
        assert!(traced.contains(note), "{note}: {traced}");
    }
    assert!(traced.contains("to 127.0.0.1:22488 of this machine"), "{traced}");
}

#[test]
fn a_published_port_leads_to_its_session_and_a_second_one_is_told_who_has_it() {
    let (_folder, config) = configured(&[("shown", "publish = [\"22486\"]")]);
    let mut first = started("shown", "it-ports-first", &config);
    assert_eq!(python(&mut first, &format!("{ECHO}\nbegin(\"127.0.0.1\", 22486)")), "listens");
    assert!(echoes(22486));
    let name = first.container();
    let mut second = started("shown", "it-ports-second", &config);
    second.expect_stderr(&format!(
        "which berth's session `{name}` of server `shown` (pid {}) has",
        first.pid()
    ));
    assert_eq!(
        python(&mut second, &format!("{ECHO}\nbegin(\"0.0.0.0\", 22486)\nprint(2)")).lines().last(),
        Some("2"),
        "it goes on"
    );
    first.close();
    assert_eq!(first.exit_code(), Some(0));
    second.expect_stderr("port 127.0.0.1:22486 is free now");
    assert!(echoes(22486));
    second.kill();
    expect_gone("it-ports-second");
    assert!(TcpListener::bind(("127.0.0.1", 22486)).is_ok(), "nothing is left of it");
}

#[test]
fn both_outlive_a_lost_server_and_come_from_standby() {
    let _tidy = Tidy("it-ports-lost");
    let port = service();
    let lines = format!(
        "host_services = [{port}]\npublish = [\"22487:8080\"]\non_failure = \"restart\"\nstandby = 1\nstandby_ttl = \"5m\""
    );
    let (_folder, config) = configured(&[("lasting", &lines)]);
    let mut session = started("lasting", "it-ports-lost", &config);
    let listen = format!("{ECHO}\nbegin(\"127.0.0.1\", 8080)");
    assert_eq!(python(&mut session, &listen), "listens");
    assert!(echoes(22487) && exchange(&mut session, "127.0.0.1", port, 1000) == "same");
    docker_says(&["rm", "-f", &session.container()]);
    let again = eventually("a server that answers", PATIENCE, || {
        let params = json!({ "name": "python", "arguments": { "code": listen } });
        let answer = session.request("tools/call", params);
        answer.get("result").cloned()
    });
    assert_eq!(again["content"][0]["text"], "listens", "another server, where nobody listened yet");
    assert!(echoes(22487), "the listener leads to the new container");
    assert_eq!(exchange(&mut session, "host.docker.internal", port, 1000), "same");
    session.close();
    assert_eq!(session.exit_code(), Some(0));
}

#[test]
fn nothing_of_it_is_left_after_a_kill_and_messages_have_their_own_way() {
    let port = service();
    let (_folder, config) = configured(&[("reaching", &format!("host_services = [{port}]"))]);
    let sessions = at_once(vec!["it-ports-kill-1", "it-ports-kill-2"], |_, client| {
        let mut session = started("reaching", client, &config);
        assert_eq!(exchange(&mut session, "127.0.0.1", port, 1000), "same");
        session
    });
    for mut session in sessions {
        let client = session.client().to_owned();
        session.kill();
        expect_gone(&client);
    }
}
