//! What the daemon's container has, and what makes it another one.

use std::io::Read;

use super::*;

fn dind() -> Dind {
    Dind { name: "d".into(), port: 23376, ..Dind::default() }
}

fn owner() -> Owner {
    let home = |name: &str| (name == "BERTH_HOME").then(|| "/b".to_owned());
    Owner::of(&crate::config::Home::from_env(&home).unwrap())
}

#[test]
fn the_container_says_whose_it_is() {
    let labels =
        create_body(&dind(), &Shared::default(), &Shared::default(), "sha256:1", &owner())["Labels"].clone();
    let place = labels[super::super::owner::LABEL_HOME].as_str().unwrap();
    assert!(place.ends_with(":/b/certs"), "{place}");
}

#[test]
fn one_port_is_published_and_it_is_the_one_with_tls() {
    let body = create_body(&dind(), &Shared::default(), &Shared::default(), "sha256:1", &owner());
    let published = json!({ "2376/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "23376" }] });
    assert_eq!(body["HostConfig"]["PortBindings"], published);
    assert!(ENTRY.contains("--tlsverify"));
    assert_eq!(ENTRY.matches("tcp://").count(), 1, "no second, plain port");
    assert!(!ENTRY.contains("2375"));
}

#[test]
fn nothing_of_the_host_is_in_reach() {
    let host =
        &create_body(&dind(), &Shared::default(), &Shared::default(), "sha256:1", &owner())["HostConfig"];
    assert_eq!(
        host["Mounts"],
        json!([{
            "Type": "volume", "Source": "d-data", "Target": "/var/lib/docker",
            "VolumeOptions": { "Labels": { "io.mcp-berth.managed-by": "berth" } },
        }])
    );
    for key in ["Binds", "Privileged", "Devices", "NetworkMode", "PidMode", "IpcMode", "VolumesFrom"] {
        assert!(host[key].is_null(), "{key}");
    }
    assert_eq!(host["CapDrop"], json!(["ALL"]));
}

#[test]
fn registries_are_reached_by_the_proxy() {
    let proxies = crate::docker_cli::Proxies::of(Some("http://p:1"), Some("box"));
    let by_proxy = Dind { proxies, ..dind() };
    let env =
        create_body(&by_proxy, &Shared::default(), &Shared::default(), "sha256:1", &owner())["Env"].take();
    for var in ["DOCKER_TLS_CERTDIR=", "HTTP_PROXY=http://p:1", "HTTPS_PROXY=http://p:1", "NO_PROXY=box"] {
        assert!(env.as_array().unwrap().contains(&var.into()), "{env}");
    }
    assert_ne!(
        hash(&by_proxy, &Shared::default(), "sha256:1"),
        hash(&dind(), &Shared::default(), "sha256:1")
    );
    let ids = format!("BERTH_IDS={}", Ids::of("d"));
    assert_eq!(
        create_body(&dind(), &Shared::default(), &Shared::default(), "sha256:1", &owner())["Env"],
        json!(["DOCKER_TLS_CERTDIR=", ids])
    );
}

#[test]
fn what_is_shared_is_at_its_own_path_and_makes_another_container() {
    let shared = Shared { folders: vec![PathBuf::from("/home/me/src")], doors: None };
    let mounts = create_body(&dind(), &shared, &shared, "sha256:1", &owner())["HostConfig"]["Mounts"].take();
    let share = json!({
        "Type": "bind", "Source": "/home/me/src", "Target": "/home/me/src",
        "BindOptions": { "Propagation": "rprivate" },
    });
    assert_eq!((mounts.as_array().map(Vec::len), &mounts[1]), (Some(2), &share));
    assert_ne!(hash(&dind(), &shared, "sha256:1"), hash(&dind(), &Shared::default(), "sha256:1"));
}

#[test]
fn privileged_is_an_option_that_stands_alone() {
    let host = &create_body(
        &Dind { privileged: true, ..dind() },
        &Shared::default(),
        &Shared::default(),
        "sha256:1",
        &owner(),
    )["HostConfig"];
    assert_eq!(host["Privileged"], true);
    // With `CapDrop` the engine would take from a privileged container what it was to have.
    assert!(host["CapDrop"].is_null() && host["CapAdd"].is_null() && host["MaskedPaths"].is_null());
}

#[test]
fn the_hash_tells_settings_and_images_apart_and_nothing_else() {
    let one = hash(&dind(), &Shared::default(), "sha256:1");
    assert_eq!(one, hash(&dind(), &Shared::default(), "sha256:1"));
    assert_eq!(
        create_body(&dind(), &Shared::default(), &Shared::default(), "sha256:1", &owner())["Labels"]
            [LABEL_SPEC],
        one
    );
    assert_ne!(one, hash(&dind(), &Shared::default(), "sha256:2"));
    for other in [
        Dind { port: 1, ..dind() },
        Dind { bind: [0, 0, 0, 0].into(), ..dind() },
        Dind { privileged: true, ..dind() },
        Dind { image: "other".into(), ..dind() },
        Dind { bip: "10.1.0.1/20".parse().ok(), ..dind() },
    ] {
        assert_ne!(one, hash(&other, &Shared::default(), "sha256:1"), "{other:?}");
    }
}

#[test]
fn the_images_own_user_and_entry_point_are_of_no_account() {
    let body = create_body(&dind(), &Shared::default(), &Shared::default(), "sha256:1", &owner());
    assert_eq!(body["User"], "0:0");
    assert_eq!(body["Entrypoint"], json!(["/bin/sh", "-c", ENTRY]));
    assert_eq!(body["Cmd"], json!([]));
}

#[test]
fn a_name_becomes_a_hosts_name() {
    assert_eq!(hostname("berth-dind"), "berth-dind");
    assert_eq!(hostname("a_b"), "a-b");
    assert_eq!(hostname(&format!("{}-x", "a".repeat(62))), "a".repeat(62));
}

#[test]
fn the_archive_is_roots_and_closed_to_others() {
    let folder = tempfile::tempdir().unwrap();
    crate::dind::certs::ensure(folder.path(), &[], jiff::Timestamp::now()).unwrap();
    let files = crate::dind::certs::server_files(folder.path()).unwrap();
    let packed = archive(&files).unwrap();
    let mut tar = tar::Archive::new(&packed[..]);
    let mut found = Vec::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        assert_eq!(header.mode().unwrap() & 0o077, 0);
        found.push((entry.path().unwrap().display().to_string(), content.len()));
    }
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "berth/",
        "berth/certs/",
        "berth/certs/ca.pem",
        "berth/certs/server-cert.pem",
        "berth/certs/server-key.pem",
        "berth/keeper",
    ];
    assert_eq!(names, expected);
    assert_eq!(found[5].1, keeper::KEEPER.len());
}
