//! Programs that npm, pnpm, yarn or bun has installed: links into `node_modules`.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::{Instead, text};
use crate::runner::is_version;

/// The same with `npx`, at the version that is installed.
pub(super) fn of_program(program: &Path, args: &[String]) -> Option<Instead> {
    let real = program.canonicalize().ok()?;
    let folder = package_folder(&real).or_else(|| package_folder(&behind_script(&real)?))?;
    let manifest: Value = serde_json::from_str(&text(&folder.join("package.json"))?).ok()?;
    let name = manifest["name"].as_str().filter(|name| folder.ends_with(name))?;
    let version = manifest["version"].as_str().filter(|version| is_version(version))?;
    let called = program.file_stem()?.to_str()?;
    // The name that npm gives the program, not what else a link is called.
    let own = name.rsplit('/').next().unwrap_or(name);
    let program = match &manifest["bin"] {
        Value::Object(all) if all.contains_key(called) => called,
        Value::Object(_) => return None,
        _ => own,
    };
    let package = format!("{name}@{version}");
    let head =
        if program == own { vec![package] } else { vec!["-p".to_owned(), package, program.to_owned()] };
    let line =
        ["npx".to_owned(), "-y".to_owned()].into_iter().chain(head).chain(args.iter().cloned()).collect();
    let note = format!(
        "its program is npm's package `{name}` {version}, which runs instead of the one on this machine"
    );
    Some(Instead { argv: line, note })
}

/// The folder of the package that a file is in: the one behind the last `node_modules`.
fn package_folder(file: &Path) -> Option<PathBuf> {
    let parts: Vec<Component> = file.components().collect();
    let at = parts.iter().rposition(|part| part.as_os_str() == "node_modules")?;
    let scoped = parts.get(at + 1)?.as_os_str().to_str()?.starts_with('@');
    let end = at + if scoped { 3 } else { 2 };
    (end < parts.len()).then(|| parts[..end].iter().collect())
}

/// What pnpm puts on the path is a short script that names the file.
fn behind_script(script: &Path) -> Option<PathBuf> {
    let text = text(script).filter(|text| text.starts_with("#!") && text.len() < 8192)?;
    let quoted = text.split('"').find(|part| part.contains("/node_modules/") && !part.contains(':'))?;
    let relative = quoted.strip_prefix("$basedir/");
    let path = relative.map_or_else(|| PathBuf::from(quoted), |rest| script.with_file_name(rest));
    path.canonicalize().ok()
}
