use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::super::{Apart, Config, ConfigError, Daemon, Home};

fn home() -> Home {
    let variables = |name: &str| (name == "HOME").then(|| "/home/me".to_owned());
    Home::from_env(&variables).unwrap()
}

fn parse(dind: &str) -> Result<Config, ConfigError> {
    Config::parse(&format!("[dind]\n{dind}\n"), Path::new("/etc2/berth.toml"), &home())
}

fn error(dind: &str) -> String {
    parse(dind).unwrap_err().to_string()
}

fn local() -> Daemon {
    Daemon::configured("unix:///srv/engine/docker.sock", None)
}

#[test]
fn what_the_daemon_lives_on_cannot_be_shared() {
    for folder in [
        "/",
        "/var",
        "/var/lib",
        "/var/lib/docker",
        "/var/lib/docker/volumes",
        "/var/run",
        "/run/user/1000",
        "/proc",
        "/sys/fs",
        "/dev",
        "/dev/shm",
        "/etc",
        "/etc/ssl",
        "/usr/src",
        "/bin",
        "/lib64",
        "/sbin",
        "/berth",
        "/berth/certs",
        "//etc",
        "/./etc",
        "/etc/",
    ] {
        let said = error(&format!("share = [\"/srv/work\", {folder:?}]"));
        let expected =
            format!("/etc2/berth.toml:2: `{folder}` in `share` cannot be shared: the daemon's container has");
        assert!(said.starts_with(&expected), "{said}");
        assert!(said.ends_with("name the servers' working folders, such as \"~/src\""), "{said}");
    }
    for folder in ["/srv/work", "~/src", "/tmp/x", "/root/src", "/usrlocal", "/var/www", "/opt"] {
        assert!(parse(&format!("share = [{folder:?}]")).is_ok(), "{folder}");
    }
}

#[test]
fn berths_own_files_cannot_be_shared() {
    for (folder, what) in [
        ("~", "the key of berth's daemon"),
        ("/home", "the key of berth's daemon"),
        ("~/.local/share", "the key of berth's daemon"),
        ("~/.local/share/berth/certs", "the key of berth's daemon"),
        ("~/.local/share/berth/state/x", "berth's own state"),
        ("~/.config", "berth's configuration"),
        ("/etc2", "this configuration"),
    ] {
        let said = error(&format!("share = [{folder:?}]"));
        assert!(
            said.contains(&format!("`{folder}`")) && said.contains(&format!("{what} is there, at `")),
            "{said}"
        );
    }
    let engine = |folder: &str| parse(&format!("share = [{folder:?}]")).unwrap().dind.shared(&local());
    let said = engine("/srv").unwrap_err().to_string();
    assert!(said.contains("cannot be used") || said.contains("the engine's socket is there"), "{said}");
}

#[test]
fn what_is_no_folder_of_its_own_is_refused() {
    for wrong in
        ["[\"src\"]", "[\"./src\"]", "[\"\"]", "[\"~me/src\"]", "[\"/a:/b\"]", "[\"/a/../etc\"]", "[1]"]
    {
        let said = error(&format!("share = {wrong}"));
        assert!(
            said.contains("2: each of `share` must be a folder such as \"~/src\" or \"/srv/work\", not"),
            "{said}"
        );
    }
    assert!(error("share = \"/srv\"").contains("`share` must be a list in brackets"));
}

#[test]
fn only_a_daemon_on_this_machine_shares() {
    let far = "`share` in [dind] needs a daemon on this machine, but `tcp://10.0.0.5:2376` is on another \
               machine; remove `share`";
    let share = "share = [\"/srv/work\"]";
    let said = error(&format!("engine = \"tcp://10.0.0.5:2376\"\n{share}\nbind = \"0.0.0.0\""));
    assert!(said.starts_with(&format!("/etc2/berth.toml:3: {far}")), "{said}");
    let said = error(&format!("host = \"tcp://10.0.0.5:2376\"\ncerts = \"/c\"\n{share}"));
    assert!(said.contains(far), "{said}");
    assert!(parse(&format!("host = \"unix:///run/docker.sock\"\n{share}")).is_ok());
    // Whatever DOCKER_HOST says.
    let dind = parse(share).unwrap().dind;
    let remote = Daemon::configured("tcp://10.0.0.5:2376", None);
    assert!(dind.shared(&remote).unwrap_err().to_string().contains(far));
}

