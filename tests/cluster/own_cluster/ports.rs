//! A cut ends the connections of `host_services` and `publish`, and new ones work as soon as the way is there again.

use std::thread;
use std::time::Duration;

use crate::harness::sockets::{ECHO, echoes, exchange, python, service};
use crate::harness::{Cluster, Fault, PATIENCE, Place, eventually, expect_gone};
use crate::ports::with_servers;

/// Of both kinds, before and after what happens to the way there.
fn expect_new_connections(name: &str, published: u16, happens: impl FnOnce()) {
    Cluster::of_this_machine();
    let port = service();
    // An API server may take its time.
    let lines = format!("host_services = [{port}]\npublish = [\"{published}:8080\"]\nreconnect = \"1m\"");
    let place = with_servers(Place::alone(name), &[("joined", &lines)]);
    let mut session = place.run("joined").client(name).started();
    assert_eq!(python(&mut session, &format!("{ECHO}\nbegin(\"127.0.0.1\", 8080)")), "listens");
    assert!(echoes(published) && exchange(&mut session, "127.0.0.1", port, 100_000) == "same");
    happens();
    eventually("a service that is reached", PATIENCE, || {
        (exchange(&mut session, "127.0.0.1", port, 100_000) == "same").then_some(())
    });
    eventually("a port that leads to the pod", PATIENCE, || echoes(published).then_some(()));
    session.close();
    assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
    expect_gone(name);
}

#[test]
#[ignore = "needs a cluster"]
fn an_api_server_that_comes_back_carries_new_connections() {
    expect_new_connections("ports-apiserver", 22548, || {
        let _dead = Fault::kill("apiserver");
        thread::sleep(Duration::from_secs(2));
    });
}

#[test]
#[ignore = "needs a cluster"]
fn after_a_cut_that_the_pod_does_not_know_of_its_ports_are_had_again() {
    expect_new_connections("ports-cut", 22549, || {
        let _cut = Fault::cut("machine");
        // Nobody tells of it, and the forwarder in the pod waits.
        thread::sleep(Duration::from_secs(12));
    });
}
