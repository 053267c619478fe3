//! Turns a client's entry into a berth server. A secret's value stays in the `env` of the client's file; only its name
//! comes out here.

use toml_edit::Table;

use super::variables::{is_obeyed, is_of_machine, is_path, literal};
use super::{
    Entry, Machine, Moving, can_move, carry_over, fit_name, move_out, of_a_bridge, refuse_placeholders,
    understand,
};
use crate::config::is_for_installation;
use crate::runner::{Parsed, Program, Runtime};
use crate::values::{is_secret, looks_secret, secret_arguments};

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
    let mut moved = Vec::new();
    for (name, template) in &mut parsed.env {
        let value = template.replace("$$", "$");
        // What the client's entry says of it already is what the server gets.
        if template.contains("${") {
            continue;
        }
        let secret = is_secret(name, &value);
        // An installation has no client.
        if can_move(name) && (secret || !is_for_installation(name)) {
            *template = format!("${{{name}}}");
            moved.push((name.clone(), value));
        } else if secret {
            let fit = fit_name(name);
            *template = format!("${{{fit}}}");
            moved.push((fit, value));
        }
        parsed.judged.insert(name.clone(), secret);
    }
    moved.retain(|(name, _)| entry.env.iter().all(|(known, _)| known != name));
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
        } else {
            parsed.set_env(name, format!("${{{name}}}"));
        }
    }
    for (name, value) in entry.env.iter().filter(|(_, value)| !value.contains("${")) {
        parsed.judged.insert(name.clone(), is_secret(name, value));
    }
    moved.extend(move_out(&mut parsed, entry, moving)?);
    carry_over(&mut parsed, entry, machine)?;
    Ok(Translated { table: parsed.table(base), env: moved, without, notes: parsed.notes })
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
            || parsed.env.iter().any(|(known, given)| known == name && *given == format!("${{{name}}}"));
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
