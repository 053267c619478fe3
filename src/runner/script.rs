//! A script of this machine. It runs in the base image of its runtime, with its folder mounted at the same place.

use std::path::{Component, Path};

use super::names::{self, template};
use super::{Parsed, Program, RunnerError, Runtime};

/// Where compiled scripts are put, beside the `package.json` and the packages that they need.
const OUTPUT: [&str; 7] = ["dist", "build", "out", "lib", "src", "bin", "cjs"];

/// Node's flags whose value is a word of its own.
const WITH_VALUE: [&str; 8] =
    ["-r", "--require", "--import", "--loader", "--experimental-loader", "-C", "--conditions", "--env-file"];

/// The words after `node`.
pub(super) fn node(words: &[String]) -> Result<Parsed, RunnerError> {
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
    script("node", Runtime::Node, words, at)
}

/// The words after `python`.
pub(super) fn python(words: &[String]) -> Result<Parsed, RunnerError> {
    let mut at = 0;
    while let Some(word) = words.get(at).filter(|word| word.starts_with('-')) {
        match word.as_str() {
            "-m" => {
                return Err(RunnerError::new(
                    "`python -m` runs a module that is installed on this machine",
                    "name the package that has it: `uvx PACKAGE`, or `uvx --from PACKAGE PROGRAM`",
                ));
            }
            "-c" | "-" => return Err(no_file("python")),
            "-W" | "-X" => at += 2,
            _ => at += 1,
        }
    }
    script("python", Runtime::Python, words, at)
}

fn no_file(runner: &str) -> RunnerError {
    RunnerError::new(format!("`{runner}` names no file"), "write the script's absolute path after it")
}

fn script(runner: &str, runtime: Runtime, words: &[String], at: usize) -> Result<Parsed, RunnerError> {
    let Some(file) = words.get(at) else { return Err(no_file(runner)) };
    let path = Path::new(file);
    if !path.is_absolute() && !file.starts_with("${") {
        return Err(RunnerError::new(
            format!("`{runner}` names a file without its folder"),
            "write its absolute path: each client starts its servers somewhere else",
        ));
    }
    let is_plain = |part: Component| matches!(part, Component::Normal(_) | Component::RootDir);
    let folder =
        folder(path).filter(|folder| may_be_mounted(folder)).filter(|_| path.components().all(is_plain));
    let Some(folder) = folder.filter(|folder| !folder.contains([':', ','])) else {
        return Err(RunnerError::new(
            format!("the folder of `{runner}`'s script cannot be mounted at its own place in a container"),
            "put the script into a folder of its own, under your home for instance",
        ));
    };
    let args = words.iter().map(|word| template(word)).collect();
    let parts: Vec<&str> = folder.split('/').collect();
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let name = match stem {
        "index" | "main" | "server" | "cli" | "__main__" => names::server(&parts),
        stem => names::server(&[stem]),
    };
    let mut parsed = Parsed::new(name, Program::Script { runtime, args });
    let folder = template(folder);
    parsed.mounts.push(format!("{folder}:{folder}"));
    parsed.notes.push(format!(
        "the script sees only `{folder}`, and nothing that is installed elsewhere on this machine"
    ));
    Ok(parsed)
}

/// The script's folder, or the one above it where that is the project's.
fn folder(file: &Path) -> Option<&str> {
    let folder = file.parent()?;
    let name = folder.file_name()?.to_str()?;
    let above = folder.parent().filter(|above| OUTPUT.contains(&name) && above.file_name().is_some());
    above.unwrap_or(folder).to_str()
}

/// At the same place in the container it must hide nothing that the image needs.
fn may_be_mounted(folder: &str) -> bool {
    const SYSTEM: [&str; 11] =
        ["/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr"];
    let is_under = |system: &str| {
        folder.strip_prefix(system).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    !SYSTEM.into_iter().any(is_under)
}
