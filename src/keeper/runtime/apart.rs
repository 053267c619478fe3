//! Gives a container a user namespace of its own, in the range of its daemon (`keeper/ids.rs`).
//!
//! The daemon's own configuration would have the real runtime make one that is root's, in which all containers together use
//! up what the kernel lets root have. Here the namespace is made before, with an owner of its own, and the configuration
//! names it. Files of the person's are mounted so that they are in the container what they are on the machine.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process;

use super::Real;
use crate::ids::{self, Extent, Namespace, Range};
use crate::json::Json;
use crate::needs::{self, Expected};
use crate::sys::userns;

/// Where the copies of mounts are for a moment.
const COPIES: &str = "/run/berth";

/// Which ids of the machine may open ICMP sockets; the kernel's default is nobody, and the daemon leaves it at that in a
/// user namespace.
const PING: &str = "net.ipv4.ping_group_range";
/// Where the daemon sets this for a network of the container's own, it would set the other.
const PORTS: &str = "net.ipv4.ip_unprivileged_port_start";

/// A namespace and mounts that have to be there until the real runtime has made the container.
#[derive(Debug)]
pub(super) struct Apart {
    _namespace: Namespace,
    _copies: Vec<Copy>,
}

/// The mounts of a container that somebody's files lie in.
#[derive(Debug, Default)]
pub(super) struct Foreign<'a> {
    /// The person's: what is to be mounted, and where.
    pub(super) given: Vec<&'a Expected>,
    /// Volumes, whose files belong to ids of the range.
    pub(super) volumes: Vec<&'a Path>,
    /// The person on the machine, as user and group, if the container's own user is to have the person's rights there.
    pub(super) caller: Option<(u32, u32)>,
}

/// Changes the configuration of a container. `None` where it is to have the ids of the machine.
pub(super) fn prepare(
    real: Real,
    config: &mut Json,
    container: &OsStr,
    foreign: &Foreign<'_>,
) -> Result<Option<Apart>, String> {
    let is_asked = |namespace: &Json| {
        namespace.at("type").text() == Some("user") && namespace.at("path").text().is_none()
    };
    let is_asked = config.at("linux").at("namespaces").items().any(is_asked);
    let Some(range) = Range::of_daemon().filter(|_| is_asked) else {
        return lend(config, container, foreign);
    };
    let (uid, gid) = user_of(config);
    let caller = foreign.caller.unwrap_or((uid, gid));
    let owner = ids::owner(container);
    let make = |users: &[Extent], groups: &[Extent]| {
        Namespace::make(owner, users, groups)
            .map_err(|error| format!("it cannot have a user namespace: {error}"))
    };
    let (mut users, mut groups) = (range.map(uid), range.map(gid));
    let mut namespace = make(&users, &groups)?;
    let mut ping = (0, if gid < range.common() { range.common() - 1 } else { gid });
    let mut copies = Copies { container, sources: Vec::new(), made: Vec::new() };
    let lent = match foreign.caller {
        Some(caller) if !foreign.given.is_empty() => {
            Some(make(&range.map_lent(uid, caller.0), &range.map_lent(gid, caller.1))?)
        }
        _ => None,
    };
    match copies.add_given(config, foreign, lent.as_ref().unwrap_or(&namespace)) {
        Ok(()) => {}
        Err(Failed::Open(why)) => return Err(why),
        // Its file system knows no such mounts: then the server has the person's number on the machine, and that alone.
        Err(Failed::Map(why)) if caller.0 == 0 => {
            return Err(format!(
                "{why}, which a server needs that would be root on the machine; `userns = false` in [dind] does without"
            ));
        }
        // Nor is its root another's: the real runtime would not find the image.
        Err(Failed::Map(why)) if uid == 0 => {
            return Err(format!("{why}; `user = \"caller\"` for this server does without"));
        }
        Err(Failed::Map(_)) => {
            copies.clear();
            users = range.map_keeping(uid, caller.0);
            if caller.1 != 0 {
                groups = range.map_keeping(gid, caller.1);
                ping = (gid, gid);
            }
            namespace = make(&users, &groups)?;
            if !foreign.volumes.is_empty() {
                let groups = match caller.1 {
                    0 => range.map_kept(range.common(), range.common()),
                    real => range.map_kept(gid, real),
                };
                let kept = make(&range.map_kept(uid, caller.0), &groups)?;
                for path in &foreign.volumes {
                    // Else its files are nobody's, as the server will say.
                    let _ = copies.add(config, path, None, &kept);
                }
            }
        }
    }
    copies.name_in(config);
    // gVisor enters no namespace that somebody else made: it has many threads. It needs no owner of its own for one either, for
    // what the kernel counts by owners is counted in the container's kernel.
    let path = (real == Real::Shared).then(|| namespace.path());
    change(config, path, &users, &groups, ping).ok_or("its configuration lacks a part")?;
    Ok(Some(Apart { _namespace: namespace, _copies: copies.made }))
}

