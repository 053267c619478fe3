//! Patterns for the names of tools: `*` stands for any characters, `?` for one. Nothing else is special.

use std::fmt;

use super::value::{Value, ValueError, from_str};

from_str!(ToolPattern);

/// The longest one, in bytes; MCP advises names of up to 128 characters.
const LONGEST: usize = 256;

/// Which tools are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolPattern(String);

impl ToolPattern {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes no more steps than the two lengths multiplied.
    pub fn matches(&self, name: &str) -> bool {
        let (mut pattern, mut rest) = (self.0.chars(), name.chars());
        // The last `*`: what follows it, and from where on the name was compared with that.
        let mut star = None;
        loop {
            let here = rest.clone();
            match (pattern.next(), rest.next()) {
                (None, None) => return true,
                (Some('*'), _) => {
                    rest = here;
                    star = Some((pattern.clone(), rest.clone()));
                }
                (Some('?'), Some(_)) => {}
                (Some(wanted), Some(found)) if wanted == found => {}
                _ => {
                    // That `*` stands for one more character.
                    let Some((after, from)) = &mut star else { return false };
                    if from.next().is_none() {
                        return false;
                    }
                    (pattern, rest) = (after.clone(), from.clone());
                }
            }
        }
    }
}

/// Whether lists of patterns let a tool of this name pass: one that is allowed, where any are named, and is not denied.
pub fn permits(allowed: Option<&[ToolPattern]>, denied: &[ToolPattern], name: &str) -> bool {
    let matches = |patterns: &[ToolPattern]| patterns.iter().any(|pattern| pattern.matches(name));
    allowed.is_none_or(matches) && !matches(denied)
}

impl fmt::Display for ToolPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Value for ToolPattern {
    const EXPECTED: &'static str = "a tool's name, or a pattern such as \"read_*\" (with `*` and `?`)";

    /// Refuses what other programs' patterns would mean something by, rather than never match.
    fn from_text(text: &str) -> Option<Self> {
        let fit = |c: char| !c.is_control() && !"[]{}!\\".contains(c);
        let valid = (1..=LONGEST).contains(&text.len()) && text.trim() == text && text.chars().all(fit);
        valid.then(|| Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> ToolPattern {
        text.parse().unwrap()
    }

    #[test]
    fn stars_and_question_marks_stand_for_others() {
        for (text, matching, others) in [
            ("read_file", &["read_file"][..], &["read_files", "Read_file", "aread_file", ""][..]),
            ("read_*", &["read_", "read_file", "read_*"], &["read", "bread_file"]),
            ("*", &["", "a", "ä*"], &[]),
            ("*_file", &["_file", "read_file", "a_file_file"], &["read_file_", "file"]),
            ("a*b*c", &["abc", "aXbYc", "abbcbc"], &["ab", "acb", "abcd"]),
            ("g?t", &["get", "gät", "g?t"], &["gt", "gett"]),
            ("?*", &["a", "ab"], &[""]),
            ("**a", &["a", "aa"], &["", "ab"]),
        ] {
            for name in matching {
                assert!(pattern(text).matches(name), "{text} {name}");
            }
            for name in others {
                assert!(!pattern(text).matches(name), "{text} {name}");
            }
        }
    }

    #[test]
    fn a_denied_tool_does_not_pass_even_where_it_is_allowed() {
        let (read, all) = ([pattern("read_*")], [pattern("*")]);
        assert!(permits(None, &[], "write") && permits(Some(&read), &[], "read_file"));
        assert!(!permits(Some(&read), &[], "write") && !permits(Some(&[]), &[], "read_file"));
        assert!(!permits(None, &read, "read_file") && !permits(Some(&all), &read, "read_file"));
    }

    #[test]
    fn what_could_never_match_as_it_is_meant_is_refused() {
        for text in ["", " a", "a ", "[ab]*", "{a,b}", "!a", "a\\*", "a\nb", &"a".repeat(LONGEST + 1)] {
            assert!(text.parse::<ToolPattern>().is_err(), "{text:?}");
        }
        assert!("a tool/with.odd:letters-ä".parse::<ToolPattern>().is_ok());
    }

    /// The same by trying everything.
    fn model(pattern: &[char], name: &[char]) -> bool {
        match pattern {
            [] => name.is_empty(),
            ['*', rest @ ..] => (0..=name.len()).any(|n| model(rest, &name[n..])),
            ['?', rest @ ..] => !name.is_empty() && model(rest, &name[1..]),
            [c, rest @ ..] => name.first() == Some(c) && model(rest, &name[1..]),
        }
    }

    proptest! {
        #[test]
        fn it_matches_as_trying_everything_would(text in "[ab*?]{1,8}", name in "[abc]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(pattern(&text).matches(&name), model(&chars(&text), &chars(&name)));
        }
    }
}
