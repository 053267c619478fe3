//! What a server runs: an image, or packages that become an image; and its arguments.

use std::fmt;
use std::sync::Arc;

use super::bake::Bake;
use super::error::ConfigError;
use super::every_setting;
use super::key::Key;
use super::overrides::Overrides;
use super::pinned::read_digests;
use super::reader::{Item, Section};
use super::recipe::of_server;
use super::server::{Server, secret_of};
use super::settings::Settings;
use super::settings::definition::DefaultValue;
use crate::config::Recipe;
use crate::runner::{self, Package, Runner};
use crate::values::{Alias, Image, Lookup, MARK, Template, hidden, secret_arguments, without_credentials};

/// The keys that say so; each server has its own.
pub const KEYS: [Key; 10] = [
    Key::new("image", DefaultValue::Words(""), "required, unless `npx`, `uvx` or `uv` is set"),
    Key::new(
        "npx",
        DefaultValue::Words(""),
        "instead of `image`: an npm package as behind `npx -y`, with its arguments; a text or a list",
    ),
    Key::new("uvx", DefaultValue::Words(""), "instead of `image`: a Python package as behind `uvx`"),
    Key::new(
        "uv",
        DefaultValue::Words(""),
        "instead of `image`: a project as behind `uv`, as in `--directory FOLDER run PROGRAM`",
    ),
    Key::new(
        "base",
        DefaultValue::Words("that of [bake]"),
        "the image that the package is installed on, for one that needs more than a runtime, such as a browser",
    ),
    Key::new("command", DefaultValue::Words("the image's"), "the program to run"),
    Key::new(
        "args",
        DefaultValue::Words("the image's `CMD`"),
        "arguments behind `command`, or behind the image's `ENTRYPOINT`; `${VAR}` works as in `env`",
    ),
    Key::new(
        "digest",
        DefaultValue::Words("none"),
        "the digest that `image` must have at each start, or several of which it has one; `berth bake --pin` writes it",
    ),
    Key::new(
        "integrity",
        DefaultValue::Words("none"),
        "the digest that the package must have when it is baked, and its image at each start; `berth bake --pin` writes it",
    ),
    Key::new(
        "alias",
        DefaultValue::Words("the server's name"),
        "a short name before its tools' names in a profile; at most 32 characters; see [profiles](profiles.md)",
    ),
];

pub(super) fn read_server(
    name: String,
    mut section: Section,
    defaults: &Settings,
    bake: &Bake,
) -> Result<Server, ConfigError> {
    let image = section.take::<Image>("image")?;
    let mut packages = Vec::new();
    for runner in [Runner::Npx, Runner::Uvx, Runner::Uv] {
        packages.extend(read_package(&mut section, runner)?);
    }
    let installed_on = section.take::<Image>("base")?.map(Image::into_inner);
    let command = section.take_list::<String>("command")?;
    let args = section.take_item("args").map(|item| read_args(&item)).transpose()?;
    let integrity = section.take::<String>("integrity")?;
    let alias = section.take::<Alias>("alias")?.map(Alias::into_inner);
    let digests = section.take_item("digest").map(|item| read_digests(&item)).transpose()?;
    let overrides = Overrides::read(&mut section, every_setting())?;
    // Before what is missing: `imgae` explains both.
    section.finish()?;
    let mut settings = defaults.clone();
    settings.apply(&overrides);
    let (image, recipe, package_args) = match (image, packages.as_slice()) {
        (Some(image), []) => (image.into_inner(), None, None),
        (None, [package]) => {
            let recipe = Recipe::new(package, bake).with_env(of_server(settings.env.values()));
            let recipe = Recipe { integrity: integrity.clone(), base: installed_on.clone(), ..recipe };
            (recipe.image(), Some(Arc::new(recipe)), Some(package.args.clone()))
        }
        (None, []) => {
            return Err(section.error("`image` is missing").with_hint(
                "a server needs an image, or the package that it is baked from: `npx`, `uvx` or `uv`",
            ));
        }
        _ => {
            return Err(section
                .error("`image`, `npx`, `uvx` and `uv` exclude each other")
                .with_hint("keep one of them"));
        }
    };
    if recipe.is_none() && integrity.is_some() {
        return Err(section
            .error("`integrity` needs `npx` or `uvx`")
            .with_hint("write `digest` for an image; `berth bake --pin` finds it"));
    }
    if recipe.is_none() && installed_on.is_some() {
        return Err(section
            .error("`base` needs `npx`, `uvx` or `uv`")
            .with_hint("a server with `image` is installed on nothing: remove `base`"));
    }
    if recipe.is_some() && digests.is_some() {
        return Err(section
            .error("`digest` needs `image`")
            .with_hint("a package has a version and `integrity`; `berth bake --pin` writes both"));
    }
    if recipe.is_some() && overrides.on_the_defaults().verify.is_some() {
        return Err(section
            .error("`verify` needs `image`")
            .with_hint("a package has a version and `integrity`; `berth bake --pin` writes both"));
    }
    if command.as_ref().is_some_and(Vec::is_empty) {
        return Err(section
            .error("`command` is empty")
            .with_hint("remove it to run the image's own ENTRYPOINT and CMD, or put the program first"));
    }
    if args.is_some() && recipe.is_some() {
        return Err(section
            .error("`args` cannot be used with a package")
            .with_hint("write the arguments after the package, in `npx`, `uvx` or `uv`"));
    }
    // A package's image has no CMD that could stand for arguments.
    let args = args.or(package_args.filter(|_| command.is_none()));
    let server =
        Server { name, alias, image, digests: digests.unwrap_or_default(), command, args, recipe, settings };
    server.check()?;
    Ok(server)
}

