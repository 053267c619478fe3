//! What registries and engines say of images, and what follows.

use super::*;

#[test]
fn what_a_registry_says_tells_who_is_to_do_something() {
    let refused = |image: &str, status, message: &str| {
        let (op, object, message) = ("pull the image", image.to_owned(), message.to_owned());
        Refusal::of(&DockerError::Refused { op, object, status, message }, image)
    };
    let unknown = "manifest for x:latest not found: manifest unknown";
    assert_eq!(refused("x", 404, unknown), Refusal::Unknown);
    let hub = "pull access denied for x, repository does not exist or may require 'docker login': denied: requested \
               access to the resource is denied";
    assert_eq!(refused("x", 404, hub), Refusal::Unknown);
    for denied in [
        "Head \"http://box:5000/v2/x/manifests/latest\": no basic auth credentials",
        "unauthorized: authentication required",
        "failed to resolve reference \"box:5000/x:latest\": pull access denied, repository does not exist or may \
         require authorization: authorization failed: no basic auth credentials",
        "denied: requested access to the resource is denied",
        "unexpected status from HEAD request to https://box/v2/x/manifests/latest: 401 Unauthorized",
    ] {
        assert_eq!(refused("box:5000/x", 500, denied), Refusal::Denied, "{denied}");
    }
    for other in [
        "dial tcp: lookup registry on 10.0.0.1:53: no such host",
        "net/http: TLS handshake timeout",
        "http: server gave HTTP response to HTTPS client",
        "x509: certificate signed by unknown authority",
        "dial tcp 127.0.0.1:5000: connect: connection refused",
        "proxyconnect tcp: dial tcp 10.0.0.9:3128: i/o timeout",
    ] {
        assert_eq!(refused("box:5000/x", 500, other), Refusal::Other, "{other}");
    }
}

#[test]
fn whom_a_registry_does_not_know_is_told_to_log_in() {
    let source = DockerError::broken("pull the image", "x", "told");
    let error = ImageError::Denied { image: "box:5000/x".to_owned(), source };
    assert_eq!(
        error.to_string(),
        "the image `box:5000/x` is not on the host's engine, and `box:5000` refuses access to it"
    );
    assert_eq!(error.next().as_deref(), Some("type `docker login box:5000`, then `berth up`"));
    assert_eq!(error.code(), Code::Configuration);
}

/// As an engine tells it of itself.
fn image(id: &str, repo_digests: &[&str], created: &str) -> Image {
    Image {
        id: id.to_owned(),
        repo_digests: repo_digests.iter().map(|digest| (*digest).to_owned()).collect(),
        entrypoint: Vec::new(),
        cmd: Vec::new(),
        user: String::new(),
        layers: vec!["sha256:layer".to_owned()],
        created: created.to_owned(),
        bytes: 1,
        labels: HashMap::new(),
    }
}

#[test]
fn a_pin_holds_where_two_stores_know_an_image_by_two_digests() {
    let pinned = |digest: &str| {
        let mut server =
            Server::from_image("i".parse().unwrap(), Vec::new(), &crate::config::Settings::default());
        server.digests = vec![digest.to_owned()];
        server
    };
    let (config, manifest) = ("sha256:config", "sha256:manifest");
    // One image: in an overlay2 store it has its configuration's digest, in a containerd store its manifest's.
    let (classic, containerd) = (image(config, &[], "1"), image(manifest, &["i@sha256:manifest"], "1"));
    let another = image("sha256:another", &["i@sha256:another"], "2");
    assert!(containerd.is_of_containerd() && !classic.is_of_containerd());
    let accepts = |digest: &str, here: &Image, there: Option<&Image>| {
        accepts_here(&pinned(digest), here, there).is_ok()
    };
    assert!(accepts(config, &classic, None) && accepts(manifest, &containerd, None));
    // Pinned by the daemon, looked for on the host's engine.
    assert!(accepts(config, &containerd, Some(&classic)) && accepts(manifest, &classic, Some(&containerd)));
    assert!(accepts(config, &containerd, None), "it is judged when the daemon has it");
    assert!(!accepts(config, &another, Some(&classic)), "another build is left where it is");
    assert!(!accepts("sha256:old", &containerd, Some(&classic)));
    assert!(!accepts(manifest, &classic, None));
    // One that came from a registry has both there.
    assert!(accepts(manifest, &image(config, &["i@sha256:manifest"], "1"), None));
}
