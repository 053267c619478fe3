//! What is a credential: by its name, by its look, and by both together. Configuration, import, trace, history and messages
//! share this judgement, so none shows a value that another hides.
//!
//! It errs on neither side. `--token-limit`, `AUTH_MODE` and `TOKEN_FILE` are not credentials by their names. A variable
//! of any name is one by its value: a login in an address, a header with a bearer, a well-known kind of token.

mod arguments;
mod everyday;
mod look;
mod name;

use std::borrow::Cow;

pub use arguments::{SecretArgument, secret_arguments};
pub use everyday::is_everyday;
pub use look::{Credential, credentials, spelt};
pub(crate) use name::words;
use name::{Naming, naming};

/// What stands for what is hidden.
pub const MARK: &str = "[redacted]";

/// Whether `name` (of a variable, a JSON key, a header, a flag) looks like that of a credential, whatever its value:
/// `GITHUB_TOKEN`, `apiKey`, `X-Api-Key`, `Authorization`. Case and separators do not count.
pub fn looks_secret(name: &str) -> bool {
    matches!(naming(name), Naming::Credential | Naming::Likely)
}

/// Whether some value of `name` is a secret by that name.
pub fn may_be_secret(name: &str) -> bool {
    naming(name) != Naming::Other
}

/// Whether the value of `name` is a secret at its own place. A path is not the secret that lies there.
pub fn is_secret(name: &str, value: &str) -> bool {
    let by_name = match naming(name) {
        Naming::Credential => !everyday::is_path(value),
        Naming::Likely => !everyday::is_path(value) && !everyday::is_choice(value),
        Naming::Perhaps => everyday::is_random(value),
        Naming::Other => false,
    };
    by_name || !credentials(value).is_empty()
}

/// Both of a value that is a secret: the whole, and the credentials in it. Percent-encoded parts are decoded as well.
pub fn parts(value: &str) -> Vec<String> {
    let mut parts = vec![value.to_owned()];
    for found in credentials(value) {
        let Some(part) = value.get(found.range) else { continue };
        let decoded = percent_encoding::percent_decode_str(part).decode_utf8_lossy();
        for part in [part, &decoded] {
            if parts.iter().all(|known| known != part) {
                parts.push(part.to_owned());
            }
        }
    }
    parts
}

/// A text without what looks like a credential in it, for messages.
pub fn without_credentials(text: &str) -> Cow<'_, str> {
    let found = credentials(text);
    if found.is_empty() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(hidden(text, found.into_iter().map(|found| found.range)))
}

/// A text with its ranges hidden.
pub fn hidden(text: &str, ranges: impl IntoIterator<Item = std::ops::Range<usize>>) -> String {
    let mut ranges: Vec<_> = ranges.into_iter().collect();
    ranges.sort_by_key(|range| range.start);
    let (mut shown, mut at) = (String::new(), 0);
    for range in ranges.into_iter().filter(|range| !range.is_empty()) {
        if range.start >= at {
            shown += text.get(at..range.start).unwrap_or_default();
            shown += MARK;
        }
        at = at.max(range.end);
    }
    shown + text.get(at..).unwrap_or_default()
}

#[cfg(test)]
mod tests;
