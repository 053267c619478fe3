//! Images that are the ones that were pinned, and the list of what a baked one holds.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::dind::own::host;
use crate::harness::{Berth, Session, berth_says, daemon, docker, docker_says, expect_gone, home};

/// The tests' configuration with more servers.
fn with_servers(servers: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("berth.toml");
    let config = fs::read_to_string(home().join("berth.toml")).unwrap();
    fs::write(&file, format!("{config}\n{servers}")).unwrap();
    let path = file.to_str().unwrap().to_owned();
    (folder, path)
}

fn pinned_line(config: &str) -> String {
    let text = fs::read_to_string(Path::new(config)).unwrap();
    text.lines().find(|line| line.starts_with("digest")).unwrap_or_default().to_owned()
}

fn start(config: &str) -> Session {
    Berth::run("pinned").client("it-pinned").args(["--config", config]).start()
}

#[test]
fn an_image_that_is_not_the_pinned_one_is_refused() {
    const IMAGE: &str = "berth-it-pinned";
    let tag = |image: &str| assert!(host(&["tag", image, IMAGE]).status.success());
    tag("berth-fixture");
    docker(&["rmi", "--force", IMAGE]);
    let (_folder, config) = with_servers(&format!("[servers.pinned]\nimage = \"{IMAGE}\" # mine\n"));
    let (code, said, error) = berth_says(&["bake", "--config", &config, "--pin", "pinned"]);
    assert_eq!(code, Some(0), "{error}");
    let id = docker_says(&["inspect", "--format", "{{.Id}}", IMAGE]);
    assert_eq!(said, format!("pinned: {IMAGE} ({id})"));
    assert_eq!(pinned_line(&config), format!("digest = \"{id}\""));
    start(&config).initialize();

    // The host has another build of that name: the pinned one stays where it is.
    tag("berth-time");
    let refused = format!("the image `{IMAGE}` has changed: its digest is `sha256:");
    let next = "find out why it changed; `berth bake --pin pinned` accepts the new digest";
    let (code, said, error) = berth_says(&["up", "--config", &config]);
    assert_eq!(code, Some(78), "{said}{error}");
    assert!(error.contains(&refused) && error.contains(&format!("not `{id}`; {next}")), "{error}");
    assert_eq!(docker_says(&["inspect", "--format", "{{.Id}}", IMAGE]), id);
    start(&config).initialize();

    // And so is one that has come into the daemon.
    docker_says(&["tag", "berth-time", IMAGE]);
    let mut session = start(&config);
    session.send(&json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {} }));
    let answer = session.answer(0);
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains(&refused) && message.contains(next), "{message}");
    assert_eq!(session.exit_code(), Some(78));
    expect_gone("it-pinned");

    let (code, _, error) = berth_says(&["bake", "--config", &config, "--pin", "pinned"]);
    assert_eq!(code, Some(0), "{error}");
    assert_ne!(pinned_line(&config), format!("digest = \"{id}\""));
    let (code, _, error) = berth_says(&["up", "--config", &config]);
    assert_eq!(code, Some(0), "{error}");
}

