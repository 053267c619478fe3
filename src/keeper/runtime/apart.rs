//! Gives a container a user namespace of its own, in the range of its daemon (`keeper/ids.rs`).
//!
//! The daemon's own configuration would have the real runtime make one that is root's, in which all containers together use
//! up what the kernel lets root have. Here the namespace is made before, with an owner of its own, and the configuration
//! names it. Files of the person's are mounted so that they are in the container what they are on the machine.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;

use super::Real;
use super::copies::{Copies, Copy, Failed, Foreign};
use crate::ids::{self, Extent, Namespace, Range};
use crate::json::Json;

/// Which ids of the machine may open ICMP sockets; the kernel's default is nobody, and the daemon leaves it at that in a
/// user namespace.
const PING: &str = "net.ipv4.ping_group_range";
/// Where the daemon sets this for a network of the container's own, it would set the other.
const PORTS: &str = "net.ipv4.ip_unprivileged_port_start";

/// A namespace and mounts that have to be there until the real runtime has made the container.
#[derive(Debug)]
pub(super) struct Apart {
    _namespace: Option<Namespace>,
    _copies: Vec<Copy>,
}

/// Changes the configuration of a container. `None` where it is to have the ids of the machine.
pub(super) fn prepare(
    real: Real,
    config: &mut Json,
    container: &OsStr,
    foreign: &Foreign<'_>,
) -> Result<Option<Apart>, String> {
    let is_user = |namespace: &&Json| namespace.at("type").text() == Some("user");
    let asked = config.at("linux").at("namespaces").items().find(is_user);
    // Whose it is to be; none is a new one.
    let asked = asked.map(|namespace| namespace.at("path").text().map(str::to_owned));
    let (Some(range), Some(asked)) = (Range::of_daemon(), asked) else {
        return lend(config, container, foreign);
    };
    if let Some(path) = asked {
        if real == Real::Gvisor {
            return Err("a kernel of its own shares no network with others".to_owned());
        }
        return join(config, container, foreign, (range, &path));
    }
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
    let mut copies = Copies::new(container);
    let lent = match foreign.caller {
        Some(caller) if !foreign.given.is_empty() => {
            Some(make(&range.map_lent(uid, caller.0), &range.map_lent(gid, caller.1))?)
        }
        _ => None,
    };
    match copies.add_given(config, foreign, lent.as_ref().unwrap_or(&namespace).as_fd()) {
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
                    let _ = copies.add(config, path, None, kept.as_fd());
                }
            }
        }
    }
    // gVisor enters no namespace that somebody else made: it has many threads. It needs no owner of its own for one either, for
    // what the kernel counts by owners is counted in the container's kernel.
    let path = (real == Real::Shared).then(|| namespace.path());
    change(config, path, &users, &groups, ping).ok_or("its configuration lacks a part")?;
    Ok(Some(Apart { _namespace: Some(namespace), _copies: copies.name_in(config) }))
}

/// A container that has another's network has that one's user namespace, too: nobody else may use its network.
fn join(
    config: &mut Json,
    container: &OsStr,
    foreign: &Foreign<'_>,
    (range, path): (Range, &str),
) -> Result<Option<Apart>, String> {
    let (uid, gid) = user_of(config);
    if uid.max(gid) >= range.common() {
        return Err(format!(
            "a user or a group above {} cannot share a network with others; take the server out of the profile, or remove `peers`",
            range.common() - 1
        ));
    }
    let theirs =
        File::open(path).map_err(|error| format!("those whose network it shares are gone: {error}"))?;
    let lent = match foreign.caller {
        Some(caller) if !foreign.given.is_empty() => {
            let (users, groups) = (range.map_lent(uid, caller.0), range.map_lent(gid, caller.1));
            let made = Namespace::make(ids::owner(container), &users, &groups);
            Some(made.map_err(|error| format!("no mount can be mapped: {error}"))?)
        }
        _ => None,
    };
    let mut copies = Copies::new(container);
    let shown = lent.as_ref().map_or(theirs.as_fd(), Namespace::as_fd);
    copies.add_given(config, foreign, shown).map_err(|failed| match failed {
        Failed::Open(why) => why,
        Failed::Map(why) => format!("{why}, which a server needs that shares a network with others; take the server out of the profile, or remove `peers`"),
    })?;
    let map = range.map(0);
    change(config, None, &map, &map, (0, 0)).ok_or("its configuration lacks a part")?;
    Ok(Some(Apart { _namespace: lent, _copies: copies.name_in(config) }))
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
    let mut copies = Copies::new(container);
    copies.add_given(config, foreign, namespace.as_fd()).map_err(|failed| match failed {
        Failed::Open(why) => why,
        Failed::Map(why) => format!("{why}; {next}"),
    })?;
    Ok(Some(Apart { _namespace: Some(namespace), _copies: copies.name_in(config) }))
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
    fn who_shares_a_network_has_the_ids_of_the_others() {
        let joined = |uid: u32, path: &str| {
            let text = format!(
                r#"{{"process":{{"user":{{"uid":{uid},"gid":0}}}},"linux":{{"namespaces":[{{"type":"user","path":"x"}}]}}}}"#
            );
            let mut config = json::read(&text).unwrap();
            let done = join(&mut config, OsStr::new("1"), &Foreign::default(), (RANGE, path));
            done.map(|apart| (apart.is_some(), config.to_string()))
        };
        let (is_changed, config) = joined(999, "/proc/self/ns/user").unwrap();
        let map = r#""uidMappings":[{"containerID":0,"hostID":2000000000,"size":1000}]"#;
        assert!(is_changed && config.contains(map), "{config}");
        let error = joined(1000, "/proc/self/ns/user").unwrap_err();
        assert!(
            error.starts_with("a user or a group above 999 cannot share a network with others"),
            "{error}"
        );
        assert!(joined(0, "/proc/0/ns/user").unwrap_err().contains("those whose network it shares are gone"));
    }
}
