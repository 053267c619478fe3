//! Variables that a package finds in the shell. berth passes only those that the configuration names.

use super::known::families;
use crate::clients::{Kind, Machine};
use crate::runner::{Parsed, Program};
use crate::values::looks_secret;

/// Names those that a package of this name lives on: the ones that are set first, with the line that passes them.
pub(super) fn name(parsed: &mut Parsed, machine: &Machine<'_>) {
    // Codex has never passed any.
    if machine.asked.client == Kind::Codex || !matches!(parsed.program, Program::Package(_)) {
        return;
    }
    let is_given = |name: &str| parsed.has_env(name);
    let mut notes = Vec::new();
    for family in families(parsed) {
        let is_set = |name: &&&str| (machine.lookup)(name).is_some_and(|value| !value.is_empty());
        let missing = family.variables.iter().filter(|name| !is_given(name));
        let (set, unset): (Vec<&&str>, Vec<&&str>) = missing.partition(is_set);
        if !set.is_empty() {
            let (secret, plain): (Vec<&&&str>, Vec<&&&str>) = set.iter().partition(|name| looks_secret(name));
            let table = |key: &str, names: &[&&&str]| {
                let entries: Vec<String> =
                    names.iter().map(|name| format!("{name} = \"${{{name}}}\"")).collect();
                (!entries.is_empty()).then(|| format!("`{key} = {{ {} }}`", entries.join(", ")))
            };
            let lines: Vec<String> =
                table("env", &plain).into_iter().chain(table("secrets", &secret)).collect();
            notes.push(format!(
                "{} {} set in this shell, and a server gets only what its [servers.NAME] names: {}",
                list(&set),
                if set.len() == 1 { "is" } else { "are" },
                lines.join(", ")
            ));
        } else if parsed.env.is_empty() {
            notes.push(format!(
                "a package of this name may live on variables of your shell ({}); a server gets only what its [servers.NAME] names",
                list(&unset)
            ));
        }
    }
    parsed.notes.extend(notes);
}

fn list(names: &[&&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
