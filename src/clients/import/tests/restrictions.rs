//! What keeps somebody from tools holds after an import as one entry, or the import ends before anything is written.

use super::one_entry::person;
use super::*;

impl Person {
    fn fails(&self, scope: Option<Scope>, are_tried: bool) -> String {
        let before = self.read(".claude.json");
        let failure = self.planned_as_one(Kind::ClaudeCode, scope, are_tried).unwrap_err();
        assert_eq!(self.read(".claude.json"), before);
        assert!(!self.path("berth.toml").exists());
        format!("{}; {}", failure.text, failure.next.unwrap())
    }

    /// One more of the person's projects.
    fn other_project(&self) -> String {
        let other = self.path("q").display().to_string();
        let text = self.read(".claude.json").trim_end().trim_end_matches('}').to_owned();
        self.write(".claude.json", &format!("{text}, \"projects\": {{ \"{other}\": {{}} }} }}"));
        other
    }
}

#[test]
fn no_line_of_a_file_is_printed() {
    let person = person();
    person.write("p/CLAUDE.md", "x\nTOKEN=hunter2 mcp__a__one\n");
    let said = person.planned_as_one(Kind::ClaudeCode, None, true).unwrap().said.join("\n");
    assert!(said.contains("CLAUDE.md:2: `mcp__a__one` is `mcp__work__a__one` now"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn an_entry_is_not_called_as_one_of_its_servers() {
    for name in ["work", "work__x"] {
        let servers = format!(r#""{name}": {{ "command": "npx", "args": ["a"] }}"#);
        let person = Person::with(&servers);
        person.write("p/.git/HEAD", "");
        let failure = person.fails(None, true);
        assert!(
            failure.contains(&format!("a rule for `{name}` would hold for the whole entry")),
            "{failure}"
        );
        assert!(failure.contains("--one-entry=NAME"), "{failure}");
    }
    // Nor as what was allowed in a project before.
    let person = person();
    let other = person.other_project();
    let text = person.read(".claude.json");
    let allowed = format!("\"{other}\": {{ \"allowedTools\": [\"mcp__work\"] }}");
    person.write(".claude.json", &text.replace(&format!("\"{other}\": {{}}"), &allowed));
    let failure = person.fails(Some(Scope::User), true);
    assert!(failure.contains("a rule for `mcp__work` would hold for the new entry"), "{failure}");
}

#[test]
fn a_restriction_that_cannot_be_renamed_ends_the_import() {
    for (name, text) in [
        (".claude/settings.json", r#"{ "permissions": { "deny": ["mcp__a__one(x)"] } }"#),
        (".claude/settings.json", r#"{ "permissions": { "ask": ["mcp__a__one(x)"] } }"#),
        (".claude/settings.json", r#"{ "hooks": { "PreToolUse": [ { "matcher": "mcp__(?!b)a__.*" } ] } }"#),
        (".claude/settings.json", r#"{ "deniedMcpServers": [ { "serverName": "a" } ] }"#),
        ("p/.claude/agents/x.md", "---\ndisallowedTools: mcp__a__on*\n---\n"),
    ] {
        let person = person();
        person.write(name, text);
        let failure = person.fails(None, true);
        let is_told = failure.contains(name) && failure.contains("without `--one-entry`");
        assert!(is_told, "{text}: {failure}");
    }
    // Claude Code reads it, whatever the other bytes are.
    let own = person();
    let bytes = b"---\ndisallowedTools: mcp__a\n---\ncaf\xe9\n";
    std::fs::write(own.path("p/.claude/agents/x.md"), bytes).unwrap();
    let failure = own.fails(None, true);
    assert!(failure.contains("cannot read ") && failure.contains("agents/x.md"), "{failure}");
    // What allows less than before is told alone.
    let person = person();
    person.write(".claude/settings.json", r#"{ "permissions": { "allow": ["mcp__a__one(x)"] } }"#);
    let said = person.planned_as_one(Kind::ClaudeCode, None, true).unwrap().said.join("\n");
    assert!(said.contains("`mcp__a__one(x)` stays, change it by hand"), "{said}");
}

#[test]
fn a_restriction_in_a_file_that_is_not_changed_ends_the_import() {
    let deny = r#"{ "permissions": { "deny": ["mcp__a__one"] } }"#;
    for (name, text) in [
        ("q/.claude/settings.json", deny),
        ("q/.claude/agents/x.md", "---\ndisallowedTools: mcp__a__one\n---\n"),
    ] {
        let person = person();
        person.other_project();
        person.write(name, text);
        let failure = person.fails(Some(Scope::User), true);
        assert!(failure.contains(name) && failure.contains("`mcp__a__one`: berth does not"), "{failure}");
    }
    let (person, elsewhere) = (person(), tempfile::tempdir().unwrap());
    let other = elsewhere.path().join("settings.json");
    std::fs::write(&other, deny).unwrap();
    std::fs::remove_file(person.path(".claude/settings.json")).unwrap();
    std::os::unix::fs::symlink(&other, person.path(".claude/settings.json")).unwrap();
    let failure = person.fails(None, true);
    assert!(failure.contains("`mcp__a__one`: berth does not change this file"), "{failure}");
    // Nor does a server run again where somebody had switched it off.
    let person = super::one_entry::person();
    let other = person.other_project();
    let text = person.read(".claude.json");
    let off = format!("\"{other}\": {{ \"disabledMcpServers\": [\"b\"] }}");
    person.write(".claude.json", &text.replace(&format!("\"{other}\": {{}}"), &off));
    let failure = person.fails(Some(Scope::User), true);
    assert!(failure.contains("`disabledMcpServers` for ") && failure.contains("`b`"), "{failure}");
}

#[test]
fn what_only_a_trial_can_say_is_no_reason_to_end_before_it() {
    let person = person();
    person.write(".claude/settings.json", r#"{ "permissions": { "deny": ["mcp__a__*_file"] } }"#);
    let import = person.planned_as_one(Kind::ClaudeCode, None, true).unwrap();
    let rules = import.drafts.iter().find(|draft| draft.path().ends_with(".claude/settings.json")).unwrap();
    assert!(rules.after.contains("\"mcp__work__a__*_file\", \"mcp__work__a__read_file_"), "{}", rules.after);
    let failure = person.fails(None, false);
    assert!(failure.contains("the tools of `a` are not known"), "{failure}");
}
