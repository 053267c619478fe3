use std::collections::BTreeSet;

use super::*;
use crate::config::{Overrides, Settings};

fn spec(overrides: &Overrides) -> Spec {
    let server = Server::from_image("i".parse().unwrap(), Vec::new(), &Settings::default());
    let env = vec!["A=1".to_owned(), "B=2=3".to_owned()];
    Spec { env, ..Spec::new(server.with_overrides(overrides), "x", "0123456789ab") }
}

fn plain() -> Spec {
    spec(&Overrides::default())
}

fn prestarted() -> Spec {
    spec(&Overrides::default().with("prestart", &["true"]))
}

fn with_env(spec: Spec, env: &[&str]) -> Spec {
    Spec { env: env.iter().map(|var| (*var).to_owned()).collect(), ..spec }
}

#[test]
fn a_hash_tells_one_kind_from_another() {
    let with = |key, text| spec(&Overrides::default().with(key, &[text])).hash();
    let command = |command: &[&str]| {
        let mut spec = plain();
        spec.server.command = Some(command.iter().map(|word| (*word).to_owned()).collect());
        spec.hash()
    };
    let named = |name: &str, image: &str| {
        let mut spec = plain();
        spec.server.name = name.to_owned();
        spec.server.image = image.to_owned();
        spec.hash()
    };
    let kinds = [
        plain().hash(),
        prestarted().hash(),
        command(&["a", "b"]),
        command(&["a b"]),
        named("i", "j"),
        named("j", "i"),
        with_env(plain(), &["A=1"]).hash(),
        with_env(plain(), &["A=1", "C=2"]).hash(),
        with_env(plain(), &[]).hash(),
        with("memory", "96m"),
        with("network", "none"),
        with("pids", "9"),
        with("cpus", "2"),
        with("user", "1:1"),
        with("read_only", "true"),
        with("stop_grace", "9s"),
    ];
    let different: std::collections::BTreeSet<_> = kinds.iter().collect();
    assert_eq!(different.len(), kinds.len(), "{kinds:?}");
    assert!(kinds.iter().all(|hash| hash.len() == 12), "{kinds:?}");
}

#[test]
fn a_server_that_runs_already_is_another_kind_with_other_streams() {
    let with = |prestart: &str, way: &str| {
        spec(&Overrides::default().with("prestart", &[prestart]).with("streams", &[way])).hash()
    };
    assert_eq!(with("false", "exec"), plain().hash(), "whoever takes the container chooses");
    assert_eq!(with("false", "direct"), plain().hash());
    let kinds = ["auto", "direct", "exec"].map(|way| with("true", way));
    assert_eq!(kinds[0], prestarted().hash());
    assert_eq!(kinds.iter().collect::<BTreeSet<_>>().len(), 3, "{kinds:?}");
}

#[test]
fn the_way_that_is_tried_is_the_settings_or_by_pipes_where_there_are_doors() {
    let state = tempfile::tempdir().unwrap();
    let doors = Doors::make(state.path(), "berth-dind").unwrap();
    let way = |way: &str, doors: Option<&Doors>| {
        Spec { doors: doors.cloned(), ..spec(&Overrides::default().with("streams", &[way])) }.way()
    };
    assert_eq!((way("auto", Some(&doors)), way("auto", None)), (Way::Direct, Way::Exec));
    assert_eq!((way("exec", Some(&doors)), way("exec", None)), (Way::Exec, Way::Exec));
    assert_eq!((way("direct", Some(&doors)), way("direct", None)), (Way::Direct, Way::Direct));
}

fn mounted(identity: (u64, u64), writable: bool) -> Spec {
    Spec { mounts: vec![Mount::new("/home/me/project", "/workspace", writable, identity)], ..plain() }
}

#[test]
fn a_mount_is_of_one_file_system_and_the_keeper_knows_it() {
    let host = &mounted((1, 2), false).create_body(&Place::example())["HostConfig"];
    let mount = json!({
        "Type": "bind", "Source": "/home/me/project", "Target": "/workspace", "ReadOnly": true,
        "BindOptions": { "Propagation": "private", "NonRecursive": true },
    });
    assert_eq!(host["Mounts"][1], mount);
    assert_eq!(host["Binds"], Value::Null, "it would make what is not there");
    let writable = mounted((1, 2), true);
    assert_eq!(writable.create_body(&Place::example())["HostConfig"]["Mounts"][1]["ReadOnly"], false);
    assert_eq!(writable.keeper_options(), ["--mount", "1:2:/workspace", "--plain-modes"]);
    assert_eq!(mounted((1, 2), false).keeper_options(), ["--mount", "1:2:/workspace"]);
    let mut ahead = mounted((1, 2), true);
    ahead.server.settings.prestart = true;
    ahead.server.settings.user = Some("1:1".to_owned());
    let held = ahead.standby_body(&Place::example(), &["server".to_owned()])["Cmd"].take();
    assert_eq!(
        held.as_array().unwrap()[4..],
        ["--mount", "1:2:/workspace", "--plain-modes", "--home", "/tmp", "--", "server"]
    );
    ahead.env = vec!["HOME=/srv".to_owned()];
    assert_eq!(ahead.keeper_options(), ["--mount", "1:2:/workspace", "--plain-modes"], "it has a home");
}

