//! What `berth kubernetes doctor` shows of policies, and what hangs on it.

use crate::harness::{Cluster, Fault, PATIENCE, Place};
use crate::sessions::tally;

/// The cluster's API server, at an address that pods take for the world.
const WORLD: &str = "198.51.100.1:6443";
const ALONE: &str = "command = [\"/berth-fixture\"]\nnetwork = \"none\"\n";

/// Exit code and report of an examination with probe pods.
fn doctor(place: &Place) -> (Option<i32>, String) {
    let (code, out, err) = place.says(&["kubernetes", "doctor", "--world", WORLD]);
    (code, out + &err)
}

#[test]
#[ignore = "needs a cluster"]
fn a_server_without_a_network_starts_where_probe_pods_have_shown_that_policies_hold() {
    Cluster::of_this_machine();
    let place = Place::alone("proof").with_server("alone", "berth-fixture", ALONE);
    let (code, out, err) = place.says(&["kubernetes", "up"]);
    assert_eq!(code, Some(0), "{out}{err}");
    place.expect_error("alone", PATIENCE, &["nobody has shown", "berth kubernetes doctor"]);
    let (code, report) = doctor(&place);
    assert_eq!(code, Some(0), "{report}");
    assert!(report.contains("enforced on"), "{report}");
    let mut session = place.run("alone").client("proof").started();
    tally(&mut session, "alone", 1);
    session.close();
    session.wait();
    // Without its agents the cluster takes policies, and does nothing.
    let agents = ["policies 1", "policies 2"].map(Fault::kill);
    let (code, report) = doctor(&place);
    assert_ne!(code, Some(0), "{report}");
    assert!(report.contains("install a network plug-in that enforces policies"), "{report}");
    place.expect_error("alone", PATIENCE, &["berth kubernetes doctor"]);
    drop(agents);
}
