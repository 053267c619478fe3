//! Which words of a command line are credentials, or hold some.

use std::ops::Range;

use super::look::{By, SHORT_NAMES, credentials, is_argument_secret};

/// A credential among the words of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretArgument {
    /// The word that it stands in.
    pub word: usize,
    /// Where in that.
    pub range: Range<usize>,
    /// The flag, the parameter or the header before it.
    pub name: Option<String>,
    /// What it is, for people: «the value of `--api-key`».
    pub what: String,
}

/// What of a command line is a credential, by its look or by what stands before it. No value comes out: only its place.
pub fn secret_arguments(words: &[String]) -> Vec<SecretArgument> {
    let mut found: Vec<SecretArgument> = Vec::new();
    for (word, text) in words.iter().enumerate() {
        let flag = word.checked_sub(1).and_then(|before| flag(words.get(before)?));
        let range = given(text);
        let value = &text[range.clone()];
        let is_value = |flag: &&str| {
            let is_short = SHORT_NAMES.contains(flag);
            !value.starts_with('-') && !value.contains("${") && is_argument_secret(flag, value, is_short)
        };
        if let Some(flag) = flag.filter(is_value) {
            let what = format!("the value of `{}`", words[word - 1]);
            let name = Some(flag.to_owned());
            found.push(SecretArgument { word, range, name, what });
            continue;
        }
        for credential in credentials(text) {
            let (name, what) = match credential.by {
                By::Name(name) => {
                    let flagged = text.trim_start_matches('-').starts_with(&name) && text.starts_with('-');
                    let dashes =
                        if flagged { &text[..text.len() - text.trim_start_matches('-').len()] } else { "" };
                    (Some(name.clone()), format!("the value of `{dashes}{name}`"))
                }
                By::Scheme(scheme) => (None, format!("the text after `{scheme}`")),
                By::Address => (Some("password".to_owned()), "the login in an address".to_owned()),
                By::Kind => (None, "a word among the arguments".to_owned()),
                By::Key => (Some("private-key".to_owned()), "a private key among the arguments".to_owned()),
            };
            found.push(SecretArgument { word, range: credential.range, name, what });
        }
    }
    found
}

/// What a word gives by itself: all of it, or what `${NAME:-…}` has for a variable that is not set.
fn given(text: &str) -> Range<usize> {
    let default = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')?.split_once(":-"));
    default.map_or(0..text.len(), |(_, default)| text.len() - 1 - default.len()..text.len() - 1)
}

/// The name of a flag whose value is the next word.
fn flag(word: &str) -> Option<&str> {
    let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-'))?;
    (!name.is_empty() && !name.contains(['=', ':', ' '])).then_some(name)
}
