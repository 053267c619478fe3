//! What an image is baked from, and the image name that follows from it.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::bake::Bake;
use crate::human::hex;
use crate::runner::Package;
#[cfg(test)]
use crate::runner::Runner;

/// All that a baked image depends on, and how it is baked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// Without the server's arguments: servers that differ in them alone have one image.
    pub package: Package,
    pub bake: Bake,
    /// What the installation's digest has to be.
    pub integrity: Option<String>,
}

impl Recipe {
    pub fn new(package: &Package, bake: &Bake) -> Self {
        Self { package: Package { args: Vec::new(), ..package.clone() }, bake: bake.clone(), integrity: None }
    }

    /// The image that it is installed on.
    pub fn base(&self) -> &str {
        self.bake.base(self.package.runner)
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
        let from =
            json!([runner.as_str(), packages, program, python, self.base(), self.bake.registry(*runner)]);
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
        assert!(of_line(Runner::Uvx, "A__b.C==1").image().starts_with("berth-uvx/a-b-c:"));
    }
}
