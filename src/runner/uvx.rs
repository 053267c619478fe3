//! `uvx`, `uv tool run`, `pipx run`: a package of a Python index, and the program in it.

use super::flags::{Flag, Line, Next};
use super::names::{self, is_python};
use super::{Package, Parsed, Program, Runner, RunnerError, installing, script};

#[derive(Clone, Copy)]
enum Meaning {
    From,
    With,
    Python,
}

fn flag(name: &str) -> Option<Flag<Meaning>> {
    Some(match name {
        "--offline" => Flag::Noted(installing::ONCE),
        "--from" | "--spec" => Flag::Takes(Meaning::From),
        "-w" | "--with" => Flag::Takes(Meaning::With),
        "-p" | "--python" => Flag::Takes(Meaning::Python),
        "-c" | "--constraints" | "--overrides" | "--directory" | "--project" => {
            Flag::Refused(installing::LOCAL, installing::BY_NAME)
        }
        _ => return installing::flag(name),
    })
}

/// The words after `uvx`.
pub(super) fn parse(words: &[String]) -> Result<Parsed, RunnerError> {
    read("uvx", words)
}

/// The words after `uv` that do the same, where the program is of a project's folder on this machine.
pub(super) fn as_project(words: &[String]) -> Option<Vec<String>> {
    let mut line = Line::new("uvx", words);
    let (mut folder, mut options) = (None, Vec::new());
    let program = loop {
        match line.next(flag).ok()? {
            Next::Flag(_, Meaning::From, value) => folder = Some(local(value)?),
            Next::Flag(_, Meaning::With, value) => options.extend(["--with", value]),
            Next::Flag(_, Meaning::Python, value) => options.extend(["--python", value]),
            Next::Word(word) => break word,
            Next::End => return None,
        }
    };
    let head = ["--project", folder?, "run"].into_iter().chain(options).chain([program]);
    Some(head.map(str::to_owned).chain(line.rest().iter().cloned()).collect())
}

/// A folder by its absolute path. An archive is none.
fn local(spec: &str) -> Option<&str> {
    let folder = spec.strip_prefix("file://").unwrap_or(spec);
    let is_archive = [".whl", ".gz", ".zip"].iter().any(|ending| folder.ends_with(ending));
    (folder.starts_with('/') && !is_archive).then_some(folder)
}

/// The words after `pipx run`; what it has in common with `uvx`.
pub(super) fn parse_pipx(words: &[String]) -> Result<Parsed, RunnerError> {
    read("pipx run", words)
}

/// The value of a flag that chooses Python's version.
pub(super) fn python_version(line: &Line<'_>, flag: &str, value: &str) -> Result<String, RunnerError> {
    let version = value.strip_prefix("python").unwrap_or(value);
    if version.is_empty() || !is_python(&format!("python{version}")) {
        return Err(line.wrong(flag, "write a version such as 3.12"));
    }
    Ok(version.to_owned())
}

