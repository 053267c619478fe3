//! Checks README and manual against the program: everything that they name exists, and they name everything that
//! exists.

use std::path::Path;

use clap::Command;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use crate::cli::help;
use crate::config::{Config, Home};
use crate::help::{TOPICS, Topic};

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

const README: Document = Document { path: "README.md", text: include_str!("../../../README.md") };

/// A newcomer reads it to its end.
const README_LINES: usize = 180;

/// Options of other programs that the manual speaks of.
const FOREIGN: [(&str, &[&str]); 5] = [
    ("kubectl", &["--server-side"]),
    ("uv", &["--directory", "--from", "--with", "--node-options"]),
    (
        "docker run",
        &[
            "-m",
            "-u",
            "-w",
            "--pids-limit",
            "--tmpfs",
            "--shm-size",
            "--entrypoint",
            "--stop-timeout",
            "--privileged",
            "--userns",
        ],
    ),
    ("some server", &["--token"]),
    ("fixtures/bench.sh", &["--update-manual"]),
];

#[derive(Clone, Copy)]
struct Document {
    path: &'static str,
    text: &'static str,
}

fn documents() -> Vec<(String, String)> {
    let topics = TOPICS.iter().map(|topic| (format!("src/help/{}.md", topic.name), topic.text()));
    std::iter::once((README.path.to_owned(), README.text.to_owned())).chain(topics).collect()
}

/// What a document says that is not so.
fn faults(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    // The code block with its language, and the topic that the link is to.
    let (mut code_block, mut linked) = (None, None);
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                code_block = Some((language, String::new()));
            }
            Event::End(TagEnd::CodeBlock) => {
                let block = code_block.take();
                faults.extend(block.into_iter().flat_map(|(language, code)| lines(&language, &code)));
            }
            Event::Start(Tag::Link { dest_url, .. }) => linked = target(path, &dest_url, &mut faults),
            Event::Start(Tag::Image { dest_url, .. }) => {
                target(path, &dest_url, &mut faults);
            }
            Event::End(TagEnd::Link) => linked = None,
            Event::Code(code) => faults.extend(span(&code)),
            Event::Text(text) => match (&mut code_block, linked) {
                (Some((_, code)), _) => code.push_str(&text),
                (None, Some(topic)) if *text != *topic => {
                    faults.push(format!("the link to `{topic}` is called `{text}`"));
                }
                _ => {}
            },
            _ => {}
        }
    }
    faults.into_iter().map(|fault| format!("{path}: {fault}")).collect()
}

/// The topic that a link is to. A file has to exist.
fn target(path: &str, url: &str, faults: &mut Vec<String>) -> Option<&'static str> {
    if url.starts_with("https://") {
        return None;
    }
    let folder = Path::new(REPOSITORY).join(path);
    let file = folder.parent().map(|folder| folder.join(url)).filter(|file| file.exists());
    let manual = Path::new(REPOSITORY).join("src/help");
    let of_manual =
        file.as_ref().and_then(|file| file.canonicalize().ok()).filter(|file| file.starts_with(manual));
    let name = of_manual.as_ref().and_then(|file| file.file_stem()).and_then(|name| name.to_str());
    let topic = name.and_then(Topic::find).map(|topic| topic.name);
    if file.is_none() || (name.is_some() && topic.is_none()) {
        faults.push(format!("nothing is at `{url}`"));
    }
    topic
}

fn lines(language: &str, text: &str) -> Vec<String> {
    match language {
        "console" => text.lines().filter_map(|line| line.strip_prefix("$ ")).flat_map(typed).collect(),
        // A client's own file is no configuration of berth's.
        "toml" if !text.contains("[mcp_servers") => configuration(text),
        "json" => {
            serde_json::from_str::<serde_json::Value>(text).err().map(|e| e.to_string()).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

fn configuration(text: &str) -> Vec<String> {
    let home = Home::from_env(&|name| (name == "HOME").then(|| "/home/someone".to_owned())).unwrap();
    let read = Config::parse(text, Path::new("/home/someone/berth.toml"), &home);
    read.err().map(|error| format!("{}: {text}", error.message())).into_iter().collect()
}

/// A line to type: what it gives berth has to be understood.
fn typed(line: &str) -> Vec<String> {
    let mut faults = span(line);
    let Some(words) = words_of(line) else { return faults };
    let refused = help::command().try_get_matches_from(["berth"].into_iter().chain(words)).err();
    if let Some(error) = refused.filter(clap::Error::use_stderr) {
        faults.push(format!("`{line}` is refused: {error}"));
    }
    faults
}

/// Code within a line: a command of berth's, an option, or a file of the repository.
fn span(code: &str) -> Vec<String> {
    if let Some(words) = words_of(code) {
        return command(&words);
    }
    let word = code.split_whitespace().next().unwrap_or_default();
    if word.starts_with('-') && word.trim_matches('-').starts_with(|c: char| c.is_ascii_alphabetic()) {
        return option(word).into_iter().collect();
    }
    let file = code
        .split_whitespace()
        .find(|word| ["fixtures/", "src/", "tests/", ".ci/"].iter().any(|folder| word.starts_with(folder)));
    let missing = file.filter(|file| !Path::new(REPOSITORY).join(file).exists());
    missing.map(|file| format!("there is no `{file}`")).into_iter().collect()
}

/// What a line gives `berth`; `None` where it runs something else.
fn words_of(line: &str) -> Option<Vec<&str>> {
    let rest = match line.split_once("$(berth ") {
        Some((_, rest)) => rest.split(')').next()?,
        None => line.strip_prefix("berth ")?,
    };
    let words = rest.split_whitespace();
    Some(words.take_while(|word| !word.starts_with('#') && !["|", "\\|", ">", "&&"].contains(word)).collect())
}

fn command(words: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    let root = help::command();
    let (mut command, mut named, mut positional) = (&root, false, 0);
    let mut words = words.iter().map(|word| word.trim_matches(['[', ']', '…']));
    while let Some(word) = words.next() {
        if word == "--" {
            break;
        }
        if word.starts_with('-') {
            let name = word.split(['=', '[']).next().unwrap_or_default();
            let places = [command, &root];
            match places.iter().find_map(|place| argument(place, name)) {
                // The next word is its value.
                Some(arg)
                    if arg.get_action().takes_values() && !arg.is_require_equals_set() && name == word =>
                {
                    words.next();
                }
                Some(_) => {}
                None => faults.push(format!("`berth {}` has no option `{name}`", command.get_name())),
            }
        } else if let Some(sub) = command.find_subcommand(word) {
            (command, named) = (sub, true);
        } else if !named {
            let placeholder = word.chars().all(char::is_uppercase);
            if !placeholder {
                faults.push(format!("there is no command `berth {word}`"));
            }
            break;
        } else {
            faults.extend(value(command, positional, word));
            positional += 1;
        }
    }
    faults
}

/// A positional argument that takes some words only.
fn value(command: &Command, index: usize, word: &str) -> Option<String> {
    let arg = command.get_positionals().nth(index)?;
    let possible = arg.get_possible_values();
    let placeholder = word.chars().all(char::is_uppercase);
    if possible.is_empty() || placeholder {
        return None;
    }
    let unknown = word.split('|').find(|word| !possible.iter().any(|value| value.matches(word, false)))?;
    Some(format!("`berth {}` takes no `{unknown}`", command.get_name()))
}

fn argument<'a>(command: &'a Command, name: &str) -> Option<&'a clap::Arg> {
    command.get_arguments().find(|arg| match name.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        None => arg.get_short().is_some_and(|short| name == format!("-{short}")),
    })
}

