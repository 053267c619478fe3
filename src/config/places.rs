//! Where a server starts and where its mounts are in its container, once the client's environment is known.

use super::error::ConfigError;
use super::mount::{MountEntry, in_client, target_path};
use super::server::Server;
use crate::values::{AbsolutePath, Lookup, Template, Value, ValueError, from_str};

from_str!(WorkFolder);

/// Where a server starts: a path in the container, or a template that gives one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WorkFolder(String);

impl Value for WorkFolder {
    const EXPECTED: &'static str = AbsolutePath::EXPECTED;

    fn from_text(text: &str) -> Option<Self> {
        let is_open = text.starts_with("${") && Template::parse(text).is_ok();
        (is_open || AbsolutePath::from_text(text).is_some()).then(|| Self(text.to_owned()))
    }
}

impl WorkFolder {
    pub(super) fn into_inner(self) -> String {
        self.0
    }
}

impl Server {
    /// Puts the variables' values into the places that begin with one. What comes out has to hold as if it were written.
    pub(super) fn settle_places(&mut self, lookup: Lookup) -> Result<(), ConfigError> {
        if let Some(folder) = self.settings.workdir.as_deref().filter(|folder| folder.starts_with("${")) {
            let path = expand(folder, lookup).map_err(|why| {
                ConfigError::new(format!("server `{}` cannot start in `{folder}`: {why}", self.name))
                    .with_hint(hint(folder))
            })?;
            self.settings.workdir = Some(path);
        }
        if self.settings.mounts.iter().all(|mount| mount.known_target().is_some()) {
            return Ok(());
        }
        let mut mounts: Vec<MountEntry> = Vec::new();
        for mount in &self.settings.mounts {
            let settled = mount.settled(lookup).map_err(|why| {
                let target = &mount.target;
                ConfigError::new(format!("server `{}` cannot have a mount at `{target}`: {why}", self.name))
                    .at(mount.place.clone())
                    .with_hint(hint(target))
            })?;
            // A project may be a folder that is mounted by its name, too.
            let known = mounts.iter_mut().find(|known| {
                known.target == settled.target && known.expand(lookup) == settled.expand(lookup)
            });
            match known {
                Some(known) => known.writable |= settled.writable,
                None => mounts.push(settled),
            }
        }
        self.settings.mounts = mounts;
        self.check()
    }
}

fn expand(folder: &str, lookup: Lookup) -> Result<String, String> {
    let template = Template::parse(folder).map_err(|error| error.to_string())?;
    let path = template.expand(lookup).map_err(|name| format!("the variable `{name}` is not set"))?;
    let path = in_client(&path).ok_or("it is not an absolute path")?;
    target_path(&path).ok_or_else(|| format!("`{path}` holds `..`, a `,` or a `:`"))
}

fn hint(written: &str) -> String {
    let name = written.trim_start_matches("${").split([':', '}']).next().unwrap_or_default();
    format!(
        "set `{name}` for the client, or write `${{{name}:-.}}`: `.` is the folder in which the client starts berth"
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Config, Home};
    use super::*;

    fn server(keys: &str) -> Server {
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        let text = format!("[servers.a]\nimage = \"i\"\n{keys}\n");
        Config::parse(&text, Path::new("/c/berth.toml"), &home).unwrap().server("a").unwrap().clone()
    }

    const PROJECT: &str = "mounts = [\"${CLAUDE_PROJECT_DIR:-.}:${CLAUDE_PROJECT_DIR:-.}:rw\"]\n\
                           workdir = \"${CLAUDE_PROJECT_DIR:-.}\"";

    fn project(name: &str) -> Option<String> {
        (name == "CLAUDE_PROJECT_DIR").then(|| "/home/me/p/".to_owned())
    }

    fn settled(mut server: Server, lookup: Lookup) -> Result<(Vec<String>, Option<String>), String> {
        server.settle_places(lookup).map_err(|error| error.to_string())?;
        let targets = server.settings.mounted().map(str::to_owned).collect();
        Ok((targets, server.settings.workdir))
    }

    #[test]
    fn a_project_is_at_its_own_path_and_a_server_starts_there() {
        let server = server(PROJECT);
        assert_eq!(server.variables().into_iter().collect::<Vec<_>>(), ["CLAUDE_PROJECT_DIR"]);
        let at = |path: &str| Ok((vec![path.to_owned()], Some(path.to_owned())));
        assert_eq!(settled(server.clone(), &project), at("/home/me/p"));
        // Who says nothing starts berth where they work.
        let here = std::env::current_dir().unwrap().display().to_string();
        assert_eq!(settled(server, &|_| None), at(&here));
        assert_eq!(
            settled(self::server("workdir = \"/w\"\nmounts = [\"/x:/y\"]"), &|_| None),
            Ok((vec!["/y".to_owned()], Some("/w".to_owned())))
        );
    }

    #[test]
    fn what_a_variable_gives_is_judged_as_what_is_written() {
        let at = |path: &'static str| move |_: &str| Some(path.to_owned());
        for (path, why) in [
            ("/proc/1", "the container needs its own files there"),
            ("/", "the container needs its own files there"),
            ("/a:b", "holds `..`, a `,` or a `:`"),
            ("/a/../b", "holds `..`, a `,` or a `:`"),
            ("p", "it is not an absolute path"),
        ] {
            let said = settled(server("mounts = [\"/x:${P}\"]"), &at(path)).unwrap_err();
            assert!(said.contains("server `a` cannot have a mount at") && said.contains(why), "{said}");
        }
        let said = settled(server("workdir = \"${P}\""), &|_| None).unwrap_err();
        assert_eq!(
            said,
            "server `a` cannot start in `${P}`: the variable `P` is not set; set `P` for the client, or write `${P:-.}`: \
             `.` is the folder in which the client starts berth"
        );
        let said = settled(server("mounts = [\"/x:/w\", \"/y:${P}\"]"), &at("/w")).unwrap_err();
        assert!(said.contains("something else is mounted there, too"), "{said}");
    }

    #[test]
    fn a_folder_that_is_mounted_twice_is_mounted_once() {
        let mounts = "mounts = [\"/home/me/p:/home/me/p\", \"${P}:${P}:rw\"]";
        let mut server = server(mounts);
        server.settle_places(&|_| Some("/home/me/p".to_owned())).unwrap();
        let [mount] = server.settings.mounts() else { panic!("{:?}", server.settings.mounts()) };
        assert!(mount.writable);
    }

    #[test]
    fn a_default_has_its_own_colon() {
        for text in ["${A:-/x}/n:/c", "~/a:${B:-.}:ro", "${A:-.}:${A:-.}", "${A:-.}:/b:rw", "/a:${B}"] {
            assert!(text.parse::<MountEntry>().is_ok(), "{text}");
        }
        for text in ["/a:${B", "${A:-.}", "/a:b${C}", "/a:x"] {
            assert!(text.parse::<MountEntry>().is_err(), "{text}");
        }
        assert!("${A:-.}".parse::<WorkFolder>().is_ok() && "x${A}".parse::<WorkFolder>().is_err());
    }
}
