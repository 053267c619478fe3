//! A mistake in a configuration: what is wrong, where, and what would be right. Never shows a secret's value.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::failure::{Code, Explain};

/// What stands for the file where a server is given by a command line.
pub(super) const COMMAND_LINE: &str = "the command line";

/// A line of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: Arc<Path>,
    /// Counted from 1.
    pub(super) line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// A mistake in the configuration: what, where, and what would mend it.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.text())]
pub struct ConfigError {
    message: String,
    place: Option<Place>,
    hint: Option<String>,
    source: Option<io::Error>,
}

impl ConfigError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None, hint: None, source: None }
    }

    pub(super) fn unreadable(file: &Path, source: io::Error) -> Self {
        let message = format!("cannot read the configuration file `{}`", file.display());
        Self { source: Some(source), ..Self::new(message) }
    }

    pub(super) fn at(mut self, place: Option<Place>) -> Self {
        self.place = place;
        self
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What is wrong, without the place and the hint.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The file it stands in; `None` for flags, the environment, and a file that cannot be read.
    pub fn file(&self) -> Option<&Path> {
        self.place.as_ref().map(|place| place.file.as_ref())
    }

    /// The line in that file, counted from 1.
    pub fn line(&self) -> Option<usize> {
        self.place.as_ref().map(|place| place.line)
    }

    /// What to write or type instead.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if let Some(place) = &self.place {
            // The lines of a table that was made of a command line are nobody's.
            text = match place.file.to_str() {
                Some(COMMAND_LINE) => format!("{COMMAND_LINE}: "),
                _ => format!("{place}: "),
            };
        }
        text += &self.message;
        if let Some(hint) = &self.hint {
            text = text + "; " + hint;
        }
        text
    }
}

impl Explain for ConfigError {
    fn code(&self) -> Code {
        Code::Configuration
    }

    /// It is part of the text: the hint.
    fn next(&self) -> Option<String> {
        None
    }
}

/// The candidate most like `word`, if one is like it at all.
pub(super) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Jaro-Winkler forgives swapped letters and favours a common start (`environment` for `env`), and
    // below 0.8 its suggestions are noise.
    candidates
        .map(|candidate| (strsim::jaro_winkler(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_like_the_word_or_absent() {
        let keys = ["memory", "max_line", "env", "command", "cpus", "cap_add"];
        let near = |word| nearest(word, keys.into_iter());
        assert_eq!(near("memroy"), Some("memory"));
        assert_eq!(near("Memory"), Some("memory"));
        assert_eq!(near("environment"), Some("env"));
        assert_eq!(near("caps_add"), Some("cap_add"));
        assert_eq!(near("zzz"), None);
        assert_eq!(near("comment"), Some("command"));
        assert_eq!(near("name"), None);
        assert_eq!(near("mount"), None);
        assert_eq!(near(""), None);
    }

    #[test]
    fn a_file_that_cannot_be_read_keeps_its_cause_out_of_the_message() {
        let error = ConfigError::unreadable(Path::new("b.toml"), io::Error::other("disk on fire"));
        assert_eq!(error.to_string(), "cannot read the configuration file `b.toml`");
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), "disk on fire");
    }
}