/// Where a container has the machine's ids, its user is lent the person's rights on what is mounted, and nothing else
/// changes.
fn lend(config: &mut Json, container: &OsStr, foreign: &Foreign<'_>) -> Result<Option<Apart>, String> {
    let own = user_of(config);
    let Some(caller) = foreign.caller.filter(|_| !foreign.given.is_empty()) else { return Ok(None) };
    let map = |own, caller| Range::MACHINE.map_lent(own, caller);
    let namespace = Namespace::make(ids::owner(container), &map(own.0, caller.0), &map(own.1, caller.1));
    let next = "`user = \"caller\"` for this server does without";
    let namespace = namespace.map_err(|error| format!("no mount can be mapped ({error}); {next}"))?;
    let mut copies = Copies { container, sources: Vec::new(), made: Vec::new() };
    copies.add_given(config, foreign, &namespace).map_err(|failed| match failed {
        Failed::Open(why) => why,
        Failed::Map(why) => format!("{why}; {next}"),
    })?;
    copies.name_in(config);
    Ok(Some(Apart { _namespace: namespace, _copies: copies.made }))
}

/// Whom the container's first process runs as.
fn user_of(config: &Json) -> (u32, u32) {
    let user = config.at("process").at("user");
    let id = |id| user.at(id).as_number().unwrap_or_default();
    (id("uid"), id("gid"))
}

fn change(
    config: &mut Json,
    namespace: Option<String>,
    users: &[Extent],
    groups: &[Extent],
    ping: (u32, u32),
) -> Option<()> {
    let linux = config.at_mut("linux")?;
    linux.set("uidMappings", ids::json(users));
    linux.set("gidMappings", ids::json(groups));
    let is_user = |namespace: &&mut Json| namespace.at("type").text() == Some("user");
    let user = linux.at_mut("namespaces")?.items_mut().find(is_user)?;
    if let Some(path) = namespace {
        user.set("path", Json::Text(path));
    }
    if let Some(sysctl) = linux.at_mut("sysctl").filter(|sysctl| sysctl.at(PORTS).text().is_some())
        && sysctl.at(PING).text().is_none()
    {
        sysctl.set(PING, Json::Text(format!("{} {}", ping.0, ping.1)));
    }
    let is_group = |mount: &&mut Json| mount.at("type").text() == Some("cgroup");
    for groups in config.at_mut("mounts").into_iter().flat_map(Json::items_mut).filter(is_group) {
        // The daemon leaves them writable in a user namespace, for kernels of long ago.
        if let Some(Json::List(options)) = groups.at_mut("options")
            && !options.iter().any(|option| option.text() == Some("ro"))
        {
            options.push(Json::Text("ro".to_owned()));
        }
    }
    Some(())
}

enum Failed {
    Open(String),
    Map(String),
}

/// Mounts that are made for a container.
struct Copies<'a> {
    container: &'a OsStr,
    /// Where in the container, and what is mounted there now.
    sources: Vec<(PathBuf, PathBuf)>,
    made: Vec<Copy>,
}

