use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use super::*;
use crate::config::{Apart, ConfigError, Home, Overrides};

fn parse(text: &str) -> Result<Config, ConfigError> {
    let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
    Config::parse(text, Path::new("/c/berth.toml"), &home)
}

fn server_error(keys: &str) -> String {
    parse(&format!("[servers.a]\nimage = \"i\"\n{keys}\n")).unwrap_err().to_string()
}

/// Two shared projects, one of them by a link, and what lies beside.
struct Place {
    _folder: tempfile::TempDir,
    root: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        for name in ["share/one/sub", "share/two", "secret", "shared-too"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::write(root.join("share/one/file"), "").unwrap();
        symlink(&root, root.join("link")).unwrap();
        Self { _folder: folder, root }
    }

    fn mounts(&self, mounts: &str, variables: &[(&str, &str)]) -> Result<Vec<Mount>, ConfigError> {
        let share = self.root.join("link/share");
        let config =
            parse(&format!("[dind]\nshare = [{share:?}]\n[servers.a]\nimage = \"i\"\nmounts = {mounts}\n"))?;
        let lookup =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        config.mounts(config.server("a")?, &lookup)
    }

    fn sources(&self, mounts: &str, variables: &[(&str, &str)]) -> Vec<String> {
        let found = self.mounts(mounts, variables).unwrap();
        let relative = |mount: Mount| {
            let below = Path::new(&mount.source).strip_prefix(&self.root).unwrap().display().to_string();
            format!("{below}:{}:{}", mount.target, if mount.writable { "rw" } else { "ro" })
        };
        found.into_iter().map(relative).collect()
    }

    fn refused(&self, source: &str) -> String {
        self.mounts(&format!("[\"{}/{source}:/w\"]", self.root.display()), &[]).unwrap_err().to_string()
    }
}

#[test]
fn sources_are_templates_and_mounts_are_read_only_unless_said() {
    let place = Place::new();
    let root = place.root.to_str().unwrap().to_owned();
    let project = format!("{root}/share/one");
    let variables = [("CLAUDE_PROJECT_DIR", project.as_str()), ("HOME", &root), ("DEEP", "/sub")];
    let found = place.sources(
        "[\"${CLAUDE_PROJECT_DIR}:/workspace\", \"~/share/two:/notes:rw\", \"${NO:-/}${HOME}/share:/s:ro\"]",
        &[("CLAUDE_PROJECT_DIR", project.as_str()), ("HOME", &root)],
    );
    assert_eq!(found, ["share/one:/workspace:ro", "share/two:/notes:rw", "share:/s:ro"]);
    assert_eq!(
        place.sources("[\"${CLAUDE_PROJECT_DIR}${DEEP}:/w//x/\"]", &variables),
        ["share/one/sub:/w/x:ro"]
    );
    assert_eq!(place.sources("[\"${CLAUDE_PROJECT_DIR}/file:/w\"]", &variables), ["share/one/file:/w:ro"]);
    assert_eq!(place.sources("[]", &[]), [""; 0]);
    let error = place.mounts("[\"${CLAUDE_PROJECT_DIR}:/w\"]", &[]).unwrap_err().to_string();
    assert!(
        error.starts_with(
            "/c/berth.toml:5: server `a` needs the variable `CLAUDE_PROJECT_DIR` for a mount, but it is not set; set it"
        ),
        "{error}"
    );
    let error = place.mounts("[\"~/x:/w\"]", &[]).unwrap_err().to_string();
    assert!(error.contains("needs the variable `HOME`"), "{error}");
}

#[test]
fn a_mount_goes_by_what_the_kernel_opens() {
    let place = Place::new();
    let real = place.root.join("share/one");
    // By a link outside of the share into it, too: it is the same folder.
    let found = place.mounts(&format!("[\"{}/link/share/one:/w\"]", place.root.display()), &[]).unwrap();
    let stat = fs::metadata(&real).unwrap();
    assert_eq!(found[0].source, real.to_str().unwrap());
    assert_eq!(found[0].option(), ["--mount".to_owned(), format!("{}:{}:/w", stat.dev(), stat.ino())]);
}

