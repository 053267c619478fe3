//! What an entry states to its server, with the values that the server gets: its line's variables, the entry's own, those
//! that its client passes on, and the arguments. Taken before credentials leave the line.

use crate::clients::Entry;
use crate::runner::{Parsed, Program};
use crate::values::Lookup;

/// Variables by their names, and arguments.
#[derive(Debug, Default)]
pub struct Stated {
    pub variables: Vec<(String, String)>,
    pub args: Vec<String>,
}

impl Stated {
    /// `parsed` is the entry's own line.
    pub fn of(parsed: &Parsed, entry: &Entry, lookup: Lookup<'_>) -> Self {
        let of_entry = |name: &str| {
            let found = entry.env.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone())
        };
        let mut variables: Vec<(String, String)> = Vec::new();
        for (name, template) in &parsed.env {
            let value = template.replace("$$", "$");
            // A shell puts in what the entry sets.
            let value = whole_variable(&value).and_then(of_entry).unwrap_or(value);
            variables.push((name.clone(), value));
        }
        let others =
            parsed.env_vars.iter().chain(entry.env.iter().map(|(name, _)| name)).chain(&entry.env_vars);
        for name in others {
            if variables.iter().all(|(known, _)| known != name)
                && let Some(value) = of_entry(name).or_else(|| lookup(name))
            {
                variables.push((name.clone(), value));
            }
        }
        let args = arguments(&parsed.program).iter().map(|word| word.replace("$$", "$")).collect();
        Self { variables, args }
    }
}

/// The variable that a text is, and nothing beside it.
pub(super) fn whole_variable(text: &str) -> Option<&str> {
    let name = text.strip_prefix("${")?.strip_suffix('}')?;
    (!name.contains([':', '$', '{'])).then_some(name)
}

fn arguments(program: &Program) -> Vec<String> {
    match program {
        Program::Package(package) => package.args.clone(),
        Program::Image { command, args, .. } => command.iter().chain(args).flatten().cloned().collect(),
        Program::Script { args, .. } => args.clone(),
    }
}
