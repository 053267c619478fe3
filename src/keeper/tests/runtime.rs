//! The engine's runtime lets only that run which is what it should be.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use crate::json::{self, Json};
use crate::needs::Expected;
use crate::runtime::{Create, Place, Plan, Start};

const FOLDER: &str = "/.berth-0123456789abcdef0123456789abcdef";

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(Into::into).collect()
}

#[test]
fn json_is_read() {
    let text = r#" {"a": [1, -2.5e3, true, null, "x\n\"\\\u00e4\ud83d\ude00/"], "b": {"c": {}}, "d": []} "#;
    let read = json::read(text).unwrap();
    let items: Vec<&Json> = read.at("a").items().collect();
    assert_eq!((items.len(), items[4].text()), (5, Some("x\n\"\\ä😀/")));
    assert_eq!(read.at("b").at("c"), &Json::Object(Vec::new()));
    assert_eq!((read.at("d").items().count(), read.at("none").at("x").text()), (0, None));
    let deep = format!("{}{}", "[".repeat(99), "]".repeat(99));
    for wrong in ["", "{", "[1,]", "{\"a\" 1}", "\"a", "[] []", "\"\\ud800\"", "\"\\x\"", "{a:1}", &deep] {
        assert_eq!(json::read(wrong), None, "{wrong}");
    }
}

#[test]
fn what_is_to_be_made_is_found_among_the_options() {
    let line = "--root /r --log /l --log-format json create --bundle /b --pid-file /p --no-pivot id";
    assert!(Create::parse(&words(line)).is_some());
    for other in ["--version", "", "--root /r --log /l start id", "--root create", "state create", "--log"] {
        assert_eq!(Create::parse(&words(other)), None, "{other}");
    }
    assert!(Start::parse(&words("--root /r --log /l start id")).is_some());
    for other in [line, "", "start", "--root start x", "--root /r state start"] {
        assert_eq!(Start::parse(&words(other)), None, "{other}");
    }
}

/// A configuration with these arguments and mounts (`path type source`, and perhaps an option).
fn config(root: &Path, arguments: &str, mounts: &[&str]) -> Json {
    let quoted = |text: &str| json::quoted(text);
    let arguments: Vec<String> = arguments.split_whitespace().map(quoted).collect();
    let mount = |line: &&str| {
        let [path, kind, source, ref options @ ..] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let options: Vec<String> = options.iter().map(|option| quoted(option)).collect();
        format!(
            "{{\"destination\":{},\"type\":{},\"source\":{},\"options\":[{}]}}",
            quoted(path),
            quoted(kind),
            quoted(source),
            options.join(",")
        )
    };
    let mounts: Vec<String> = mounts.iter().map(mount).collect();
    let text = format!(
        "{{\"root\":{{\"path\":{}}},\"process\":{{\"args\":[{}]}},\"mounts\":[{}]}}",
        quoted(root.to_str().unwrap()),
        arguments.join(","),
        mounts.join(",")
    );
    json::read(&text).unwrap()
}

#[test]
fn only_what_was_asked_for_is_mounted() {
    let keeper = format!("{FOLDER} bind /var/lib/docker/volumes/berth-keeper-1/_data");
    let hold = format!("{FOLDER}/keeper hold --room --- --mount 1:2:/w -- server --mount 9:9:/z");
    let plan = |arguments: &str, mounts: &[&str]| Plan::of(&config(Path::new("/r"), arguments, mounts));
    let hosts = "/etc/hosts bind /var/lib/docker/containers/1/hosts";
    let (given, proc) = ("/w bind /home/me", "/proc proc proc");
    assert!(plan(&hold, &[&keeper, hosts, given, proc, "/tmp tmpfs tmpfs"]).is_ok());
    for (arguments, mounts, why) in [
        (hold.as_str(), &[given][..], "no volume with berth's keeper"),
        (&hold, &[&keeper], "nothing is mounted at `/w`"),
        (&hold, &[&keeper, given, "/x bind /home/me"], "nobody has asked for what is mounted at `/x`"),
        (&hold, &[&keeper, given, "/x bind /"], "nobody has asked for what is mounted at `/x`"),
        ("/.berth/keeper hold", &[&keeper], "does not begin with berth's keeper"),
        ("/bin/sh hold", &[&keeper], "does not begin with berth's keeper"),
        (&format!("{FOLDER}/keeper exec"), &[&keeper], "does not begin with berth's keeper"),
        (&format!("{FOLDER}/keeper hold --mount x"), &[&keeper], "`x` is no mount"),
    ] {
        let said = plan(arguments, mounts).unwrap_err();
        assert!(said.contains(why), "{said}: {why}");
    }
}

