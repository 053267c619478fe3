//! Turns a client's entry into a berth server. A secret's value stays in the `env` of the client's file; only its name
//! comes out here.

use toml_edit::Table;

use super::variables::{is_obeyed, is_of_machine, is_path, literal};
use super::{
    Entry, Machine, Moving, Stated, can_move, carry_over, fit_name, free, move_out, of_a_bridge, refusal,
    refuse_placeholders, understand,
};
use crate::config::is_for_installation;
use crate::runner::{Parsed, Program, Runtime};
use crate::values::{credentials, is_secret, looks_secret, secret_arguments};

/// A client's entry, as a server of the configuration.
#[derive(Debug)]
pub struct Translated {
    /// The keys of `[servers.NAME]`.
    pub table: Table,
    /// Values that stood in the arguments, and belong into the `env` of the client's entry.
    pub env: Vec<(String, String)>,
    /// Variables that may not stay in the `env` of the client's entry, where berth itself would obey them.
    pub without: Vec<String>,
    /// What is left out.
    pub notes: Vec<String>,
}

/// `Err` says why it can't be, and what to do. `base` gives the image that runs scripts.
pub fn translate(
    entry: &Entry,
    machine: &Machine<'_>,
    moving: Moving<'_>,
    base: impl Fn(Runtime) -> String,
) -> Result<Translated, String> {
    refuse_placeholders(entry, machine)?;
    let mut parsed = understand(entry, machine)?;
    // Before its key is moved to where nobody needs it.
    if let Some(why) = of_a_bridge(&parsed.program) {
        return Err(why);
    }
    leave_out(&mut parsed);
    let stated = Stated::of(&parsed, entry, machine.lookup);
    let mut moved = move_variables(&mut parsed, entry)?;
    let without = take_out(&mut parsed, entry)?;
    for name in entry.env.iter().map(|(name, _)| name).chain(&entry.env_vars) {
        if without.contains(name) {
            continue;
        }
        if parsed.has_env(name) {
            continue;
        }
        if is_of_machine(name) {
            parsed.notes.push(format!("`{name}` is left out: it describes this machine, not a container"));
        } else if matches!(parsed.program, Program::Image { .. }) {
            parsed.notes.push(format!(
                "`{name}` is left out: `docker run` hands on only what its `-e` names; where the server needs it, write \
                 `env_vars = [\"{name}\"]`"
            ));
        } else if entry.env.iter().any(|(known, _)| known == name) {
            parsed.set_env(name, format!("${{{name}}}"));
        } else {
            // Codex starts its server without those that it has not.
            parsed.pass_env(name);
        }
    }
    for (name, value) in entry.env.iter().filter(|(_, value)| !value.contains("${")) {
        // Where the line has another value, that has been judged.
        let is_entrys = |(known, given): &(String, String)| known == name && is_variable(given, name);
        if parsed.env.iter().any(is_entrys) {
            parsed.judged.insert(name.clone(), is_secret(name, value));
        }
    }
    moved.extend(move_out(&mut parsed, entry, moving)?);
    carry_over(&mut parsed, entry, &stated, machine)?;
    Ok(Translated { table: parsed.table(base), env: moved, without, notes: parsed.notes })
}

/// A line's own `PATH` and its like: a package and a script have their image's.
fn leave_out(parsed: &mut Parsed) {
    if matches!(parsed.program, Program::Image { .. }) {
        return;
    }
    let all = std::mem::take(&mut parsed.env);
    let (of_machine, env): (Vec<_>, Vec<_>) = all.into_iter().partition(|(name, _)| is_of_machine(name));
    parsed.env = env;
    for (name, _) in of_machine {
        parsed.notes.push(format!("`{name}` is left out: it describes this machine, not a container"));
    }
}

/// Moves the values that the line gives to variables into the entry's `env`, where they can stand there; gives them by their
/// names. What berth's configuration may not hold has to.
fn move_variables(parsed: &mut Parsed, entry: &Entry) -> Result<Vec<(String, String)>, String> {
    let mut moved: Vec<(String, String)> = Vec::new();
    let others: Vec<String> = parsed.env.iter().map(|(name, _)| name.clone()).collect();
    for (name, template) in &mut parsed.env {
        let value = template.replace("$$", "$");
        let is_plain = !template.contains("${");
        let secret = if is_plain { is_secret(name, &value) } else { holds_secret(name, &value) };
        // What the client's entry says of a variable already is what the server gets.
        if !is_plain && !secret {
            continue;
        }
        if !is_plain && !entry.args.iter().any(|word| word.ends_with(&value)) {
            return Err(refusal(
                &format!("the value of `{name}`"),
                "write it into the entry's `env`, with the value of each variable in it",
            ));
        }
        parsed.judged.insert(name.clone(), secret);
        // An installation has no client.
        let movable = can_move(name) && (secret || !is_for_installation(name));
        if !movable && !secret {
            continue;
        }
        let fit = if movable { name.clone() } else { fit_name(name) };
        if entry.env.iter().any(|(known, given)| *known == fit && *given == value) {
            *template = format!("${{{fit}}}");
            continue;
        }
        // The line's own value counts before the entry's.
        let is_taken = |free: &String| {
            entry.env.iter().chain(&moved).any(|(known, _)| known == free)
                || entry.env_vars.contains(free)
                || (free != name && others.contains(free))
        };
        let free = free(&fit, is_taken);
        *template = format!("${{{free}}}");
        moved.push((free, value));
    }
    Ok(moved)
}

/// Whether a text with variables in it holds a credential beside them, or for the case that one is not set.
fn holds_secret(name: &str, text: &str) -> bool {
    let defaults = text.split("${").skip(1).filter_map(|rest| rest.split_once('}')?.0.split_once(":-"));
    let mut defaults = defaults.map(|(_, default)| default).filter(|default| !default.is_empty());
    !credentials(text).is_empty() || defaults.any(|default| is_secret(name, default))
}

/// Whether a template is that variable, and nothing beside it.
fn is_variable(template: &str, name: &str) -> bool {
    template.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) == Some(name)
}

/// What the entry sets and berth itself would obey: it leaves the entry, and the server gets what it can use of it.
fn take_out(parsed: &mut Parsed, entry: &Entry) -> Result<Vec<String>, String> {
    let mut without = Vec::new();
    for (name, value) in &entry.env {
        if !is_of_machine(name) && !is_obeyed(name) {
            continue;
        }
        without.push(name.clone());
        // `docker run -e NAME` hands on this very value.
        let handed_on = parsed.env_vars.contains(name)
            || parsed.env.iter().any(|(known, given)| known == name && is_variable(given, name));
        let is_servers =
            handed_on || (!parsed.has_env(name) && name.starts_with("DOCKER_") && !is_path(value));
        if is_servers && (looks_secret(name) || !secret_arguments(std::slice::from_ref(value)).is_empty()) {
            return Err(format!(
                "`{name}` of its `env` looks like a credential, and berth itself would obey a variable of that name; \
                 give the value to the server under another name"
            ));
        }
        if is_servers {
            parsed.set_env(name, literal(value));
            parsed
                .notes
                .push(format!("`{name}` moves from the entry into berth.toml: berth itself would obey it"));
        } else if is_of_machine(name) {
            parsed.notes.push(format!(
                "`{name}` is taken out of the entry: it describes this machine, not a container"
            ));
        } else {
            parsed.notes.push(format!("`{name}` is taken out of the entry: berth itself would obey it"));
        }
    }
    Ok(without)
}
