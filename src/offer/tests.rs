//! What is offered under which names, and what clients lose of it.

use std::path::Path;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::config::{Config, Home};

fn config(text: &str) -> Config {
    let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
    Config::parse(text, Path::new("b.toml"), &home).unwrap()
}

const TWO: &str = "[servers.files]\nimage = \"i\"\ndeny_tools = [\"write\"]\n\
                   [servers.github]\nimage = \"i\"\nalias = \"gh\"\n\
                   [profiles.work]\nservers = [\"files\", \"github\"]\ndeny_tools = [\"gh__push\"]\n";

fn list(items: &[Value]) -> List {
    let items = items.iter().map(|item| Bytes::from(item.to_string())).collect();
    List { items, ..List::default() }
}

fn told(tools: &[Value]) -> Told {
    let hello = Hello::Initialize(Bytes::from_static(b"{}"));
    let image = String::new();
    Told { image, hello, tools: Some(list(tools)), prompts: None, resources: None, templates: None }
}

fn tool(name: &str) -> Value {
    json!({ "name": name, "inputSchema": { "type": "object" } })
}

/// What a client is offered of both servers, or of the first alone.
fn offer(config: &Config, entry: Option<&str>, tolds: Vec<Option<Told>>) -> Offer {
    let profile = (tolds.len() > 1).then(|| config.profile("work").unwrap());
    let servers = ["files", "github"].map(|name| config.server(name).unwrap());
    let members = servers.into_iter().zip(tolds);
    let members = members.map(|(server, told)| Member { server, told, held: Vec::new() }).collect();
    of(&Asked { entry, profile, members })
}

fn names(offer: &Offer) -> Vec<&str> {
    offer.tools.iter().map(|tool| tool.full_name.as_str()).collect()
}

#[test]
fn names_and_rules_are_those_of_a_session() {
    let config = config(TWO);
    let files = told(&[tool("read"), tool("write"), tool("a.b")]);
    let github = told(&[tool("push"), tool("read")]);
    let both = offer(&config, Some("work"), vec![Some(files.clone()), Some(github)]);
    let dotted = full_name("files", "a.b", room(Some("work")));
    assert_eq!(names(&both), ["files__read", &dotted, "gh__read"]);
    assert_eq!(
        both.forbidden,
        ["files__write", "gh__push"],
        "the one by its server, the other by the profile"
    );
    assert_eq!(both.tools[0].length, "mcp__work__files__read".len());
    assert!(both.unknown.is_empty());
    let alone = offer(&config, None, vec![Some(files)]);
    assert_eq!(names(&alone), ["read", "a.b"]);
    assert_eq!(
        alone.tools[0].length,
        "mcp____read".len() + 16,
        "what is reserved where nobody knows the entry"
    );
}

