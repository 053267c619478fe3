//! Matchers of hooks: those that are changed, and those that are told.

use super::*;

#[test]
fn a_hooks_matcher_matches_the_same_tools() {
    let of = |text: &str| matcher::matcher(text, &one());
    for (text, expected) in [
        ("mcp__files__read_file", "mcp__work__files__read_file"),
        ("Bash|mcp__files__read_file", "Bash|mcp__work__files__read_file"),
        ("mcp__files__.*", "mcp__work__files__.*"),
        ("^mcp__files__(read|write)_.*$", "^mcp__work__files__(read|write)_.*$"),
        ("mcp__(files|time)__.*", "mcp__(?:work__)?(files|time)__.*"),
        ("mcp__f.*", "mcp__(?:work__)?f.*"),
        ("mcp__[^_]+__now", "mcp__(?:work__)?[^_]+__now"),
        ("Bash|mcp__time__.*", "Bash|mcp__work__time__.*"),
    ] {
        // A part of `git.hub` is called otherwise: what could mean it is told.
        let mut plain = known();
        plain.servers.remove(1);
        assert_eq!(matcher::matcher(text, &plain), to(&[expected]), "{text}");
    }
    for text in ["", "*", "Bash", ".*", "mcp__.*", "mcp__other__.*", "mcp__files", "mcp__files|x"] {
        assert_eq!(of(text), Renamed::Same, "{text}");
    }
    assert_eq!(of("mcp__git_hub__.*"), to(&["mcp__work__git-hub__.*"]));
    assert_eq!(of("^mcp__files"), to(&["^mcp__(?:work__)?files"]));
    for text in [
        "mcp__git_hub__.*e$",
        "mcp__(git_hub|files)__.*",
        "mcp__(?!time).*",
        "mcp__[^_]+__now",
        "mcp__.*__read_file",
        ".*__read_file$",
        "mcp__time__get_.*_now",
    ] {
        assert!(matches!(of(text), Renamed::Stays(_)), "{text}: {:?}", of(text));
    }
    assert_eq!(of("mcp__git_hub__get_issue"), to(&[&issue()]));
}