/// An option that stands alone is one of any command.
fn option(word: &str) -> Option<String> {
    fn known(command: &Command, name: &str) -> bool {
        argument(command, name).is_some() || command.get_subcommands().any(|sub| known(sub, name))
    }
    let name = word.split(['=', '[']).next().unwrap_or_default();
    let foreign = FOREIGN.iter().any(|(_, options)| options.contains(&name));
    let exists = foreign || ["--help", "--version"].contains(&name) || known(&help::command(), name);
    (!exists).then(|| format!("no command has the option `{name}`"))
}

#[test]
fn readme_and_manual_name_only_what_exists() {
    let faults: Vec<String> = documents().iter().flat_map(|(path, text)| faults(path, text)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_newcomer_can_read_the_readme_to_its_end_and_finds_each_topic_there() {
    let lines = README.text.lines().count();
    assert!(lines <= README_LINES, "README.md has {lines} lines; {README_LINES} are its limit");
    for topic in TOPICS {
        let link = format!("[{0}](src/help/{0}.md)", topic.name);
        assert!(README.text.contains(&link), "README.md has no link {link}");
    }
}

#[test]
fn each_file_of_the_manual_is_a_topic() {
    let files = std::fs::read_dir(Path::new(REPOSITORY).join("src/help")).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let mut names: Vec<String> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let mut topics: Vec<&str> = TOPICS.iter().map(|topic| topic.name).collect();
    names.sort_unstable();
    topics.sort_unstable();
    assert_eq!(names, topics, "src/help.rs lists the topics");
}

#[test]
fn each_command_is_in_the_manual() {
    let text = Topic::find("commands").unwrap().source;
    for sub in help::command().get_subcommands() {
        assert!(
            text.contains(&format!("berth {}", sub.get_name())),
            "commands.md has no `{}`",
            sub.get_name()
        );
    }
}

/// The checks above can fail.
#[test]
fn what_does_not_exist_is_found() {
    let found = |text: &str| faults("src/help/x.md", text).join("\n");
    for (text, fault) in [
        ("`berth fly`", "there is no command `berth fly`"),
        ("`berth run --fly SERVER`", "`berth run` has no option `--fly`"),
        ("`berth trace replay FILE --fly`", "`berth replay` has no option `--fly`"),
        ("`berth help confg`", "`berth help` takes no `confg`"),
        ("`berth install claude\\|codex`", "takes no `claude"),
        ("`--fly`", "no command has the option `--fly`"),
        ("`eval \"$(berth fly)\"`", "there is no command `berth fly`"),
        ("```console\n$ berth kill\n```", "is refused"),
        ("```console\n$ berth doctor --quik   # a comment\n```", "`berth doctor` has no option `--quik`"),
        ("```toml\n[servers.a]\nimag = \"b\"\n```", "imag"),
        ("```json\n{\n```", "EOF"),
        ("`bash fixtures/fly.sh`", "there is no `fixtures/fly.sh`"),
        ("[fly](fly.md)", "nothing is at `fly.md`"),
        ("[the keys](config.md)", "the link to `config` is called `the keys`"),
    ] {
        assert!(found(text).contains(fault), "{text}: «{}»", found(text));
    }
    for text in [
        "`berth run --trace[=FILE] SERVER`",
        "`berth --config work.toml up`",
        "`berth install claude-code|codex [--scope user|project|local] SERVER…`",
        "`berth help [TOPIC]`",
        "`docker run -i --rm`",
        "```console\n$ eval \"$(berth env)\" && docker ps\n$ berth kill last   # a comment\n```",
        "[config](config.md) [page](https://example.com) `-v` `--trace=FILE` `-32602`",
    ] {
        assert_eq!(found(text), "", "{text}");
    }
}
