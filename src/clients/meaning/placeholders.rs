//! Placeholders of other programs in a client's entry. Claude Code and Codex fill in none of them, so a server would get
//! them as they are written.

use crate::clients::{Entry, Machine};
use crate::runner::is_known;

/// Variables of Windows in `%NAME%`.
const OF_WINDOWS: [&str; 12] = [
    "APPDATA",
    "COMSPEC",
    "HOMEDRIVE",
    "HOMEPATH",
    "LOCALAPPDATA",
    "PROGRAMDATA",
    "PROGRAMFILES",
    "SYSTEMROOT",
    "TEMP",
    "TMP",
    "USERNAME",
    "USERPROFILE",
];

/// What VS Code and Cursor have for the project, for a part of it, and for what is open.
const PROJECT: [&str; 5] =
    ["workspaceFolder", "workspaceRoot", "workspaceFolderBasename", "fileWorkspaceFolder", "cwd"];
const OPEN: [&str; 8] = [
    "file",
    "fileBasename",
    "fileBasenameNoExtension",
    "fileDirname",
    "fileExtname",
    "relativeFile",
    "relativeFileDirname",
    "selectedText",
];

/// `Err` names the first of them, whose it is, and what to write instead.
pub fn refuse_placeholders(entry: &Entry, machine: &Machine<'_>) -> Result<(), String> {
    let is_set =
        |name: &str| entry.env.iter().any(|(known, _)| known == name) || (machine.lookup)(name).is_some();
    let values = entry.env.iter().map(|(_, value)| value);
    // A runner is known by its last part, wherever Windows has it.
    let program = (&entry.command, is_known(&entry.command));
    let others = entry.args.iter().chain(values).chain(entry.cwd.iter()).map(|text| (text, false));
    for (text, is_runner) in std::iter::once(program).chain(others) {
        let in_braces =
            inside(text, "${", "}").filter_map(|name| Some((format!("${{{name}}}"), meaning(name, is_set)?)));
        let in_percent = inside(text, "%", "%")
            .filter(|_| !is_runner)
            .filter(|name| OF_WINDOWS.iter().any(|known| known.eq_ignore_ascii_case(name)))
            .map(|name| (format!("%{name}%"), ("Windows'", "the path on this machine".to_owned())));
        if let Some((written, (whose, instead))) = in_braces.chain(in_percent).next() {
            return Err(format!(
                "`{written}` is {whose}, and a server would get it as it stands; write {instead}"
            ));
        }
        if is_of_windows(text) && !is_runner {
            return Err(
                "it names a path of Windows, such as `C:\\…`; write the path on this machine".to_owned()
            );
        }
    }
    Ok(())
}

/// What stands between the marks.
fn inside<'a>(text: &'a str, open: &'a str, close: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(open).filter_map(move |(at, open)| Some(text[at + open.len()..].split_once(close)?.0))
}

/// Whose a `${…}` is, and what means the same to berth's clients.
fn meaning(name: &str, is_set: impl Fn(&str) -> bool) -> Option<(&'static str, String)> {
    const EDITORS: &str = "VS Code's or Cursor's";
    let project = || "`${CLAUDE_PROJECT_DIR:-.}`, or `.` where it stands alone".to_owned();
    if let Some((kind, rest)) =
        name.split_once(':').filter(|(_, rest)| !rest.starts_with(['-', '?', '=', '+']))
    {
        let variable: String = rest.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        return match kind {
            "input" => Some((
                "VS Code's, which asks for the value",
                format!(
                    "`${{{}}}`, and set that variable for the client or in the entry's `env`",
                    upper(rest)
                ),
            )),
            "env" => Some((EDITORS, format!("`${{{variable}}}`"))),
            "localEnv" | "containerEnv" => Some(("a dev container's", format!("`${{{variable}}}`"))),
            "workspaceFolder" | "workspaceFolderBasename" => Some((EDITORS, project())),
            "config" | "command" => Some((EDITORS, "the value itself".to_owned())),
            _ => None,
        };
    }
    if name.starts_with("user_config.") || name == "__dirname" {
        return Some(("a desktop extension's", "the value itself".to_owned()));
    }
    let (name, default) = name.split_once(":-").map_or((name, None), |(name, default)| (name, Some(default)));
    if default.is_some() || is_set(name) {
        return None;
    }
    match name {
        name if PROJECT.contains(&name) => Some((EDITORS, project())),
        name if OPEN.contains(&name) => Some((EDITORS, "the file's path".to_owned())),
        "userHome" => Some((EDITORS, "`${HOME}`".to_owned())),
        "pathSeparator" | "/" => Some((EDITORS, "`/`".to_owned())),
        _ => None,
    }
}

