mod matchers;
mod restrictions;

use std::path::Path;

use proptest::prelude::*;

use super::front_matter::Sort;
use super::rules::{Place, rule};
use super::*;

fn server(name: &str, tools: Option<&[&str]>) -> Gathered {
    let tools = tools.map(|tools| tools.iter().map(|tool| (*tool).to_owned()).collect());
    Gathered { name: name.to_owned(), shown: name.replace(['.', '/'], "-"), tools }
}

/// `files` and `git.hub` were asked for their tools, `time` was not; `other` stays an entry of its own.
fn one() -> OneEntry {
    OneEntry {
        entry: "work".to_owned(),
        servers: vec![
            server("files", Some(&["read_file", "write_file", "list"])),
            server("git.hub", Some(&["get.issue", "log"])),
            server("time", None),
        ],
        others: vec!["other".to_owned()],
        of_project: true,
    }
}

/// The same, all of them asked.
fn known() -> OneEntry {
    let mut one = one();
    one.servers[2].tools = Some(vec!["now".to_owned()]);
    one
}

fn to(names: &[&str]) -> Renamed {
    Renamed::To(names.iter().map(|name| (*name).to_owned()).collect())
}

/// The name of a tool that Claude Code calls otherwise than its server.
fn issue() -> String {
    let one = one();
    let name = one.claude(&one.servers[1], "get.issue");
    assert!(name.starts_with("mcp__work__git-hub__get_issue_"), "{name}");
    name
}

#[test]
fn a_permission_rule_names_the_same_tools_as_before() {
    for (text, expected) in [
        ("mcp__files__read_file", "mcp__work__files__read_file"),
        ("mcp__files__gone", "mcp__work__files__gone"),
        ("mcp__files", "mcp__work__files__*"),
        ("mcp__files__*", "mcp__work__files__*"),
        ("mcp__files__read_*", "mcp__work__files__read_*"),
        ("mcp__files__*_file", "mcp__work__files__*_file"),
        ("mcp__git_hub", "mcp__work__git-hub__*"),
        ("mcp__git_hub__log", "mcp__work__git-hub__log"),
        ("mcp__git_hub__get_*", "mcp__work__git-hub__get_*"),
        ("mcp__git_hub__get_issue", &issue()),
        ("mcp__time__now", "mcp__work__time__now"),
        ("mcp__time", "mcp__work__time__*"),
    ] {
        for place in [Place::Allow, Place::Against] {
            assert_eq!(rule(text, place, &one()), to(&[expected]), "{text}");
        }
    }
    // What a wildcard does not take any more is named beside it.
    let both = ["mcp__work__git-hub__*_issue", &issue()];
    assert_eq!(rule("mcp__git_hub__*_issue", Place::Allow, &one()), to(&both));
}

#[test]
fn what_names_others_stays_as_it_is() {
    for text in [
        "Bash",
        "Bash(mcp__files:*)",
        "mcp__other",
        "mcp__other__read_file",
        "mcp__filesystem",
        "mcp__files2__read_file",
        "mcp__fil",
        "mcp__files_",
        "mcp__files__",
        "mcp__",
        "mcp__work__files__read_file",
        "*",
    ] {
        for place in [Place::Allow, Place::Against, Place::Agent] {
            assert_eq!(rule(text, place, &one()), Renamed::Same, "{text}");
        }
    }
}

#[test]
fn a_wildcard_across_servers_holds_for_the_new_names_too() {
    // Such a rule allows nothing in Claude Code.
    for text in ["mcp__*", "mcp__fi*", "mcp__*__read_file", "*read_file"] {
        assert_eq!(rule(text, Place::Allow, &one()), Renamed::Same, "{text}");
    }
    // They take the new names as they are.
    for text in ["mcp__*", "mcp__*__read_file", "mcp__*s__read_file", "mcp__*__log"] {
        assert_eq!(rule(text, Place::Against, &known()), Renamed::Same, "{text}");
    }
    let with = |text: &str, new: &[&str]| {
        let all: Vec<&str> = std::iter::once(text).chain(new.iter().copied()).collect();
        assert_eq!(rule(text, Place::Against, &one()), to(&all), "{text}");
    };
    with("mcp__fi*", &["mcp__work__files__*"]);
    with("mcp__fi*read*", &["mcp__work__files__*read*"]);
}