#[test]
fn what_is_not_shared_is_refused_with_the_line_to_add() {
    let place = Place::new();
    let root = place.root.display();
    let said = place.refused("secret");
    let expected = format!(
        "/c/berth.toml:5: server `a` cannot mount `{root}/secret`: it is not shared with the daemon; write \
         `share = [\"{root}/link/share\", \"{root}/secret\"]` under [dind] in /c/berth.toml, then type `berth up`"
    );
    assert_eq!(said, expected);
    // Not the whole home for a file in it.
    fs::write(place.root.join("secret.pem"), "").unwrap();
    let home = place.root.display().to_string();
    let said = place.mounts(&format!("[\"{root}/secret.pem:/w\"]"), &[("HOME", &home)]).unwrap_err();
    assert!(said.to_string().contains(&format!("\"{root}/secret.pem\"]`")), "{said}");
    assert!(
        place.refused("shared-too").contains("it is not shared"),
        "a name that begins alike is another folder"
    );
    let said = place.mounts("[\"/etc:/w\"]", &[]).unwrap_err().to_string();
    assert!(
        said.ends_with("berth cannot share that folder: keep the servers' files in a folder of their own"),
        "{said}"
    );
    // Where there is no `share` yet.
    let config = parse(&format!("[servers.a]\nimage = \"i\"\nmounts = [\"{root}/secret:/w\"]")).unwrap();
    let said = config.mounts(config.server("a").unwrap(), &|_| None).unwrap_err().to_string();
    assert!(said.contains(&format!("write `share = [\"{root}/secret\"]` under [dind]")), "{said}");
}

#[test]
fn no_link_leads_out_of_a_share() {
    let place = Place::new();
    let share = place.root.join("share");
    symlink(place.root.join("secret"), share.join("absolute")).unwrap();
    symlink("../secret", share.join("relative")).unwrap();
    symlink("two", share.join("inside")).unwrap();
    for name in ["absolute", "relative", "one/../relative", "../secret"] {
        let said = place.refused(&format!("share/{name}"));
        assert!(said.contains("cannot mount") && said.contains("/secret`"), "{said}");
        assert!(said.contains("a link leads out of the shared folders"), "{said}");
        assert!(!said.contains("write `share"), "{said}");
    }
    // Where the share's own name is a link, too.
    assert!(place.refused("link/share/relative").contains("a link leads out of the shared folders"));
    assert_eq!(place.sources(&format!("[\"{}/inside:/w\"]", share.display()), &[]), ["share/two:/w:ro"]);
}

#[test]
fn a_source_is_a_folder_or_a_file_that_is_there() {
    let place = Place::new();
    let said = place.refused("share/none");
    assert!(said.contains("/share/none`: No such file or directory"), "{said}");
    let _socket = std::os::unix::net::UnixListener::bind(place.root.join("share/socket")).unwrap();
    let said = place.refused("share/socket");
    assert!(said.contains("it is neither a folder nor a file"), "{said}");
    let said = place.mounts("[\"src:/w\"]", &[]).unwrap_err().to_string();
    assert!(
        said.contains("cannot mount `src`: it is not an absolute path; begin with `/`, `~/`, or `.`"),
        "{said}"
    );
    fs::create_dir(place.root.join("share/a,b")).unwrap();
    assert!(place.refused("share/a,b").contains("holds a `,`"), "Docker could not name it");
}

#[test]
fn what_is_no_mount_says_what_one_is() {
    for wrong in ["/a", "/a:b", "/a:/b:rx", ":/b:", "/a:/b:/c:", "${A:/b", "/a:/b/../proc", "/a:/./b"] {
        let said = server_error(&format!("mounts = [{wrong:?}]"));
        assert!(
            said.contains("3: each of `mounts` must be a mount such as \"~/src/project:/workspace\""),
            "{said}"
        );
    }
    assert!(
        "/a:/b/..".parse::<MountEntry>().unwrap_err().to_string().starts_with("expected a mount such as")
    );
}