#[test]
fn the_runtime_is_told_whose_rights_the_images_user_is_lent() {
    let mut lent = mounted((1, 2), true);
    lent.server.settings.caller = Some((1000, 100));
    let arguments = lent.create_body(&Place::example())["Cmd"].take();
    assert_eq!(arguments.as_array().unwrap()[4..6], ["--caller", "1000:100"]);
    assert_eq!(lent.keeper_options(), mounted((1, 2), true).keeper_options(), "the server's own is not");
    assert_ne!(lent.hash(), mounted((1, 2), true).hash());
}

#[test]
fn an_images_volumes_are_mounts_of_the_sessions_own() {
    let mut spec = plain();
    spec.server
        .settings
        .tmpfs
        .insert("/data".to_owned(), crate::values::Tmpfs { bytes: 1 << 20, exec: false });
    spec.declared = vec!["/data".to_owned(), "/other".to_owned()];
    let body = spec.create_body(&Place::example());
    let host = &body["HostConfig"];
    for (n, place, bytes) in [(1, "/data", 1 << 20), (2, "/other", 64 << 20)] {
        let mount = &host["Mounts"][n];
        assert_eq!((&mount["Type"], &mount["Target"]), (&json!("tmpfs"), &json!(place)));
        assert_eq!(mount["TmpfsOptions"]["SizeBytes"], bytes, "{place}");
    }
    assert_eq!(host["Tmpfs"].get("/data"), None, "once is enough");
    assert_eq!(spec.hash(), Spec { declared: Vec::new(), ..spec.clone() }.hash(), "the image's id says it");
    assert_eq!((&body["StopSignal"], &body["Healthcheck"]["Test"]), (&json!("SIGTERM"), &json!(["NONE"])));
}

#[test]
fn the_keepers_place_is_each_containers_own() {
    let (one, other) = (Place::new().unwrap(), Place::new().unwrap());
    let body = plain().create_body(&one);
    assert_eq!(body["Entrypoint"][0], one.program());
    assert_eq!(body["HostConfig"]["Mounts"][0]["Target"], one.folder());
    assert_ne!(body["Entrypoint"], plain().create_body(&other)["Entrypoint"]);
}

#[test]
fn containers_of_other_folders_are_of_another_kind() {
    let hashes = [
        plain(),
        mounted((1, 2), false),
        mounted((1, 2), true),
        mounted((1, 3), false),
        mounted((2, 2), false),
    ]
    .map(|spec| spec.hash());
    let different: std::collections::BTreeSet<_> = hashes.iter().collect();
    assert_eq!(different.len(), hashes.len(), "{hashes:?}");
    assert_eq!(mounted((1, 2), false).hash(), hashes[1]);
}

#[test]
fn a_hash_is_the_same_for_all_sessions_of_a_kind() {
    let hash = plain().hash();
    let other = Spec {
        session: "ba9876543210".to_owned(),
        client_session: Some("theirs".to_owned()),
        project: Some("/theirs".to_owned()),
        client: "y".to_owned(),
        ..plain()
    };
    assert_eq!(other.hash(), hash);
    assert_eq!(with_env(plain(), &["A=", "B=other"]).hash(), hash, "the values are the sessions' own");
    assert_ne!(with_env(prestarted(), &["A=", "B=other"]).hash(), prestarted().hash());
    assert_ne!(with_env(prestarted(), &["A=1", "B=2=4"]).hash(), prestarted().hash());
    // The variable is the server's own process's alone, and given with it.
    let many =
        Overrides::default().with("standby", &["9"]).with("standby_ttl", &["9s"]).with("env", &["A=1"]);
    assert_eq!(spec(&many).hash(), hash, "how many and how long makes no other kind");
}

#[test]
fn a_slow_daemon_has_longer_to_deliver_the_claim() {
    let waits = |timeout| {
        let body =
            spec(&Overrides::default().with("start_timeout", &[timeout])).create_body(&Place::example());
        body["Cmd"][1].as_str().unwrap().to_owned()
    };
    let again = |attempt| Spec { attempt, ..plain() }.claim_within_ms();
    assert_eq!(
        [0, 1, 2, 3, 4, 9].map(again),
        [4000, 4000, 8000, 16_000, 30_000, 30_000],
        "it was late before"
    );
    assert_eq!([waits("1s"), waits("30s"), waits("2m"), waits("1h")], ["4000", "4000", "15000", "30000"]);
    let slow = spec(&Overrides::default().with("start_timeout", &["5m"]));
    assert_eq!(slow.hash(), plain().hash(), "it makes no other kind");
}

