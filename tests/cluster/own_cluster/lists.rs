//! A server with a list of names reaches these and nothing else: its pod's only way out is the forwarder, which knows whose
//! list applies.

#[path = "../../it/egress/world.rs"]
#[allow(dead_code, reason = "the tests of a daemon use what these do not")]
mod world;

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Place, Session, eventually, lead_here};
use world::{ALLOWED, NAMES, World};

/// A policy takes effect a moment after a pod's start.
const SOON: Duration = Duration::from_secs(40);

/// A server that does what it is told.
const SERVER: &str = include_str!("../../common/shell.py");

/// Each is no way out.
const WAYS: [(&str, &str); 6] = [
    ("an address without a name", "curl -sSk -m 3 https://ALLOWED/"),
    ("another name in TLS", "curl -sSk -m 3 --connect-to ::api.test.example: https://evil.example/"),
    ("another name in HTTP", "curl -sSf -m 3 -H 'Host: evil.example' http://api.test.example/"),
    ("the forwarder itself", "curl -sSk -m 3 -x http://FORWARDER:3128 https://evil.example/"),
    (
        "the API server",
        "curl -sSk -m 3 https://kubernetes.default/ || curl -sSk -m 3 https://$SERVICE/version",
    ),
    (
        "a nameserver",
        "python3 -c 'import socket as s; u = s.socket(s.AF_INET, s.SOCK_DGRAM); u.settimeout(2); u.sendto(bytes.fromhex(\"00010100000100000000000004657669 6c076578616d706c650000010001\"), (\"NAMES\", 53)); u.recv(512)'",
    ),
];

fn server(name: &str, image: &str, network: &str) -> String {
    format!(
        "[servers.{name}]\nimage = \"{image}\"\nnetwork = {network}\ncommand = [\"python3\", \"-c\", {}]\n",
        json!(SERVER)
    )
}

/// Whether it succeeds, and what it says.
fn runs(session: &mut Session, script: &str) -> (bool, String) {
    let result = session.call("run", json!({ "argv": ["sh", "-c", script] }));
    let text = |key: &str| result[key].as_str().unwrap_or_default().to_owned();
    (result["code"] == 0, text("out") + &text("err"))
}

/// A session's first answer is an error with these words.
fn expect_refused(place: &Place, said: &[&str]) {
    let mut session = place.run("named").client("refused").start();
    let hello = json!({ "protocolVersion": "2025-06-18", "capabilities": {} });
    let error = session.request("initialize", hello)["error"].to_string();
    for said in said {
        assert!(error.contains(said), "no {said:?} in {error}");
    }
}

fn kubectl(place: &Place, args: &[&str]) -> String {
    let output = place.kubectl(args).output().expect("kubectl runs");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The forwarder asks the test's nameserver, and policies are known to hold.
fn prepare(place: &Place) {
    let dns = json!({ "spec": { "template": { "spec": {
        "dnsPolicy": "None", "dnsConfig": { "nameservers": [NAMES.to_string()] },
    } } } });
    kubectl(place, &["patch", "deployment", "berth-forwarder", "--type=merge", "-p", &dns.to_string()]);
    kubectl(place, &["rollout", "status", "deployment", "berth-forwarder", "--timeout=90s"]);
    expect_refused(place, &["nobody has shown", "berth kubernetes doctor"]);
    let generation =
        kubectl(place, &["get", "networkpolicy", "berth-deny", "-o", "jsonpath={.metadata.generation}"]);
    let generation: u64 = generation.parse().expect("a number");
    let record: Value = json!({ "holds": true, "generation": generation, "at": "2026-11-28T12:00:00Z" });
    kubectl(place, &["annotate", "networkpolicy", "berth-deny", &format!("mcp-berth.io/enforced={record}")]);
}

#[test]
#[ignore = "needs a cluster"]
fn a_list_of_names_is_all_that_a_pod_reaches() {
    let (world, image) = (World::new(), Place::give_image("berth-web"));
    lead_here("203.0.113.0/24");
    Place::agent_image();
    let servers = server("named", &image, "{ allow = [\"api.test.example\"] }")
        + &server("other", &image, "{ allow = [\"evil.example\"] }")
        + &server("lan", &image, "\"lan\"");
    let place = Place::new("lists").with(&servers);
    expect_refused(&place, &["berth's forwarder", "berth kubernetes up"]);
    let (code, said, errors) = place.says(&["kubernetes", "up"]);
    assert_eq!(code, Some(0), "{said}{errors}");
    prepare(&place);

    let mut named = place.run("named").client("named").started();
    let works = |session: &mut Session, name: &str| {
        let url = format!("curl -sSfk -m 15 https://{name}/");
        eventually(&format!("{name} to answer"), SOON, || {
            (runs(session, &url) == (true, "world".into())).then_some(())
        });
    };
    works(&mut named, "api.test.example");
    assert!(world.notes.take().contains(&"sni api.test.example".to_owned()));
    let (out, _) = runs(&mut named, "curl -sSfk -m 15 http://api.test.example/");
    assert!(out, "HTTP without TLS");

    let forwarder =
        kubectl(&place, &["get", "service", "berth-forwarder", "-o", "jsonpath={.spec.clusterIP}"]);
    world.notes.take();
    for (way, script) in WAYS {
        let script = script
            .replace("ALLOWED", &ALLOWED.to_string())
            .replace("NAMES", &NAMES.to_string())
            .replace("FORWARDER", &forwarder)
            .replace("$SERVICE", "10.215.0.1");
        let (out, said) = runs(&mut named, &script);
        let notes = world.notes.take();
        assert!(!out && !notes.iter().any(|note| note.contains("evil")), "{way}: {said} {notes:?}");
    }
    let (out, _) = runs(&mut named, "curl -sSk -m 3 https://evil.example/");
    assert!(!out);
    named.expect_stderr("refused: evil.example (not in `allow`); to allow it");
    world.lead_to([10, 0, 0, 1].into());
    let (out, _) = runs(&mut named, "curl -sSk -m 5 https://api.test.example/");
    assert!(!out);
    named.expect_stderr("its address 10.0.0.1 is private");
    world.lead_to(ALLOWED);

    // Each has its own list, by the pod that it comes from.
    let mut other = place.run("other").client("other").started();
    works(&mut other, "evil.example");
    assert!(!runs(&mut other, "curl -sSk -m 3 https://api.test.example/").0);
    // Who has none does not get there.
    let mut lan = place.run("lan").client("lan").started();
    eventually("the forwarder to be closed to others", SOON, || {
        let way = format!("curl -sSk -m 2 -x http://{forwarder}:3128 https://api.test.example/");
        let (out, said) = runs(&mut lan, &way);
        // An answer of the forwarder's would be one.
        (!out && !said.contains("403")).then_some(())
    });

    // Another forwarder goes on for the same sessions.
    kubectl(&place, &["delete", "pods", "-l", "app.kubernetes.io/name=berth-forwarder", "--wait=false"]);
    works(&mut named, "api.test.example");
    works(&mut other, "evil.example");
    drop((named, other, lan));

    let (code, said, errors) = place.says(&["kubernetes", "down", "--force"]);
    assert_eq!(code, Some(0), "{said}{errors}");
    assert_eq!(kubectl(&place, &["get", "deployments,services,networkpolicies", "-o", "name"]), "");
}