fn read(runner: &str, words: &[String]) -> Result<Parsed, RunnerError> {
    let mut line = Line::new(runner, words);
    let (mut from, mut with, mut python) = (None, Vec::new(), None);
    let first = loop {
        match line.next(flag)? {
            Next::Flag(_, Meaning::From, value) => from = Some(requirement(runner, value)?),
            Next::Flag(_, Meaning::With, value) => {
                for value in names::commas(value) {
                    with.push(requirement(runner, value)?);
                }
            }
            Next::Flag(flag, Meaning::Python, value) => {
                python = Some(python_version(&line, &flag, value)?);
            }
            Next::Word(word) => break Some(word),
            Next::End => break None,
        }
    };
    let Some(first) = first else {
        let (message, next) = match from {
            None => ("names no package", "add it, as in `uvx mcp-server-time`"),
            Some(_) => ("names a package and no program", "write the program's name after it"),
        };
        return Err(RunnerError::new(format!("`{runner}` {message}"), next));
    };
    let (main, program) = match from {
        // Python itself, with the packages that it is to have.
        None if is_python(first) => {
            if with.is_empty() {
                let module = line.rest().split_first().filter(|(flag, _)| *flag == "-m");
                let next = module.map_or_else(
                    || {
                        "name the package that has the module: `uvx --from PACKAGE python -m MODULE`"
                            .to_owned()
                    },
                    |(_, rest)| script::module(rest.first()).next,
                );
                let message = format!("`{runner}` names Python itself, which is no package");
                return Err(RunnerError::new(message, next));
            }
            (with.remove(0), Some("python".to_owned()))
        }
        Some(_) if first.is_empty() || first.contains(['/', '\\', ' ', '$', '@']) => {
            let message = format!("`{runner}` names no program of its package");
            return Err(RunnerError::new(message, "write the program's name as the package has it"));
        }
        // The program of a package's own name needs no `--from`.
        Some(from) if from == first => (from, None),
        Some(from) => (from, Some(first.to_owned())),
        None => (requirement(runner, first)?, None),
    };
    let name = match &program {
        Some(program) if main.contains("://") => names::server(&[program]),
        _ if main.starts_with("git+") => names::server(&[repository(&main)]),
        _ => names::server(&[names::python(&main)]),
    };
    let packages = [main].into_iter().chain(with).collect();
    let (options, args) = (Vec::new(), line.rest().to_vec());
    let package = Package { runner: Runner::Uvx, packages, options, program, python, args };
    Ok(Parsed { notes: line.notes, ..Parsed::new(name, Program::Package(package)) })
}

/// The last part of a repository's address.
fn repository(address: &str) -> &str {
    let address = address.split(['#', '?']).next().unwrap_or_default().trim_end_matches('/');
    let last = address.rsplit('/').next().unwrap_or_default();
    last.split('@').next().unwrap_or_default().trim_end_matches(".git")
}

/// What to install: `NAME[EXTRAS]`, with `@VERSION` or PEP 440's version specifiers behind it, or a git repository.
pub(super) fn requirement(runner: &str, spec: &str) -> Result<String, RunnerError> {
    let name = names::python(spec);
    let (extras, version) = match spec[name.len()..].strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((extras, version)) => (Some(extras), version),
        None => (None, &spec[name.len()..]),
    };
    let word = |text: &str, others: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
    };
    let extras_fit = extras.is_none_or(|extras| word(extras, "._-, "));
    let version_fits = match version.strip_prefix('@') {
        Some(version) => word(version, "._-+!"),
        None => {
            version.is_empty()
                || (version.starts_with(['=', '<', '>', '~', '!'])
                    && version.chars().all(|c| c.is_ascii_alphanumeric() || "._-+!=<>~*, ".contains(c)))
        }
    };
    if word(name, "._-") && extras_fit && version_fits {
        return Ok(spec.to_owned());
    }
    // `NAME @ git+https://…`
    let named =
        version.trim_start().strip_prefix('@').map(str::trim_start).filter(|url| url.starts_with("git+"));
    if let Some(url) = named.filter(|_| word(name, "._-") && extras_fit) {
        let before = spec[..spec.len() - version.len()].trim_end();
        return Ok(format!("{before} @ {}", requirement(runner, url)?));
    }
    let git = spec.strip_prefix("git+https://");
    let is_login = |rest: &str| rest.split(['/', '?', '#']).next().is_some_and(|host| host.contains('@'));
    if git.is_some_and(is_login) {
        let next = "remove the login before the `@`: the image and berth's output would show it";
        return Err(RunnerError::new(format!("`{runner}` names a repository with a login"), next));
    }
    if git.is_some_and(|rest| {
        !rest.is_empty() && rest.chars().all(|c| c.is_ascii_graphic() && !"$'\"`\\".contains(c))
    }) {
        return Ok(spec.to_owned());
    }
    let next = if spec.starts_with(['.', '/', '~', '\\']) || spec.starts_with("file:") {
        "a folder of this machine cannot be baked this way: write `uv --directory /ABSOLUTE/FOLDER run PROGRAM` where it is a \
         project's (it has a `pyproject.toml`), or `python /ABSOLUTE/PATH/TO/FILE` for a script"
    } else {
        "write it as NAME[EXTRAS]@VERSION, NAME==VERSION or git+https://…"
    };
    Err(RunnerError::new(format!("`{runner}` names no package of an index"), next))
}