#[test]
fn a_door_is_the_folder_that_was_asked_for_and_nobody_writes_there() {
    let keeper = format!("{FOLDER} bind /var/lib/docker/volumes/berth-keeper-1/_data ro");
    let door = |option: &str| format!("{FOLDER}/door bind /berth/doors/0123{option}");
    let plan = |options: &str, door: &str| {
        let arguments = format!("{FOLDER}/keeper hold {options}");
        Plan::of(&config(Path::new("/r"), &arguments, &[&keeper, door]))
    };
    for read_only in [" ro", " rro"] {
        let plan = plan("--door 1:2 --grace 1 -- server", &door(read_only)).unwrap();
        let [_, Place::Door(Expected { device: 1, inode: 2, path })] = plan.places() else {
            panic!("{:?}", plan.places())
        };
        assert_eq!(path, Path::new(&format!("{FOLDER}/door")));
        assert!(!plan.guarded().iter().any(|word| word.to_string_lossy().contains("door")), "nobody's files");
    }
    let elsewhere = format!("{FOLDER}0/door bind /berth/doors/0123 ro");
    for (options, door, why) in [
        ("--door 1:2", door(""), "its door is not read-only"),
        ("--door 1:2", door(" rw"), "its door is not read-only"),
        ("--grace 1", door(" ro"), "nobody has asked for its door"),
        ("--grace 1 -- server --door 1:2", door(" ro"), "nobody has asked for its door"),
        ("--door 1", door(" ro"), "nobody has asked for its door"),
        ("--door 1:2", elsewhere, "nobody has asked for what is mounted at"),
    ] {
        let said = plan(options, &door).unwrap_err();
        assert!(said.contains(why), "{said}: {why}");
    }
    // As root in the daemon's container.
    let root = tempfile::tempdir().unwrap();
    let inside = root.path().join(&FOLDER[1..]).join("door");
    fs::create_dir_all(&inside).unwrap();
    let found = fs::metadata(&inside).unwrap();
    let check = |device: u64, inode: u64| {
        let plan = plan(&format!("--door {device}:{inode}"), &door(" ro")).unwrap();
        plan.places()[1].check(&crate::sys::open_folder(root.path()).unwrap())
    };
    assert_eq!(check(found.dev(), found.ino()), Ok(()));
    let said = check(found.dev(), found.ino() + 1).unwrap_err();
    assert!(said.starts_with(&format!("what is mounted at `{FOLDER}/door` is not what was to be")), "{said}");
    fs::remove_dir(&inside).unwrap();
    symlink("/", &inside).unwrap();
    let said = check(found.dev(), found.ino()).unwrap_err();
    assert!(said.contains("a link in the image"), "{said}");
}

