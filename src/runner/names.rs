//! Names of programs, servers and packages; and texts as templates.

use crate::values::is_server_name;

/// Names that say nothing of their own: the one before them does.
const GENERIC: [&str; 6] = ["mcp", "mcp-server", "server", "mcp_server", "cli", "latest"];

/// A program by whatever path or ending it is called.
pub(super) fn program(word: &str) -> String {
    let base = word.rsplit(['/', '\\']).next().unwrap_or(word).to_ascii_lowercase();
    for ending in [".exe", ".cmd", ".bat"] {
        if let Some(base) = base.strip_suffix(ending) {
            return base.to_owned();
        }
    }
    base
}

/// Whether a program's place holds a whole command line. A folder's name may hold a space.
pub(super) fn is_line(program: &str) -> bool {
    let first = program.split_whitespace().next().unwrap_or_default();
    first.len() < program.trim().len() && !first.contains(['/', '\\'])
}

/// `python`, `python3`, `python3.13`
pub(super) fn is_python(program: &str) -> bool {
    program
        .strip_prefix("python")
        .is_some_and(|version| version.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

/// Whether `name` may be a variable's.
pub(super) fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// A name fit for `[servers.NAME]` out of the parts of a longer one, the last first choice.
pub(super) fn server(parts: &[&str]) -> String {
    let parts: Vec<&str> = parts.iter().map(|part| part.trim_start_matches(['@', '.', '_', '-'])).collect();
    let telling = parts.iter().rev().find(|part| !part.is_empty() && !GENERIC.contains(part));
    let name = telling.or(parts.last()).copied().unwrap_or_default();
    let fit = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' };
    let name: String = name.chars().map(fit).take(64).collect();
    if is_server_name(&name) { name } else { "server".to_owned() }
}

/// A text of a command line as one of the configuration: `${NAME}` and `${NAME:-default}`, which clients have for variables,
/// stay what they are, and every other `$` is a plain one.
pub(crate) fn template(text: &str) -> String {
    let mut template = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        template += before;
        rest = after;
        match variable(after) {
            Some(length) => {
                template.push('$');
                template += &after[..length];
                rest = &after[length..];
            }
            None => template += "$$",
        }
    }
    template + rest
}

/// The length of `{NAME}` or `{NAME:-default}` at the start of `text`, if it is such a thing.
fn variable(text: &str) -> Option<usize> {
    let (inside, _) = text.strip_prefix('{')?.split_once('}')?;
    let (name, default) = inside.split_once(":-").unwrap_or((inside, ""));
    let posix = is_variable(name) && !name.contains(['.', '-']);
    (posix && !default.contains('$')).then_some(inside.len() + 2)
}

/// What commas separate outside of brackets.
pub(super) fn commas(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    let split = move |c: char| {
        depth += i32::from(c == '[') - i32::from(c == ']');
        c == ',' && depth == 0
    };
    text.split(split).map(str::trim)
}

/// A package of an npm registry without its version.
pub(super) fn npm(spec: &str) -> &str {
    // The first character may be the scope's own `@`.
    let at = spec.char_indices().skip(1).find(|(_, c)| *c == '@').map_or(spec.len(), |(at, _)| at);
    &spec[..at]
}

/// A package of a Python index without its extras and version.
pub(super) fn python(spec: &str) -> &str {
    let end = spec.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).unwrap_or(spec.len());
    &spec[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_known_by_their_last_part() {
        for (word, name) in
            [("/usr/bin/npx", "npx"), ("NPX.CMD", "npx"), (r"C:\node\npx.cmd", "npx"), ("uvx", "uvx")]
        {
            assert_eq!(program(word), name);
        }
        for (word, line) in [("npx -y a", true), ("npx ", false), ("/a b/npx", false), (r"C:\a b\npx", false)]
        {
            assert_eq!(is_line(word), line, "{word}");
        }
        for (word, python) in [("python", true), ("python3.13", true), ("pythonw", false), ("pypy", false)] {
            assert_eq!(is_python(word), python, "{word}");
        }
    }

    #[test]
    fn a_server_is_called_by_what_tells_it_from_others() {
        assert_eq!(server(&["@playwright", "mcp"]), "playwright");
        assert_eq!(server(&["@modelcontextprotocol", "server-time"]), "server-time");
        assert_eq!(server(&["mcp"]), "mcp");
        assert_eq!(server(&["ü"]), "server");
        assert_eq!(server(&[]), "server");
        assert_eq!(server(&["a b"]), "a-b");
        assert_eq!(server(&[&"a".repeat(70)]).len(), 64);
    }

    #[test]
    fn variables_in_braces_stay_and_other_dollars_are_plain() {
        for (text, expected) in [
            ("plain", "plain"),
            ("${HOME}/a", "${HOME}/a"),
            ("${A:-b c}", "${A:-b c}"),
            ("$HOME", "$$HOME"),
            ("a$", "a$$"),
            ("${A", "$${A"),
            ("${A:?x}", "$${A:?x}"),
            ("${A:-$B}", "$${A:-$$B}"),
            ("${a.b}", "$${a.b}"),
            ("p$$w${A}", "p$$$$w${A}"),
        ] {
            assert_eq!(template(text), expected, "{text}");
        }
    }
}
