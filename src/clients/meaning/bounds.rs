//! What no server is given, whoever wrote its line: the whole home folder; and to a project's entry, what is hidden there.

use std::path::PathBuf;

use super::stated::Stated;
use crate::clients::Machine;
use crate::runner::{Parsed, Program};

/// `Err` says which of the line's folders and files it is, and what to do.
pub(super) fn check(parsed: &Parsed, stated: &Stated, machine: &Machine<'_>) -> Result<(), String> {
    let mounted = parsed.mounts.iter().map(|mount| source(mount));
    for source in mounted.clone() {
        // Where its client is then is for that to say.
        if source == "${CLAUDE_PROJECT_DIR:-.}" {
            continue;
        }
        if path(source, stated, machine).is_some_and(|path| machine.holds_home(&path)) {
            let next = match parsed.program {
                Program::Image { .. } => "name the folders that it is for",
                _ => "put what it runs into a folder of its own, such as `~/mcp`, and name it there",
            };
            return Err(format!(
                "it would see `{source}`, which holds your whole home folder, and berth gives that to no server; {next}"
            ));
        }
    }
    if !machine.asked.foreign {
        return Ok(());
    }
    let files = parsed.settings.iter().filter(|(key, _)| *key == "env_file");
    let files = files.filter_map(|(_, list)| list.as_array()).flatten().filter_map(|file| file.as_str());
    for source in mounted.chain(files) {
        if let Some(folder) = path(source, stated, machine).and_then(|path| machine.hidden(&path)) {
            return Err(format!(
                "it names `{source}`: `~/{folder}` is yours alone, and this entry comes from a project's file; if you trust it, \
                 write its [servers.NAME] yourself"
            ));
        }
    }
    Ok(())
}

/// What stands before the target of a mount. A variable's default has a colon of its own.
fn source(mount: &str) -> &str {
    let mut depth = 0;
    let end = mount.find(|c: char| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ':' && depth == 0
    });
    &mount[..end.unwrap_or(mount.len())]
}

/// The path that a template gives here and now; `None` where a variable is not set.
fn path(template: &str, stated: &Stated, machine: &Machine<'_>) -> Option<PathBuf> {
    let home = || machine.home().and_then(|home| home.to_str()).map(str::to_owned);
    let here = || machine.around.folder.to_str().map(str::to_owned);
    let value = |name: &str| match name {
        "CLAUDE_PROJECT_DIR" | "PWD" => here(),
        "HOME" => home(),
        _ => {
            let own =
                stated.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
            own.or_else(|| (machine.lookup)(name)).filter(|value| !value.is_empty())
        }
    };
    let mut text = String::new();
    let mut rest = template;
    if let Some(behind) = rest.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/')) {
        (text, rest) = (home()?, behind);
    }
    while let Some((before, after)) = rest.split_once('$') {
        text += before;
        if let Some((inside, behind)) = after.strip_prefix('{').and_then(|after| after.split_once('}')) {
            let (name, default) = inside.split_once(":-").unzip();
            text += &value(name.unwrap_or(inside)).or(default.map(str::to_owned))?;
            rest = behind;
        } else {
            text.push('$');
            rest = after.strip_prefix('$').unwrap_or(after);
        }
    }
    text += rest;
    Some(machine.around.folder.join(text))
}
