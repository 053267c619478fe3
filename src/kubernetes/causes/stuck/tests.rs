//! What a real cluster has said of pods that did not start.

use serde_json::{Value, json};

use super::*;

fn judged(status: &Value) -> Option<Stuck> {
    let spec = json!({ "nodeName": "n1", "containers": [] });
    let pod = json!({ "metadata": { "name": "mcp-a-1" }, "spec": spec, "status": status });
    of_pod(&serde_json::from_value(pod).unwrap(), "team")
}

fn container(name: &str, state: &Value) -> Value {
    json!([{
        "name": name, "image": "i:1", "imageID": "", "ready": false, "restartCount": 0, "state": state,
    }])
}

fn waits(name: &str, reason: &str, message: &str) -> Option<Stuck> {
    let state = json!({ "waiting": { "reason": reason, "message": message } });
    judged(&json!({ "phase": "Pending", "containerStatuses": container(name, &state) }))
}

fn lasting(stuck: Option<Stuck>) -> String {
    let Some(Stuck::Lasting(failure)) = stuck else { panic!("{stuck:?}") };
    assert!(failure.next.is_some(), "{failure}");
    failure.to_string()
}

fn waiting(stuck: Option<Stuck>) -> String {
    let Some(Stuck::Waiting(failure)) = stuck else { panic!("{stuck:?}") };
    failure.to_string()
}

fn unscheduled(message: &str) -> String {
    let condition =
        json!({ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message });
    waiting(judged(&json!({ "phase": "Pending", "conditions": [condition] })))
}

#[test]
fn a_start_in_order_is_no_cause() {
    assert_eq!(judged(&json!({ "phase": "Pending" })), None);
    assert_eq!(waits("server", "PodInitializing", ""), None);
    assert_eq!(waits("server", "ContainerCreating", ""), None);
    let done = json!({ "terminated": { "exitCode": 0, "reason": "Completed" } });
    let status = json!({ "phase": "Pending", "initContainerStatuses": container("keeper", &done) });
    assert_eq!(judged(&status), None);
    let running = json!({ "running": {} });
    let status = json!({ "phase": "Running", "containerStatuses": container("server", &running) });
    assert_eq!(judged(&status), None);
    let other = json!({ "terminated": { "exitCode": 1, "reason": "Error" } });
    let status = json!({ "phase": "Running", "containerStatuses": container("sidecar", &other) });
    assert_eq!(judged(&status), None);
}

#[test]
fn no_room_says_what_is_short_and_waits() {
    let text = unscheduled(
        "0/2 nodes are available: 2 Insufficient memory. no new claims to deallocate, preemption: 0/2 nodes are \
         available: 2 No preemption victims found for incoming pod.",
    );
    let start =
        "no node has room for the pod: memory is short (0/2 nodes are available: 2 Insufficient memory); end";
    assert!(text.starts_with(start), "{text}");
    let two =
        unscheduled("0/2 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 1 Too many pods.");
    assert!(two.contains(": cpu and memory and the number of pods is short"), "{two}");
    let taint = unscheduled("0/2 nodes are available: 2 node(s) had untolerated taint(s). preemption: none");
    let start = "no node takes the pod: 0/2 nodes are available: 2 node(s) had untolerated taint(s);";
    assert!(taint.starts_with(start) && taint.contains("`pod_template`"), "{taint}");
}

