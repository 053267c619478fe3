//! `env` and `secrets`: the variables of a server.

use std::fmt;
use std::str::FromStr;

use super::error::{ConfigError, Place};
use super::reader::Section;
use crate::values::Template;

/// A variable for a server, its value not yet expanded. As a flag: `NAME=VALUE`, or `NAME` for `${NAME}`.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvEntry {
    pub(super) name: String,
    pub(super) template: Template,
    /// Whether it was written under `secrets`.
    pub(super) secret: bool,
    pub(super) place: Option<Place>,
}

impl EnvEntry {
    /// Hides the value wherever it would be shown, whatever its name.
    #[must_use]
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

impl fmt::Debug for EnvEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=${:?}", self.name, self.template)
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
        Ok(Self { name: name.to_owned(), template, secret: false, place: None })
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
            let template = Template::parse(item.text()?).map_err(|error| {
                let wrong = item.error(format!("`{}` in `{key}` {error}", item.name));
                match error.hint() {
                    Some(hint) => wrong.with_hint(hint),
                    None => wrong,
                }
            })?;
            let place = Some(item.place());
            entries.push(EnvEntry { name: item.name, template, secret: key == "secrets", place });
        }
    }
    Ok(entries)
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
        let entry: EnvEntry = "A_1".parse().unwrap();
        assert_eq!(entry.template.expand(&|name| Some(format!("<{name}>"))).unwrap(), "<A_1>");
        let entry: EnvEntry = "A=b=c".parse().unwrap();
        assert_eq!(entry.template.expand(&|_| None).unwrap(), "b=c");
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
