//! `env`, `env_vars` and `secrets`: the variables of a server.

use std::fmt;
use std::str::FromStr;

use super::error::{ConfigError, Place};
use super::kept::{Kept, KeptEntry};
use super::reader::{Item, Section};
use crate::values::{MARK, Template};

/// A variable for a server, its value not yet expanded. As a flag: `NAME=VALUE`, or `NAME` for `${NAME}`.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvEntry {
    pub(super) name: String,
    pub(super) given: Given,
    /// Whether it was written under `secrets`.
    pub(super) secret: bool,
    pub(super) place: Option<Place>,
}

/// What a variable's value is made of.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Given {
    Template(Template),
    Kept(KeptEntry),
    /// The client's variable of the same name; without that the server has none.
    Passed,
}

impl EnvEntry {
    /// The variables of the client's environment that it takes something from.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        let (text, path, own) = match &self.given {
            Given::Template(template) => (Some(template.variables()), None, None),
            Given::Kept(kept) => (None, Some(kept.variables()), None),
            Given::Passed => (None, None, Some(self.name.as_str())),
        };
        text.into_iter().flatten().chain(path.into_iter().flatten()).chain(own)
    }

    /// The value, where it needs no variable of the client's.
    pub(super) fn literal(&self) -> Option<String> {
        match &self.given {
            Given::Template(template) => template.expand(&|_| None).ok(),
            Given::Kept(_) | Given::Passed => None,
        }
    }

    /// Hides the value wherever it would be shown, whatever its name.
    #[must_use]
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

impl fmt::Debug for EnvEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variables: Vec<&str> = self.variables().collect();
        write!(f, "{}=${variables:?}", self.name)
    }
}

/// A variable of a server's environment. A secret's value is for the server alone: `Debug` and `Display`
/// hide it.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvVar {
    pub name: String,
    /// Empty until it is read, where it is `kept` elsewhere.
    pub value: String,
    pub secret: bool,
    pub kept: Option<Kept>,
}

impl fmt::Display for EnvVar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, if self.secret { MARK } else { &self.value })
    }
}

impl fmt::Debug for EnvVar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A flag that gives a variable is wrong. It does not show the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    #[error("expected NAME=VALUE, or NAME for the variable of that name")]
    Name,
    #[error("the value of `{name}` {fault}")]
    Value { name: String, fault: String },
}

impl FromStr for EnvEntry {
    type Err = EnvError;

    fn from_str(text: &str) -> Result<Self, EnvError> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => (text, format!("${{{text}}}")),
        };
        if !is_env_name(name) {
            return Err(EnvError::Name);
        }
        let template = Template::parse(&value).map_err(|error| {
            let fault = match error.hint() {
                Some(hint) => format!("{error}; {hint}"),
                None => error.to_string(),
            };
            EnvError::Value { name: name.to_owned(), fault }
        })?;
        let given = Given::Template(template);
        Ok(Self { name: name.to_owned(), given, secret: false, place: None })
    }
}

pub(super) fn read_env(section: &mut Section) -> Result<Vec<EnvEntry>, ConfigError> {
    let mut entries: Vec<EnvEntry> = Vec::new();
    for key in ["env", "secrets"] {
        for item in section.take_section(key)?.map(Section::entries).unwrap_or_default() {
            if !is_env_name(&item.name) {
                return Err(item
                    .key_error(format!("`{}` in `{key}` is not a variable's name", item.name))
                    .with_hint("a name is letters, digits, `_`, `.` and `-`, with a letter or `_` first"));
            }
            if entries.iter().any(|entry| entry.name == item.name) {
                return Err(item
                    .key_error(format!("`{}` stands in both `env` and `secrets`", item.name))
                    .with_hint("keep the one in `secrets`"));
            }
            let (place, secret) = (Some(item.place()), key == "secrets");
            let (name, given) = if item.is_table() && secret {
                let name = item.name.clone();
                let kept = KeptEntry::read(item.section(format!("[secrets.{name}]"))?)?;
                (name, Given::Kept(kept))
            } else {
                let template = read_template(&item, key)?;
                (item.name, Given::Template(template))
            };
            entries.push(EnvEntry { name, given, secret, place });
        }
    }
    let Some(item) = section.take_item("env_vars") else { return Ok(entries) };
    for name in item.list::<String>()? {
        // What else is there may be a credential.
        if !is_env_name(&name) {
            return Err(item
                .error("each of `env_vars` must be a variable's name".to_owned())
                .with_hint("write `env = { NAME = \"value\" }` for a value of its own"));
        }
        if entries.iter().any(|entry| entry.name == name) {
            return Err(item
                .error(format!("`{name}` has a value, and stands in `env_vars` as well"))
                .with_hint("keep one of the two"));
        }
        entries.push(EnvEntry { name, given: Given::Passed, secret: false, place: Some(item.place()) });
    }
    Ok(entries)
}

fn read_template(item: &Item, key: &str) -> Result<Template, ConfigError> {
    let text = item
        .text()
        .map_err(|error| if item.is_table() { error.with_hint("write it under `secrets`") } else { error })?;
    Template::parse(text).map_err(|error| {
        let wrong = item.error(format!("`{}` in `{key}` {error}", item.name));
        match error.hint() {
            Some(hint) => wrong.with_hint(hint),
            None => wrong,
        }
    })
}

/// Wider than POSIX by `.` and `-`, which some servers' own settings have.
fn is_env_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        text.parse::<EnvEntry>().unwrap_err().to_string()
    }

    #[test]
    fn a_flag_without_a_value_names_the_clients_variable() {
        let expanded = |text: &str| match text.parse::<EnvEntry>().unwrap().given {
            Given::Template(template) => template.expand(&|name| Some(format!("<{name}>"))).unwrap(),
            Given::Kept(_) | Given::Passed => panic!("a flag has a text"),
        };
        assert_eq!(expanded("A_1"), "<A_1>");
        assert_eq!(expanded("A=b=c"), "b=c");
    }

    #[test]
    fn a_wrong_flag_is_explained_without_its_value() {
        assert_eq!(error("=hunter2"), "expected NAME=VALUE, or NAME for the variable of that name");
        assert_eq!(error("1A=hunter2"), "expected NAME=VALUE, or NAME for the variable of that name");
        assert_eq!(
            error("A=hunter2${"),
            "the value of `A` has an unclosed `${`; \
             write `${NAME}`, `${NAME:-default}`, or `$$` for a plain `$`"
        );
        // A dotted name has no variable of its own to be taken from.
        assert!(error("a.b").starts_with("the value of `a.b` has a `${…}`"));
    }

    #[test]
    fn debug_hides_the_value() {
        let entry: EnvEntry = "A=hunter2${HOME}".parse().unwrap();
        assert_eq!(format!("{entry:?}"), r#"A=$["HOME"]"#);
    }
}
