//! `npx`, `npm exec`, `bunx`, `pnpm dlx`: a package of an npm registry, and the program in it.

use super::flags::{Flag, Line, Next};
use super::names;
use super::{Package, Parsed, Program, Runner, RunnerError};

#[derive(Clone, Copy)]
enum Meaning {
    Package,
}

fn flag(name: &str) -> Option<Flag<Meaning>> {
    const LOCAL: &str = "a container has none of this machine's folders";
    const NAME_IT: &str = "name the package alone";
    Some(match name {
        "-y" | "--yes" | "-q" | "--quiet" | "-s" | "--silent" | "--verbose" | "--no-progress" => Flag::Idle,
        "--loglevel" => Flag::IdleValue,
        "--prefer-offline" | "--prefer-online" | "--ignore-existing" | "--offline" | "--no-cache" => {
            Flag::Noted(
                "what is baked once is used from then on; `berth bake --update` looks for newer versions",
            )
        }
        "--ignore-scripts" => Flag::Noted("a package's scripts run in a container of its own, once"),
        "--bun" => Flag::Noted("Node runs it"),
        "-p" | "--package" => Flag::Takes(Meaning::Package),
        "--no" | "--no-install" | "--no-yes" => {
            Flag::Refused("it asks for what is installed on this machine", NAME_IT)
        }
        "-c" | "--call" | "--shell-mode" => {
            Flag::Refused("it is a shell command", "name the package, the program and its arguments")
        }
        "--prefix" | "-C" | "--workspace" | "-w" | "--workspaces" | "--ws" | "--cache" => {
            Flag::Refused(LOCAL, NAME_IT)
        }
        "--registry" => {
            Flag::Refused("where packages come from holds for all servers", "set `npm_registry` in [bake]")
        }
        "--userconfig" | "--globalconfig" => {
            Flag::Refused(LOCAL, "set `npm_registry`, `proxy` or `ca` in [bake] instead")
        }
        "--node-arg" | "--node-options" | "-n" => {
            Flag::Refused("npx no longer has it", "set the variable NODE_OPTIONS for the server")
        }
        _ => return None,
    })
}

/// The words after `npx`.
pub(super) fn parse(runner: &str, words: &[String]) -> Result<Parsed, RunnerError> {
    let (packages, first, rest, notes) = read(runner, words)?;
    build(runner, packages, first, rest, notes)
}

/// The words after `npm exec`, which keeps flags behind the package for itself.
pub(super) fn parse_npm(words: &[String]) -> Result<Parsed, RunnerError> {
    const RUNNER: &str = "npm exec";
    let dashes = words.iter().position(|word| word == "--");
    let (packages, first, rest, notes) = read(RUNNER, words)?;
    let at = words.len() - rest.len();
    // The word itself is behind the dashes, or they are among what follows it.
    let rest = match dashes {
        Some(dashes) if dashes < at => rest.to_vec(),
        _ => {
            let own = rest.iter().take_while(|word| *word != "--");
            if let Some(flag) = own.clone().find(|word| word.starts_with('-')) {
                return Err(RunnerError::new(
                    format!("`npm exec` takes `{}` for its own", super::flags::bare(flag)),
                    "write `--` before the package; the server gets the flags after it",
                ));
            }
            let own = own.count();
            rest.iter().take(own).chain(rest.iter().skip(own + 1)).cloned().collect()
        }
    };
    build(RUNNER, packages, first, &rest, notes)
}

type Read<'a> = (Vec<String>, Option<&'a str>, &'a [String], Vec<String>);

fn read<'a>(runner: &'a str, words: &'a [String]) -> Result<Read<'a>, RunnerError> {
    let mut line = Line::new(runner, words);
    let mut packages = Vec::new();
    let first = loop {
        match line.next(flag)? {
            Next::Flag(_, Meaning::Package, value) => packages.push(package(runner, value)?),
            Next::Word(word) => break Some(word),
            Next::End => break None,
        }
    };
    Ok((packages, first, line.rest(), line.notes))
}

fn build(
    runner: &str,
    packages: Vec<String>,
    first: Option<&str>,
    rest: &[String],
    notes: Vec<String>,
) -> Result<Parsed, RunnerError> {
    let Some(first) = first else {
        let (message, next) = if packages.is_empty() {
            ("names no package", "add it, as in `npx -y @modelcontextprotocol/server-everything`")
        } else {
            ("names a package and no program", "write the program's name after it")
        };
        return Err(RunnerError::new(format!("`{runner}` {message}"), next));
    };
    let (packages, program) = if packages.is_empty() {
        (vec![package(runner, first)?], None)
    } else {
        (packages, Some(program(runner, first)?))
    };
    let package = Package { runner: Runner::Npx, packages, program, python: None, args: rest.to_vec() };
    let parts: Vec<&str> = package.bare().split('/').collect();
    let name = names::server(&parts);
    Ok(Parsed { notes, ..Parsed::new(name, Program::Package(package)) })
}

/// A package of a registry: `[@SCOPE/]NAME[@VERSION]`. All else that npm takes (folders, archives, git) is refused.
fn package(runner: &str, spec: &str) -> Result<String, RunnerError> {
    let name = names::npm(spec);
    let version = spec[name.len()..].strip_prefix('@');
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric() || "_-~".contains(c))
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-~".contains(c))
    };
    let name_fits = match name.strip_prefix('@').map(|scoped| scoped.split_once('/')) {
        Some(Some((scope, name))) => part(scope) && part(name),
        Some(None) => false,
        None => part(name),
    };
    // A tag or a range; `npm:` and the like would be another package under this name.
    let version_fits = version.is_none_or(|version| {
        !version.is_empty()
            && version.chars().all(|c| c.is_ascii_alphanumeric() || "._-+^~*<>=| ".contains(c))
    });
    if name_fits && version_fits {
        return Ok(spec.to_owned());
    }
    let message = format!("`{runner}` names no package of a registry");
    let next = if spec.starts_with(['.', '/', '~', '\\']) || spec.starts_with("file:") {
        "a folder of this machine cannot be baked: start its script with `node /ABSOLUTE/PATH/TO/FILE`"
    } else if spec.starts_with("http") && spec.contains("://") {
        "for a server at an address use the client's own HTTP transport; a package is [@SCOPE/]NAME[@VERSION]"
    } else {
        "write it as [@SCOPE/]NAME[@VERSION]"
    };
    Err(RunnerError::new(message, next))
}

/// A program of a package, by its name alone.
fn program(runner: &str, name: &str) -> Result<String, RunnerError> {
    if name.is_empty() || name.starts_with('-') || name.contains(['/', '\\', ' ', '$']) {
        return Err(RunnerError::new(
            format!("`{runner}` names no program of its packages"),
            "write the program's name as the package has it",
        ));
    }
    Ok(name.to_owned())
}