#[test]
fn a_baked_images_packages_are_listed_without_running_it() {
    daemon();
    let (_folder, config) = with_servers(
        "[servers.files]\nnpx = \"@modelcontextprotocol/server-filesystem@2026.8.31\"\n\
         [servers.git]\nuvx = \"mcp-server-git==2026.10.19\"\n\
         [servers.later]\nnpx = \"@modelcontextprotocol/nothing-bakes-this@1\"\n",
    );
    let (code, _, error) = berth_says(&["bake", "--config", &config, "files", "git"]);
    assert_eq!(code, Some(0), "{error}");
    let list = |server: &str| berth_says(&["sbom", "--config", &config, server]);
    let document = |server: &str| {
        let (code, said, error) = list(server);
        assert_eq!(code, Some(0), "{error}");
        let (code, again, error) = list(server);
        assert_eq!(code, Some(0), "{error}");
        assert!(again == said, "the same image, the same document");
        serde_json::from_str::<Value>(&said).unwrap()
    };
    let files = document("files");
    assert_eq!((&files["bomFormat"], &files["specVersion"]), (&json!("CycloneDX"), &json!("1.6")));
    assert_eq!(files["metadata"]["component"]["name"], "files");
    let components = files["components"].as_array().unwrap();
    let of = |components: &[Value], purl: &str| {
        let found = components.iter().find(|component| component["purl"].as_str().unwrap().starts_with(purl));
        found.unwrap_or_else(|| panic!("no {purl}")).clone()
    };
    let main = of(components, "pkg:npm/%40modelcontextprotocol/server-filesystem@");
    assert_eq!(main["version"], "2026.8.31");
    assert_eq!(main["hashes"][0]["alg"], "SHA-512");
    of(components, "pkg:npm/%40modelcontextprotocol/sdk@");
    let hashed = components.iter().filter(|component| component.get("hashes").is_some()).count();
    assert_eq!(hashed, components.len(), "npm's lock has a digest of each");

    let git = document("git");
    let components = git["components"].as_array().unwrap();
    assert_eq!(of(components, "pkg:pypi/mcp-server-git@")["version"], "2026.10.19");
    of(components, "pkg:pypi/pydantic-core@");

    let left = docker_says(&["ps", "--all", "--format", "{{.Names}}"]);
    assert!(!left.contains("berth-sbom-"), "{left}");
    let (code, _, error) = list("later");
    assert_eq!(code, Some(69), "{error}");
    assert!(error.contains("the package of `later` is not baked yet; type `berth bake later`"), "{error}");
    let (code, _, error) = list("fixture");
    assert_eq!(code, Some(64), "{error}");
}

#[test]
fn a_container_is_made_of_the_image_that_was_judged() {
    const IMAGE: &str = "berth-it-judged";
    daemon();
    docker_says(&["tag", "berth-fixture", IMAGE]);
    let id = docker_says(&["inspect", "--format", "{{.Id}}", IMAGE]);
    let (_folder, config) = with_servers(&format!("[servers.pinned]\nimage = \"{IMAGE}\"\n"));
    let mut session = Berth::run("pinned").client("it-judged").args(["--config", &config]).start();
    session.initialize();
    let label = "label=io.mcp-berth.client=it-judged";
    let containers = docker_says(&["ps", "--quiet", "--filter", label]);
    assert!(!containers.is_empty());
    for container in containers.lines() {
        let made_of = docker_says(&["inspect", "--format", "{{.Config.Image}}", container]);
        assert_eq!(made_of, id, "by its id, for its name may lead elsewhere");
    }
    docker(&["rmi", "--force", IMAGE]);
}

#[test]
fn an_image_that_nobody_can_have_signed_is_refused() {
    const IMAGE: &str = "berth-it-unsigned";
    daemon();
    docker_says(&["tag", "berth-fixture", IMAGE]);
    let server = format!("[servers.pinned]\nimage = \"{IMAGE}\"\nverify = {{ cosign_key = \"key.pub\" }}\n");
    let (folder, config) = with_servers(&server);
    let refused = "has no digest of a registry, so nobody can have signed it";
    let (code, _, error) = berth_says(&["up", "--config", &config]);
    assert_eq!(code, Some(78), "{error}");
    assert!(error.contains("the key cannot be read"), "{error}");
    fs::write(folder.path().join("key.pub"), "a key").unwrap();
    let (code, _, error) = berth_says(&["up", "--config", &config]);
    assert_eq!(code, Some(78), "{error}");
    assert!(error.contains(&format!("the image `{IMAGE}` {refused}")), "{error}");

    let mut session = start(&config);
    session.send(&json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {} }));
    let answer = session.answer(0);
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains(refused) && message.contains("`verify = false` for `pinned`"), "{message}");
    assert_eq!(session.exit_code(), Some(78));
    expect_gone("it-pinned");
    docker(&["rmi", "--force", IMAGE]);
}
