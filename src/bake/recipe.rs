//! How a recipe is baked: the installation's script and variables, and the package's expected digest.

use std::fmt::Write;

use super::BakeError;
use crate::config::{Bake, Recipe};
use crate::docker_cli::Proxies;
use crate::runner::Package;
use crate::runner::Runner;

impl Recipe {
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
                // Of a repository the only program, or the one that is called as its package.
                let own = if self.package.main().starts_with("git+") { "" } else { self.package.bare() };
                let program = program.clone().unwrap_or_else(|| own.to_owned());
                let python = python.clone().unwrap_or_default();
                let packages = packages.iter().map(|package| requirement(package));
                (include_str!("uvx.sh"), [program, python].into_iter().chain(packages).collect())
            }
            Runner::Uv => {
                let program = program.clone().unwrap_or_default();
                let python = python.clone().unwrap_or_default();
                let folder = self.package.main().to_owned();
                let with = packages.iter().skip(1).map(|package| requirement(package));
                let options = std::iter::once("--".to_owned()).chain(self.package.options.iter().cloned());
                (
                    include_str!("uv.sh"),
                    [program, python, folder].into_iter().chain(with).chain(options).collect(),
                )
            }
        }
    }

    /// The variables of the installation, as lines of a shell; none of them is part of the image. Its own proxy goes before
    /// those that any container has.
    pub(super) fn env(&self, proxies: &Proxies) -> String {
        let bake = &self.bake;
        let mut env = String::new();
        // Those of [bake] go before the server's own.
        let settled = |name: &str| match name.to_ascii_lowercase().as_str() {
            "npm_config_registry" => bake.npm_registry.is_some(),
            "uv_index_url" | "uv_default_index" | "pip_index_url" => bake.python_index.is_some(),
            name => name.ends_with("_proxy") && bake.proxy.is_some(),
        };
        for (name, value) in self.env.iter().filter(|(name, _)| !settled(name)) {
            export(&mut env, name, value);
        }
        let registries =
            [("npm_config_registry", &bake.npm_registry), ("UV_DEFAULT_INDEX", &bake.python_index)];
        for (name, registry) in registries {
            if let Some(registry) = registry {
                export(&mut env, name, registry);
            }
        }
        env + &self.way_out(proxies)
    }

    /// Those of them that say how the world outside is reached.
    pub(super) fn way_out(&self, proxies: &Proxies) -> String {
        let Bake { proxy, no_proxy, .. } = &self.bake;
        let proxies = proxies.clone().or(Proxies::of(proxy.as_deref(), no_proxy.as_deref()));
        let mut env = String::new();
        for (name, value) in proxies.variables() {
            export(&mut env, name, value);
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

fn export(env: &mut String, name: &str, value: &str) {
    let value = value.replace('\'', r"'\''");
    // Writing to a string cannot fail.
    let _ = writeln!(env, "export {name}='{value}'");
}

/// As uv installs it: `NAME@VERSION` is `uvx`'s own way to write `NAME==VERSION`.
fn requirement(package: &str) -> String {
    match package.split_once('@') {
        Some(_) if package.contains("://") => package.to_owned(),
        Some((name, "latest")) => name.to_owned(),
        Some((name, version)) => format!("{name}=={version}"),
        None => package.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::recipe::of_line;

    fn npx(line: &str) -> Recipe {
        of_line(Runner::Npx, line)
    }

    #[test]
    fn a_pinned_digest_is_expected() {
        let mut recipe = npx("a@1");
        assert!(recipe.expects("sha512-x").is_ok());
        recipe.integrity = Some("sha512-x".to_owned());
        assert!(recipe.expects("sha512-x").is_ok());
        let said = recipe.expects("").unwrap_err().to_string();
        assert_eq!(said, "`a@1` has changed: its digest is ``, not `sha512-x`");
    }

    #[test]
    fn an_installation_has_its_arguments_and_variables() {
        assert_eq!(npx("-p a@1 -p b tool").script().1, ["tool", "a@1", "b"]);
        assert_eq!(npx("a -x").script().1, ["", "a"]);
        let uvx = |line| of_line(Runner::Uvx, line).script().1;
        assert_eq!(uvx("--with c@2 a@latest -x"), ["a", "", "a", "c==2"]);
        assert_eq!(uvx("--python 3.12 --from a[x]@1 tool"), ["tool", "3.12", "a[x]==1"]);
        assert_eq!(uvx("--from git+https://h/x@v1 y")[2], "git+https://h/x@v1");
        assert_eq!(uvx("y@git+https://h/x@v1")[2], "y @ git+https://h/x@v1");
        assert_eq!(uvx("git+https://h/x")[0], "", "whichever it has");
        let project = of_line(Runner::Uv, "--directory /d run --with c@2 --extra e server.py").script().1;
        assert_eq!(project, ["python", "", "/d", "c==2", "--", "--extra", "e"]);
        let told = |recipe: Recipe, name: &str, value: &str| {
            recipe.with_env([(name.to_owned(), value.to_owned())].into()).env(&Proxies::default())
        };
        assert_eq!(
            told(npx("a"), "PUPPETEER_SKIP_DOWNLOAD", "it's"),
            "export PUPPETEER_SKIP_DOWNLOAD='it'\\''s'\n"
        );
        let mut recipe = npx("a");
        recipe.bake.npm_registry = Some("https://r/".to_owned());
        assert_eq!(
            told(recipe, "NPM_CONFIG_REGISTRY", "https://evil"),
            "export npm_config_registry='https://r/'\n"
        );
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
