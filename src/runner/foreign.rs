//! Command lines that berth cannot take over, each with the lines to write instead.

use super::{RunnerError, UNDERSTOOD};

/// What is said of any other program.
pub(super) const UNKNOWN: &str = "is no runner that berth knows";

/// A whole line stands where a program's name should. It may hold a key, so no part of it is shown.
pub(super) fn line() -> RunnerError {
    RunnerError::new(
        "its `command` holds a whole line, where clients expect a program alone",
        "write the line's first word as `command`, and each other word as one of `args`",
    )
}

/// A program that is no runner.
pub(super) fn refused(program: &str, words: &[String]) -> RunnerError {
    let second = words.first().map_or("", String::as_str);
    match program {
        "dnx" => return dnx(words),
        "dotnet" if second == "dnx" => return dnx(words.get(1..).unwrap_or_default()),
        "dotnet" if second == "tool" => return dnx(words.get(2..).unwrap_or_default()),
        "dotnet" => {
            return RunnerError::new(
                "`dotnet` runs a program of this machine",
                "write [servers.NAME] with `image = \"mcr.microsoft.com/dotnet/sdk:10.0\"`, `command = [\"dotnet\"]`, the other \
                 words as `args`, and the program's folder in `mounts`",
            );
        }
        "npm" | "yarn" | "pnpm" | "bun" => {
            return RunnerError::new(
                format!("`{program}` runs a script of a project on this machine"),
                "write what the script in its `package.json` runs, as in `node /ABSOLUTE/PATH/TO/dist/index.js`",
            );
        }
        "pipx" => {
            return RunnerError::new(
                "`pipx` starts no server this way",
                "write `pipx run PACKAGE`, or `uvx PACKAGE`",
            );
        }
        "wsl" | "powershell" | "pwsh" => {
            return RunnerError::new(
                format!("`{program}` is a program of Windows"),
                "write the line that it starts, as it is on this machine",
            );
        }
        "poetry" | "pdm" | "hatch" | "rye" | "pipenv" | "conda" => {
            return RunnerError::new(
                format!("`{program}` runs a project with the packages of this machine"),
                "type `uv lock` in the project's folder, and write `uv --directory FOLDER run PROGRAM`",
            );
        }
        "go" | "cargo" | "ruby" | "gem" | "php" => {
            return RunnerError::new(
                format!("`{program}` needs an image of its own"),
                "build an image with the server in it, and write [servers.NAME] with `image`",
            );
        }
        _ => {}
    }
    // A word that is no plain name may hold anything.
    let is_plain = (1..=64).contains(&program.len())
        && program.chars().all(|c| c.is_ascii_alphanumeric() || "._-+".contains(c));
    let shown = if is_plain { format!("`{program}`") } else { "its `command`".to_owned() };
    RunnerError::new(format!("{shown} {UNKNOWN}"), UNDERSTOOD)
}

/// A tool of `NuGet`'s: berth bakes none.
fn dnx(words: &[String]) -> RunnerError {
    let name = words.iter().find(|word| !word.starts_with('-') && *word != "exec" && *word != "run");
    let is_package = |name: &&String| name.chars().all(|c| c.is_ascii_alphanumeric() || "._-@".contains(c));
    let tool = name.filter(is_package).map_or("TOOL", String::as_str);
    RunnerError::new(
        "berth bakes no tools of NuGet",
        format!(
            "write [servers.NAME] with `image = \"mcr.microsoft.com/dotnet/sdk:10.0\"`, `command = [\"dotnet\"]` and \
             `args = [\"dnx\", \"{tool}\", \"--yes\", \"--\", …]`; each session then downloads the tool anew, so an image with \
             the tool in it is better"
        ),
    )
}
