//! A session of several servers, of which some run in pods and others in the daemon of this machine.

use serde_json::{Value, json};

use crate::harness::{PATIENCE, Place, Session, eventually, expect_gone};

fn marker(session: &mut Session, server: &str, arguments: Value) -> String {
    session.call_text(&format!("{server}__marker"), arguments)
}

#[test]
#[ignore = "needs a cluster"]
fn each_server_runs_where_its_backend_says_and_one_is_lost_without_the_other() {
    let place = Place::new("both").beside_daemon();
    let place = place.with_server(
        "there",
        "berth-fixture",
        "command = [\"/berth-fixture\"]\non_failure = \"restart\"",
    );
    let place =
        place.with("\n[servers.here]\nimage = \"berth-fixture\"\nbackend = \"docker\"\nnetwork = \"none\"\n");
    let mut session = place.several(&["there", "here"]).client("both").started();
    for server in ["there", "here"] {
        assert_eq!(marker(&mut session, server, json!({ "set": server })), server);
    }
    for server in ["there", "here"] {
        assert_eq!(marker(&mut session, server, json!({})), server, "each has its own");
    }
    let pods = place.pods();
    let [pod] = pods.as_slice() else { panic!("{pods:?}") };
    let pod = pod.metadata.name.clone().expect("a name");
    let host = session.call_text("there__read", json!({ "path": "/etc/hostname" }));
    assert_eq!(host.trim(), pod);
    let ours = || -> Vec<String> {
        let rows = place.sessions_of_both();
        let mut servers: Vec<String> = rows
            .iter()
            .filter(|row| row["client"] == "both")
            .map(|row| row["server"].as_str().expect("a server").to_owned())
            .collect();
        servers.sort_unstable();
        servers
    };
    assert_eq!(ours(), ["here", "there"]);
    place.delete_pod(&pod);
    eventually("another server in another pod", PATIENCE, || {
        assert_eq!(marker(&mut session, "here", json!({})), "here", "the other one goes on");
        let call = json!({ "name": "there__marker", "arguments": {} });
        let answer = session.request("tools/call", call);
        let text = answer["result"]["content"][0]["text"].as_str()?;
        (text != "there").then_some(())
    });
    session.close();
    assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
    expect_gone("both");
    assert_eq!(ours(), Vec::<String>::new());
}