impl Copies<'_> {
    /// Of all that is the person's.
    fn add_given(
        &mut self,
        config: &Json,
        foreign: &Foreign<'_>,
        namespace: &Namespace,
    ) -> Result<(), Failed> {
        let mut given = foreign.given.iter();
        given
            .try_for_each(|given| self.add(config, &given.path, Some((given.device, given.inode)), namespace))
    }

    /// Of what `config` mounts at `path`, with the ids of `namespace`; if `expected` says so, only of that.
    fn add(
        &mut self,
        config: &Json,
        path: &Path,
        expected: Option<(u64, u64)>,
        namespace: &Namespace,
    ) -> Result<(), Failed> {
        let mut mounts = config.at("mounts").items();
        let is_here = |mount: &&Json| mount.at("destination").text().is_some_and(|at| Path::new(at) == path);
        let Some(source) = mounts.find(is_here).and_then(|mount| mount.at("source").text()) else {
            return Ok(());
        };
        let failed = |error: io::Error| format!("what is to be mounted at `{}`: {error}", path.display());
        let mount = userns::copy_mount(Path::new(source)).map_err(|error| Failed::Open(failed(error)))?;
        let found = mount.metadata().map_err(|error| Failed::Open(failed(error)))?;
        if expected.is_some_and(|expected| expected != (found.dev(), found.ino())) {
            return Err(Failed::Open(needs::not_as_asked(path)));
        }
        userns::map_ids(mount.as_fd(), namespace.as_fd()).map_err(|error| {
            Failed::Map(format!("`{source}` is on a file system without id-mapped mounts ({error})"))
        })?;
        let copy = Copy::attach(&mount, found.is_dir(), self.container, self.made.len())
            .map_err(|error| Failed::Open(failed(error)))?;
        self.sources.push((path.to_owned(), copy.0.clone()));
        self.made.push(copy);
        Ok(())
    }

    fn clear(&mut self) {
        self.sources.clear();
        self.made.clear();
    }

    fn name_in(&self, config: &mut Json) {
        let Some(mounts) = config.at_mut("mounts") else { return };
        for mount in mounts.items_mut() {
            let at = mount.at("destination").text().map(PathBuf::from);
            let source = self.sources.iter().find(|(path, _)| Some(path) == at.as_ref());
            if let Some(source) = source.and_then(|(_, source)| source.to_str()) {
                mount.set("source", Json::Text(source.to_owned()));
            }
        }
    }
}

/// A mount in the daemon's container, while it is in use.
#[derive(Debug)]
struct Copy(PathBuf);

