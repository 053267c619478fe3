//! What keeps a server from its start in a real cluster, in the words that its client gets.

use serde_json::json;

use crate::harness::{Place, create, remove};

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
    place.expect_error("huge", &["no node has room for the pod: memory is short", "add a node"]);
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
    place.expect_error("hurried", &told);
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
    let outcome =
        std::panic::catch_unwind(|| place.expect_error("fixture", &["ValidatingAdmissionPolicy", rule]));
    remove(&format!("{bindings}/{name}"));
    remove(&format!("{policies}/{name}"));
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

#[test]
#[ignore = "needs a cluster"]
fn a_right_that_lacks_is_told_with_the_line_that_gives_it() {
    let place = Place::new("rights").of_user("jane");
    let told = ["`jane` may not create pods in the namespace `t-rights", "--role=berth-user --user=jane"];
    place.expect_error("fixture", &told);
}

/// Ends with code 3 at once: a program of 133 bytes.
#[cfg(target_arch = "x86_64")]
const QUITTER: [u8; 133] = {
    let mut program = [0; 133];
    let head: [u8; 16] = [0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // An executable for x86-64, that begins at 0x400078.
    let more: [u8; 48] = [
        2, 0, 62, 0, 1, 0, 0, 0, 0x78, 0, 0x40, 0, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0,
    ];
    // All of the file at 0x400000, to be read and executed.
    let segment: [u8; 56] = [
        1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0,
        133, 0, 0, 0, 0, 0, 0, 0, 133, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0,
    ];
    // mov edi, 3; mov eax, 60; syscall
    let code: [u8; 13] = [0xbf, 3, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 5, 0x90];
    let mut at = 0;
    while at < 133 {
        program[at] = if at < 16 {
            head[at]
        } else if at < 64 {
            more[at - 16]
        } else if at < 120 {
            segment[at - 64]
        } else {
            code[at - 120]
        };
        at += 1;
    }
    program
};

#[test]
#[ignore = "needs a cluster"]
#[cfg(target_arch = "x86_64")]
fn a_keeper_that_crashes_is_told_with_its_code() {
    if std::env::var_os("BERTH_TEST_REGISTRY").is_some() {
        return;
    }
    let place = Place::new("crash").with_keeper("berth-quitter:test", &QUITTER);
    place.expect_error("fixture", &["berth's keeper ended in the pod", "code 3", "`keeper_image`"]);
}