#[test]
fn folders_are_shared_as_the_kernel_knows_them() {
    let folder = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(folder.path()).unwrap();
    for name in ["b", "a", "a/inner", "a-b"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    symlink("a", root.join("link")).unwrap();
    symlink("/etc", root.join("out")).unwrap();
    fs::write(root.join("file"), "").unwrap();
    let shared = |names: &[&str]| {
        let folders: Vec<String> = names.iter().map(|name| format!("{:?}", root.join(name))).collect();
        parse(&format!("share = [{}]", folders.join(","))).unwrap().dind.shared(&local())
    };
    let expected = ["a", "a-b", "b"].map(|name| root.join(name));
    assert_eq!(shared(&["b", "a/inner", "a-b", "link", "a"]).unwrap(), expected);
    let said = shared(&["out"]).unwrap_err().to_string();
    assert!(
        said.contains(
            "/out` (`/etc`) in `share` cannot be shared: the daemon's container has its own `/etc`"
        ),
        "{said}"
    );
    // A file alone, where its folder holds more than servers are to have.
    assert_eq!(shared(&["b", "file"]).unwrap(), ["b", "file"].map(|name| root.join(name)));
    let said = shared(&["a", "none"]).unwrap_err().to_string();
    assert!(said.contains("/none` in `share` cannot be used: "), "{said}");
    assert!(said.contains("name a folder or a file that exists, or remove it"), "{said}");
}

#[test]
fn a_link_to_berths_own_files_is_seen_through() {
    let folder = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(folder.path()).unwrap();
    fs::create_dir_all(root.join("work/berth/certs")).unwrap();
    symlink(root.join("work/berth"), root.join("home")).unwrap();
    let at = root.join("home").to_str().unwrap().to_owned();
    let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| at.clone())).unwrap();
    let text = format!("[dind]\nshare = [{:?}]", root.join("work"));
    let dind = Config::parse(&text, Path::new("/etc2/berth.toml"), &home).unwrap().dind;
    let said = dind.shared(&local()).unwrap_err().to_string();
    assert!(said.contains("the key of berth's daemon is there"), "{said}");
}

#[test]
fn neither_the_daemons_certificates_nor_a_socket_that_the_file_names_is_shared() {
    let far = "host = \"unix:///srv/dind/docker.sock\"\ncerts = \"/srv/keys/dind\"";
    for (keys, folder, what) in [
        (far, "/srv/keys", "the key of the daemon"),
        (far, "/srv/keys/dind/old", "the key of the daemon"),
        (far, "/srv/dind", "the daemon's socket"),
        ("engine = \"unix:///srv/engine/docker.sock\"", "/srv/engine", "the engine's socket"),
    ] {
        let said = error(&format!("{keys}\nshare = [{folder:?}]"));
        assert!(said.contains(&format!("cannot be shared: {what} is there, at `/srv/")), "{said}");
    }
    assert!(parse(&format!("{far}\nshare = [\"/srv/work\"]")).is_ok());
}

#[test]
fn a_share_that_the_engine_does_not_have_is_an_error_at_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(folder.path()).unwrap();
    fs::create_dir(root.join("real")).unwrap();
    symlink(root.join("real"), root.join("link")).unwrap();
    let config = parse(&format!("share = [\"{0}/link\"]", root.display())).unwrap();
    let unseen = root.join("real");
    let apart = Apart { engine: "unix:///s".to_owned(), unseen: vec![unseen.clone()], contained: false };
    let error = config.dind.share.unseen_error(&unseen, &apart).unwrap().to_string();
    let expected = format!(
        "/etc2/berth.toml:2: `{}/link` in `share` cannot be shared: the engine at `unix:///s` does not see this machine's \
         files; keep the servers' files in a folder that the engine's machine has, too, or remove it",
        root.display()
    );
    assert_eq!(error, expected);
    assert!(config.dind.share.unseen_error(&root, &apart).is_none(), "no line shares that");
}
