use std::os::unix::fs::symlink;

use super::*;
use crate::clients::Changes;
use crate::clients::undo::{self, Undo};

pub(super) const RULES: &str =
    r#"{ "permissions": { "allow": ["mcp__a", "mcp__b__one"], "deny": ["mcp__b__two"] } }"#;
const AGENT: &str = "---\nname: x\ntools: Read, mcp__a\n---\nUse mcp__a__one.\n";
const SERVERS: &str = r#""a": { "command": "npx", "args": ["-y", "a"], "env": { "K": "v" } },
           "b": { "command": "npx", "args": ["-y", "b"], "env": { "K": "v", "L": "w" } },
           "http": { "type": "http", "url": "https://h" }"#;

impl Person {
    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(super) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// All servers start where they are tried.
    pub(super) fn planned_as_one(
        &self,
        kind: Kind,
        scope: Option<Scope>,
        are_tried: bool,
    ) -> Result<Import, Failure> {
        let lookup = |name: &str| self.lookup(name);
        let home = Home::from_env(&lookup).unwrap();
        let config = Config::load(&home, None).unwrap();
        let wanted = Wanted { client: kind, scope, servers: &[], move_secrets: false };
        let mut reading = Reading::new(wanted, Asked::default(), &config, &home, None, &lookup).unwrap();
        reading.around.folder = self.path("p");
        let places = Place::chosen(kind, scope, &reading.around).unwrap().into_iter();
        reading.places = places.map(|place| (place.clone(), Draft::of(&place.path).unwrap())).collect();
        let reading = reading.gathered(Some("work".to_owned()));
        if !are_tried {
            return reading.plan(Check::LeftOut, &lookup);
        }
        let untried = reading.plan(Check::DryRun, &lookup)?;
        let tried = untried.taken.iter().map(|taken| (taken.which.clone(), Ok(tools())));
        reading.plan(Check::Made(&tried.collect()), &lookup)
    }

    pub(super) fn undone(&self, kind: Kind) -> Result<Changes, Failure> {
        let around = Surroundings::new(self.path("p"), &|name: &str| self.lookup(name));
        let mut changes = Changes::default();
        undo::last(&self.path("state"), kind, &around, &mut changes).map(|()| changes)
    }

    pub(super) fn make(&self, import: &Import, kind: Kind) {
        let lookup = |name: &str| self.lookup(name);
        let around = Surroundings::new(self.path("p"), &lookup);
        let mut undo = Undo::begin(
            &self.path("state"),
            kind,
            &self.path("berth.toml"),
            import.profile.as_ref(),
            &around,
        );
        for draft in &import.drafts {
            undo.write(draft).unwrap();
        }
    }

    /// The same, cut off when so many files were written, and the next was about to be.
    fn begin_to_make(&self, import: &Import, kind: Kind, files: usize) {
        self.make(import, kind);
        let notes = self.path("state/imports");
        let note = std::fs::read_dir(&notes).unwrap().next().unwrap().unwrap().path();
        let mut made: serde_json::Value = serde_json::from_slice(&std::fs::read(&note).unwrap()).unwrap();
        made["files"].as_array_mut().unwrap().truncate(files + 1);
        std::fs::write(&note, made.to_string()).unwrap();
        let is_written = |draft: &&Draft| {
            made["files"]
                .as_array()
                .unwrap()
                .iter()
                .take(files)
                .any(|kept| kept["path"] == *draft.path().to_str().unwrap())
        };
        for draft in import.drafts.iter().filter(|draft| !is_written(draft)) {
            std::fs::write(draft.path(), draft.before()).unwrap();
        }
    }
}

pub(super) fn person() -> Person {
    let person = Person::with(SERVERS);
    person.write("p/.git/HEAD", "");
    person.write(".claude/settings.json", RULES);
    person.write("p/.claude/settings.local.json", RULES);
    person.write("p/.claude/agents/x.md", AGENT);
    person.write("dotfiles/c.md", "---\nallowed-tools: mcp__b\n---\n");
    std::fs::create_dir_all(person.path(".claude/commands")).unwrap();
    symlink(person.path("dotfiles/c.md"), person.path(".claude/commands/c.md")).unwrap();
    person
}

const FILES: [&str; 5] = [
    ".claude.json",
    ".claude/settings.json",
    "p/.claude/settings.local.json",
    "p/.claude/agents/x.md",
    "dotfiles/c.md",
];