#[test]
fn a_rule_that_is_about_another_server_as_well_is_kept() {
    let mut one = one();
    one.others.push("files".to_owned());
    let kept = ["mcp__files__list", "mcp__work__files__list"];
    assert_eq!(rule("mcp__files__list", Place::Allow, &one), to(&kept));
    one.others = vec!["files__read".to_owned()];
    let kept = ["mcp__files__read__*", "mcp__work__files__read__*"];
    assert_eq!(rule("mcp__files__read__*", Place::Against, &one), to(&kept));
    // It is the other's, whose name is the longer one.
    assert_eq!(rule("mcp__files__read__x", Place::Allow, &one), Renamed::Same);
    assert_eq!(rule("mcp__files__list", Place::Allow, &one), to(&["mcp__work__files__list"]));
}

#[test]
fn no_wildcard_takes_tools_of_a_server_whose_name_is_longer() {
    let mut one = one();
    one.servers.push(server("files__x", Some(&["y"])));
    // A wildcard in the name reaches both.
    let both = ["mcp__work__files__list", &one.claude(&one.servers[3], "y")];
    assert_eq!(rule("mcp__files__*t", Place::Allow, &one), to(&both[..1]));
    one.servers[3].tools = Some(vec!["t".to_owned()]);
    let both = ["mcp__work__files__list", &one.claude(&one.servers[3], "t")];
    assert_eq!(rule("mcp__files__*t", Place::Allow, &one), to(&both));
    one.servers[3].tools = Some(vec!["y".to_owned()]);
    // Nor the other way round: `files` may have a tool `x__y`.
    assert_eq!(rule("mcp__files__x__*", Place::Allow, &one), to(&[&one.claude(&one.servers[3], "y")]));
    let all = ["mcp__work__files__read_file", "mcp__work__files__write_file", "mcp__work__files__list"];
    assert_eq!(rule("mcp__files", Place::Allow, &one), to(&all));
    one.servers[0].tools = None;
    let stays = rule("mcp__files", Place::Allow, &one);
    assert!(matches!(&stays, Renamed::Stays(why) if why.contains("`files` are not known")), "{stays:?}");
    // Rather too much is forbidden than too little.
    assert_eq!(rule("mcp__files", Place::Against, &one), to(&["mcp__work__files__*"]));
    // As long as a name may be, it is cut before its own end.
    let long = "x".repeat(60);
    one.servers = vec![server(&long, Some(&["a"]))];
    let Renamed::To(names) = rule(&format!("mcp__{long}"), Place::Allow, &one) else { panic!() };
    assert_eq!(names, [one.claude(&one.servers[0], "a")]);
    assert_eq!(names[0].len(), 64);
}

#[test]
fn a_sub_agents_list_has_names_and_no_wildcard() {
    let of = |text: &str| rule(text, Place::Agent, &one());
    let all = ["mcp__work__files__read_file", "mcp__work__files__write_file", "mcp__work__files__list"];
    assert_eq!(of("mcp__files"), to(&all));
    assert_eq!(of("mcp__files__*"), to(&all));
    assert_eq!(of("mcp__files__list"), to(&all[2..]));
    assert_eq!(of("mcp__git_hub"), to(&[&issue(), "mcp__work__git-hub__log"]));
    for text in ["mcp__time", "mcp__files__read_*"] {
        assert!(matches!(of(text), Renamed::Stays(_)), "{text}");
    }
    let mut one = one();
    one.servers[0].tools = Some(Vec::new());
    assert!(matches!(rule("mcp__files", Place::Agent, &one), Renamed::Stays(_)), "an empty list means all");
    assert!(matches!(rule("mcp__files__read_file(x)", Place::Allow, &one), Renamed::Stays(_)));
}

