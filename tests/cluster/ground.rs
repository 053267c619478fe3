//! What a person gives a cluster for sessions: the objects of `berth kubernetes up`, and a template for pods.

use serde_json::json;

use crate::harness::{PATIENCE, Place, eventually, expect_gone};

#[test]
#[ignore = "needs a cluster"]
fn what_up_prints_is_what_it_would_make() {
    let place = Place::new("printed").without_keeper();
    let (code, printed, errors) = place.says(&["kubernetes", "up", "--print"]);
    assert_eq!(code, Some(0), "{errors}");
    // The namespace is there, and its test's.
    let objects: Vec<&str> = printed.split("---\n").filter(|it| !it.contains("kind: Namespace\n")).collect();
    // Whoever applies it by another name changes who has it.
    place.apply(&objects.join("---\n"), &["--server-side", "--field-manager=mcp-berth"]);
    let (code, said, errors) = place.says(&["kubernetes", "up"]);
    assert_eq!(code, Some(0), "{errors}");
    let nothing = format!("the namespace `{}` is ready: nothing has changed", place.namespace());
    assert!(said.contains(&nothing), "{said}{errors}");
    let mut session = place.run("fixture").client("printed").started();
    assert_eq!(session.call_text("echo", json!({ "text": "ahoy" })), "ahoy");
}

/// Goes on until it is told to end, as a mesh's proxy does.
const SIDECAR: &str = r#"
metadata:
  labels: {team: tools}
spec:
  containers:
    - name: proxy
      image: IMAGE
      imagePullPolicy: IfNotPresent
      command: [python3, -c, "from signal import *; pthread_sigmask(SIG_BLOCK, [SIGTERM]); sigwait([SIGTERM])"]
      securityContext: {runAsNonRoot: true, runAsUser: 1000, allowPrivilegeEscalation: false,
        capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}
"#;

#[test]
#[ignore = "needs a cluster"]
fn a_sidecar_of_the_template_does_no_harm_and_keeps_no_pod() {
    let place = Place::new("sidecar").template(SIDECAR);
    let mut session = place.run("hasty").client("sidecar").started();
    let pod = place.pod(&session.container()).expect("its pod");
    assert_eq!(pod.metadata.labels.as_ref().and_then(|labels| labels.get("team")), Some(&"tools".to_owned()));
    assert_eq!(pod.spec.map(|spec| spec.containers.len()), Some(2));
    assert_eq!(session.call_text("echo", json!({ "text": "ahoy" })), "ahoy");
    session.close();
    assert_eq!(session.exit_code(), Some(0), "{}", session.stderr());
    expect_gone("sidecar");

    let mut killed = place.run("hasty").client("sidecar-killed").started();
    let pod = killed.container();
    killed.kill();
    eventually("the sweep of a pod whose sidecar goes on", PATIENCE, || {
        let (code, said, errors) = place.says(&["gc"]);
        assert_eq!(code, Some(0), "{said}{errors}");
        said.contains(&format!("removed the pod {pod}")).then_some(())
    });
    expect_gone("sidecar-killed");
}
