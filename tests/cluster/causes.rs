//! What keeps a server from its start in a real cluster, in the words that its client gets.

use serde_json::json;

use crate::harness::{LATER, Place, SOON, create, remove};

/// A server of the fixture, with more settings.
fn server(name: &str, more: &str) -> String {
    let image = Place::fixture_image();
    format!("\n[servers.{name}]\nimage = \"{image}\"\ncommand = [\"/berth-fixture\"]\n{more}\n")
}

#[test]
#[ignore = "needs a cluster"]
fn a_cluster_without_room_is_told_with_what_is_short() {
    let more = server("huge", "memory = \"30000g\"\nstart_timeout = \"3s\"\nconnect_timeout = \"1s\"");
    let place = Place::new("huge").with(&more);
    place.expect_error("huge", LATER, &["no node has room for the pod: memory is short", "add a node"]);
}

#[test]
#[ignore = "needs a cluster"]
fn a_full_namespace_is_waited_for_within_the_clients_patience() {
    let more = server("hurried", "start_timeout = \"3s\"\nconnect_timeout = \"1s\"");
    let place = Place::new("full").with(&more);
    let quota = json!({ "metadata": { "name": "one" }, "spec": { "hard": { "pods": "1" } } });
    create(&format!("/api/v1/namespaces/{}/resourcequotas", place.namespace()), &quota);
    let mut first = place.run("fixture").client("full-first").started();
    let told = ["the namespace `t-full", "is full: quota `one`", "kubectl describe quota"];
    place.expect_error("hurried", LATER, &told);
    let mut second = place.run("fixture").client("full-second").start();
    second.expect_stderr("the start waits: the namespace");
    first.close();
    first.wait();
    second.initialize();
    assert_eq!(second.call_text("echo", json!({ "text": "room" })), "room");
}

#[test]
#[ignore = "needs a cluster"]
fn a_policy_of_the_cluster_is_told_with_its_rule() {
    let place = Place::new("policy");
    let name = format!("{}-images", place.namespace());
    let policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
    let bindings = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
    let rule = "images come from registry.example";
    let policy = json!({
        "metadata": { "name": name },
        "spec": {
            "matchConstraints": { "resourceRules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"],
            }] },
            "validations": [{ "expression": "object.spec.containers.all(c, c.image.startsWith('registry.example/'))", "message": rule }],
        },
    });
    let of_ours = json!({ "matchLabels": { "kubernetes.io/metadata.name": place.namespace() } });
    let binding = json!({
        "metadata": { "name": name },
        "spec": {
            "policyName": name, "validationActions": ["Deny"],
            "matchResources": { "namespaceSelector": of_ours },
        },
    });
    create(policies, &policy);
    create(bindings, &binding);
    // It holds once the API server has read it.
    place.expect_refused("registry.example");
    let outcome = std::panic::catch_unwind(|| {
        place.expect_error("fixture", SOON, &["ValidatingAdmissionPolicy", rule]);
    });
    remove(&format!("{bindings}/{name}"));
    remove(&format!("{policies}/{name}"));
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

#[test]
#[ignore = "needs a cluster"]
fn a_right_that_lacks_is_told_with_the_line_that_gives_it() {
    let place = Place::new("rights").of_user("jane");
    let told = ["`jane` may not create pods in the namespace `t-rights", "--role=berth-user --user=jane"];
    place.expect_error("fixture", SOON, &told);
}