#[test]
fn some_places_in_a_container_are_not_to_be_had() {
    for target in
        ["/", "//", "/proc", "/proc/self", "/sys", "/dev", "/dev/shm/x", "/.berth", "/.berth/keeper"]
    {
        let said = server_error(&format!("mounts = [\"/x:{target}\"]"));
        assert!(
            said.contains("3: server `a` cannot have a mount at `/")
                && said.contains("the container needs its own files there"),
            "{said}"
        );
    }
    let twice = server_error("mounts = [\"/x:/w\", \"/y:/w/\"]");
    assert!(twice.contains("at `/w`: something else is mounted there, too; choose another place"), "{twice}");
    let nested = server_error("mounts = [\"/x:/w\"]\nvolumes = [\"v:/w/deep/er\"]");
    assert!(nested.contains("at `/w/deep/er`: it overlaps `/w`"), "{nested}");
    assert!(parse("[servers.a]\nimage = \"i\"\nmounts = [\"/x:/w\", \"/y:/w/deep/er\"]").is_ok());
    let tmpfs = server_error("mounts = [\"/x:/tmp\"]");
    assert!(tmpfs.contains("at `/tmp`: something else is mounted there"), "{tmpfs}");
    let below = server_error("tmpfs = { \"/w/cache/\" = \"1m\" }\nmounts = [\"/x:/w\"]");
    assert!(below.contains("4: server `a` cannot have a mount at `/w`: it overlaps `/w/cache/`"), "{below}");
    // Beside, or inside of what is the container's own alone.
    assert!(
        parse("[servers.a]\nimage = \"i\"\nmounts = [\"/x:/w\", \"/y:/w2\", \"/z:/tmp/z\", \"/q:/process\"]")
            .is_ok()
    );
}

#[test]
fn layers_add_their_mounts_target_by_target() {
    let text = |own: &str| {
        let text = format!("[defaults]\nmounts = [\"/a:/1\", \"/b:/2\"]\n[servers.a]\nimage = \"i\"\n{own}");
        let config = parse(&text).unwrap();
        let flag = Overrides::default().with("mounts", &["/f:/3:rw"]);
        let server = config.server("a").unwrap().with_overrides(&flag);
        let targets = server.settings.mounts.iter().map(|mount| mount.target.clone()).collect::<Vec<_>>();
        (targets.join(" "), server.settings.mounts.last().unwrap().writable)
    };
    assert_eq!(text(""), ("/1 /2 /3".to_owned(), true));
    assert_eq!(text("mounts = [\"/c:/2:rw\"]").0, "/1 /2 /3");
    assert_eq!(text("mounts = []").0, "/3");
}

