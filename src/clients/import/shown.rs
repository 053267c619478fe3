//! The differences of an import as they are shown: without secrets.

use serde_json::Value;

use crate::clients::{Draft, secret_arguments, without_mark};
use crate::observe::redact::{MARK, Redactor};
use crate::values::looks_secret;

/// A difference without secrets.
pub(super) fn shown(diff: &str, secrets: &[String]) -> String {
    let redactor = Redactor::new(secrets.iter().cloned());
    let lines = diff.lines().map(|line| {
        // A table of that name, and not the value of a key that looks like a credential's.
        if line.get(1..).is_some_and(|line| line.starts_with("secrets = {")) {
            secrets
                .iter()
                .filter(|secret| secret.len() >= 4)
                .fold(line.to_owned(), |line, secret| line.replace(secret, MARK))
        } else {
            redactor.text(line)
        }
    });
    lines.map(|line| line + "\n").collect()
}

/// Whatever a file's texts hold that must not be shown: variables, headers, and what is named like a credential. What is
/// installed is shown all the same: a file whose variable holds the command would else hide the command.
pub(super) fn secrets(draft: &Draft) -> Vec<String> {
    /// The keys, and the words that are run.
    fn shown(value: &Value, runs: bool, words: &mut Vec<String>) {
        match value {
            Value::Object(entries) => {
                for (key, value) in entries {
                    words.push(key.clone());
                    let runs = ["command", "args", "image", "npx", "uvx", "docker"].contains(&key.as_str());
                    shown(value, runs, words);
                }
            }
            Value::Array(values) => {
                let all: Vec<String> =
                    values.iter().map(|value| value.as_str().unwrap_or_default().to_owned()).collect();
                let hidden: Vec<String> =
                    secret_arguments(&all).into_iter().map(|(_, value)| value).collect();
                for value in values.iter().filter(|value| {
                    !value.as_str().is_some_and(|text| hidden.iter().any(|hidden| hidden == text))
                }) {
                    shown(value, runs, words);
                }
            }
            Value::String(text) if runs => words.push(text.clone()),
            _ => {}
        }
    }
    fn walk(value: &Value, hidden: bool, secrets: &mut Vec<String>) {
        match value {
            Value::Object(entries) => {
                for (key, value) in entries {
                    let hides = ["env", "secrets", "headers", "http_headers"].contains(&key.as_str());
                    walk(value, hidden || hides || looks_secret(key), secrets);
                }
            }
            Value::Array(values) => {
                let words: Vec<String> =
                    values.iter().map(|value| value.as_str().unwrap_or_default().to_owned()).collect();
                secrets.extend(secret_arguments(&words).into_iter().map(|(_, value)| value));
                for value in values {
                    walk(value, hidden, secrets);
                }
            }
            // A name of a variable is no secret.
            Value::String(text) if hidden && !text.starts_with("${") => secrets.push(text.clone()),
            _ => {}
        }
    }
    let (mut secrets, mut words) = (Vec::new(), Vec::new());
    for text in [draft.before(), &draft.after] {
        let (_, text) = without_mark(text);
        let read = serde_json::from_str(text).ok().or_else(|| toml::from_str(text).ok()).unwrap_or_default();
        walk(&read, false, &mut secrets);
        shown(&read, false, &mut words);
    }
    secrets.retain(|secret| !words.iter().any(|word| hides(secret, word)));
    secrets
}

/// Whether to hide `secret` would hide `word`, or a part of it, where it is run. A word with an address in it may hold a
/// secret.
fn hides(secret: &str, word: &str) -> bool {
    let is_part = word == secret || (word.contains(secret) && !word.contains("://"));
    // It could begin in one word and end in another.
    let spans = secret.contains(['"', '\'']) && word.len() > 2 && secret.contains(word);
    is_part || spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_blackens_what_it_installs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".mcp.json");
        let text = r#"{ "mcpServers": { "time": {
  "command": "npx",
  "args": ["-y", "evil-package", "--api-key", "hunter2-hunter2"],
  "env": {
    "A_TOKEN": "evil-package",
    "B_TOKEN": "evil",
    "C_TOKEN": "args",
    "D_TOKEN": "\"-y\", \"evil-package\"",
    "E_TOKEN": "sk-0123456789"
  }
} } }"#;
        std::fs::write(&path, text).unwrap();
        let mut draft = Draft::of(&path).unwrap();
        draft.after = String::new();
        let plain = secrets(&draft);
        std::fs::write(&path, format!("\u{feff}{text}")).unwrap();
        assert_eq!(
            secrets(&Draft::of(&path).unwrap()),
            [&plain[..], &plain[..]].concat(),
            "a mark hides none"
        );
        let diff = shown(&draft.diff(), &plain);
        assert!(diff.contains(r#"-  "args": ["-y", "evil-package", "--api-key", ""#), "{diff}");
        assert!(diff.contains(r#"-  "command": "npx","#), "{diff}");
        assert!(!diff.contains("hunter2") && !diff.contains("sk-0123456789"), "{diff}");
    }
}