#[test]
fn an_image_says_whether_it_is_missing_or_closed_or_out_of_reach() {
    let message = r#"rpc error: code = NotFound desc = failed to pull and unpack image "r/i:1": failed to resolve reference "r/i:1": r/i:1: not found"#;
    assert_eq!(
        lasting(waits("server", "ErrImagePull", message)),
        "the image `i:1` is not there: r/i:1: not found; push it to a registry that the nodes reach, or change `image`"
    );
    assert!(is_baked("r/x/berth-npx/i:1") && is_baked("berth-uvx/i:1") && !is_baked("berth-npx-other/i"));
    let keeper = lasting(waits("keeper", "ImagePullBackOff", message));
    assert!(keeper.ends_with("or change `keeper_image` in [kubernetes]"), "{keeper}");
    let denied = r#"failed to resolve reference "r/i:1": pull access denied, repository does not exist or may require authorization"#;
    assert!(lasting(waits("server", "ErrImagePull", denied)).contains("`imagePullSecrets`"));
    let silent = r#"failed to resolve reference "r/i:1": failed to do request: Head "https://r/v2/i": dial tcp: lookup r: i/o timeout"#;
    let silent = lasting(waits("server", "ErrImagePull", silent));
    assert!(silent.contains("cannot pull the image `i:1`: failed to do request"), "{silent}");
    assert!(lasting(waits("server", "InvalidImageName", "")).starts_with("`i:1` is no image's name"));
    assert!(lasting(waits("server", "ErrImageNeverPull", "")).contains("`imagePullPolicy`"));
}

#[test]
fn a_container_that_cannot_run_says_why() {
    let root = "container has runAsNonRoot and image will run as root";
    let text = lasting(waits("server", "CreateContainerConfigError", root));
    assert!(text.contains(root) && text.contains("`user = \"1000:1000\"`"), "{text}");
    let broken = json!({ "terminated": {
        "exitCode": 128, "reason": "StartError", "message": "exec: \"/keeper\": stat /keeper: no such file",
    } });
    let status = json!({ "phase": "Failed", "initContainerStatuses": container("keeper", &broken) });
    let text = lasting(judged(&status));
    let start = "berth's keeper ended in the pod `mcp-a-1` with code 128 (StartError: exec: \"/keeper\"";
    assert!(text.starts_with(start) && text.contains("`keeper_image`"), "{text}");
    assert!(text.contains("`kubectl describe pod mcp-a-1 -n team`"), "{text}");
    let oom = json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } });
    let status = json!({ "phase": "Failed", "containerStatuses": container("server", &oom) });
    let text = lasting(judged(&status));
    assert!(text.contains("ran out of memory") && text.ends_with("raise `memory`"), "{text}");
}

#[test]
fn a_node_or_somebody_else_may_end_it() {
    let text = lasting(judged(&json!({
        "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory.",
    })));
    let start = "the node `n1` ended the pod `mcp-a-1`: Evicted: The node was low";
    assert!(text.starts_with(start), "{text}");
    let pod = json!({ "metadata": { "name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z" } });
    let text = lasting(of_pod(&serde_json::from_value(pod).unwrap(), "team"));
    assert!(text.contains("was deleted while it started"), "{text}");
}

#[test]
fn what_only_events_tell() {
    let event = |reason: &str, message: &str| {
        let event = json!({ "metadata": {}, "involvedObject": {}, "reason": reason, "message": message });
        of_event(&serde_json::from_value(event).unwrap(), "p")
    };
    assert_eq!(event("Scheduled", ""), None);
    let pulls = waiting(event("Pulling", r#"Pulling image "r/i:1""#));
    assert!(pulls.starts_with("the node pulls the image `r/i:1`; "), "{pulls}");
    assert_eq!(event("Pulled", r#"Successfully pulled image "r/i:1" in 3.2s"#), Some(Stuck::Over));
    let runtime = lasting(event("FailedCreatePodSandBox", r#"no runtime for "runsc" is configured"#));
    assert!(runtime.contains("isolation"), "{runtime}");
    let network = waiting(event("FailedCreatePodSandBox", "plugin type=x failed"));
    assert!(network.contains("plugin type=x failed"), "{network}");
    let keeper =
        format!("MountVolume.SetUp failed for volume \"berth\" : configmap \"{CONFIG_MAP}\" not found");
    let keeper = lasting(event("FailedMount", &keeper));
    assert!(keeper.starts_with("the keeper of this berth is not in the namespace"), "{keeper}");
    assert!(keeper.ends_with("; type `berth kubernetes up`"), "{keeper}");
    assert!(waiting(event("FailedMount", "secret \"s\" not found")).contains("FailedMount: secret"));
}
