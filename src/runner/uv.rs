//! `uv run`: packages and a script, or a project's folder, which is baked from its lock file.

use super::flags::{Flag, Line, Next};
use super::names::{self, is_python, template};
use super::uvx::{python_version, requirement};
use super::{Package, Parsed, Program, Runner, RunnerError, installing, script, uvx};

const RUNNER: &str = "uv run";

#[derive(Clone, Copy)]
enum Meaning {
    Directory,
    Project,
    With,
    Python,
    Module,
    Script,
    Option,
    OptionValue,
}

fn flag(name: &str) -> Option<Flag<Meaning>> {
    Some(match name {
        "--frozen" | "--locked" | "--no-sync" | "--no-project" | "--active" | "--exact" | "--no-editable"
        | "--no-active" | "--offline" | "--compile-bytecode" => Flag::Idle,
        "--reinstall-package" => Flag::NotedValue(installing::ONCE),
        "--directory" => Flag::Takes(Meaning::Directory),
        "--project" => Flag::Takes(Meaning::Project),
        "-w" | "--with" => Flag::Takes(Meaning::With),
        "-p" | "--python" => Flag::Takes(Meaning::Python),
        "-m" | "--module" => Flag::Set(Meaning::Module),
        "-s" | "--script" | "--gui-script" => Flag::Set(Meaning::Script),
        "--all-extras" | "--all-groups" | "--no-dev" | "--no-default-groups" | "--only-dev" | "--dev" => {
            Flag::Set(Meaning::Option)
        }
        "--extra" | "--no-extra" | "--group" | "--no-group" | "--only-group" | "--package" => {
            Flag::Takes(Meaning::OptionValue)
        }
        _ => return installing::flag(name),
    })
}

/// What stands before the command.
#[derive(Default)]
struct Read {
    /// A project's folder, and whether the command starts there.
    folder: Option<(String, bool)>,
    with: Vec<String>,
    python: Option<String>,
    module: bool,
    script: bool,
    options: Vec<String>,
    notes: Vec<String>,
}

impl Read {
    /// Reads flags up to a word that is none, and gives it with what follows.
    fn flags<'a>(&mut self, words: &'a [String]) -> Result<Option<(&'a str, &'a [String])>, RunnerError> {
        let mut line = Line::new(RUNNER, words);
        let found = loop {
            match line.next(flag)? {
                Next::Flag(_, Meaning::Directory, value) => self.folder = Some((value.to_owned(), true)),
                Next::Flag(_, Meaning::Project, value) => {
                    self.folder.get_or_insert_with(|| (value.to_owned(), false));
                }
                Next::Flag(_, Meaning::With, value) => {
                    // The commas within `[…]` belong to a name.
                    for value in names::commas(value) {
                        self.with.push(requirement(RUNNER, value)?);
                    }
                }
                Next::Flag(flag, Meaning::Python, value) => {
                    self.python = Some(python_version(&line, &flag, value)?);
                }
                Next::Flag(_, Meaning::Module, _) => {
                    self.module = true;
                    // Its name is the next word, whatever it looks like.
                    break line.rest().split_first().map(|(word, rest)| (word.as_str(), rest));
                }
                Next::Flag(_, Meaning::Script, _) => self.script = true,
                Next::Flag(flag, Meaning::Option, _) => self.options.push(flag),
                Next::Flag(flag, Meaning::OptionValue, value) => {
                    if value.is_empty()
                        || value.contains(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)))
                    {
                        return Err(line.wrong(&flag, "write a name"));
                    }
                    self.options.extend([flag, value.to_owned()]);
                }
                Next::Word(word) => break Some((word, line.rest())),
                Next::End => break None,
            }
        };
        self.notes.append(&mut line.notes);
        Ok(found)
    }
}

/// The words after `uv`.
pub(super) fn parse(words: &[String]) -> Result<Parsed, RunnerError> {
    let mut read = Read::default();
    match read.flags(words)? {
        Some(("tool", rest)) if rest.first().is_some_and(|word| word == "run") => {
            uvx::as_project(&rest[1..]).map_or_else(|| uvx::parse(&rest[1..]), |words| parse(&words))
        }
        Some(("run", rest)) => run(read, rest),
        _ => Err(RunnerError::new(
            "`uv` starts no server this way",
            "write `uv --directory FOLDER run PROGRAM`, or `uvx PACKAGE`",
        )),
    }
}

/// The words of an `uv` key: a project's alone.
pub(super) fn project(words: &[String]) -> Result<Parsed, RunnerError> {
    let parsed = parse(words)?;
    match &parsed.program {
        Program::Package(package) if package.runner == Runner::Uv => Ok(parsed),
        _ => Err(RunnerError::new(
            "`uv` names no project's folder",
            "write `uv = \"--directory FOLDER run PROGRAM\"`, or use `uvx`",
        )),
    }
}

