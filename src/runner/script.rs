//! A script of this machine. It runs in the base image of its runtime, with its folder mounted at the same place.

use std::path::{Component, Path};

use super::names::{self, template};
use super::{Parsed, Program, Runner, RunnerError, Runtime};

/// Where compiled scripts are put, beside the `package.json` and the packages that they need.
const OUTPUT: [&str; 7] = ["dist", "build", "out", "lib", "src", "bin", "cjs"];

/// Node's flags whose value is a word of its own, and those of the packages that stand for Node.
const WITH_VALUE: [&str; 11] = [
    "-r",
    "--require",
    "--import",
    "--loader",
    "--experimental-loader",
    "-C",
    "--conditions",
    "--env-file",
    "--tsconfig",
    "-P",
    "--project",
];

/// Packages that run a script of the machine's, as Node does.
const LIKE_NODE: [&str; 7] =
    ["tsx", "ts-node", "ts-node-esm", "esno", "jiti", "vite-node", "@swc-node/register"];

/// The words after `node`.
pub(super) fn node(words: &[String]) -> Result<Parsed, RunnerError> {
    script("node", Runtime::Node, words, node_file(words)?)
}

/// The words after `python`.
pub(super) fn python(words: &[String]) -> Result<Parsed, RunnerError> {
    script("python", Runtime::Python, words, python_file(words)?)
}

/// The words after `java`.
pub(super) fn java(words: &[String]) -> Result<Parsed, RunnerError> {
    script("java", Runtime::Java, words, java_file(words)?)
}

fn node_file(words: &[String]) -> Result<usize, RunnerError> {
    let mut at = 0;
    while let Some(word) = words.get(at).filter(|word| word.starts_with('-')) {
        match word.as_str() {
            "-e" | "--eval" | "-p" | "--print" | "-" => return Err(no_file("node")),
            "--" => {
                at += 1;
                break;
            }
            flag if WITH_VALUE.contains(&flag) => at += 2,
            _ => at += 1,
        }
    }
    Ok(at)
}

fn python_file(words: &[String]) -> Result<usize, RunnerError> {
    let mut at = 0;
    while let Some(word) = words.get(at).filter(|word| word.starts_with('-')) {
        match word.as_str() {
            "-m" => return Err(module(words.get(at + 1))),
            "-c" | "-" => return Err(no_file("python")),
            "-W" | "-X" => at += 2,
            _ => at += 1,
        }
    }
    Ok(at)
}

/// A module's name says what package it is of only often.
pub(super) fn module(name: Option<&String>) -> RunnerError {
    let is_module = |name: &&String| name.chars().all(|c| c.is_ascii_alphanumeric() || "._".contains(c));
    let next = match name.filter(is_module) {
        Some(name) => {
            let package = name.split('.').next().unwrap_or(name).replace('_', "-");
            format!(
                "write `uvx --from PACKAGE python -m {name}` with the package that has it, which may be `{package}`: \
                 `pip show --files PACKAGE` lists what a package has"
            )
        }
        None => "name the package that has it: `uvx PACKAGE`, or `uvx --from PACKAGE PROGRAM`".to_owned(),
    };
    RunnerError::new("`python -m` runs a module that is installed on this machine", next)
}

fn java_file(words: &[String]) -> Result<usize, RunnerError> {
    const ONE_JAR: &str = "write `java -jar FILE` with one jar that holds all it needs";
    let mut at = 0;
    while let Some(word) = words.get(at).filter(|word| word.starts_with(['-', '@'])) {
        match word.as_str() {
            "-jar" => return Ok(at + 1),
            "-cp" | "-classpath" | "--class-path" | "-p" | "--module-path" | "-m" | "--module" => {
                return Err(RunnerError::new(
                    "`java` names classes in several places of this machine",
                    ONE_JAR,
                ));
            }
            "--add-opens" | "--add-exports" | "--add-reads" | "--add-modules" | "--enable-native-access" => {
                at += 2;
            }
            file if file.starts_with('@') => {
                return Err(RunnerError::new(
                    "`java` takes its arguments from a file of this machine",
                    ONE_JAR,
                ));
            }
            _ => at += 1,
        }
    }
    Err(RunnerError::new("`java` names no jar", ONE_JAR))
}

fn no_file(runner: &str) -> RunnerError {
    RunnerError::new(format!("`{runner}` names no file"), "write the script's absolute path after it")
}

/// The same words with the script's path made absolute, where `program` runs a script and starts in `folder`.
pub(super) fn absolute(folder: &str, program: &str, words: &[String]) -> Vec<String> {
    let program = names::program(program);
    let at = match program.as_str() {
        "node" | "nodejs" => node_file(words).ok(),
        "java" => java_file(words).ok(),
        name if names::is_python(name) => python_file(words).ok(),
        _ => None,
    };
    let mut words = words.to_vec();
    if let Some(file) = at.and_then(|at| words.get_mut(at)) {
        *file = joined(folder, file);
    }
    words
}

