//! What a person is told of changed definitions: each change once in a session.

use std::collections::{BTreeMap, BTreeSet};

/// Of a server whose definitions change all the time, no more is told.
const MOST: usize = 32;

/// What was told, by member.
#[derive(Debug, Default)]
pub(super) struct Notices(BTreeMap<usize, BTreeSet<String>>);

impl Notices {
    /// Those of the `lines` about a member that are news.
    pub(super) fn news(&mut self, member: usize, lines: impl IntoIterator<Item = String>) -> Vec<String> {
        let told = self.0.entry(member).or_default();
        let is_new = |line: &String| told.len() < MOST && told.insert(line.clone());
        lines.into_iter().filter(is_new).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_told_once_for_each_server() {
        let mut notices = Notices::default();
        let mut news = |member, lines: &[&str]| notices.news(member, lines.iter().map(ToString::to_string));
        assert_eq!(news(0, &["a", "b"]), ["a", "b"]);
        assert_eq!(news(0, &["a", "c"]), ["c"]);
        assert_eq!(news(1, &["a"]), ["a"], "another server's");
        assert_eq!(news(0, &["c", "b"]), [""; 0]);
    }

    #[test]
    fn of_a_server_that_never_stays_the_same_the_first_changes_are_told() {
        let mut notices = Notices::default();
        let told: usize = (0..100).map(|n| notices.news(0, [n.to_string()]).len()).sum();
        assert_eq!(told, MOST);
        assert_eq!(notices.news(1, ["x".to_owned()]).len(), 1);
    }
}