#[test]
fn a_container_on_standby_waits_longer_and_is_nobodys() {
    let ttl = Overrides::default().with("standby_ttl", &["90s"]);
    let argv = ["server".to_owned(), "--flag".to_owned()];
    let spec = spec(&ttl);
    let (own, standby) = (spec.create_body(&Place::example()), spec.standby_body(&Place::example(), &argv));
    assert_eq!(own["Cmd"], json!(["--claim-within", "4000", "--grace", "3000"]));
    assert_eq!(standby["Cmd"], json!(["--claim-within", "90000", "--grace", "3000"]));
    assert_eq!(own["Labels"][LABEL_SESSION], "0123456789ab");
    assert_eq!(standby["Labels"][LABEL_SESSION], "");
    assert_eq!(standby["Labels"][LABEL_SPEC], own["Labels"][LABEL_SPEC]);
    assert_eq!((own.get("Env"), standby.get("Env")), (None, None));
    for part in ["Image", "Entrypoint", "HostConfig", "User", "OpenStdin", "StdinOnce"] {
        assert_eq!(own[part], standby[part], "{part}");
    }
    // Only what waits with its server in it knows what the server runs, and with what.
    let ahead = prestarted().standby_body(&Place::example(), &argv);
    let held = ["--claim-within", "1800000", "--grace", "3000", "--", "server", "--flag"];
    assert_eq!((&ahead["Cmd"], &ahead["Env"]), (&json!(held), &json!(["A=1", "B=2=3"])));
    assert_eq!(prestarted().create_body(&Place::example()).get("Env"), None);
}

#[test]
fn a_list_of_names_takes_the_network_away_and_says_what_the_forwarder_lets_pass() {
    let of = |network| spec(&Overrides::default().with("network", &[network]));
    let (egress, lan, list) = (of("egress"), of("lan"), of("allow=a.org,*.b.org:443"));
    let place = Place::new().unwrap();
    let body = |spec: &Spec| spec.create_body(&place);
    assert_eq!(body(&egress)["HostConfig"], body(&plain())["HostConfig"], "as before there were any others");
    let mode = |spec: &Spec| body(spec)["HostConfig"]["NetworkMode"].clone();
    assert_eq!([&egress, &lan, &list].map(mode), ["bridge", "bridge", "none"]);
    let options = |spec: &Spec| {
        let cmd = body(spec)["Cmd"].as_array().unwrap().iter().skip(4).cloned().collect::<Vec<_>>();
        cmd.iter().map(|word| word.as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    let told = format!("{}-told", place.folder());
    assert_eq!([&egress, &lan].map(options), ["", "--lan"]);
    assert_eq!(options(&list), format!("--allow a.org --allow *.b.org:443 --told {told}"));
    let host = &body(&list)["HostConfig"];
    assert_eq!((&host["Dns"], &host["DnsSearch"]), (&json!(["198.18.0.1"]), &json!(["."])));
    assert_eq!(host["Mounts"][1]["Target"], told);
    assert_eq!(host["Mounts"][1]["Source"], Value::Null, "it goes with the container");
    let hashes = [egress, lan, list, of("allow=a.org"), of("none")].map(|spec| spec.hash());
    assert_eq!(hashes.iter().collect::<BTreeSet<_>>().len(), 5);
}

#[test]
fn a_kernel_of_its_own_is_another_runtime_and_counts_for_itself() {
    let gvisor = spec(&Overrides::default().with("isolation", &["gvisor"]).with("pids", &["32"]));
    let body = gvisor.create_body(&Place::example());
    let host = &body["HostConfig"];
    assert_eq!((&host["Runtime"], &host["PidsLimit"]), (&json!("berth-gvisor"), &json!(32 * 3 + 128)));
    assert_eq!(host["Ulimits"], json!([{ "Name": "nproc", "Soft": 32, "Hard": 32 }]));
    assert!(host["Mounts"][0]["Source"].as_str().unwrap().ends_with("-readable"), "{}", host["Mounts"]);
    assert_eq!(body["Labels"]["io.mcp-berth.isolation"], "gvisor");
    assert!(body["Cmd"].as_array().unwrap().contains(&json!("--own-kernel")), "{}", body["Cmd"]);
    assert_eq!(gvisor.keeper_options(), ["--own-kernel"]);

    let plain = spec(&Overrides::default().with("pids", &["32"]));
    let body = plain.create_body(&Place::example());
    let host = &body["HostConfig"];
    assert_eq!((&host["Runtime"], &host["PidsLimit"]), (&json!("berth-3"), &json!(32)));
    assert_eq!(
        (&host["Ulimits"], &body["Labels"]["io.mcp-berth.isolation"]),
        (&json!([]), &json!("container"))
    );
    assert_ne!(plain.hash(), gvisor.hash(), "neither is claimed for the other");
    // Nobody gets less than was asked for where the daemon has no runtime of berth's.
    let elsewhere = Spec { looked_at: false, ..gvisor }.create_body(&Place::example());
    assert_eq!(elsewhere["HostConfig"]["Runtime"], "berth-gvisor");
}