/// `file` as it is meant in `folder`.
pub(super) fn joined(folder: &str, file: &str) -> String {
    let file = file.strip_prefix("./").unwrap_or(file);
    if is_rooted(file) { file.to_owned() } else { format!("{}/{file}", folder.trim_end_matches('/')) }
}

/// Whether a path says where it is, by itself or by a variable.
pub(super) fn is_rooted(path: &str) -> bool {
    Path::new(path).is_absolute() || path.starts_with("${")
}

fn script(runner: &str, runtime: Runtime, words: &[String], at: usize) -> Result<Parsed, RunnerError> {
    let Some(file) = words.get(at) else { return Err(no_file(runner)) };
    let args = words.iter().map(|word| template(word)).collect();
    let mut parsed = Parsed::new(name_of(file), Program::Script { runtime, args });
    mount(runner, file, &mut parsed)?;
    Ok(parsed)
}

/// Mounts the folder of the script that a package runs (`npx tsx FILE`).
pub(super) fn of_package(mut parsed: Parsed) -> Result<Parsed, RunnerError> {
    let Program::Package(package) = &parsed.program else { return Ok(parsed) };
    if package.runner != Runner::Npx
        || !LIKE_NODE.contains(&package.program.as_deref().unwrap_or(package.bare()))
    {
        return Ok(parsed);
    }
    let runner = format!("npx {}", package.bare());
    let watch = usize::from(package.args.first().is_some_and(|word| word == "watch"));
    let at =
        watch + node_file(package.args.get(watch..).unwrap_or_default()).map_err(|_| no_file(&runner))?;
    let Some(file) = package.args.get(at).cloned() else { return Err(no_file(&runner)) };
    parsed.name = name_of(&file);
    mount(&runner, &file, &mut parsed)?;
    Ok(parsed)
}

/// Whether a word is a file that Python runs.
pub fn is_python(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|ending| ending == "py")
}

/// A server's name by its script.
pub(super) fn name_of(file: &str) -> String {
    let path = Path::new(file);
    let parts: Vec<&str> = folder(path).unwrap_or_default().split('/').collect();
    match path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default() {
        "index" | "main" | "server" | "cli" | "__main__" => names::server(&parts),
        stem => names::server(&[stem]),
    }
}

/// Mounts the folder of a script at its own place.
pub(super) fn mount(runner: &str, file: &str, parsed: &mut Parsed) -> Result<(), RunnerError> {
    let path = Path::new(file);
    if !is_rooted(file) {
        return Err(RunnerError::new(
            format!("`{runner}` names a file without its folder"),
            "write its absolute path: each client starts its servers somewhere else",
        ));
    }
    let folder = folder(path).unwrap_or_default();
    mount_folder(&format!("the folder of `{runner}`'s script"), folder, parsed)?;
    parsed.notes.push(format!(
        "the script sees only `{}`, and nothing that is installed elsewhere on this machine",
        template(folder)
    ));
    Ok(())
}

/// Mounts a folder at its own place, read-only; `what` names it.
pub(super) fn mount_folder(what: &str, folder: &str, parsed: &mut Parsed) -> Result<(), RunnerError> {
    let is_plain = |part: Component| matches!(part, Component::Normal(_) | Component::RootDir);
    let fits = may_be_mounted(folder)
        && Path::new(folder).components().all(is_plain)
        // What a template holds besides is the variable's default.
        && !folder.contains([':', ',']);
    if !fits {
        return Err(RunnerError::new(
            format!("{what} cannot be mounted at its own place in a container"),
            "put it into a folder of its own, under your home for instance",
        ));
    }
    let folder = template(folder);
    let covers = |mount: &String| {
        let target = mount.split(':').next().unwrap_or_default();
        folder.strip_prefix(target).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if !parsed.mounts.iter().any(covers) {
        parsed.mounts.push(format!("{folder}:{folder}"));
    }
    Ok(())
}

/// The folder that a script's project has by its look: the script's own, or the one above it.
pub fn project(file: &Path) -> Option<&Path> {
    let folder = file.parent()?;
    let name = folder.file_name()?.to_str()?;
    let above = folder.parent().filter(|above| OUTPUT.contains(&name) && above.file_name().is_some());
    Some(above.unwrap_or(folder))
}

fn folder(file: &Path) -> Option<&str> {
    project(file)?.to_str()
}

/// Whether a path is the system's own, which each image has for itself.
pub fn is_systems_own(path: &Path) -> bool {
    const SYSTEM: [&str; 13] = [
        "/bin",
        "/boot",
        "/dev",
        "/etc",
        "/lib",
        "/lib64",
        "/opt/berth",
        "/proc",
        "/run",
        "/sbin",
        "/sys",
        "/usr",
        "/var/run",
    ];
    SYSTEM.iter().any(|own| path.starts_with(own))
}

/// At the same place in the container it must hide nothing that the image needs.
fn may_be_mounted(folder: &str) -> bool {
    is_rooted(folder) && folder != "/" && !is_systems_own(Path::new(folder))
}