/// What of a server's command line must not be shown.
#[derive(Clone, Default)]
pub struct SecretWords {
    pub secrets: Vec<String>,
    /// Its program without them.
    pub command: Vec<String>,
    /// Its arguments without them.
    pub shown: Vec<String>,
}

impl fmt::Debug for SecretWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretWords").field("shown", &self.shown).finish_non_exhaustive()
    }
}

impl Server {
    /// Puts the variables' values from `lookup` into the arguments; finds the secrets among these.
    pub fn resolve_args(&mut self, lookup: Lookup) -> Result<SecretWords, ConfigError> {
        let mut words = SecretWords::default();
        let mut marked = Vec::new();
        for arg in self.args.iter_mut().flatten() {
            let template = Template::parse(arg).map_err(|error| {
                ConfigError::new(format!("an argument of the server `{}` {error}", self.name))
            })?;
            let value = template.expand(lookup).map_err(|variable| {
                let message = format!(
                    "server `{}` needs the variable `{variable}` for an argument, but it is not set",
                    self.name
                );
                let next =
                    format!("set it for the client that starts berth, or write `${{{variable}:-default}}`");
                ConfigError::new(message).with_hint(next)
            })?;
            words.secrets.extend(template.variables().filter_map(|name| secret_of(name, lookup)));
            let in_its_place =
                |name: &str| secret_of(name, lookup).map(|_| MARK.to_owned()).or_else(|| lookup(name));
            marked.push(template.expand(&in_its_place).unwrap_or_else(|_| MARK.to_owned()));
            *arg = value;
        }
        // Those that stand in the configuration itself.
        let (args, command) = (self.args.as_deref().unwrap_or_default(), self.command.as_deref());
        words.command = literal(command.unwrap_or_default(), &mut words.secrets);
        let shown = literal(args, &mut words.secrets);
        let all = std::iter::zip(args, shown).zip(&marked);
        words.shown = all
            .map(
                |((arg, shown), marked)| {
                    if arg == marked { shown } else { without_credentials(marked).into_owned() }
                },
            )
            .collect();
        Ok(words)
    }
}

/// Words as they are shown; the credentials among them become `secrets`.
fn literal(words: &[String], secrets: &mut Vec<String>) -> Vec<String> {
    let found = secret_arguments(words);
    let values = found.iter().filter_map(|found| words[found.word].get(found.range.clone()));
    secrets.extend(values.map(str::to_owned));
    let shown = words.iter().enumerate().map(|(n, word)| {
        let of_this = found.iter().filter(|found| found.word == n);
        hidden(word, of_this.map(|found| found.range.clone()))
    });
    shown.collect()
}

fn read_package(section: &mut Section, runner: Runner) -> Result<Option<Package>, ConfigError> {
    let key = runner.as_str();
    let Some(item) = section.take_item(key) else { return Ok(None) };
    let words = item.words()?;
    let package = runner::parse_words(runner, &words)
        .map_err(|error| item.error(format!("`{key}`: {}", error.message)).with_hint(error.next))?;
    check_args(&item, &package.args)?;
    Ok(Some(package))
}

fn read_args(item: &Item) -> Result<Vec<String>, ConfigError> {
    let args = item.list::<String>()?;
    check_args(item, &args)?;
    Ok(args)
}

/// Arguments are templates; what is wrong with one is told without it.
fn check_args(item: &Item, args: &[String]) -> Result<(), ConfigError> {
    for arg in args {
        if let Err(error) = Template::parse(arg) {
            let wrong = item.error(format!("an argument in `{}` {error}", item.name));
            return Err(match error.hint() {
                Some(hint) => wrong.with_hint(hint),
                None => wrong,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
