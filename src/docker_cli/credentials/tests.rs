//! Credentials from a file, from the environment and from helper programs.

use super::super::tests::with_file;
use super::*;
use crate::regular::tests::program;

#[test]
fn an_images_registry_is_the_first_part_of_its_name_if_that_can_be_a_host() {
    for (image, expected) in [
        ("time", "docker.io"),
        ("library/time:1", "docker.io"),
        ("index.docker.io/a/b", "docker.io"),
        ("docker.io/a/b", "docker.io"),
        ("ghcr.io/a/b@sha256:00", "ghcr.io"),
        ("box:5000/a", "box:5000"),
        ("localhost/a", "localhost"),
        ("127.0.0.1:5000/a", "127.0.0.1:5000"),
        ("Box/a", "Box"),
        ("box/a", "docker.io"),
    ] {
        assert_eq!(registry(image), expected, "{image}");
    }
}

fn pair(found: &Found) -> Option<(&str, &str)> {
    let credential = found.credential.as_ref()?;
    Some((&credential.username, &credential.password))
}

#[tokio::test]
async fn the_files_own_credentials_are_found_by_the_registry() {
    let (_folder, cli) = with_file(
        r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "aHViOnB3OjE="},
            "box:5000": {"username": "me", "password": "hunter2"},
            "https://old.example/v1/": {"auth": "b2xkOnB3"},
            "token.example": {"identitytoken": "t0ken", "auth": "bWU6"},
            "empty.example": {}
        }}"#,
    );
    let found = cli.credential("time").await;
    assert_eq!(pair(&found), Some(("hub", "pw:1")));
    assert_eq!(found.credential.unwrap().server, HUB);
    assert_eq!(pair(&cli.credential("box:5000/a").await), Some(("me", "hunter2")));
    assert_eq!(pair(&cli.credential("old.example/a").await), Some(("old", "pw")));
    let token = cli.credential("token.example/a").await.credential.unwrap();
    assert_eq!((token.username.as_str(), token.identity_token.as_str()), ("me", "t0ken"));
    assert_eq!(pair(&cli.credential("empty.example/a").await), None);
    assert_eq!(pair(&cli.credential("box:5001/a").await), None);
    let shown = format!("{cli:?} {:?}", cli.credential("box:5000/a").await);
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn the_environments_credentials_go_before_the_files() {
    let (_folder, mut cli) =
        with_file(r#"{"auths": {"box": {"auth": "YTpi"}, "box.example": {"auth": "YTpi"}}}"#);
    cli.auths = Some(r#"{"auths": {"box.example": {"auth": "Yzpk"}}}"#.to_owned());
    assert_eq!(pair(&cli.credential("box.example/a").await), Some(("c", "d")));
    assert_eq!(pair(&cli.credential("Box/a").await), None);
    cli.auths = Some("hunter2".to_owned());
    let found = cli.credential("box.example/a").await;
    let warning = found.warning.unwrap();
    assert!(warning.contains("DOCKER_AUTH_CONFIG") && !warning.contains("hunter2"), "{warning}");
    assert!(!format!("{cli:?}").contains("hunter2"));
}

/// A helper program in a folder of its own; tests can't change `PATH`, so it is run by its path.
async fn helper(script: &str, server: &str) -> Result<Option<Credential>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("docker-credential-x");
    program(&path, format!("#!/bin/sh\n{script}\n").as_bytes());
    ask(path.to_str().unwrap(), server).await
}

#[tokio::test]
async fn a_helper_is_asked_for_the_registry() {
    let script = r#"[ "$1" = get ] || exit 3
        read server; echo "{\"ServerURL\":\"$server\",\"Username\":\"of $server\",\"Secret\":\"hunter2\"}""#;
    let found = helper(script, "box:5000").await.unwrap().unwrap();
    assert_eq!((found.username.as_str(), found.password.as_str()), ("of box:5000", "hunter2"));
    assert_eq!(found.server, "box:5000");
    let token = helper(r#"echo '{"Username":"<token>","Secret":"t0ken"}'"#, "box").await.unwrap().unwrap();
    assert_eq!((token.username.as_str(), token.identity_token.as_str()), ("", "t0ken"));
}

#[tokio::test]
async fn a_helper_that_knows_nothing_is_no_fault_and_a_broken_one_is_told() {
    let unknown = helper("echo credentials not found in native keychain; exit 1", "box").await;
    assert_eq!(unknown, Ok(None));
    let failed = helper("echo hunter2; exit 3", "box").await.unwrap_err();
    assert!(failed.contains("exit status: 3") && !failed.contains("hunter2"), "{failed}");
    let odd = helper("echo hunter2", "box").await.unwrap_err();
    assert!(!odd.contains("hunter2"), "{odd}");
    assert!(ask("/nowhere/docker-credential-x", "box").await.unwrap_err().contains("cannot be run"));
}

#[tokio::test]
async fn a_file_whose_helper_is_missing_warns_and_pulls_without() {
    let (_folder, cli) = with_file(
        r#"{"credsStore": "berth-test-nowhere", "credHelpers": {"box.example": "../x"}, "auths": {"ghcr.io": {"auth": "YTpi"}}}"#,
    );
    let found = cli.credential("ghcr.io/a").await;
    assert_eq!(pair(&found), None, "the store has it, and not the file");
    let warning = found.warning.unwrap();
    for part in ["`docker-credential-berth-test-nowhere`", "without credentials", "`ghcr.io`"] {
        assert!(warning.contains(part), "{warning}");
    }
    let warning = cli.credential("box.example/a").await.warning.unwrap();
    assert!(warning.contains("is not a credential helper's name"), "{warning}");
    let (_folder, broken) = with_file("{");
    assert!(broken.credential("a").await.warning.unwrap().contains("config.json"));
}

#[tokio::test(start_paused = true)]
async fn a_helper_that_hangs_is_not_waited_for() {
    let began = tokio::time::Instant::now();
    let said = helper("exec sleep 5", "box").await.unwrap_err();
    assert_eq!(said, "gave no answer within 15 s");
    assert_eq!(began.elapsed(), HELPER_WITHIN);
}
