//! What a session's things are called in a cluster: names and labels that Kubernetes takes.

use std::borrow::Cow;

use mcp_berth::human::hex;
use sha2::{Digest, Sha256};

/// Of a label's value, and of a name that becomes a host's.
const LONGEST: usize = 63;
/// Of the hash that stands for what a label cannot say.
const HASH: usize = 8;

/// A pod's name: whose it is, and an id that nobody else has.
pub(crate) fn pod(client: &str, id: &str) -> String {
    // Each part between two dots would have to begin and end with a letter or a digit.
    let client = client.replace('.', "-");
    let room = LONGEST.saturating_sub("mcp--".len() + id.len());
    let client = client.get(..room).unwrap_or(&client).trim_matches('-');
    format!("mcp-{client}-{id}")
}

/// The value of a label. What no label can say is cut, and told apart by a hash.
pub(crate) fn label(text: &str) -> Cow<'_, str> {
    let is_end = |c: char| c.is_ascii_alphanumeric();
    let is_inner = |c: char| is_end(c) || "-_.".contains(c);
    let fits = text.len() <= LONGEST
        && text.chars().all(is_inner)
        && text.starts_with(is_end)
        && text.ends_with(is_end);
    if fits || text.is_empty() {
        return Cow::Borrowed(text);
    }
    let fit: String = text.chars().map(|c| if is_inner(c) { c } else { '_' }).collect();
    let start = fit.trim_start_matches(|c| !is_end(c));
    let cut = start.get(..LONGEST - HASH - 1).unwrap_or(start);
    let hash = &hex(&Sha256::digest(text))[..HASH];
    if cut.is_empty() { Cow::Owned(hash.to_owned()) } else { Cow::Owned(format!("{cut}.{hash}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_label(text: &str) -> bool {
        let is_end = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
        text.len() <= 63
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
            && is_end(text.chars().next())
            && is_end(text.chars().last())
    }

    #[test]
    fn a_label_says_what_it_can() {
        assert_eq!(label("claude-code"), "claude-code");
        assert_eq!(label(""), "");
        let long = "a".repeat(64);
        let odd = ["_a", "a_", "-", "a/b", "é", &long, &format!("{long}b"), "a b"];
        let values: std::collections::BTreeSet<_> = odd.iter().map(|text| label(text)).collect();
        assert_eq!(values.len(), odd.len(), "each has a value of its own");
        for value in values {
            assert!(is_label(&value) && !value.is_empty(), "{value}");
        }
    }

    #[test]
    fn a_pod_is_called_after_its_client() {
        assert_eq!(pod("claude-code", "0123456789ab"), "mcp-claude-code-0123456789ab");
        assert_eq!(pod("a.-b", "1"), "mcp-a--b-1");
        let name = pod(&"a.".repeat(40), "0123456789ab");
        assert!(name.len() <= 63 && name.starts_with("mcp-a-a"), "{name}");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{name}");
    }
}