#[test]
fn what_is_over_a_limit_is_lost_and_what_is_at_it_is_not() {
    let losses = |tool: Value| {
        let offer = offer(&config(TWO), Some("e"), vec![Some(told(&[tool]))]);
        offer.tools[0].losses.clone()
    };
    let called = |characters: usize| tool(&"x".repeat(characters - "mcp__e__".len()));
    assert_eq!(losses(called(64)), []);
    assert_eq!(losses(called(65)), [Loss::Name]);
    assert_eq!(losses(called(128)), [Loss::Name]);
    assert_eq!(losses(called(129)), [Loss::Tool, Loss::Name]);
    let described = |text: String| json!({ "name": "a", "description": text, "inputSchema": {} });
    assert_eq!(losses(described("ä".repeat(2048))), []);
    assert_eq!(losses(described("ä".repeat(2049))), [Loss::Description]);
    assert_eq!(
        losses(described("😀".repeat(1025))),
        [Loss::Description],
        "two for each, as JavaScript counts"
    );
    let schema = |bytes: usize| json!({ "name": "a", "inputSchema": { "title": "x".repeat(bytes - r#"{"title":""}"#.len()) } });
    assert_eq!(losses(schema(5000)), []);
    assert_eq!(losses(schema(5001)), [Loss::Parameters]);
}

#[test]
fn tokens_are_a_quarter_of_what_is_offered() {
    let offer = offer(&config(TWO), Some("work"), vec![Some(told(&[tool("read"), tool("read_all")])), None]);
    let bytes = tool("files__read").to_string().len();
    assert_eq!(offer.tools[0].tokens, bytes.div_ceil(4));
    assert_eq!(offer.tokens, offer.tools[0].tokens + offer.tools[1].tokens);
    assert_eq!(offer.unknown, ["github"]);
}

#[test]
fn long_instructions_are_lost_to_a_single_server_alone() {
    let with = |length: usize| {
        let result = json!({ "instructions": "x".repeat(length) }).to_string();
        Told { hello: Hello::Discover(Bytes::from(result)), ..told(&[]) }
    };
    let config = config(TWO);
    assert_eq!(offer(&config, None, vec![Some(with(2048))]).losses, []);
    assert_eq!(offer(&config, None, vec![Some(with(2049))]).losses, [Loss::Instructions]);
    assert_eq!(offer(&config, None, vec![Some(with(2049)), None]).losses, [], "berth shares out the room");
}

#[test]
fn of_two_that_announce_a_uri_the_first_has_it() {
    let with = |uris: &[&str]| {
        let items: Vec<Value> = uris.iter().map(|uri| json!({ "uri": uri, "name": "n" })).collect();
        let templates = [json!({ "uriTemplate": "t://{x}", "name": "n" })];
        let prompts = [json!({ "name": "review" })];
        Told {
            resources: Some(list(&items)),
            templates: Some(list(&templates)),
            prompts: Some(list(&prompts)),
            ..told(&[])
        }
    };
    let offer =
        offer(&config(TWO), None, vec![Some(with(&["a://1", "a://2"])), Some(with(&["a://2", "a://3"]))]);
    assert_eq!((offer.resources, offer.templates), (3, 1));
    assert_eq!(offer.prompts, ["files__review", "gh__review"]);
    let why = "`files` announces it, too, and is asked for it".to_owned();
    let left = |name: &str| LeftOut { server: "github".into(), name: name.into(), why: why.clone() };
    assert_eq!(offer.left_out, [left("a://2"), left("t://{x}")]);
}

#[test]
fn a_person_reads_a_table_and_what_its_words_mean() {
    let long = "x".repeat(70);
    let tools = [tool("read"), json!({ "name": format!("{long}\u{1b}"), "inputSchema": {} })];
    let offer = offer(&config(TWO), Some("me"), vec![Some(told(&tools))]);
    let mut out = Vec::new();
    print(&mut out, &[offer], None).unwrap();
    let text = String::from_utf8(out).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "files (the client calls it `me`)");
    assert!(lines[1].starts_with("TOOL ") && lines[1].ends_with("LOSS"), "{text}");
    assert!(lines[2].starts_with("read ") && lines[2].contains("  13 "), "{text}");
    assert!(lines[3].starts_with(&format!("{long}\\u{{1b}}")) && lines[3].ends_with("Codex: name"), "{text}");
    assert!(
        lines[4].starts_with("2 tools of about ")
            && lines[4].ends_with(" tokens; 0 prompts, 0 resources, 0 templates")
    );
    assert!(text.contains("an estimate.\n") && text.contains("\nname: Codex cuts a name"), "{text}");
    assert!(!text.contains("\ntool: "), "{text}");
}

#[test]
fn a_program_reads_the_same() {
    let long = tool(&"x".repeat(60));
    let offer = offer(&config(TWO), Some("work"), vec![Some(told(&[long])), None]);
    let read = serde_json::to_value(&offer).unwrap();
    assert_eq!(read["tools"][0]["full_name"], offer.tools[0].full_name);
    assert_eq!((&read["entry"], &read["unknown"]), (&json!("work"), &json!(["github"])));
    assert_eq!(read["tools"][0]["losses"], json!([]), "a full name always fits");
}

#[test]
fn what_the_list_left_out_is_named_and_later_pages_are_lost_to_codex() {
    let with = |pages: usize| {
        let left = crate::catalogue::LeftOut { name: "x".into(), why: "the server has another".into() };
        let tools = List { pages, left_out: vec![left], ..list(&[tool("read")]) };
        Told { tools: Some(tools), ..told(&[]) }
    };
    let paged = offer(&config(TWO), None, vec![Some(with(2))]);
    assert_eq!(paged.losses, [Loss::Pages]);
    let left = LeftOut { server: "files".into(), name: "x".into(), why: "the server has another".into() };
    assert_eq!(paged.left_out, [left]);
    assert_eq!(offer(&config(TWO), None, vec![Some(with(1))]).losses, []);
    assert_eq!(offer(&config(TWO), None, vec![Some(with(2)), None]).losses, [], "a profile's are one page");
    for key in ["flatten_pages = true", "start = \"first-call\""] {
        let merged = config(&TWO.replace("deny_tools = [\"write\"]", key));
        assert_eq!(offer(&merged, None, vec![Some(with(2))]).losses, [], "{key}");
    }
}
