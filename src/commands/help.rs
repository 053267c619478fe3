//! `berth help`: the manual's topics, and each command's own help.

use std::fmt::Write;
use std::process::ExitCode;

use crate::cli::{HelpArgs, help};
use crate::help::{TOPICS, Topic, show};

pub fn run(args: &HelpArgs) -> anyhow::Result<ExitCode> {
    let text = match args.topic.as_deref() {
        None => overview(),
        Some(name) => text(name),
    };
    show(&text, super::variable("PAGER").as_deref())?;
    Ok(ExitCode::SUCCESS)
}

/// A topic; the help of a command; of a name that is both, the topic with the command's help behind it.
fn text(name: &str) -> String {
    match (Topic::find(name), command(name)) {
        (Some(topic), Some(help)) => format!("{}\n## berth {name}\n\n```text\n{help}```\n", topic.text()),
        (Some(topic), None) => topic.text(),
        (None, help) => help.unwrap_or_default(),
    }
}

/// As `berth NAME --help` has it.
fn command(name: &str) -> Option<String> {
    help::command().find_subcommand(name)?;
    let asked = help::command().try_get_matches_from(["berth", name, "--help"]);
    Some(asked.err()?.to_string())
}

fn overview() -> String {
    let command = help::command();
    let commands = command.get_subcommands().map(|sub| {
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        (sub.get_name().to_owned(), about)
    });
    let topics = TOPICS.iter().map(|topic| (topic.name.to_owned(), topic.about().to_owned()));
    let mut text = String::from("# The manual of berth\n");
    list(&mut text, "Commands (`berth help COMMAND`)", commands);
    list(&mut text, "Topics (`berth help TOPIC`)", topics);
    text
}

fn list(text: &mut String, heading: &str, entries: impl Iterator<Item = (String, String)>) {
    // Writing to a string can't fail.
    let _ = writeln!(text, "\n## {heading}\n");
    for (name, about) in entries {
        let _ = writeln!(text, "    {name:12}  {about}");
    }
}

#[cfg(test)]
mod manual;
