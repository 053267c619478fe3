//! From a client's entry to a server of berth's. A secret's value stays in the client's file, and in its `env`: here only
//! its name comes out.

use toml_edit::Table;

use super::Entry;
use crate::config::looks_secret;
use crate::runner::{self, Runtime};

/// A client's entry, as a server of the configuration.
#[derive(Debug)]
pub struct Translated {
    /// The keys of `[servers.NAME]`.
    pub table: Table,
    /// Values that stood in the arguments, and belong into the `env` of the client's entry.
    pub env: Vec<(String, String)>,
    /// What is left out.
    pub notes: Vec<String>,
}

/// `Err` says why it can't be, and what to do.
pub fn translate(entry: &Entry, base: impl Fn(Runtime) -> String) -> Result<Translated, String> {
    if entry.cwd.is_some() {
        return Err("it starts in a folder of this machine (`cwd`); write its [servers.NAME] by hand, with `mounts` and \
                    `workdir`"
            .to_owned());
    }
    if let Some((what, _)) = secret_arguments(&entry.args).into_iter().next() {
        return Err(format!(
            "{what} looks like a credential, and would come to stand in berth's configuration; put it into the entry's `env` \
             and have the server read it from there"
        ));
    }
    let argv: Vec<String> = std::iter::once(&entry.command).chain(&entry.args).cloned().collect();
    let mut parsed = runner::parse(&argv).map_err(|error| error.to_string())?;
    let mut moved = Vec::new();
    for (name, template) in &mut parsed.env {
        // What the client's entry says of it already is what the server gets.
        if looks_secret(name) && !template.contains("${") {
            moved.push((name.clone(), template.replace("$$", "$")));
            *template = format!("${{{name}}}");
        }
    }
    moved.retain(|(name, _)| entry.env.iter().all(|(known, _)| known != name));
    for name in entry.env.iter().map(|(name, _)| name).chain(&entry.env_vars) {
        if parsed.env.iter().all(|(known, _)| known != name) {
            parsed.set_env(name, format!("${{{name}}}"));
        }
    }
    Ok(Translated { table: parsed.table(base), env: moved, notes: parsed.notes })
}

/// Arguments whose values are secrets by the look of them: what each is, and the value.
pub fn secret_arguments(args: &[String]) -> Vec<(String, String)> {
    let is_value = |text: &&str| !text.is_empty() && !text.starts_with('-') && !text.contains("${");
    let look = |(n, arg): (usize, &String)| {
        if let Some(password) = password(arg).filter(is_value) {
            return Some(("the password in an address".to_owned(), password.to_owned()));
        }
        let flag = arg.strip_prefix("--")?;
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (flag, args.get(n + 1).map(String::as_str)),
        };
        let value = value.filter(is_value).filter(|_| looks_secret(name))?;
        Some((format!("what follows `--{name}`"), value.to_owned()))
    };
    args.iter().enumerate().filter_map(look).collect()
}

/// That of `scheme://user:password@host`.
fn password(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    let (login, _) = rest.split('/').next()?.rsplit_once('@')?;
    Some(login.split_once(':')?.1)
}