impl Copy {
    fn attach(mount: &File, is_folder: bool, container: &OsStr, number: usize) -> io::Result<Self> {
        let folders = Path::new(COPIES);
        DirBuilder::new().recursive(true).mode(0o711).create(folders)?;
        if number == 0 {
            sweep(folders, |_, maker| !Path::new("/proc").join(maker.to_string()).exists());
        }
        let mut name = container.to_owned();
        name.push(format!("-{number}-{}", process::id()));
        let copy = Self(folders.join(name));
        if is_folder {
            fs::create_dir(&copy.0)?;
        } else {
            File::create_new(&copy.0)?;
        }
        userns::attach(mount.as_fd(), &copy.0)?;
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Of a container that goes, if its maker was killed.
pub(super) fn forget(container: &OsStr) {
    sweep(Path::new(COPIES), |of, _| OsStr::new(of) == container);
}

/// Removes the copies of which `is_over` says so: of a container, by a process.
fn sweep(folder: &Path, is_over: impl Fn(&str, u32) -> bool) {
    for copy in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = copy.file_name();
        let mut parts = name.to_str().unwrap_or_default().rsplitn(3, '-');
        let [maker, number, container] =
            [parts.next(), parts.next(), parts.next()].map(Option::unwrap_or_default);
        if let (Ok(maker), Ok(_)) = (maker.parse(), number.parse::<usize>())
            && is_over(container, maker)
        {
            remove(&copy.path());
        }
    }
}

fn remove(copy: &Path) {
    // What stays there goes with the daemon's container.
    let _ = userns::detach(copy);
    let _ = fs::remove_dir(copy).or_else(|_| fs::remove_file(copy));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    const RANGE: Range = Range { first: 2_000_000_000, count: 1001 };

    fn changed(text: &str, ping: (u32, u32)) -> Option<String> {
        let mut config = json::read(text).unwrap();
        change(&mut config, Some("/proc/7/ns/user".to_owned()), &RANGE.map(0), &RANGE.map(0), ping)?;
        Some(config.to_string())
    }

    #[test]
    fn a_configuration_names_the_namespace_and_all_else_stays() {
        let before = r#"{"x":[1.5e3,null,"a\"b"],"linux":{"uidMappings":[1],"namespaces":[{"type":"mount"},{"type":"user"}],
            "sysctl":{"net.ipv4.ip_unprivileged_port_start":"0"}}}"#;
        let map = r#"[{"containerID":0,"hostID":2000000000,"size":1000}]"#;
        let after = format!(
            "{}{map}{}{map}}}}}",
            r#"{"x":[1.5e3,null,"a\"b"],"linux":{"uidMappings":"#,
            r#","namespaces":[{"type":"mount"},{"type":"user","path":"/proc/7/ns/user"}],"sysctl":{"net.ipv4.ip_unprivileged_port_start":"0","net.ipv4.ping_group_range":"0 999"},"gidMappings":"#
        );
        assert_eq!(changed(before, (0, 999)).unwrap(), after);
        let others = before.replace("ip_unprivileged_port_start", "x");
        assert!(!changed(&others, (0, 999)).unwrap().contains("ping_group"), "another's network");
        assert_eq!(changed(r#"{"linux":{"namespaces":[]}}"#, (0, 999)), None);
        let groups = r#"{"linux":{"namespaces":[{"type":"user"}]},"mounts":[{"type":"cgroup","options":["nosuid"]},
            {"type":"cgroup","options":["ro"]},{"type":"tmpfs","options":[]}]}"#;
        let after = r#""mounts":[{"type":"cgroup","options":["nosuid","ro"]},{"type":"cgroup","options":["ro"]},{"type":"tmpfs","options":[]}]"#;
        let groups = changed(groups, (0, 999)).unwrap();
        assert!(groups.contains(after), "{groups}");
    }

    #[test]
    fn what_a_killed_runtime_has_left_goes_with_its_container_or_before() {
        let folder = tempfile::tempdir().unwrap();
        let here = |name: &str| folder.path().join(name);
        let left = || {
            let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
            names.sort();
            names
        };
        for name in ["a1-0-7", "a1-1-7", "b2-0-8", "c3-0-9", "pending"] {
            fs::create_dir(here(name)).unwrap();
        }
        fs::write(here("a1-2-7"), "").unwrap();
        fs::write(here("c3-0-9/x"), "").unwrap();
        sweep(folder.path(), |container, _| container == "a1");
        assert_eq!(left(), ["b2-0-8", "c3-0-9", "pending"]);
        sweep(folder.path(), |_, maker| maker >= 8);
        assert_eq!(left(), ["c3-0-9", "pending"], "and nothing that somebody has filled");
    }

    #[test]
    fn a_mount_is_made_of_its_copy() {
        let mut config = json::read(
            r#"{"mounts":[{"destination":"/w","source":"/home/me"},{"destination":"/v","source":"/home/me"}]}"#,
        )
        .unwrap();
        let sources = vec![("/w".into(), "/run/berth/1-0".into())];
        Copies { container: OsStr::new("1"), sources, made: Vec::new() }.name_in(&mut config);
        let sources: Vec<_> =
            config.at("mounts").items().map(|mount| mount.at("source").text().unwrap()).collect();
        assert_eq!(sources, ["/run/berth/1-0", "/home/me"]);
    }
}