#[test]
fn the_servers_are_one_entry_and_what_names_their_tools_follows() {
    let person = person();
    let import = person.planned_as_one(Kind::ClaudeCode, None, true).unwrap();
    person.make(&import, Kind::ClaudeCode);
    let said = import.said.join("\n");
    let entries = person.entries();
    assert_eq!(entries.as_object().unwrap().keys().collect::<Vec<_>>(), ["http", "work"], "{said}");
    let args = ["run", "--profile", "work", "--entry", "work", "--client", "claude-code"];
    assert_eq!(entries["work"]["args"], serde_json::json!(args));
    assert_eq!(entries["work"]["env"], serde_json::json!({ "K": "v", "L": "w" }));
    let config = person.read("berth.toml");
    assert!(config.ends_with("\n[profiles.work]\nservers = [\"a\", \"b\"]\n"), "{config}");
    assert!(!import.config.contains("profiles"), "the trial's configuration has servers alone");
    let rules = r#"{ "permissions": { "allow": ["mcp__work__a__*", "mcp__work__b__one"], "deny": ["mcp__work__b__two"] } }"#;
    assert_eq!(person.read(".claude/settings.json"), rules);
    assert_eq!(person.read("p/.claude/settings.local.json"), rules);
    let agent = person.read("p/.claude/agents/x.md");
    assert!(
        agent.contains("tools: Read, mcp__work__a__one, mcp__work__a__two, mcp__work__a__read_file_"),
        "{agent}"
    );
    assert_eq!(person.read("dotfiles/c.md"), "---\nallowed-tools: mcp__work__b__*\n---\n");
    assert!(person.path(".claude/commands/c.md").is_symlink());
    // A prompt's words are the person's.
    let told = "x.md:5: `mcp__a__one` is `mcp__work__a__one` now, change it by hand";
    assert!(said.contains(told), "{said}");
}

#[test]
fn an_import_is_taken_back_to_the_byte() {
    let person = person();
    let before = FILES.map(|name| person.read(name));
    let import = person.planned_as_one(Kind::ClaudeCode, None, true).unwrap();
    person.make(&import, Kind::ClaudeCode);
    assert!(FILES.iter().zip(&before).all(|(name, before)| person.read(name) != *before));
    person.undone(Kind::ClaudeCode).unwrap();
    assert_eq!(FILES.map(|name| person.read(name)), before);
    assert!(person.path(".claude/commands/c.md").is_symlink());
    let config = person.read("berth.toml");
    assert!(config.contains("[servers.a]") && !config.contains("profiles"), "{config}");
    let again = person.undone(Kind::ClaudeCode).unwrap_err();
    assert!(again.text.contains("no import of claude-code is left"), "{}", again.text);
}

#[test]
fn an_import_that_was_cut_off_is_taken_back() {
    for files in 0..FILES.len() {
        let person = person();
        let before = FILES.map(|name| person.read(name));
        let import = person.planned_as_one(Kind::ClaudeCode, None, true).unwrap();
        person.begin_to_make(&import, Kind::ClaudeCode, files);
        person.undone(Kind::ClaudeCode).unwrap();
        assert_eq!(FILES.map(|name| person.read(name)), before, "after {files} files");
    }
}

#[test]
fn a_file_is_noted_before_it_is_changed_and_not_where_it_cannot_be() {
    let person = person();
    let import = person.planned_as_one(Kind::ClaudeCode, None, true).unwrap();
    let around = Surroundings::new(person.path("p"), &|name: &str| person.lookup(name));
    let (state, config) = (person.path("state"), person.path("berth.toml"));
    let mut undo = Undo::begin(&state, Kind::ClaudeCode, &config, import.profile.as_ref(), &around);
    let draft = import.drafts.iter().find(|draft| draft.path().ends_with(".claude/settings.json")).unwrap();
    // Nowhere to note it: the file stays.
    std::fs::write(&state, "").unwrap();
    assert!(undo.write(draft).is_err());
    assert_eq!(person.read(".claude/settings.json"), RULES);
    std::fs::remove_file(&state).unwrap();
    // Somebody else was faster: that stays, and nothing is to be taken back.
    person.write(".claude/settings.json", "{}");
    assert!(undo.write(draft).unwrap_err().text.contains("another program has just changed it"));
    undo.back().unwrap();
    assert_eq!(person.read(".claude/settings.json"), "{}");
    assert!(person.undone(Kind::ClaudeCode).unwrap_err().text.contains("no import of claude-code is left"));
}

#[test]
fn what_has_come_since_stays_when_an_import_is_taken_back() {
    let person = person();
    let import = person.planned_as_one(Kind::ClaudeCode, None, true).unwrap();
    person.make(&import, Kind::ClaudeCode);
    let edit = |name: &str, from: &str, to: &str| {
        let text = person.read(name);
        assert!(text.contains(from), "{text}");
        person.write(name, &text.replacen(from, to, 1));
    };
    // Claude Code writes its own file at each start.
    let since = "{ \"numStartups\": 7, \"mcpServers\": { \"new\": { \"command\": \"x\" },";
    edit(".claude.json", "{ \"mcpServers\": {", since);
    edit("p/.claude/agents/x.md", "---\nUse", "---\nMore.\nUse");
    person.undone(Kind::ClaudeCode).unwrap();
    let text: serde_json::Value = serde_json::from_str(&person.read(".claude.json")).unwrap();
    assert_eq!(text["numStartups"], 7);
    let was: serde_json::Value = serde_json::from_str(&format!("{{ {SERVERS} }}")).unwrap();
    let mut is = person.entries();
    assert_eq!(is.as_object_mut().unwrap().remove("new").unwrap()["command"], "x");
    assert_eq!(is, was);
    assert_eq!(person.read("p/.claude/agents/x.md"), AGENT.replace("---\nUse", "---\nMore.\nUse"));
    assert_eq!(person.read("p/.claude/settings.local.json"), RULES);
}

