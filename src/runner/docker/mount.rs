//! `--volume` and `--mount`: sources and targets.

/// A mount of `docker run`, as it was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mount {
    Bind {
        source: String,
        target: String,
        write: bool,
    },
    Volume {
        name: String,
        target: String,
        write: bool,
    },
    /// A volume without a name.
    Unnamed,
    Tmpfs {
        target: String,
        options: String,
    },
}

/// What would be right.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong(pub(super) &'static str);

const SHORT: Wrong = Wrong("write /ABSOLUTE/PATH:/PATH/IN/CONTAINER[:ro], or NAME:/PATH/IN/CONTAINER");
const LONG: Wrong = Wrong("write type=bind,src=/ABSOLUTE/PATH,dst=/PATH/IN/CONTAINER[,readonly]");
const RELATIVE: Wrong = Wrong(
    "write an absolute path, `${HOME}/…`, or `${CLAUDE_PROJECT_DIR:-.}` for the client's project: each client starts its servers \
     somewhere else",
);

/// `SOURCE:TARGET[:OPTIONS]`, or `TARGET` alone.
pub(super) fn short(value: &str) -> Result<Mount, Wrong> {
    // A variable's default has a colon of its own.
    let end_of_variable = if value.starts_with("${") { value.find('}').ok_or(SHORT)? } else { 0 };
    let Some(colon) = value[end_of_variable..].find(':') else {
        return if value.starts_with('/') { Ok(Mount::Unnamed) } else { Err(SHORT) };
    };
    let (source, rest) = (&value[..end_of_variable + colon], &value[end_of_variable + colon + 1..]);
    let (target, options) = rest.split_once(':').unwrap_or((rest, ""));
    make(source, target, !options.split(',').any(|option| option == "ro"))
        .map_err(|wrong| wrong.unwrap_or(SHORT))
}

/// `type=…,source=…,target=…[,readonly]`
pub(super) fn long(value: &str) -> Result<Mount, Wrong> {
    let (mut kind, mut source, mut target, mut write, mut options) = ("volume", "", "", true, Vec::new());
    for option in value.split(',') {
        let (key, value) = option.split_once('=').unwrap_or((option, "true"));
        match key.trim() {
            "type" => kind = value,
            "src" | "source" => source = value,
            "dst" | "destination" | "target" => target = value,
            "ro" | "readonly" => write = value == "false" || value == "0",
            "rw" => write = value != "false" && value != "0",
            _ if key.starts_with("tmpfs-") => options.push(option),
            // How a bind is propagated, or labelled, has no meaning of its own here.
            _ => {}
        }
    }
    match kind {
        "tmpfs" if target.starts_with('/') => {
            Ok(Mount::Tmpfs { target: target.to_owned(), options: options.join(",") })
        }
        "volume" if source.is_empty() && target.starts_with('/') => Ok(Mount::Unnamed),
        "bind" if !is_path(source) => Err(RELATIVE),
        "volume" if is_path(source) => Err(LONG),
        "bind" | "volume" => make(source, target, write).map_err(|wrong| wrong.unwrap_or(LONG)),
        _ => Err(LONG),
    }
}

fn make(source: &str, target: &str, write: bool) -> Result<Mount, Option<Wrong>> {
    if !target.starts_with('/') || target.contains([':', ',', '$']) {
        return Err(None);
    }
    let target = target.to_owned();
    if is_path(source) {
        if source.contains([',']) {
            return Err(None);
        }
        return Ok(Mount::Bind { source: source.to_owned(), target, write });
    }
    if source.starts_with(['.', '$']) || source.contains(['/', '\\']) {
        return Err(Some(RELATIVE));
    }
    if crate::values::is_server_name(source) {
        return Ok(Mount::Volume { name: source.to_owned(), target, write });
    }
    Err(None)
}

/// Whether a source is a folder of the machine.
pub(super) fn is_path(source: &str) -> bool {
    source.starts_with('/') || source == "~" || source.starts_with("~/") || source.starts_with("${")
}

/// Whether a source gives access to a container engine: its socket, or a folder with it.
pub(super) fn is_engine(source: &str) -> bool {
    let source = source.trim_end_matches('/');
    let socket = |name: &str| {
        name.rsplit('.').next() == Some("sock")
            && ["docker", "podman", "containerd", "crio"].iter().any(|e| name.contains(e))
    };
    socket(source.rsplit('/').next().unwrap_or_default())
        || ["", "/run", "/var/run", "/var", "/var/lib/docker", "/proc", "/sys", "/dev"].contains(&source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(source: &str, target: &str, write: bool) -> Mount {
        Mount::Bind { source: source.to_owned(), target: target.to_owned(), write }
    }

    #[test]
    fn both_forms_say_the_same() {
        let volume = |write| Mount::Volume { name: "memory".to_owned(), target: "/data".to_owned(), write };
        assert_eq!(short("/a/b:/c"), Ok(bind("/a/b", "/c", true)));
        assert_eq!(short("/a/b:/c:ro,z"), Ok(bind("/a/b", "/c", false)));
        assert_eq!(short("~/a b:/c:rw"), Ok(bind("~/a b", "/c", true)));
        assert_eq!(short("${HOME:-/x}/n:/c"), Ok(bind("${HOME:-/x}/n", "/c", true)));
        assert_eq!(short("memory:/data"), Ok(volume(true)));
        assert_eq!(short("memory:/data:ro"), Ok(volume(false)));
        assert_eq!(short("/data"), Ok(Mount::Unnamed));
        assert_eq!(long("type=bind,src=/a/b,dst=/c"), Ok(bind("/a/b", "/c", true)));
        assert_eq!(long("type=bind,source=/a/b,target=/c,ro"), Ok(bind("/a/b", "/c", false)));
        assert_eq!(long("type=bind,source=/a/b,target=/c,readonly=false"), Ok(bind("/a/b", "/c", true)));
        assert_eq!(long("source=memory,destination=/data"), Ok(volume(true)));
        assert_eq!(long("source=memory,destination=/data,readonly"), Ok(volume(false)));
        let tmpfs = Mount::Tmpfs { target: "/t".to_owned(), options: "tmpfs-size=1m".to_owned() };
        assert_eq!(long("type=tmpfs,dst=/t,tmpfs-size=1m"), Ok(tmpfs));
    }

    #[test]
    fn what_has_no_place_is_refused() {
        for value in ["./a:/c", "a/b:/c", "$HOME:/c"] {
            assert_eq!(short(value), Err(RELATIVE), "{value}");
        }
        for value in ["a", "/a:c", "/a:/c$D", "${A:/c", ":/c"] {
            assert_eq!(short(value), Err(SHORT), "{value}");
        }
        assert_eq!(long("type=bind,src=a,dst=/c"), Err(RELATIVE));
        for value in ["type=npipe,src=/a,dst=/c", "type=bind,src=/a", "src=/a,dst=/c", "type=tmpfs"] {
            assert_eq!(long(value), Err(LONG), "{value}");
        }
    }

    #[test]
    fn an_engine_is_known_by_its_socket_and_the_folders_around_it() {
        for source in ["/var/run/docker.sock", "/run/user/1000/podman/podman.sock", "/run/", "/", "/var/run"]
        {
            assert!(is_engine(source), "{source}");
        }
        for source in ["/home/me/docker", "/home/me/a.sock", "/var/www"] {
            assert!(!is_engine(source), "{source}");
        }
    }
}
