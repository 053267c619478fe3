//! Claude Code's wildcard for names: `*` stands for any characters, none included.

/// Whether the pattern is the whole of the name.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    rests(pattern, name).iter().any(|rest| rest.chars().all(|char| char == '*'))
}

/// What of the pattern is left for what comes behind `prefix`: one for each way to read it, `*` alone where that is one.
pub(super) fn rests<'a>(pattern: &'a str, prefix: &str) -> Vec<&'a str> {
    let mut rests = vec![pattern];
    for char in prefix.chars() {
        let mut next = Vec::new();
        for rest in rests {
            let mut rest = rest;
            // A wildcard takes the character, or nothing and leaves it to what comes behind it.
            while let Some(behind) = rest.strip_prefix('*') {
                next.push(rest);
                rest = behind;
            }
            next.extend(rest.strip_prefix(char));
        }
        next.sort_unstable();
        next.dedup();
        rests = next;
    }
    if rests.iter().any(|rest| !rest.is_empty() && rest.chars().all(|char| char == '*')) {
        return vec!["*"];
    }
    rests
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_wildcard_is_any_characters() {
        for (pattern, name, expected) in [
            ("a*c", "abbc", true),
            ("a*c", "ac", true),
            ("a*c", "acb", false),
            ("*", "", true),
            ("a", "ab", false),
            ("a**", "a", true),
            ("*__read_*", "files__read_file", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
        assert_eq!(rests("fi*s__r*", "files__"), ["r*", "*s__r*"].into_iter().rev().collect::<Vec<_>>());
        assert_eq!(rests("*", "files__"), ["*"]);
        assert_eq!(rests("git*", "files__"), [""; 0]);
    }

    proptest! {
        #[test]
        fn what_is_left_matches_the_rest(pattern in "[ab*]{0,6}", prefix in "[ab]{0,4}", rest in "[ab]{0,4}") {
            let whole = matches(&pattern, &format!("{prefix}{rest}"));
            prop_assert_eq!(rests(&pattern, &prefix).iter().any(|left| matches(left, &rest)), whole);
        }
    }
}