#[test]
fn with_mounts_the_images_user_is_lent_the_callers_rights_where_somebody_can() {
    let settled = |keys: &str, caller: (u32, u32), is_own: bool| {
        let config = parse(&format!("[servers.a]\nimage = \"i\"\n{keys}")).unwrap();
        let mut server = config.server("a").unwrap().clone();
        server.settle(caller, is_own);
        (server.settings.user.unwrap_or_default(), server.settings.caller)
    };
    let (me, root) = ((1234, 100), (0, 0));
    let (as_me, images) = (("1234:100".to_owned(), None), (String::new(), None));
    let mounts = "mounts = [\"/x:/w\"]";
    assert_eq!(settled("", me, true), images);
    assert_eq!(settled("user = \"caller\"", me, true), as_me);
    assert_eq!(settled(mounts, me, true), (String::new(), Some(me)));
    assert_eq!(settled(mounts, root, true), (String::new(), Some(root)));
    assert_eq!(settled(&format!("{mounts}\nuser = \"caller\""), me, true), as_me);
    assert_eq!(settled(&format!("{mounts}\nuser = \"node\""), me, true), ("node".to_owned(), None));
    // Nobody lends them there: as with `docker run`, but for a person whose files nobody else could write.
    for (keys, is_own) in [(mounts.to_owned(), false), (format!("{mounts}\nisolation = \"gvisor\""), true)] {
        assert_eq!(settled(&keys, me, is_own), as_me, "{keys}");
        assert_eq!(settled(&keys, root, is_own), images, "{keys}");
    }
    let mut package =
        parse(&format!("[servers.a]\nuvx = \"p\"\n{mounts}")).unwrap().server("a").unwrap().clone();
    package.settle(root, true);
    assert_eq!((package.settings.user.as_deref(), package.settings.caller), (Some("0:0"), None));
    let mut former =
        parse(&format!("[servers.a]\nimage = \"i\"\n{mounts}")).unwrap().server("a").unwrap().clone();
    former.settle(me, true);
    former.settings.be_the_caller();
    assert_eq!((former.settings.user.as_deref(), former.settings.caller), (Some("1234:100"), None));
}

#[test]
fn debug_shows_no_variable_that_a_source_holds() {
    let entry: MountEntry = "/x/${A:-hunter2}:/w".parse().unwrap();
    assert!(!format!("{entry:?}").contains("hunter2"), "{entry:?}");
}

#[test]
fn no_mount_has_the_socket_of_docker_host() {
    let place = Place::new();
    let root = place.root.display();
    let mounts = format!("[\"{root}/share/one:/w\"]");
    assert!(place.mounts(&mounts, &[("DOCKER_HOST", "unix:///srv/docker.sock")]).is_ok());
    let socket = format!("unix://{root}/link/share/one/file");
    let said = place.mounts(&mounts, &[("DOCKER_HOST", &socket)]).unwrap_err().to_string();
    assert!(said.contains("/share/one`: the engine's socket is there, at `"), "{said}");
    // Nor what lies beside it in the same share: the daemon would have both.
    let beside = format!("[\"{root}/share/two:/w\"]");
    let said = place.mounts(&beside, &[("DOCKER_HOST", &socket)]).unwrap_err().to_string();
    assert!(said.contains("it is not shared with the daemon"), "{said}");
}

#[test]
fn what_the_engine_does_not_have_is_refused_with_that_reason() {
    let place = Place::new();
    let root = place.root.display().to_string();
    let said = |source: &str, apart: Apart| {
        let text = format!(
            "[dind]\nshare = [\"{root}/share\"]\n[servers.a]\nimage = \"i\"\nmounts = [\"{root}/{source}:/w\"]\n"
        );
        let mut config = parse(&text).unwrap();
        config.dind.share = config.dind.share.apart(apart);
        config.mounts(config.server("a").unwrap(), &|_| None).map_err(|error| error.to_string())
    };
    let apart = |unseen: &str, contained| {
        let unseen = if unseen.is_empty() { Vec::new() } else { vec![place.root.join(unseen)] };
        Apart { engine: "unix:///s".to_owned(), unseen, contained }
    };
    let why = "the engine at `unix:///s` does not see";
    assert_eq!(
        said("share/one", apart("share", true)).unwrap_err(),
        format!(
            "/c/berth.toml:5: server `a` cannot mount `{root}/share/one`: {why} the files of the container that berth \
             runs in; mount the folder into this container at its path on the engine's machine"
        )
    );
    assert!(said("share/one", apart("share", false)).unwrap_err().contains("this machine's files; keep the"));
    assert!(said("share/one", apart("", true)).is_ok(), "it has this one");
    let unshared = said("secret", apart("", true)).unwrap_err();
    let both = format!("it is not shared with the daemon, and {why} the files of the container");
    assert!(unshared.contains(&both) && unshared.contains(", write `share = ["), "{unshared}");
}
