//! What a tool or a prompt is called where several servers share one entry of the client's.
//!
//! A full name is made of the server, its tool and the length of the entry's name alone, so that nothing else that is
//! configured or runs ever moves it. Clients write it into permission rules. Nobody takes it apart: it is looked up.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// The longest name of all clients and their models' APIs: `mcp__ENTRY__SERVER__TOOL`.
pub const LONGEST: usize = 64;

/// So many characters are the entry's where nobody has told its name.
pub const RESERVED_ENTRY: usize = 16;

/// `mcp__` before the entry and `__` behind it.
const AROUND_ENTRY: usize = 7;

/// `_` and eight hexadecimal digits.
const MARK: usize = 9;

/// No name is cut to less, however long the entry's is.
const SHORTEST: usize = 24;

/// How long a full name may be in the entry of this name.
pub fn room(entry: Option<&str>) -> usize {
    let entry = entry.map_or(RESERVED_ENTRY, |entry| entry.chars().count());
    LONGEST.saturating_sub(AROUND_ENTRY + entry).max(SHORTEST)
}

/// `SERVER__NAME` in at most `room` characters of `[A-Za-z0-9_-]`. A name that had to be changed for that ends in a mark of
/// its own. `server` is the server's alias where it has one.
pub fn full_name(server: &str, name: &str, room: usize) -> String {
    let full = format!("{}__{}", plain(server), plain(name));
    let is_as_it_was = full.len() <= room && server.chars().chain(name.chars()).all(is_plain);
    // Else `a__b` and `c` would be called as `a` and `b__c` are.
    let is_clear = !server.contains("__") && !server.ends_with('_') && !name.is_empty();
    if is_as_it_was && is_clear {
        return full;
    }
    // A zero byte stands in no server's name.
    let digest = Sha256::digest([server.as_bytes(), &[0], name.as_bytes()].concat());
    let mut marked = full[..full.len().min(room.saturating_sub(MARK))].to_owned();
    marked.push('_');
    for byte in &digest[..4] {
        let _ = write!(marked, "{byte:02x}");
    }
    marked
}

/// `text` with `_` for each character that clients take in no name.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if is_plain(c) { c } else { '_' }).collect()
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_that_fits_is_only_put_together() {
        assert_eq!(full_name("files", "read_file", room(None)), "files__read_file");
        assert_eq!(full_name("git", "a-b__c", room(Some("work"))), "git__a-b__c");
    }

    #[test]
    fn a_name_that_does_not_fit_has_a_mark_of_the_whole_pair() {
        let dotted = full_name("files", "read.file", 41);
        assert!(dotted.starts_with("files__read_file_") && dotted.len() == 25, "{dotted}");
        assert_ne!(dotted, full_name("files", "read/file", 41));
        let long = full_name("files", &"x".repeat(60), 41);
        assert_eq!(long.len(), 41);
        assert_ne!(long, full_name("files", &"x".repeat(61), 41));
        assert_ne!(full_name("a__b", "c", 41), full_name("a", "b__c", 41));
        assert_ne!(full_name("a_", "b", 41), full_name("a", "_b", 41));
    }

    #[test]
    fn the_whole_stays_within_what_all_clients_take() {
        assert_eq!(room(None), 41);
        assert_eq!(room(Some("work")), 53);
        assert_eq!(room(Some(&"x".repeat(80))), SHORTEST);
    }

    proptest! {
        #[test]
        fn any_name_is_plain_and_short_and_its_own(
            server in "[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}", tool in "\\PC{0,80}", other in "\\PC{0,80}",
            room in 24_usize..58,
        ) {
            let name = full_name(&server, &tool, room);
            prop_assert!(name.len() <= room, "{name}");
            prop_assert!(name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-')), "{name}");
            prop_assert_eq!(name == full_name(&server, &other, room), tool == other);
        }
    }
}