/// A variable's name out of `github-token`.
fn upper(text: &str) -> String {
    let name: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// `C:\…`, also behind `--flag=`.
fn is_of_windows(text: &str) -> bool {
    let value = text.rsplit_once('=').map_or(text, |(_, value)| value);
    let mut chars = value.chars();
    let (drive, colon, slash) = (chars.next(), chars.next(), chars.next());
    drive.is_some_and(|c| c.is_ascii_alphabetic()) && colon == Some(':') && slash == Some('\\')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::tests::on_a_machine;

    fn refused(args: &[&str], env: &[(&str, &str)]) -> Result<(), String> {
        let entry = Entry {
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ..Entry::default()
        };
        on_a_machine(|machine| refuse_placeholders(&entry, machine))
    }

    #[test]
    fn others_placeholders_are_named_as_theirs() {
        for (text, whose, instead) in [
            ("${input:github-token}", "VS Code's", "`${GITHUB_TOKEN}`"),
            ("--key=${env:API_KEY}", "VS Code's or Cursor's", "`${API_KEY}`"),
            ("type=bind,src=${workspaceFolder},dst=/w", "VS Code's or Cursor's", "${CLAUDE_PROJECT_DIR:-.}"),
            ("${workspaceFolder:api}/x", "VS Code's or Cursor's", "${CLAUDE_PROJECT_DIR:-.}"),
            ("${userHome}/x", "VS Code's or Cursor's", "`${HOME}`"),
            ("a${pathSeparator}b", "VS Code's or Cursor's", "`/`"),
            ("${config:python.path}", "VS Code's or Cursor's", "the value itself"),
            ("${user_config.key}", "a desktop extension's", "the value itself"),
            ("${localEnv:HOME}", "a dev container's", "`${HOME}`"),
            ("%APPDATA%\\x", "Windows'", "the path on this machine"),
        ] {
            let said = [refused(&[text], &[]).unwrap_err(), refused(&[], &[("A", text)]).unwrap_err()];
            assert!(said[0].contains(whose) && said[0].contains(instead), "{text}: {said:?}");
            assert_eq!(said[0], said[1]);
        }
        assert!(refused(&["--db=C:\\data\\x.db"], &[]).unwrap_err().contains("a path of Windows"));
    }

    #[test]
    fn what_clients_fill_in_passes() {
        for text in [
            "${HOME}/x",
            "${A:-b:c}",
            "${A:?no}",
            "${workspaceFolder:-.}",
            "100%APPDATA",
            "%20x%20",
            "{{x}}",
            "$5",
            "${CLAUDE_PROJECT_DIR:-.}",
            "https://h:8080/${A}",
        ] {
            assert_eq!(refused(&[text], &[]), Ok(()), "{text}");
        }
        // The program, too.
        let entry = Entry { command: "${workspaceFolder}/.venv/bin/python".to_owned(), ..Entry::default() };
        let why = on_a_machine(|machine| refuse_placeholders(&entry, machine)).unwrap_err();
        assert!(why.contains("`${workspaceFolder}` is VS Code's or Cursor's"), "{why}");
        // A variable of that name that there is.
        assert_eq!(refused(&["${cwd}"], &[("cwd", "/x")]), Ok(()));
    }
}
