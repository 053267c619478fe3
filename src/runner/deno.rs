//! `deno run npm:PACKAGE`: a package of an npm registry, which Node runs here.

use super::flags::{Flag, Line, Next};
use super::{Parsed, RunnerError, npx};

#[derive(Clone, Copy)]
enum Meaning {}

fn flag(name: &str) -> Option<Flag<Meaning>> {
    const LOCAL: &str = "a container has none of this machine's folders";
    const BORDER: &str = "Node runs the package, and the container is its border";
    Some(match name {
        "-q" | "--quiet" | "--no-prompt" | "--no-check" | "--no-lock" | "--no-npm" | "--no-remote"
        | "--no-config" | "--node-modules-dir" | "-A" | "--allow-all" => Flag::Idle,
        "-r" | "--reload" | "--cached-only" => Flag::Noted(
            "what is baked once is used from then on; `berth bake --update` looks for newer versions",
        ),
        "-R" | "-W" | "-N" | "-E" | "-S" | "-I" => Flag::Noted(BORDER),
        name if name.starts_with("--allow-") || name.starts_with("--deny-") => Flag::Noted(BORDER),
        name if name.starts_with("--unstable") => Flag::Idle,
        "-c" | "--config" | "--import-map" | "--lock" | "--env" | "--env-file" | "--cert" => {
            Flag::Refused(LOCAL, "name the package alone, and write variables into `env`")
        }
        _ => return None,
    })
}

/// The words after `deno`.
pub(super) fn parse(words: &[String]) -> Result<Parsed, RunnerError> {
    const RUNNER: &str = "deno run";
    let Some(rest) = words.split_first().filter(|(word, _)| ["run", "x"].contains(&word.as_str())) else {
        return Err(RunnerError::new("`deno` starts no server this way", "write `deno run npm:PACKAGE`"));
    };
    let mut line = Line::new(RUNNER, rest.1);
    let word = match line.next(flag)? {
        Next::Word(word) => word,
        Next::Flag(..) | Next::End => {
            return Err(RunnerError::new("`deno run` names no package", "write `deno run npm:PACKAGE`"));
        }
    };
    let Some(spec) = word.strip_prefix("npm:").map(|spec| spec.trim_start_matches('/')) else {
        return Err(RunnerError::new(
            "`deno run` names no npm package",
            "write [servers.NAME] with `image = \"denoland/deno\"` and the line's words after `deno` as `args`; a file's \
             folder goes into `mounts`",
        ));
    };
    // `npm:@SCOPE/NAME@VERSION/PROGRAM`
    let scope = if spec.starts_with('@') { spec.find('/').map_or(0, |at| at + 1) } else { 0 };
    let (spec, program) = match spec[scope..].split_once('/') {
        Some((name, program)) => (&spec[..scope + name.len()], Some(npx::program(RUNNER, program)?)),
        None => (spec, None),
    };
    let package = npx::package(RUNNER, spec)?;
    let mut parsed = npx::of_package(vec![package], program, line.rest().to_vec());
    parsed.notes = line.notes;
    parsed.notes.push("Node runs it instead of Deno".to_owned());
    Ok(parsed)
}