#[test]
fn rules_that_would_hold_for_the_new_entry_end_it_before_anything_is_written() {
    let person = person();
    person.write(".claude/settings.json", "{\n \"permissions\": { \"allow\": [\"mcp__work__*\"] } }");
    let failure = person.planned_as_one(Kind::ClaudeCode, None, true).unwrap_err();
    assert!(failure.text.contains(".claude/settings.json:2: a rule for `mcp__work`"), "{}", failure.text);
    let servers = r#""a": { "command": "npx", "args": ["a"] }, "work": { "type": "http", "url": "h" }"#;
    let person = Person::with(servers);
    person.write("p/x", "");
    let failure = person.planned_as_one(Kind::ClaudeCode, None, true).unwrap_err();
    assert!(failure.text.contains("has another server `work`"), "{}", failure.text);
}

#[test]
fn what_would_change_for_another_server_stays_an_entry_of_its_own() {
    let person = Person::with(
        r#""a": { "command": "npx", "args": ["a"], "env": { "K": "v" } },
           "b": { "command": "npx", "args": ["b"], "env": { "K": "other" } },
           "c": { "command": "npx", "args": ["c"] }"#,
    );
    person.write("p/.git/HEAD", "");
    let import = person.planned_as_one(Kind::ClaudeCode, None, false).unwrap();
    person.make(&import, Kind::ClaudeCode);
    assert_eq!(person.entries()["b"]["args"][1], "b");
    assert!(person.read("berth.toml").ends_with("servers = [\"a\", \"c\"]\n"));
    let told = "`b` stays an entry of its own: its variable `K` has another value";
    assert!(import.said.iter().any(|line| line.contains(told)), "{:?}", import.said);
}

#[test]
fn servers_of_two_files_are_not_thrown_together() {
    let person = person();
    person.write("p/.mcp.json", r#"{ "mcpServers": { "a": { "command": "npx", "args": ["c"] } } }"#);
    let failure = person.planned_as_one(Kind::ClaudeCode, None, false).unwrap_err();
    assert!(failure.text.contains("more than one place") && failure.next.unwrap().contains("--scope"));
    // A rule of the person's holds for the other `a` as well.
    let import = person.planned_as_one(Kind::ClaudeCode, Some(Scope::Project), false).unwrap();
    person.make(&import, Kind::ClaudeCode);
    let rules = person.read(".claude/settings.json");
    assert!(rules.contains(r#""allow": ["mcp__a", "mcp__work__a__*", "mcp__b__one"]"#), "{rules}");
}

#[test]
fn codexs_servers_are_one_entry_and_come_back() {
    let person = Person::with("");
    let codex = "# mine\n[mcp_servers.a] # x\ncommand = \"npx\"\nargs = [\"-y\", \"a\"]\nenabled_tools = [\"one\"]\n\
                 env = { K = \"v\" }\n\n[mcp_servers.a.tools.one]\napproval_mode = \"approve\"\n\n[mcp_servers.b]\n\
                 command = \"npx\"\nargs = [\"-y\", \"b\"]\nenv_vars = [\"L\"]\n\n[other]\nx = 1\n";
    person.write(".codex/config.toml", codex);
    person.write("p/.git/HEAD", "");
    let import = person.planned_as_one(Kind::Codex, None, true).unwrap();
    person.make(&import, Kind::Codex);
    let text = person.read(".codex/config.toml");
    assert!(text.contains("[other]\nx = 1\n") && !text.contains("mcp_servers.a]"), "{text}");
    assert!(text.contains("enabled_tools = [\"a__one\", \"b__one\", \"b__two\", \"b__read_file_"), "{text}");
    assert!(text.contains("[mcp_servers.work.tools.a__one]\napproval_mode = \"approve\"\n"), "{text}");
    assert!(text.contains("\n\n# mine\n[mcp_servers.work]\n"), "{text}");
    assert!(text.contains("env_vars = [\"") && text.contains("\"L\""), "{text}");
    let written = text.replace("x = 1", "x = 2");
    person.undone(Kind::Codex).unwrap();
    assert_eq!(person.read(".codex/config.toml"), codex);
    // Codex has written into it since.
    let import = person.planned_as_one(Kind::Codex, None, true).unwrap();
    person.make(&import, Kind::Codex);
    person.write(".codex/config.toml", &written);
    person.undone(Kind::Codex).unwrap();
    let back = person.read(".codex/config.toml");
    assert!(
        back.contains("[mcp_servers.a] # x\n") && back.contains("x = 2") && !back.contains("work"),
        "{back}"
    );
}
