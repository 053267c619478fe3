//! What a client is told where its server can't start: the cause, its object, and what mends it.

use serde_json::json;

use crate::harness::{LATER, Place, SOON};

#[test]
#[ignore = "needs a cluster"]
fn an_image_that_is_not_there_is_told_to_the_client() {
    Place::new("nowhere").expect_error("nowhere", LATER, &["image `berth-nowhere:1`"]);
}

#[test]
#[ignore = "needs a cluster"]
fn a_policy_that_refuses_the_pod_is_told_with_its_rule() {
    Place::new("rooted").expect_error("rooted", SOON, &["restricted", "runAsNonRoot"]);
}

#[test]
#[ignore = "needs a cluster"]
fn a_namespace_without_the_keeper_is_told_to_the_client_at_once() {
    let place = Place::new("keeperless").without_keeper();
    place.expect_error(
        "fixture",
        SOON,
        &["the keeper of this berth is not in", "type `berth kubernetes up`"],
    );
}

#[test]
#[ignore = "needs a cluster"]
fn a_namespace_that_is_not_there_is_told_to_the_client() {
    let place = Place::new("absent").within("t-absent-for-ever");
    place.expect_error(
        "fixture",
        SOON,
        &["namespace `t-absent-for-ever` is not there", "berth kubernetes up"],
    );
}

#[test]
#[ignore = "needs a cluster"]
fn servers_in_pods_share_no_network_and_the_client_is_told_so() {
    let place =
        Place::new("peers").with("\n[profiles.p]\nservers = [\"fixture\", \"hasty\"]\npeers = true\n");
    let mut session = place.several(&["--profile", "p"]).client("peers").start();
    let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {} });
    let error = session.request("initialize", params)["error"].to_string();
    for said in ["cannot share a network in a cluster", "remove `peers` from the profile"] {
        assert!(error.contains(said), "no {said:?} in {error}");
    }
    session.close();
    session.wait();
    assert!(place.pods().is_empty(), "{:?}", place.pods());
}
