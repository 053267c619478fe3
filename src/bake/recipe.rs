//! What an image is baked from, and what it is called by that. Pure.

use std::fmt::Write;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::BakeError;
use crate::config::Bake;
use crate::docker_cli::Proxies;
use crate::runner::{Package, Runner};

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
        Sha256::digest(from.to_string()).iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    /// Whether a digest is the one that was pinned, if one was.
    pub fn expects(&self, found: &str) -> Result<(), BakeError> {
        let Some(pinned) = self.integrity.as_ref().filter(|pinned| *pinned != found) else { return Ok(()) };
        let (package, found) = (self.package.main().to_owned(), found.to_owned());
        Err(BakeError::Changed { package, found, pinned: pinned.clone() })
    }

    /// The program to install by, and its arguments.
    pub(super) fn script(&self) -> (&'static str, Vec<String>) {
        let Package { runner, packages, program, python, .. } = &self.package;
        match runner {
            Runner::Npx => {
                let program = program.clone().unwrap_or_default();
                (include_str!("npx.sh"), [program].into_iter().chain(packages.iter().cloned()).collect())
            }
            Runner::Uvx => {
                let program = program.clone().unwrap_or_else(|| self.package.bare().to_owned());
                let python = python.clone().unwrap_or_default();
                let packages = packages.iter().map(|package| requirement(package));
                (include_str!("uvx.sh"), [program, python].into_iter().chain(packages).collect())
            }
        }
    }

    /// The variables of the installation, as lines of a shell; none of them is part of the image. Its own proxy goes before
    /// those that any container has.
    pub(super) fn env(&self, proxies: &Proxies) -> String {
        let bake = &self.bake;
        let mut env = String::new();
        let mut set = |names: &[&str], value: Option<&str>| {
            for name in names.iter().filter(|_| value.is_some()) {
                let value = value.unwrap_or_default().replace('\'', r"'\''");
                let _ = writeln!(env, "export {name}='{value}'");
            }
        };
        set(&["npm_config_registry"], bake.npm_registry.as_deref());
        set(&["UV_DEFAULT_INDEX"], bake.python_index.as_deref());
        let proxies = proxies.clone().or(Proxies::of(bake.proxy.as_deref(), bake.no_proxy.as_deref()));
        for (name, value) in proxies.variables() {
            set(&[name], Some(value));
        }
        env
    }

    /// A text of the installation's without what may hold credentials.
    pub(super) fn redact(&self, text: &str, proxies: &Proxies) -> String {
        let Bake { npm_registry, python_index, proxy, .. } = &self.bake;
        let with_credentials =
            [npm_registry, python_index, proxy].into_iter().flatten().filter(|url| url.contains('@'));
        let text =
            proxies.secrets().iter().fold(text.to_owned(), |text, secret| text.replace(secret, "[redacted]"));
        with_credentials.fold(text, |text, url| {
            let credentials = url
                .split_once("://")
                .and_then(|(_, rest)| rest.rsplit_once('@'))
                .map_or("", |(user, _)| user);
            if credentials.is_empty() { text } else { text.replace(credentials, "[redacted]") }
        })
    }
}

/// As uv installs it: `NAME@VERSION` is `uvx`'s own way to write `NAME==VERSION`.
fn requirement(package: &str) -> String {
    match package.split_once('@') {
        Some((name, _)) if name.contains("://") => package.to_owned(),
        Some((name, "latest")) => name.to_owned(),
        Some((name, version)) => format!("{name}=={version}"),
        None => package.to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::parse_words;

    fn recipe(runner: Runner, line: &str) -> Recipe {
        Recipe::new(&parse_words(runner, &shlex::split(line).unwrap()).unwrap(), &Bake::default())
    }

    fn npx(line: &str) -> Recipe {
        recipe(Runner::Npx, line)
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
            recipe(Runner::Uvx, "b@1").image(),
            recipe(Runner::Uvx, "--python 3.12 b@1").image(),
            with(|bake| bake.node = "other".into()),
            with(|bake| bake.npm_registry = Some("https://r".into())),
        ];
        let different: std::collections::BTreeSet<_> = others.iter().chain([&name]).collect();
        assert_eq!(different.len(), others.len() + 1, "{others:?}");
        assert!(recipe(Runner::Uvx, "A__b.C==1").image().starts_with("berth-uvx/a-b-c:"));
    }

    #[test]
    fn a_pinned_digest_is_expected() {
        let mut recipe = npx("a@1");
        assert!(recipe.expects("sha512-x").is_ok());
        recipe.integrity = Some("sha512-x".to_owned());
        assert!(recipe.expects("sha512-x").is_ok());
        let said = recipe.expects("").unwrap_err().to_string();
        assert_eq!(said, "`a@1` is another one than it was: its digest is ``, not `sha512-x`");
    }

    #[test]
    fn an_installation_has_its_arguments_and_variables() {
        assert_eq!(npx("-p a@1 -p b tool").script().1, ["tool", "a@1", "b"]);
        assert_eq!(npx("a -x").script().1, ["", "a"]);
        let uvx = |line| recipe(Runner::Uvx, line).script().1;
        assert_eq!(uvx("--with c@2 a@latest -x"), ["a", "", "a", "c==2"]);
        assert_eq!(uvx("--python 3.12 --from a[x]@1 tool"), ["tool", "3.12", "a[x]==1"]);
        assert_eq!(uvx("--from git+https://h/x@v1 y")[2], "git+https://h/x@v1");
        let mut recipe = npx("a");
        let none = Proxies::default();
        assert_eq!(recipe.env(&none), "");
        recipe.bake.npm_registry = Some("https://me:hunter2@r/".to_owned());
        recipe.bake.no_proxy = Some("it's".to_owned());
        assert!(recipe.env(&none).contains("export npm_config_registry='https://me:hunter2@r/'\n"));
        assert!(recipe.env(&none).contains("export NO_PROXY='it'\\''s'\n"));
        assert_eq!(recipe.redact("GET https://me:hunter2@r/a", &none), "GET https://[redacted]@r/a");
    }

    #[test]
    fn an_installation_has_the_proxies_of_any_container_unless_it_has_its_own() {
        let mut recipe = npx("a");
        let all = Proxies::of(Some("http://you:hunter2@all:1"), Some("all"));
        let env = recipe.env(&all);
        for line in [
            "https_proxy='http://you:hunter2@all:1'",
            "HTTP_PROXY='http://you:hunter2@all:1'",
            "no_proxy='all'",
        ] {
            assert!(env.contains(&format!("export {line}\n")), "{env}");
        }
        let said = recipe.redact("cannot reach http://you:hunter2@all:1", &all);
        assert_eq!(said, "cannot reach http://[redacted]@all:1");
        recipe.bake.proxy = Some("http://own:1".to_owned());
        let env = recipe.env(&all);
        assert!(
            env.contains("export HTTPS_PROXY='http://own:1'\n") && env.contains("export NO_PROXY='all'\n")
        );
        assert!(!env.contains("all:1"), "{env}");
    }
}
