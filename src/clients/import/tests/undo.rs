//! An import is taken back as a whole, or not at all.

use super::one_entry::{RULES, person};
use super::*;
use crate::clients::Changed;

fn imported() -> Person {
    let person = person();
    let import = person.planned_as_one(Kind::ClaudeCode, None, true).unwrap();
    person.make(&import, Kind::ClaudeCode);
    person
}

#[test]
fn servers_do_not_come_back_without_their_rules() {
    let person = imported();
    let rules = person.read(".claude/settings.json").replacen("mcp__work__b__one", "mcp__work__b__two", 1);
    person.write(".claude/settings.json", &rules);
    let before = person.read(".claude.json");
    let failure = person.undone(Kind::ClaudeCode).unwrap_err();
    assert!(failure.text.contains(".claude/settings.json: its rules have changed since"), "{}", failure.text);
    assert_eq!(person.read(".claude.json"), before);
    assert_eq!(person.read(".claude/settings.json"), rules);
    assert!(person.read("berth.toml").contains("[profiles.work]"));
    // It says what to do, and then all comes back.
    let next = failure.next.unwrap();
    let backup = next.strip_prefix("copy ").unwrap().split(" to ").next().unwrap();
    std::fs::copy(backup, person.path(".claude/settings.json")).unwrap();
    person.undone(Kind::ClaudeCode).unwrap();
    assert_eq!(person.read(".claude/settings.json"), RULES);
    assert!(person.entries().get("b").is_some() && person.entries().get("work").is_none());
    assert!(!person.read("berth.toml").contains("profiles"));
}

#[test]
fn a_profile_that_somebody_else_uses_stays() {
    let person = imported();
    let berth = person.path("bin/berth").display().to_string();
    let codex = format!(
        "[mcp_servers.mine]\ncommand = \"{berth}\"\nargs = [\"run\", \"--profile\", \"work\", \"--entry\", \"mine\"]\n"
    );
    person.write(".codex/config.toml", &codex);
    let changes = person.undone(Kind::ClaudeCode).unwrap();
    let said = changes.said.join("\n");
    assert!(said.contains("[profiles.work] stays: Codex, user"), "{said}");
    let is_restored = |changed: &Changed| matches!(changed, Changed::Restored(_));
    assert!(!changes.made.is_empty() && changes.made.iter().all(is_restored), "what stays is no change");
    assert!(said.contains("has the entry `mine`"), "{said}");
    assert!(person.read("berth.toml").contains("[profiles.work]"));
    assert!(person.entries().get("a").is_some());
}

#[test]
fn a_profile_that_somebody_has_changed_stays() {
    let person = imported();
    let config = person.read("berth.toml") + "deny_tools = [\"a__one\"]\n";
    person.write("berth.toml", &config);
    let said = person.undone(Kind::ClaudeCode).unwrap().said.join("\n");
    assert!(said.contains("[profiles.work] stays: it has changed since the import"), "{said}");
    assert_eq!(person.read("berth.toml"), config);
}
