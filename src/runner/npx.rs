//! `npx`, `npm exec`, `bunx`, `pnpm dlx`: a package of an npm registry, and the program in it.

use super::flags::{Flag, Line, Next};
use super::names::{self, template};
use super::{Package, Parsed, Program, Runner, RunnerError};

#[derive(Clone, Copy)]
enum Meaning {
    Package,
    NodeOptions,
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
        "--node-arg" | "--node-options" | "-n" => Flag::Takes(Meaning::NodeOptions),
        _ => return None,
    })
}

/// The words after `npx`.
pub(super) fn parse(runner: &str, words: &[String]) -> Result<Parsed, RunnerError> {
    let read = read(runner, words)?;
    let rest = read.rest;
    build(runner, read, rest)
}

/// The words after `npm exec`, which keeps flags behind the package for itself.
pub(super) fn parse_npm(words: &[String]) -> Result<Parsed, RunnerError> {
    const RUNNER: &str = "npm exec";
    let dashes = words.iter().position(|word| word == "--");
    let read = read(RUNNER, words)?;
    let rest = read.rest;
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
    build(RUNNER, read, &rest)
}

/// A line up to its first word that is no flag.
struct Read<'a> {
    packages: Vec<String>,
    node_options: Vec<&'a str>,
    first: Option<&'a str>,
    rest: &'a [String],
    notes: Vec<String>,
}

fn read<'a>(runner: &'a str, words: &'a [String]) -> Result<Read<'a>, RunnerError> {
    let mut line = Line::new(runner, words);
    let (mut packages, mut node_options) = (Vec::new(), Vec::new());
    let first = loop {
        match line.next(flag)? {
            Next::Flag(_, Meaning::Package, value) => packages.push(package(runner, value)?),
            Next::Flag(_, Meaning::NodeOptions, value) => node_options.push(value),
            Next::Word(word) => break Some(word),
            Next::End => break None,
        }
    };
    Ok(Read { packages, node_options, first, rest: line.rest(), notes: line.notes })
}

fn build(runner: &str, read: Read<'_>, rest: &[String]) -> Result<Parsed, RunnerError> {
    let Read { packages, node_options, first, notes, .. } = read;
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
    let mut parsed = of_package(packages, program, rest.to_vec());
    parsed.notes = notes;
    if !node_options.is_empty() {
        parsed.set_env("NODE_OPTIONS", template(&node_options.join(" ")));
    }
    Ok(parsed)
}

/// A server out of packages that are a registry's.
pub(super) fn of_package(packages: Vec<String>, program: Option<String>, args: Vec<String>) -> Parsed {
    let options = Vec::new();
    let package = Package { runner: Runner::Npx, packages, options, program, python: None, args };
    let parts: Vec<&str> = package.bare().split('/').collect();
    let name = names::server(&parts);
    Parsed::new(name, Program::Package(package))
}

/// A package of a registry: `[@SCOPE/]NAME[@VERSION]`. All else that npm takes (folders, archives, git) is refused.
pub(super) fn package(runner: &str, spec: &str) -> Result<String, RunnerError> {
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
pub(super) fn program(runner: &str, name: &str) -> Result<String, RunnerError> {
    if name.is_empty() || name.starts_with('-') || name.contains(['/', '\\', ' ', '$']) {
        return Err(RunnerError::new(
            format!("`{runner}` names no program of its packages"),
            "write the program's name as the package has it",
        ));
    }
    Ok(name.to_owned())
}