#[test]
fn an_images_links_lead_no_mount_elsewhere() {
    let root = tempfile::tempdir().unwrap();
    let keeper = format!("{FOLDER} bind /var/lib/docker/volumes/berth-keeper-1/_data");
    let hold = format!("{FOLDER}/keeper hold --mount 1:2:/w/p");
    let check = |memory: &str| {
        let mounts = [keeper.as_str(), "/w/p bind /home/me", memory];
        Plan::of(&config(root.path(), &hold, &mounts)).unwrap().check_image()
    };
    let (w, run) = (root.path().join("w"), root.path().join("run"));
    assert_eq!(check("/tmp tmpfs tmpfs"), Ok(()), "nothing is there yet");
    fs::create_dir_all(w.join("p")).unwrap();
    fs::create_dir(&run).unwrap();
    symlink("/run", root.path().join("inside")).unwrap();
    symlink("/", root.path().join("root")).unwrap();
    symlink("/w/p/below", root.path().join("missing")).unwrap();
    symlink("/w/p", root.path().join("over")).unwrap();
    symlink("/proc/self/root", root.path().join("magic")).unwrap();
    for fine in ["/tmp", "/inside", "/run", "/inside/x", "/x/y", "/root/x"] {
        assert_eq!(check(&format!("{fine} tmpfs tmpfs")), Ok(()), "{fine}");
    }
    for wrong in ["/root", "/missing", "/over", "/magic", "/root/w/p"] {
        let said = check(&format!("{wrong} tmpfs tmpfs")).unwrap_err();
        assert_eq!(said, format!("a link in the image leads elsewhere what is to be mounted at `{wrong}`"));
    }
    for to in ["/", "/run", "p/../p", "/nowhere", "/proc"] {
        fs::remove_dir_all(&w).or_else(|_| fs::remove_file(&w)).unwrap();
        symlink(to, &w).unwrap();
        let said = check("/tmp tmpfs tmpfs").unwrap_err();
        assert!(said.ends_with("what is to be mounted at `/w/p`"), "{to}: {said}");
    }
}

#[test]
fn what_was_made_is_compared_with_what_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let volume = Path::new("/var/lib/docker/volumes/berth-keeper-test/_data");
    // As root in the daemon's container, where such a folder is.
    fs::create_dir_all(root.join("w")).unwrap();
    fs::create_dir_all(root.join(&FOLDER[1..])).unwrap();
    let found = fs::metadata(root.join("w")).unwrap();
    let keeper = format!("{FOLDER} bind {}", volume.display());
    let hold = format!("{FOLDER}/keeper hold --mount {}:{}:/w", found.dev(), found.ino());
    let plan = Plan::of(&config(&root, &hold, &[&keeper, "/w bind /home/me"])).unwrap();
    let given = &plan.places()[1..];
    let open = |path: &Path| crate::sys::open_folder(path).unwrap();
    assert_eq!(plan.check_root(&open(&root)), Ok(()));
    assert_eq!(plan.check_root(&open(folder.path())), Err("something is mounted over its root".to_owned()));
    assert_eq!(given[0].check(&open(&root)), Ok(()));
    fs::rename(root.join("w"), root.join("away")).unwrap();
    fs::create_dir(root.join("w")).unwrap();
    let said = given[0].check(&open(&root)).unwrap_err();
    assert!(said.starts_with("what is mounted at `/w` is not what was to be"), "{said}");
    fs::remove_dir(root.join("w")).unwrap();
    symlink("away", root.join("w")).unwrap();
    let said = given[0].check(&open(&root)).unwrap_err();
    assert!(said.contains("a link in the image"), "{said}");
    // The daemon's own folder is looked at, whatever is there.
    let said = plan.places()[0].check(&open(&root)).unwrap_err();
    assert!(said.contains(FOLDER), "{said}");
}

#[test]
fn one_mount_is_made_read_only() {
    let config = r#"{"mounts":[{"destination":"/a","options":["rw"]},{"destination":"/b","type":"bind","options":["rbind","rw"]},{"destination":"/c","options":[]}],"x":[]}"#;
    let changed = |config: &str, path: &str| {
        let mut config = crate::json::read(config).unwrap();
        crate::runtime::read_only(&mut config, Path::new(path)).map(|()| config.to_string())
    };
    assert_eq!(changed(config, "/b"), Some(config.replace(r#""rbind","rw""#, r#""rbind","rw","ro""#)));
    assert_eq!(changed(config, "/c"), Some(config.replace("\"options\":[]", "\"options\":[\"ro\"]")));
    assert_eq!(changed(config, "/"), None);
    assert_eq!(changed(r#"{"mounts":[{"destination":"/a"},{"options":[]}]}"#, "/a"), None);
}