#[test]
fn front_matter_keeps_its_layout() {
    let agent = "---\nname: a # mcp__files\ntools: Read, mcp__files__list,  Bash(mcp__files__list x)\nmodel: x\n---\ntools: mcp__files__list\n";
    let (new, stays) = front_matter(agent, Sort::Agent, &one());
    assert_eq!(new, agent.replacen(" mcp__files__list", " mcp__work__files__list", 1));
    assert!(stays.is_empty());
    let list = "---\r\ntools:\r\n  - Read\r\n  - \"mcp__files\"\r\ndescription: mcp__files__list\r\n---\r\n";
    let (new, _) = front_matter(list, Sort::Agent, &one());
    let items =
        ["read_file", "write_file", "list"].map(|tool| format!("  - \"mcp__work__files__{tool}\"\r\n"));
    assert_eq!(new, list.replace("  - \"mcp__files\"\r\n", &items.concat()));
    for (text, expected) in [
        ("[mcp__files__list, 'mcp__time']", "[mcp__work__files__list, 'mcp__work__time__*']"),
        ("mcp__files__list mcp__time Bash(git:*)", "mcp__work__files__list mcp__work__time__* Bash(git:*)"),
        ("mcp__files__list # mcp__time", "mcp__work__files__list # mcp__time"),
    ] {
        let file = |text: &str| format!("---\nallowed-tools: {text}\n---\n");
        assert_eq!(front_matter(&file(text), Sort::Command, &one()).0, file(expected));
    }
    let (same, stays) = front_matter("---\ntools: mcp__time\n---\n", Sort::Agent, &one());
    assert_eq!((same.as_str(), stays.len()), ("---\ntools: mcp__time\n---\n", 1));
    for text in ["", "tools: mcp__files__list\n", "---\ntools: mcp__files__list\n"] {
        assert_eq!(front_matter(text, Sort::Agent, &one()).0, text);
    }
}

const SETTINGS: &str = r#"{
	"permissions": {
		"allow": ["Bash(ls:*)", "mcp__files__read_file", "mcp__files__*", "mcp__other"],
		"deny":  [
			"mcp__files__write_file",
			"mcp__git_hub"
		],
		"defaultMode": "default"
	},
	"hooks": { "PreToolUse": [ { "matcher": "mcp__files__.*", "hooks": [ { "type": "command", "command": "mcp__files__x" } ] } ] },
	"enabledMcpjsonServers": ["files", "x", "git.hub", "time"],
	"n": 1.50
}
"#;

