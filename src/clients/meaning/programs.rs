//! Programs of this machine that are packages of a registry: which package has them is read from what npm, pip, pipx and uv
//! have left beside them. Files are only read, and no program is run.

mod npm;
mod python;

use std::path::{Path, PathBuf};

use super::super::{Entry, Machine};
use super::browsers;
use crate::config::is_for_installation;
use crate::runner::{self, Parsed, Program, Runtime, project_of_script};
use crate::values::Lookup;

/// A text file of a program's is no longer (bytes).
const LONGEST: u64 = 4 << 20;

/// Where programs are looked for.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    pub home: Option<&'a Path>,
    pub lookup: Lookup<'a>,
}

/// A line that does the same with a package of a registry, and what is to be said of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Instead {
    pub argv: Vec<String>,
    pub note: String,
}

/// What an entry's command line means on this machine.
pub fn understand(entry: &Entry, machine: &Machine<'_>) -> Result<Parsed, String> {
    let argv: Vec<String> = std::iter::once(&entry.command).chain(&entry.args).cloned().collect();
    let places = Places { home: machine.home(), lookup: machine.lookup };
    let mut parsed = of_line(&argv, places)?;
    tell_installation(&mut parsed, entry);
    parsed.notes.extend(browsers::note(&parsed));
    Ok(parsed)
}

fn of_line(argv: &[String], places: Places<'_>) -> Result<Parsed, String> {
    let own = python::own_packages(argv).map(Ok).or_else(|| python::of_environment(argv, places));
    let own = own.transpose()?;
    let parsed = match runner::parse(own.as_ref().map_or(argv, |instead| &instead.argv)) {
        Ok(mut parsed) => {
            parsed.notes.extend(own.map(|own| own.note));
            Ok(parsed)
        }
        Err(error) => match instead(argv, places) {
            Some(Ok(instead)) => {
                runner::parse(&instead.argv).map_err(|error| error.to_string()).map(|mut parsed| {
                    parsed.notes.insert(0, instead.note);
                    parsed
                })
            }
            Some(Err(why)) => Err(why),
            None => Err(Some(&error)
                .filter(|error| error.is_unknown())
                .and_then(|_| unknown(argv, places))
                .unwrap_or_else(|| error.to_string())),
        },
    };
    parsed.map(|mut parsed| {
        widen(&mut parsed, places.home);
        parsed
    })
}

/// What is to be written for a program that is no runner and no package's that is known here.
fn unknown(argv: &[String], places: Places<'_>) -> Option<String> {
    let program = argv.first()?;
    let name = program.rsplit('/').next().unwrap_or(program);
    let is_plain = name.len() <= 64 && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if !is_plain || program.contains(char::is_whitespace) {
        return None;
    }
    Some(match places.find(program) {
        Some(path) => format!(
            "`{}` is a program of this machine that neither npm, pip, pipx nor uv has installed; build an image with it, and \
             write [servers.NAME] with `image`",
            path.display()
        ),
        None => format!(
            "`{name}` is not installed here, so berth cannot tell which package has it; write `npx -p PACKAGE {name}` or \
             `uvx --from PACKAGE {name}` with the package that its instructions install"
        ),
    })
}

/// The package that has a program of this machine; `None` where nothing says so.
fn instead(argv: &[String], places: Places<'_>) -> Option<Result<Instead, String>> {
    let (program, rest) = argv.split_first()?;
    let path = places.find(program)?;
    if let Some(module) = python::module(program, rest) {
        return python::of_module(&path, module.0, module.1, places);
    }
    // A runner whose line is refused is not the package that brings it: `npx` itself is of npm's package `npm`.
    if runner::is_known(program) {
        return None;
    }
    npm::of_program(&path, rest).map(Ok).or_else(|| python::of_program(&path, rest, places))
}

impl Places<'_> {
    /// A program by its path, or on the path of this machine.
    fn find(&self, program: &str) -> Option<PathBuf> {
        let rest = program.strip_prefix("~/").or_else(|| program.strip_prefix("${HOME}/"));
        let path = match (rest, self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(program),
        };
        if path.is_absolute() {
            return path.is_file().then_some(path);
        }
        if program.contains(['/', '\\']) {
            return None;
        }
        let on_path = (self.lookup)("PATH").unwrap_or_default();
        let usual = self.home.map(|home| home.join(".local/bin"));
        std::env::split_paths(&on_path)
            .filter(|folder| folder.is_absolute())
            .chain(usual)
            .map(|folder| folder.join(program))
            .find(|path| path.is_file())
    }
}

/// The text of a file, if it is one of a bounded length.
fn text(path: &Path) -> Option<String> {
    let about = std::fs::metadata(path).ok().filter(|about| about.is_file() && about.len() <= LONGEST)?;
    let bytes = std::fs::read(path).ok()?;
    debug_assert!(about.len() <= LONGEST);
    String::from_utf8(bytes).ok()
}

/// What the installation is to know must stand in berth's configuration: it is part of the image's identity, and there is no
/// client yet when an image is baked.
fn tell_installation(parsed: &mut Parsed, entry: &Entry) {
    if !matches!(parsed.program, Program::Package(_)) {
        return;
    }
    for (name, value) in entry.env.iter().filter(|(name, _)| is_for_installation(name)) {
        let is_plain = !value.contains("${") && !value.contains('@');
        if is_plain && parsed.env.iter().all(|(known, _)| known != name) {
            parsed.set_env(name, value.replace('$', "$$"));
        }
    }
}

/// A script of Node's finds its packages in its project's folder, which may lie above the one that its path tells.
fn widen(parsed: &mut Parsed, home: Option<&Path>) {
    let runs_node = match &parsed.program {
        Program::Script { runtime, .. } => *runtime == Runtime::Node,
        // `npx tsx FILE` has a mount; others have none yet.
        Program::Package(package) => package.runner == runner::Runner::Npx,
        Program::Image { .. } => false,
    };
    if !runs_node || parsed.settings.iter().any(|(key, _)| *key == "workdir") {
        return;
    }
    for mount in &mut parsed.mounts {
        let Some((folder, target)) = mount.split_once(':').filter(|(folder, target)| folder == target) else {
            continue;
        };
        let Some(project) = project(Path::new(folder), home).and_then(Path::to_str) else { continue };
        if project != target && !project.contains([':', ',', '$']) {
            for note in &mut parsed.notes {
                *note = note.replace(&format!("`{folder}`"), &format!("`{project}`"));
            }
            *mount = format!("{project}:{project}");
        }
    }
}

/// The nearest folder with a manifest, or the one above it that has the packages. Never the home folder or one above that.
fn project<'a>(folder: &'a Path, home: Option<&Path>) -> Option<&'a Path> {
    let may_be =
        |folder: &&Path| folder.parent().is_some() && home.is_none_or(|home| !home.starts_with(folder));
    let projects: Vec<&Path> = folder
        .ancestors()
        .take_while(may_be)
        .filter(|folder| folder.join("package.json").is_file())
        .collect();
    let with_packages = projects.iter().find(|folder| folder.join("node_modules").is_dir());
    with_packages.or(projects.first()).copied()
}

/// The folder of a script, for messages.
fn folder_of(file: &Path) -> &Path {
    project_of_script(file).unwrap_or(file)
}

#[cfg(test)]
mod tests;