fn run(mut read: Read, words: &[String]) -> Result<Parsed, RunnerError> {
    let found = if read.module {
        words.split_first().map(|(word, rest)| (word.as_str(), rest))
    } else {
        read.flags(words)?
    };
    let Some((first, rest)) = found else {
        return Err(RunnerError::new(
            "`uv run` names no program",
            "write the program or the script after it",
        ));
    };
    let notes = std::mem::take(&mut read.notes);
    // What runs: a program of the packages, or Python with a file or a module.
    let (program, args) = if read.module {
        ("python", [&["-m".to_owned(), first.to_owned()], rest].concat())
    } else if is_python(&names::program(first)) {
        ("python", rest.to_vec())
    } else if read.script || script::is_python(first) {
        ("python", [&[first.to_owned()], rest].concat())
    } else {
        (first, rest.to_vec())
    };
    let mut parsed = match read.folder.take() {
        Some((folder, starts_there)) => of_project(read, &folder, starts_there, program, args)?,
        None => of_packages(read, program, args)?,
    };
    parsed.notes.splice(0..0, notes);
    Ok(parsed)
}

/// A program of a registry's packages, or a script that needs them.
fn of_packages(read: Read, program: &str, mut args: Vec<String>) -> Result<Parsed, RunnerError> {
    let file = if program == "python" {
        args.iter().find(|arg| !arg.starts_with('-')).filter(|_| args.first().is_none_or(|arg| arg != "-m"))
    } else if ["mcp", "fastmcp"].contains(&program) {
        // `mcp run FILE[:OBJECT]`
        args.iter().skip(1).find(|arg| !arg.starts_with('-'))
    } else {
        None
    };
    let file = file.map(|file| {
        file.split(".py:").next().map_or(file.clone(), |file| {
            if script::is_python(file) { file.to_owned() } else { format!("{file}.py") }
        })
    });
    if read.with.is_empty() {
        return Err(no_packages(program, file.as_deref()));
    }
    let name = match &file {
        Some(file) => script::name_of(file),
        None if program == "python" => names::server(&[names::python(&read.with[0])]),
        None => names::server(&[names::python(&read.with[0]), program]),
    };
    if program == "python" && file.is_some() && args.first().is_some_and(|arg| arg == "--") {
        args.remove(0);
    }
    let Read { with, python, .. } = read;
    let package = Package {
        runner: Runner::Uvx,
        packages: with,
        options: Vec::new(),
        program: Some(program_name(program)?),
        python,
        args,
    };
    let mut parsed = Parsed::new(name, Program::Package(package));
    if let Some(file) = file {
        script::mount(RUNNER, &file, &mut parsed)?;
    }
    Ok(parsed)
}

/// Which project `uv run` means depends on the folder that the client starts it in.
fn no_packages(program: &str, file: Option<&str>) -> RunnerError {
    let next = match file.filter(|file| script::is_rooted(file)) {
        Some(file) => {
            let (folder, name) = file.rsplit_once('/').unwrap_or((".", file));
            format!(
                "write `uv --directory {folder} run {name}` where that folder is a project's (it has a `pyproject.toml`), or \
                 `uv run --with PACKAGE {file}` with what the script imports"
            )
        }
        None if program == "python" => {
            "write `uv --directory FOLDER run FILE` with the project's absolute folder".to_owned()
        }
        None => {
            "write `uv --directory FOLDER run PROGRAM` with the project's absolute folder, or `uvx PACKAGE`"
                .to_owned()
        }
    };
    RunnerError::new("`uv run` names neither a project's folder nor packages", next)
}

fn program_name(program: &str) -> Result<String, RunnerError> {
    if program.is_empty() || program.contains(['/', '\\', ' ', '$', '@']) {
        return Err(RunnerError::new(
            "`uv run` names no program of its packages",
            "write the program's name as the package has it",
        ));
    }
    Ok(program.to_owned())
}

/// A project's folder: its packages are baked from its lock file, and its files are mounted at their own place.
fn of_project(
    read: Read,
    folder: &str,
    starts_there: bool,
    program: &str,
    mut args: Vec<String>,
) -> Result<Parsed, RunnerError> {
    let folder = folder.trim_end_matches('/');
    if !folder.starts_with('/') {
        return Err(RunnerError::new(
            "`uv run` names its project's folder without saying where it is",
            "write the folder's absolute path, without variables",
        ));
    }
    // A file of the project's, by its place in it; what is elsewhere is an argument.
    let mut outside = None;
    if program == "python"
        && let Some(file) = args.first_mut().filter(|arg| !arg.starts_with('-'))
    {
        if !script::is_rooted(file) && !starts_there {
            return Err(RunnerError::new(
                "`uv run --project` names a file without its folder",
                "write its absolute path, or `--directory` instead of `--project`",
            ));
        }
        *file = script::joined(folder, file);
        outside = Some(file.clone()).filter(|file| !file.starts_with(&format!("{folder}/")));
    }
    let name = match args.first().filter(|_| program == "python" && script::is_python(&args[0])) {
        Some(file) => script::name_of(file),
        None if program == "python" => names::server(&folder.split('/').collect::<Vec<_>>()),
        None => names::server(&[folder.rsplit('/').next().unwrap_or_default(), program]),
    };
    let Read { with, python, options, .. } = read;
    let packages = std::iter::once(folder.to_owned()).chain(with).collect();
    let program = Some(program_name(program)?);
    let package = Package { runner: Runner::Uv, packages, options, program, python, args };
    let mut parsed = Parsed::new(name, Program::Package(package));
    script::mount_folder("the project's folder", folder, &mut parsed)?;
    if let Some(file) = outside {
        script::mount(RUNNER, &file, &mut parsed)?;
    }
    if starts_there {
        parsed.set("workdir", template(folder));
    }
    parsed
        .notes
        .push(format!("its packages are baked from `{folder}`'s lock file, and again when that changes"));
    Ok(parsed)
}
