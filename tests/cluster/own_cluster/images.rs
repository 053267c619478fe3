//! Images of a registry, which say themselves what they run.

use serde_json::json;

use crate::harness::{Local, Place, Registry, Session};

fn env(session: &mut Session, name: &str) -> String {
    session.call_text("env", json!({ "name": name }))
}

#[test]
#[ignore = "needs a cluster"]
fn an_image_runs_by_itself_as_it_does_in_docker() {
    let registry = Registry::of_the_cluster();
    let changes = [
        "USER 1234",
        "WORKDIR /etc",
        "ENV MARK=ahoy",
        "ENTRYPOINT [\"/berth-fixture\"]",
        "CMD [\"--of-the-image\"]",
    ];
    let image = registry.put("itself:1", "berth-fixture", &changes);
    // The harness names a user, and this one is the image's.
    let place = Place::new("itself").without("user = \"1000:1000\"").with(&format!(
        "\n[servers.itself]\nimage = \"{image}\"\n[servers.told]\nimage = \"{image}\"\nargs = [\"--of-the-server\"]\n"
    ));
    for (server, argument) in [("itself", "--of-the-image"), ("told", "--of-the-server")] {
        let mut session = place.run(server).client(server).started();
        let line = session.call_text("read", json!({ "path": "/proc/self/cmdline" }));
        assert_eq!(line, format!("/berth-fixture\0{argument}\0"));
        assert!(env(&mut session, "MARK").contains("ahoy"));
        let status = session.call_text("read", json!({ "path": "/proc/self/status" }));
        assert!(status.contains("\nUid:\t1234\t1234"), "{status}");
        let here = session.call_text("read", json!({ "path": "hostname" }));
        assert_eq!(here, session.call_text("read", json!({ "path": "/etc/hostname" })));
        session.close();
    }
}

#[test]
#[ignore = "needs a cluster"]
fn a_baked_package_is_pushed_and_its_sessions_run_from_the_registry() {
    let registry = Registry::of_the_cluster();
    // The registry keeps what former runs have pushed.
    let version = std::process::id();
    let place = Place::new("baked").with(&format!(
        "\n[dind]\nhost = \"unix:///var/run/docker.sock\"\n[servers.baked]\nnpx = \"berth-nobodys-fixture@1.0.{version}\"\n",
    ));
    let place = place.registry(&registry);
    let (_, preview, _) = place.says(&["run", "baked", "--dry-run"]);
    let preview: serde_json::Value = serde_json::from_str(&preview).expect("JSON");
    let image = preview["pod"]["spec"]["containers"][0]["image"].as_str().expect("an image").to_owned();
    let local = image.strip_prefix(&format!("{}/", registry.address())).expect("in the registry");
    let mut session = place.run("baked").client("unbaked").start();
    let answer =
        session.request("initialize", json!({ "protocolVersion": "2025-06-18", "capabilities": {} }));
    let error = answer["error"].to_string();
    assert!(error.contains("its registry does not have it; type `berth bake --push baked`"), "{answer}");
    session.close();
    // As an installation would leave it.
    let _baked = Local::new(local, "berth-fixture", &["ENTRYPOINT [\"/berth-fixture\"]"]);
    let (code, said, errors) = place.says(&["bake", "--push", "baked"]);
    assert_eq!(code, Some(0), "{said}{errors}");
    assert!(said.contains(&format!("baked: pushed {image} (sha256:")), "{said}");
    let mut session = place.run("baked").client("baked").started();
    assert_eq!(session.call_text("echo", json!({ "text": "ahoy" })), "ahoy");
}
