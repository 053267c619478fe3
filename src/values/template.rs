//! `${VAR}` and `${VAR:-default}` in the text of an environment value.
//!
//! The text is parsed when the file is read, so its mistakes have a line. It is expanded only when its server runs. It
//! may hold a credential, so no message and no `Debug` output contains it.

use std::fmt;

use super::Lookup;

/// A text with places for variables.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Variable { name: String, default: Option<String> },
}

/// What is wrong with a template; completes «the value …».
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("has an unclosed `${{`")]
    Unclosed,
    #[error("has a `${{…}}` that is not `${{NAME}}` or `${{NAME:-default}}`")]
    Unknown,
    #[error("has a `$` before a name, without braces")]
    Bare,
    #[error("has a `${{…:-default}}` whose default holds a variable")]
    Nested,
    #[error("holds a NUL character")]
    Nul,
}

impl TemplateError {
    pub(crate) fn hint(self) -> Option<&'static str> {
        match self {
            Self::Nul => None,
            _ => Some("write `${NAME}`, `${NAME:-default}`, or `$$` for a plain `$`"),
        }
    }
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.contains('\0') {
            return Err(TemplateError::Nul);
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            literal += before;
            if let Some(after) = after.strip_prefix('$') {
                literal.push('$');
                rest = after;
            } else if let Some(after) = after.strip_prefix('{') {
                let (inside, after) = after.split_once('}').ok_or(TemplateError::Unclosed)?;
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                }
                parts.push(Part::variable(inside)?);
                rest = after;
            } else if after.starts_with(is_first_of_name) {
                // A shell would expand `$HOME`; passing it on as it stands would be a silent surprise.
                return Err(TemplateError::Bare);
            } else {
                literal.push('$');
                rest = after;
            }
        }
        literal += rest;
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { parts })
    }

    /// The variables that it names.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::Variable { name, .. } => Some(name.as_str()),
        })
    }

    /// Puts the variables' values in. As in a shell, `:-` also replaces an empty value. `Err` is the name of
    /// a variable that is neither set nor has a default.
    pub(crate) fn expand(&self, lookup: Lookup) -> Result<String, &str> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text += literal,
                Part::Variable { name, default: None } => text += &lookup(name).ok_or(name.as_str())?,
                Part::Variable { name, default: Some(default) } => {
                    let value = lookup(name).filter(|value| !value.is_empty());
                    text += value.as_deref().unwrap_or(default);
                }
            }
        }
        Ok(text)
    }
}

impl Part {
    fn variable(inside: &str) -> Result<Self, TemplateError> {
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        if !is_variable(name) {
            return Err(TemplateError::Unknown);
        }
        let default = match default.map(Template::parse).transpose() {
            Ok(None) => None,
            Ok(Some(template)) => match template.parts.as_slice() {
                [] => Some(String::new()),
                [Self::Literal(text)] => Some(text.clone()),
                _ => return Err(TemplateError::Nested),
            },
            // The default ends at the first `}`, so a variable within it is never closed.
            Err(TemplateError::Unclosed) => return Err(TemplateError::Nested),
            Err(error) => return Err(error),
        };
        Ok(Self::Variable { name: name.to_owned(), default })
    }
}

/// A path of this machine: a [`Template`], perhaps with the home folder, as `~`, before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathTemplate {
    at_home: bool,
    rest: Template,
}

impl PathTemplate {
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let at_home = text == "~" || text.starts_with("~/");
        let rest = Template::parse(text.strip_prefix('~').filter(|_| at_home).unwrap_or(text))?;
        Ok(Self { at_home, rest })
    }

    /// The variables that it names.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &str> {
        self.rest.variables()
    }

    /// `Err` is the name of a variable that is not set.
    pub(crate) fn expand(&self, lookup: Lookup) -> Result<String, String> {
        let rest = self.rest.expand(lookup).map_err(str::to_owned)?;
        if !self.at_home {
            return Ok(rest);
        }
        let home = lookup("HOME").filter(|home| !home.is_empty()).ok_or("HOME")?;
        Ok(home + &rest)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.variables()).finish()
    }
}

fn is_first_of_name(first: char) -> bool {
    first.is_ascii_alphabetic() || first == '_'
}

/// Whether `name` is a variable's name as POSIX has it.
pub(crate) fn is_variable(name: &str) -> bool {
    name.starts_with(is_first_of_name) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "HOME" => Some("/h".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICK" => Some("${HOME}$$".to_owned()),
            _ => None,
        }
    }

    fn expand(text: &str) -> Result<String, String> {
        Template::parse(text).unwrap().expand(&lookup).map_err(str::to_owned)
    }

    #[test]
    fn variables_are_put_in_once() {
        let cases = [
            ("", ""),
            ("plain", "plain"),
            ("${HOME}", "/h"),
            ("a${HOME}b${HOME}c", "a/hb/hc"),
            ("${EMPTY}", ""),
            ("${EMPTY:-x}", "x"),
            ("${NONE:-x y}", "x y"),
            ("${NONE:-}", ""),
            ("${NONE:-a:-b}", "a:-b"),
            ("${NONE:-a$$b}", "a$b"),
            ("${HOME:-x}", "/h"),
            ("$$", "$"),
            ("$${HOME}", "${HOME}"),
            ("$$$${HOME}", "$${HOME}"),
            ("$$${HOME}", "$/h"),
            ("$5 a$ $", "$5 a$ $"),
            ("}{", "}{"),
            // What a variable holds is not looked at again.
            ("${TRICK}", "${HOME}$$"),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_missing_variable_is_named() {
        assert_eq!(expand("${HOME}${NONE}${OTHER}"), Err("NONE".to_owned()));
    }

    #[test]
    fn unknown_forms_are_refused() {
        let cases = [
            ("${HOME", TemplateError::Unclosed),
            ("${", TemplateError::Unclosed),
            ("${}", TemplateError::Unknown),
            ("${:-x}", TemplateError::Unknown),
            ("${A-x}", TemplateError::Unknown),
            ("${A:?x}", TemplateError::Unknown),
            ("${1A}", TemplateError::Unknown),
            ("${ A }", TemplateError::Unknown),
            ("${Ä}", TemplateError::Unknown),
            ("$HOME", TemplateError::Bare),
            ("a$_b", TemplateError::Bare),
            ("${A:-$B}", TemplateError::Bare),
            ("${A:-${B}}", TemplateError::Nested),
            ("a\0b", TemplateError::Nul),
        ];
        for (text, expected) in cases {
            assert_eq!(Template::parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn debug_shows_variables_and_no_text() {
        let template = Template::parse("hunter2${HOME}${B:-hunter3}").unwrap();
        assert_eq!(format!("{template:?}"), r#"["HOME", "B"]"#);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in r"([${}:\-A-c0]|\PC){0,24}") {
            if let Ok(template) = Template::parse(&text) {
                let _ = template.expand(&lookup);
                let _ = template.expand(&|_| None);
            }
        }

        #[test]
        fn any_text_passes_with_its_dollars_doubled(text in r"[^\x00]{0,24}") {
            prop_assert_eq!(expand(&text.replace('$', "$$")), Ok(text));
        }
    }
}
