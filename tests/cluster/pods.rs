//! What a session's pod may do.

use serde_json::json;

use crate::harness::Place;

#[test]
#[ignore = "needs a cluster"]
fn a_pod_has_no_token_and_passes_the_strictest_profile() {
    // The namespace refuses any pod that does not.
    let place = Place::new("pod");
    let mut session = place.run("fixture").client("pod").started();
    let pods = place.pods();
    let [pod] = pods.as_slice() else { panic!("{pods:?}") };
    let spec = pod.spec.as_ref().expect("a specification");
    assert_eq!(spec.automount_service_account_token, Some(false));
    assert_eq!(spec.enable_service_links, Some(false));
    for folder in ["/var/run/secrets", "/run/secrets"] {
        let answer = session.call("list", json!({ "path": folder }));
        assert_eq!(answer["isError"], true, "{folder}: {answer}");
    }
}
