//! `host_services` and `publish` in a pod: exactly the named ports of this machine's loopback, for exactly one session.

use std::net::TcpListener;

use serde_json::json;

use crate::harness::sockets::{ECHO, SERVER, echoes, exchange, python, reach, service};
use crate::harness::{PATIENCE, Place, Session, eventually, expect_gone};

fn place(name: &str, servers: &[(&str, &str)]) -> Place {
    with_servers(Place::new(name), servers)
}

/// With servers of this kind: each a name, and lines of its own.
pub(crate) fn with_servers(place: Place, servers: &[(&str, &str)]) -> Place {
    let command = format!("command = [\"python3\", \"-c\", {}]", json!(SERVER));
    servers.iter().fold(place, |place, (server, lines)| {
        place.with_server(server, "berth-time", &format!("{command}\n{lines}"))
    })
}

fn started(place: &Place, server: &str, client: &str) -> Session {
    place.run(server).client(client).started()
}

fn address(place: &Place, session: &Session) -> String {
    let pod = place.pod(&session.container()).expect("its pod");
    pod.status.and_then(|status| status.pod_ip).expect("its address")
}

#[test]
#[ignore = "needs a cluster"]
fn a_service_of_this_machine_is_reached_by_the_pod_of_the_server_that_names_it_and_by_no_other() {
    let port = service();
    // Nobody listens at port 81 here, and the pod does: an ordinary user's process.
    let lines = format!("network = \"lan\"\nhost_services = [\"{port}\", \"their-db:{port}\", 81]");
    let place = place("services", &[("reaching", &lines), ("plain", "network = \"lan\"")]);
    let mut reaching = started(&place, "reaching", "services");
    for host in ["127.0.0.1", "localhost", "host.docker.internal", "their-db"] {
        assert_eq!(exchange(&mut reaching, host, port, 100_000), "same", "{host}");
    }
    assert_eq!(exchange(&mut reaching, "127.0.0.1", port, 20 << 20), "same");
    let refused = reach(&mut reaching, "127.0.0.1", 81);
    assert!(["", "ConnectionResetError"].contains(&refused.as_str()), "it is asked for here: {refused}");
    reaching.expect_stderr("nothing listens at 127.0.0.1:81 of this machine, which server `reaching`");
    let mut other = started(&place, "plain", "services-other");
    let pod = address(&place, &reaching);
    for host in ["127.0.0.1", &pod] {
        assert_eq!(reach(&mut other, host, port), "ConnectionRefusedError", "{host}");
    }
    assert_eq!(reach(&mut other, "host.docker.internal", port), "gaierror");
    let unnamed = service();
    assert_eq!(reach(&mut reaching, "127.0.0.1", unnamed), "ConnectionRefusedError", "that port alone");
    for mut session in [reaching, other] {
        session.close();
        assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
    }
    expect_gone("services");
}

#[test]
#[ignore = "needs a cluster"]
fn a_published_port_leads_to_its_sessions_pod_and_a_second_one_is_told_who_has_it() {
    let place = place("published", &[("shown", "publish = [\"22546:8080\"]")]);
    let listen = format!("{ECHO}\nbegin(\"127.0.0.1\", 8080)");
    let mut first = started(&place, "shown", "published-first");
    assert_eq!(python(&mut first, &listen), "listens");
    assert!(echoes(22546));
    let name = first.container();
    let mut second = started(&place, "shown", "published-second");
    let has = format!("which berth's session `{name}` of server `shown` (pid {}) has", first.pid());
    second.expect_stderr(&has);
    assert_eq!(python(&mut second, &listen), "listens", "it goes on");
    first.close();
    assert_eq!(first.exit_code(), Some(0), "{}", first.stderr());
    second.expect_stderr("port 127.0.0.1:22546 is free now");
    assert!(echoes(22546));
    second.kill();
    assert!(TcpListener::bind(("127.0.0.1", 22546)).is_ok(), "nothing is left of it");
}

#[test]
#[ignore = "needs a cluster"]
fn both_outlive_a_lost_pod() {
    let port = service();
    let lines = format!("host_services = [{port}]\npublish = [\"22547:8080\"]\non_failure = \"restart\"");
    let place = place("ports-lost", &[("lasting", &lines)]);
    let mut session = started(&place, "lasting", "ports-lost");
    let listen = format!("{ECHO}\nbegin(\"127.0.0.1\", 8080)");
    assert_eq!(python(&mut session, &listen), "listens");
    assert!(echoes(22547) && exchange(&mut session, "127.0.0.1", port, 1000) == "same");
    place.delete_pod(&session.container());
    // The lost one may answer once more.
    eventually("another server, where nobody listened yet", PATIENCE, || {
        let params = json!({ "name": "python", "arguments": { "code": listen } });
        let answer = session.request("tools/call", params);
        (answer["result"]["content"][0]["text"] == "listens").then_some(())
    });
    assert!(echoes(22547), "the listener leads to the new pod");
    assert_eq!(exchange(&mut session, "host.docker.internal", port, 1000), "same");
    session.close();
    assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
    expect_gone("ports-lost");
}