#[test]
fn a_settings_file_keeps_its_layout() {
    let (new, stays) = settings(SETTINGS, Path::new("/s"), &one()).unwrap();
    let expected = SETTINGS
        .replace("\"mcp__files__read_file\"", "\"mcp__work__files__read_file\"")
        .replace("\"mcp__files__*\"", "\"mcp__work__files__*\"")
        .replace("\"mcp__files__write_file\"", "\"mcp__work__files__write_file\"")
        .replace("\"mcp__git_hub\"", "\"mcp__work__git-hub__*\"")
        .replace("\"mcp__files__.*\"", "\"mcp__work__files__.*\"")
        .replace("[\"files\", \"x\", \"git.hub\", \"time\"]", "[\"work\", \"x\"]");
    assert_eq!(new, expected);
    // In a file that is not changed these would be lost.
    let lost: Vec<&str> = stays.iter().map(|stay| stay.text.as_str()).collect();
    assert_eq!(lost, ["mcp__files__write_file", "mcp__git_hub", "mcp__files__.*"]);
    assert!(stays.iter().all(|stay| stay.restricts && stay.why.is_none()), "{stays:?}");
    assert_eq!(settings(&new, Path::new("/s"), &one()).unwrap().0, new, "done once");
    // Two that come to the same are one.
    let twice = r#"{"permissions":{"allow":["mcp__files","mcp__files__*"]}}"#;
    let (new, _) = settings(twice, Path::new("/s"), &one()).unwrap();
    assert_eq!(new, r#"{"permissions":{"allow":["mcp__work__files__*"]}}"#);
    let kept = OneEntry { others: vec!["files".to_owned()], ..one() };
    let (new, _) = settings(SETTINGS, Path::new("/s"), &kept).unwrap();
    let both = "\n\t\t\t\"mcp__files__write_file\",\n\t\t\t\"mcp__work__files__write_file\",\n\t\t\t\"mcp__work__git-hub__*\"\n";
    assert!(new.contains(both), "{new}");
    assert!(serde_json::from_str::<serde_json::Value>(&new).is_ok(), "{new}");
    let marked = format!("\u{feff}{SETTINGS}");
    assert!(settings(&marked, Path::new("/s"), &one()).unwrap().0.starts_with("\u{feff}{"));
    let error = settings("{\n  a\n}", Path::new("/s"), &one()).unwrap_err();
    assert!(error.text.starts_with("/s:2: invalid JSON"), "{}", error.text);
}

#[test]
fn an_entry_is_approved_only_where_all_of_its_servers_were() {
    let of = |text: &str| settings(text, Path::new("/s"), &one()).unwrap().0;
    assert_eq!(of(r#"{"enabledMcpjsonServers":["files","x"]}"#), r#"{"enabledMcpjsonServers":["x"]}"#);
    let persons = OneEntry { of_project: false, ..one() };
    let text = r#"{"enabledMcpjsonServers":["files","git.hub","time"]}"#;
    assert_eq!(settings(text, Path::new("/s"), &persons).unwrap().0, text, "they are others of these names");
    let own = r#"{"projects":{"/p":{"enabledMcpjsonServers":["files","git.hub","time"]},"/q":{"enabledMcpjsonServers":["files"]}}}"#;
    let new = approvals(own, Path::new("/s"), "/p", &one()).unwrap();
    assert_eq!(new, own.replace(r#"["files","git.hub","time"]"#, r#"["work"]"#));
    assert_eq!(refused(r#"{"disabledMcpjsonServers":["files"]}"#, None), ["files"]);
    assert_eq!(refused(r#"{"projects":{"/p":{"disabledMcpjsonServers":["files"]}}}"#, Some("/p")), ["files"]);
}

#[test]
fn what_is_left_is_told_with_its_line() {
    let text = "a\nuse mcp__files__list\nmcp__work__files__list mcp__other__x\nmcp__git_hub__get_issue and\n";
    let lines = left(text, &one());
    let told: Vec<_> = lines.iter().map(|left| (left.line, left.now.clone())).collect();
    assert_eq!(told, [(2, "mcp__work__files__list".to_owned()), (4, issue())]);
    assert_eq!(lines[0].was, "mcp__files__list");
    assert_eq!(claim("x\n\"mcp__work__*\"", false, true, &one()), Some(2));
    assert_eq!(claim("\"mcp__workspace\" \"mcp__work-2__x\"", false, true, &one()), None);
    assert_eq!(claim("---\ntools: mcp__work\n---\n", true, true, &one()), Some(2));
    assert_eq!(claim("---\n---\nmcp__work", true, true, &one()), None);
    // An entry that is there has rules for its own servers.
    for (name, is_claim) in [("", true), ("__*", true), ("__f*", true), ("__x__*", false), ("__x__y", false)]
    {
        assert_eq!(claims(&format!("mcp__work{name}"), false, &one()), is_claim, "{name}");
    }
}

const CODEX: &str = "# mine\n[mcp_servers.files] # one\ncommand = \"berth\"\nenabled_tools = [\"list\"]\ndisabled_tools = [\"write_file\"]\nstartup_timeout_sec = 20\ntool_timeout_sec = 90.5\n\n[mcp_servers.files.tools.list]\napproval_mode = \"approve\"\n\n[mcp_servers.\"git.hub\"]\ncommand = \"berth\"\ndefault_tools_approval_mode = \"prompt\"\nstartup_timeout_ms = 40000\n\n[mcp_servers.work]\ncommand = \"berth\"\n\n[other]\ny = 2\n";

#[test]
fn codexs_keys_have_the_full_names() {
    let mut one = one();
    one.servers.pop();
    let text = CODEX.replace("\n[mcp_servers.work]\ncommand = \"berth\"\n", "");
    let carried = carry(&text, Path::new("/c"), &one).unwrap();
    assert!(carried.alone.is_empty(), "{carried:?}");
    let new = put(CODEX, Path::new("/c"), "work", &carried).unwrap();
    let table: toml_edit::DocumentMut = new.parse().unwrap();
    let work = &table["mcp_servers"]["work"];
    let texts = |key: &str| {
        work[key].as_array().unwrap().iter().map(|tool| tool.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let issue = one.full(&one.servers[1], "get.issue");
    assert_eq!(texts("enabled_tools"), ["files__list", &issue, "git-hub__log"]);
    assert_eq!(texts("disabled_tools"), ["files__write_file"]);
    assert_eq!(work["startup_timeout_sec"].as_integer(), Some(40));
    assert_eq!(work["tool_timeout_sec"].as_float(), Some(90.5));
    let mode = |tool: &str| work["tools"][tool]["approval_mode"].as_str();
    assert_eq!(
        (mode("files__list"), mode(&issue), mode("git-hub__log")),
        (Some("approve"), Some("prompt"), Some("prompt"))
    );
    assert!(work.get("default_tools_approval_mode").is_none());
    assert!(
        new.starts_with("# mine\n[mcp_servers.files] # one\n") && new.contains("[other]\ny = 2\n"),
        "{new}"
    );
}

#[test]
fn a_codex_server_that_would_hide_another_stays_alone() {
    let mut one = one();
    let text = CODEX.replace("mcp_servers.work", "mcp_servers.time");
    let alone = carry(&text, Path::new("/c"), &one).unwrap().alone;
    assert_eq!(alone.keys().collect::<Vec<_>>(), ["files"], "{alone:?}");
    one.servers[1].tools = None;
    let alone = carry(&text, Path::new("/c"), &one).unwrap().alone;
    assert_eq!(alone.keys().collect::<Vec<_>>(), ["files", "git.hub"], "{alone:?}");
    assert!(alone["git.hub"].contains("default_tools_approval_mode"), "{alone:?}");
}

proptest! {
    #[test]
    fn names_of_different_tools_stay_different(
        servers in prop::collection::btree_set("[a-z]{1,3}(__[a-z]|-b|_)?", 1..4),
        tools in prop::collection::vec(("[a-c]{0,2}__[a-c]|[a-c._]{1,4}", 0..4_usize), 1..6),
    ) {
        let mut one = OneEntry { entry: "e".to_owned(), ..OneEntry::default() };
        one.servers = servers.iter().map(|name| server(name, Some(&[]))).collect();
        for (tool, at) in &tools {
            let at = at % one.servers.len();
            let known = one.servers[at].tools.as_mut().unwrap();
            if !known.contains(tool) && known.iter().all(|other| plain(other) != plain(tool)) {
                known.push(tool.clone());
            }
        }
        // What Claude Code called each tool, and what it calls it now.
        let mut names = Vec::new();
        for server in &one.servers {
            for tool in server.tools.iter().flatten() {
                names.push((format!("mcp__{}__{}", plain(&server.name), plain(tool)), one.claude(server, tool)));
            }
        }
        for (old, new) in &names {
            let same: Vec<&String> = names.iter().filter(|(other, _)| other == old).map(|(_, new)| new).collect();
            let renamed = rule(old, Place::Allow, &one);
            let Renamed::To(to) = &renamed else { return Err(TestCaseError::fail(format!("{old}: {renamed:?}"))) };
            prop_assert!(to.contains(new), "{} {:?}", old, to);
            // No right for a tool that another rule named.
            prop_assert!(to.iter().all(|to| same.contains(&to)), "{} {:?} {:?}", old, to, same);
        }
        // A rule for a whole server takes its own tools and no others.
        for server in &one.servers {
            let Renamed::To(to) = rule(&format!("mcp__{}", plain(&server.name)), Place::Allow, &one) else { continue };
            for other in &one.servers {
                for tool in other.tools.iter().flatten() {
                    let name = one.claude(other, tool);
                    let takes = to.iter().any(|pattern| glob::matches(pattern, &name));
                    prop_assert_eq!(takes, other.name == server.name, "{} {:?}", name, to);
                }
            }
        }
    }

    #[test]
    fn nothing_that_names_others_is_touched(text in "(mcp__)?[a-z]{0,5}(__)?[a-z_*]{0,6}") {
        let body = text.strip_prefix("mcp__").unwrap_or("");
        let names = ["files", "git_hub", "time"].iter().any(|name| body == *name || body.starts_with(&format!("{name}__")));
        for place in [Place::Allow, Place::Agent] {
            if !names {
                prop_assert_eq!(rule(&text, place, &one()), Renamed::Same);
            }
        }
        // What holds against tools holds for no fewer.
        if let Renamed::To(to) = rule(&text, Place::Against, &one()) && !names {
            prop_assert!(to.contains(&text));
        }
    }
}
