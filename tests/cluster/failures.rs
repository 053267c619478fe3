//! What a client is told where its server can't start.

use serde_json::json;

use crate::harness::{Place, expect_gone};

#[test]
#[ignore = "needs a cluster"]
fn an_image_that_is_not_there_is_told_to_the_client() {
    let place = Place::new("nowhere");
    let mut session = place.run("nowhere").client("nowhere").start();
    let answer =
        session.request("initialize", json!({ "protocolVersion": "2025-06-18", "capabilities": {} }));
    let error = answer["error"].to_string();
    assert!(error.contains("berth-nowhere:1"), "{answer}; stderr: {}", session.stderr());
    session.close();
    session.wait();
    expect_gone("nowhere");
}
