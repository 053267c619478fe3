//! A server: its image, its limits, and its environment.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::env::{EnvEntry, EnvVar, Given};
use super::env_file::{EnvFile, read_all};
use super::error::ConfigError;
use super::mount::MountEntry;
use super::overrides::Overrides;
use super::settings::{Policy, Settings};
use crate::config::Recipe;
use crate::values::{Image, Isolation, Lookup, Pull, Standby, Template, is_secret, is_server_name};

/// The `user` that is whoever runs berth.
const CALLER: &str = "caller";

/// A server to run, in a container of its own for each session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Goes into labels.
    pub name: String,
    /// Stands before its tools' names instead of its own.
    pub alias: Option<String>,
    pub image: String,
    /// Of these the image has to have one; empty: none is pinned.
    pub digests: Vec<String>,
    /// Instead of the image's ENTRYPOINT and CMD; never empty.
    pub command: Option<Vec<String>>,
    /// Behind `command`, or else instead of the image's CMD behind its ENTRYPOINT; templates until [`Server::resolve_args`].
    pub args: Option<Vec<String>>,
    /// Where the daemon lacks the image, it is baked by this.
    pub recipe: Option<Arc<Recipe>>,
    pub settings: Settings,
}

impl Server {
    /// A server that no file names (`berth run --image`), called after its image. An empty `command` is the
    /// image's own.
    pub fn from_image(image: Image, command: Vec<String>, defaults: &Settings) -> Self {
        let image = image.into_inner();
        let last = image.split('@').next().unwrap_or(&image).rsplit('/').next().unwrap_or(&image);
        let name = last.split(':').next().filter(|name| is_server_name(name)).unwrap_or("image").to_owned();
        let command = (!command.is_empty()).then_some(command);
        let (digests, settings) = (Vec::new(), defaults.clone());
        Self { name, alias: None, image, digests, command, args: None, recipe: None, settings }
    }

    /// What stands before its tools' names where several servers share a session.
    pub fn prefix(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.name)
    }

    /// Whose signature its image needs. What is baked here is of no registry: `[defaults]` says nothing of it.
    pub fn verify(&self) -> Option<&Policy> {
        self.settings.verify.as_ref().filter(|_| self.recipe.is_none())
    }

    /// Whether a registry is asked for what it calls the image now. What is named by its digest is one and the same for ever.
    pub fn wants_newest(&self) -> bool {
        self.settings.pull == Pull::Always
            && self.recipe.is_none()
            && self.digests.is_empty()
            && !self.image.contains('@')
    }

    /// The same server with what the flags change.
    #[must_use]
    pub fn with_overrides(&self, overrides: &Overrides) -> Self {
        let mut server = self.clone();
        server.settings.apply(overrides);
        server
    }

    /// What follows from the settings when all layers are there. The server runs as whoever runs berth (`caller`: user and
    /// group) where `user` says so. With mounts the image's own user has the caller's rights on them, where the daemon lends
    /// these (`lends`, by [`Config::lends`](super::Config::lends)); where nobody does, the caller is the user, but for root:
    /// then it is the image's, as with `docker run`. A package's image has no user of its own that matters: with mounts it is
    /// the caller, who reaches what lies below `/root`, too. Nothing is on standby that would hold a volume.
    pub fn settle(&mut self, caller: (u32, u32), lends: bool) {
        let settings = &mut self.settings;
        let is_package = self.recipe.is_some();
        let can_lend = lends && settings.isolation == Isolation::Container;
        let chosen = match settings.user.as_deref() {
            Some(user) => user == CALLER,
            None if settings.mounts.is_empty() => false,
            None if is_package => true,
            None if can_lend => {
                settings.caller = Some(caller);
                false
            }
            None => caller.0 != 0,
        };
        if chosen {
            settings.user = Some(format!("{}:{}", caller.0, caller.1));
        }
        if !settings.volumes.is_empty() {
            settings.standby = Standby::NONE;
        }
    }

    /// The variables of the client's environment that it takes something from.
    pub fn variables(&self) -> BTreeSet<String> {
        let env = self.settings.env.values().flat_map(EnvEntry::variables);
        let mounts = self.settings.mounts.iter().flat_map(MountEntry::variables);
        let files = self.settings.env_files.iter().flat_map(EnvFile::variables);
        let args = self.args.iter().flatten().filter_map(|arg| Template::parse(arg).ok());
        let args: Vec<String> =
            args.flat_map(|arg| arg.variables().map(str::to_owned).collect::<Vec<_>>()).collect();
        let places = self.settings.workdir.iter().filter_map(|folder| Template::parse(folder).ok());
        let places: Vec<String> =
            places.flat_map(|place| place.variables().map(str::to_owned).collect::<Vec<_>>()).collect();
        env.chain(files).map(str::to_owned).chain(mounts).chain(args).chain(places).collect()
    }

    /// The server's environment, in the order of the names, with the variables' values from `lookup` put in. Reads its files.
    pub fn resolve_env(&self, lookup: Lookup) -> Result<Vec<EnvVar>, ConfigError> {
        let mut env = read_all(&self.name, &self.settings.env_files, lookup)?;
        let resolve = |entry: &EnvEntry| {
            let missing = |variable: &str| {
                ConfigError::new(format!(
                    "server `{}` needs the variable `{variable}`, which is not set",
                    self.name
                ))
                .at(entry.place.clone())
                .with_hint(format!(
                    "set it for the client that starts berth (Codex passes what its `env_vars` names), \
                         or write `${{{variable}:-default}}`"
                ))
            };
            let (value, kept) = match &entry.given {
                Given::Template(template) => (template.expand(lookup).map_err(missing)?, None),
                Given::Kept(kept) => {
                    let kept = kept.expand(lookup, entry.place.as_ref());
                    (String::new(), Some(kept.map_err(|variable| missing(&variable))?))
                }
                Given::Passed => match lookup(&entry.name) {
                    Some(value) => (value, None),
                    None => return Ok(None),
                },
            };
            let of_secrets = entry.variables().any(|name| secret_of(name, lookup).is_some());
            let secret = entry.secret || of_secrets || is_secret(&entry.name, &value);
            Ok(Some(EnvVar { name: entry.name.clone(), value, secret, kept }))
        };
        for entry in self.settings.env.values() {
            if let Some(mut var) = resolve(entry)? {
                // Another value of the same thing is as secret.
                var.secret |= env.contains_key(&var.name);
                env.insert(var.name.clone(), var);
            }
        }
        Ok(env.into_values().collect())
    }

    /// The values of the client's variables that are secrets, and parts of this server's.
    pub fn secrets_in_env(&self, lookup: Lookup) -> Vec<String> {
        let variables = self.settings.env.values().flat_map(EnvEntry::variables);
        variables.filter_map(|name| secret_of(name, lookup)).collect()
    }
}

