//! What an image is baked from, and the image name that follows from it.

mod project;
mod variables;

use std::collections::BTreeMap;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::bake::Bake;
use crate::human::hex;
use crate::runner::{Package, Runner};
pub use variables::is_for_installation;
pub(super) use variables::of_server;

/// All that a baked image depends on, and how it is baked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// Without the server's arguments: servers that differ in them alone have one image.
    pub package: Package,
    pub bake: Bake,
    /// The image that it is installed on, instead of that of `bake`.
    pub base: Option<String>,
    /// The server's variables that are for its installation; none is a secret.
    pub env: BTreeMap<String, String>,
    /// The files of a project that say what is installed, by their names; empty of a registry's package.
    pub files: BTreeMap<&'static str, Vec<u8>>,
    /// What the installation's digest has to be.
    pub integrity: Option<String>,
}

impl Recipe {
    pub fn new(package: &Package, bake: &Bake) -> Self {
        let files =
            if package.runner == Runner::Uv { project::files(package.main()) } else { BTreeMap::new() };
        Self {
            package: Package { args: Vec::new(), ..package.clone() },
            bake: bake.clone(),
            base: None,
            env: BTreeMap::new(),
            files,
            integrity: None,
        }
    }

    /// The same with a server's variables.
    #[must_use]
    pub fn with_env(self, env: BTreeMap<String, String>) -> Self {
        Self { env, ..self }
    }

    /// The same for another version of its package.
    #[must_use]
    pub fn of(&self, package: &Package) -> Self {
        Self { package: Package { args: Vec::new(), ..package.clone() }, ..self.clone() }
    }

    /// The image that it is installed on.
    pub fn base(&self) -> &str {
        self.base.as_deref().unwrap_or_else(|| self.bake.base(self.package.runner))
    }

    /// The image's name: the package to read, and a hash of all that makes its contents another's. Certificates and proxies
    /// do not: a bundle that the machine renews must not take its servers away while it is offline.
    pub fn image(&self) -> String {
        let hash = &self.hash()[..12];
        format!("berth-{}/{}:{hash}", self.package.runner.as_str(), readable(self.package.bare()))
    }

    /// The container that bakes it; its name is the lock.
    pub fn container(&self) -> String {
        format!("berth-bake-{}", &self.hash()[..16])
    }

    fn hash(&self) -> String {
        let Package { runner, packages, program, python, .. } = &self.package;
        let mut from =
            json!([runner.as_str(), packages, program, python, self.base(), self.bake.registry(*runner)]);
        // What few recipes have: all others keep the names that they have had.
        if let Some(from) = from.as_array_mut() {
            if !self.env.is_empty() {
                from.push(json!({ "env": self.env }));
            }
            if !self.package.options.is_empty() {
                from.push(json!({ "options": self.package.options }));
            }
            if *runner == Runner::Uv {
                let files = self.files.iter().map(|(name, text)| (name, hex(&Sha256::digest(text))));
                from.push(json!({ "files": files.collect::<BTreeMap<_, _>>() }));
            }
        }
        hex(&Sha256::digest(from.to_string()))
    }
}

/// As a part of an image's name: lower-case letters and digits, with single separators between them.
fn readable(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let name = words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-");
    let name: String = name.chars().take(60).collect();
    let name = name.trim_end_matches('-');
    if name.is_empty() { "package".to_owned() } else { name.to_owned() }
}

/// What a line behind a runner comes to, for tests.
#[cfg(test)]
pub(crate) fn of_line(runner: Runner, line: &str) -> Recipe {
    let words = shlex::split(line).expect("words");
    Recipe::new(&crate::runner::parse_words(runner, &words).expect("a package"), &Bake::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npx(line: &str) -> Recipe {
        of_line(Runner::Npx, line)
    }

    #[test]
    fn an_image_is_called_by_all_that_it_is_made_of() {
        let name = npx("@a/b@1 --flag").image();
        assert!(name.starts_with("berth-npx/a-b:") && name.len() == "berth-npx/a-b:".len() + 12, "{name}");
        assert_eq!(name, npx("@a/b@1 --other").image(), "arguments are the server's");
        let with = |change: fn(&mut Bake)| {
            let mut recipe = npx("@a/b@1");
            change(&mut recipe.bake);
            recipe.image()
        };
        assert_eq!(with(|bake| bake.ca = Some("/x".into())), name);
        assert_eq!(with(|bake| bake.proxy = Some("http://p".into())), name);
        assert_eq!(with(|bake| bake.uv = "other".into()), name);
        let others = [
            npx("@a/b@2").image(),
            npx("-p @a/b@1 b").image(),
            npx("-p @a/b@1 -p c b").image(),
            of_line(Runner::Uvx, "b@1").image(),
            of_line(Runner::Uvx, "--python 3.12 b@1").image(),
            with(|bake| bake.node = "other".into()),
            with(|bake| bake.npm_registry = Some("https://r".into())),
        ];
        let different: std::collections::BTreeSet<_> = others.iter().chain([&name]).collect();
        assert_eq!(different.len(), others.len() + 1, "{others:?}");
        let with_env =
            |name: &str| npx("@a/b@1").with_env(BTreeMap::from([(name.to_owned(), "1".to_owned())])).image();
        assert_ne!(with_env("PUPPETEER_SKIP_DOWNLOAD"), name);
        assert_ne!(Recipe { base: Some("other".to_owned()), ..npx("@a/b@1") }.image(), name);
        assert_ne!(with_env("PUPPETEER_SKIP_DOWNLOAD"), with_env("PLAYWRIGHT_SKIP_DOWNLOAD"));
        assert!(of_line(Runner::Uvx, "A__b.C==1").image().starts_with("berth-uvx/a-b-c:"));
    }

    #[test]
    fn names_of_old_stay() {
        // A machine that is offline keeps its servers through an update of berth.
        assert_eq!(npx("@a/b@1").image(), "berth-npx/a-b:b85ba47a5999");
    }

    #[test]
    fn a_projects_image_follows_its_lock_file() {
        let folder = tempfile::tempdir().unwrap();
        let line = format!("--directory {} run server.py", folder.path().display());
        let image = || of_line(Runner::Uv, &line).image();
        let empty = image();
        std::fs::write(folder.path().join("pyproject.toml"), "[project]").unwrap();
        let without_lock = image();
        std::fs::write(folder.path().join("uv.lock"), "version = 1").unwrap();
        let locked = image();
        assert!(empty != without_lock && without_lock != locked);
        std::fs::write(folder.path().join("server.py"), "print()").unwrap();
        assert_eq!(image(), locked, "what is mounted is no part of the image");
        assert!(locked.starts_with("berth-uv/"), "{locked}");
    }
}