/// The value of a variable of the client's, if it is a secret.
pub(super) fn secret_of(name: &str, lookup: Lookup) -> Option<String> {
    lookup(name).filter(|value| !value.is_empty() && is_secret(name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_a_file_is_called_after_its_image() {
        let name =
            |image: &str| Server::from_image(image.parse().unwrap(), Vec::new(), &Settings::default()).name;
        assert_eq!(name("berth-everything"), "berth-everything");
        assert_eq!(name("localhost:5000/a/node:24"), "node");
        assert_eq!(name("ghcr.io/a/b@sha256:00ff"), "b");
        assert_eq!(name("a/_b"), "image");
        assert_eq!(name(&"a".repeat(65)), "image");
    }

    #[test]
    fn an_empty_command_is_the_images_own() {
        let command =
            |command| Server::from_image("a".parse().unwrap(), command, &Settings::default()).command;
        assert_eq!(command(Vec::new()), None);
        assert_eq!(command(vec!["/bin/cat".to_owned()]), Some(vec!["/bin/cat".to_owned()]));
    }

    #[test]
    fn a_registry_is_asked_for_what_nobody_has_pinned() {
        let home =
            crate::config::Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        let asked = |keys: &str, other: &str| {
            let digest = "sha256:".to_owned() + &"0".repeat(64);
            let text = format!("[servers.a]\nimage = \"i\"\n{keys}\n[servers.b]\nimage = \"i\"\n{other}")
                .replace("DIGEST", &digest);
            let config =
                crate::config::Config::parse(&text, std::path::Path::new("/c/b.toml"), &home).unwrap();
            (config.renews("i"), config.may_renew(config.server("a").unwrap()))
        };
        let (always, pinned) = ("pull = \"always\"", "digest = \"DIGEST\"");
        let signed = "verify = { cosign_key = \"/k.pub\" }";
        assert_eq!(asked("", ""), (false, false));
        assert_eq!(asked(always, ""), (true, true));
        assert_eq!(asked("", always), (true, false), "the other's session asks");
        assert_eq!(asked(always, pinned), (false, false), "what is pinned stays");
        assert_eq!(asked(&format!("{always}\n{pinned}"), ""), (false, false));
        assert_eq!(asked(always, signed), (true, false), "only `berth up` judges for both");
        assert_eq!(asked(&format!("{always}\n{signed}"), signed), (true, true));
        let mut named = Server::from_image("a@sha256:00".parse().unwrap(), Vec::new(), &Settings::default());
        named.settings.pull = Pull::Always;
        assert!(!named.wants_newest(), "that is one and the same for ever");
    }

    #[test]
    fn flags_give_variables_too() {
        let overrides = Overrides::default().with("env", &["A=${X}"]).with("secrets", &["B=2"]);
        let server = Server::from_image("a".parse().unwrap(), Vec::new(), &Settings::default())
            .with_overrides(&overrides);
        let env = server.resolve_env(&|name| (name == "X").then(|| "1".to_owned())).unwrap();
        assert_eq!(format!("{env:?}"), "[A=1, B=[redacted]]");
        let by_value = Overrides::default().with(
            "env",
            &["DATABASE_URI=${U}", "REDIS_PWD=root", "X=${TOKEN}", "TOKEN_LIMIT=5000", "AUTH_MODE=none"],
        );
        let other = Server::from_image("a".parse().unwrap(), Vec::new(), &Settings::default())
            .with_overrides(&by_value);
        let lookup =
            |name: &str| Some(if name == "U" { "postgres://u:sesame@h/d" } else { "barley" }.to_owned());
        assert_eq!(
            format!("{:?}", other.resolve_env(&lookup).unwrap()),
            "[AUTH_MODE=none, DATABASE_URI=[redacted], REDIS_PWD=[redacted], TOKEN_LIMIT=5000, X=[redacted]]"
        );
        assert_eq!(other.secrets_in_env(&lookup), ["postgres://u:sesame@h/d", "barley"]);
        let error = server.resolve_env(&|_| None).unwrap_err();
        assert_eq!(error.line(), None);
        assert_eq!(error.message(), "server `a` needs the variable `X`, which is not set");
    }
}
