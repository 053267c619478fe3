//! Which parts of a word may be paths of this machine, by their look alone.

use std::ops::Range;

/// A part of a word that may be a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// Where it stands in the word.
    pub at: Range<usize>,
    pub begin: Begin,
}

/// Where a path begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Begin {
    Root,
    /// `~`, `$HOME` or `${HOME}`, and the length of that.
    Home(usize),
    /// The folder in which the client starts the server.
    Here,
    /// `${NAME}` or `${NAME:-…}`, and the length of that.
    Variable {
        name: String,
        default: Option<String>,
        length: usize,
    },
}

/// Flags and variables whose value is a path, by their last part.
const PATHS: [&str; 27] = [
    "path",
    "file",
    "dir",
    "directory",
    "folder",
    "root",
    "db",
    "database",
    "repository",
    "repo",
    "workspace",
    "project",
    "home",
    "config",
    "kubeconfig",
    "vault",
    "storage",
    "logs",
    "log",
    "cache",
    "output",
    "data",
    "ca",
    "cert",
    "key",
    "credentials",
    "paths",
];

/// How files end that are named without their folder.
const ENDINGS: [&str; 13] =
    ["csv", "db", "duckdb", "json", "jsonl", "log", "md", "sqlite", "sqlite3", "toml", "txt", "yaml", "yml"];

/// The parts of `name` (of a flag or a variable), in lower case.
pub(super) fn parts(name: &str) -> impl Iterator<Item = String> {
    name.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|part| !part.is_empty())
        .map(str::to_ascii_lowercase)
}

/// Whether what is called `name` is a path by that name.
pub(super) fn is_path_name(name: &str) -> bool {
    parts(name).last().is_some_and(|last| PATHS.contains(&last.as_str()))
}

/// The name before a word's value, and where the value begins: `--flag=VALUE`, `NAME=VALUE`.
pub(super) fn named(word: &str) -> Option<(&str, usize)> {
    let (name, _) = word.split_once('=')?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    is_name.then_some((name, name.len() + 1))
}

/// The parts of a word that look like paths. `name` is that of the flag or variable whose value it is.
pub(super) fn pieces(word: &str, name: Option<&str>) -> Vec<Piece> {
    let (name, mut from) = match named(word) {
        Some((flag, from)) if name.is_none() => (Some(flag), from),
        _ => (name, 0),
    };
    let mut value = &word[from..];
    // `file:./dev.db` is Prisma's.
    let is_plain = |rest: &&str| ["/", "./", "../"].iter().any(|begin| rest.starts_with(begin));
    let plain = ["file://", "file:", "sqlite:"].iter().find_map(|scheme| {
        let rest = value.strip_prefix(scheme).filter(is_plain).filter(|rest| !rest.starts_with("//"))?;
        Some((scheme.len(), rest))
    });
    if let Some((length, rest)) = plain {
        (from, value) = (from + length, rest);
    } else if let Some((scheme, rest)) =
        value.split_once("://").filter(|(scheme, _)| !scheme.starts_with("${"))
    {
        let kind = scheme.split('+').next().unwrap_or(scheme);
        // Three slashes before a path that is not absolute, and four before one that is.
        let Some(path) = rest.strip_prefix('/').filter(|_| ["sqlite", "sqlite3", "duckdb"].contains(&kind))
        else {
            return Vec::new();
        };
        let path = path.split('?').next().unwrap_or(path);
        let at = word.len() - rest.len() + 1;
        let begin = if path.starts_with('/') { Begin::Root } else { Begin::Here };
        return if path.is_empty() || path == ":memory:" {
            Vec::new()
        } else {
            vec![Piece { at: at..at + path.len(), begin }]
        };
    }
    for separator in [':', ','] {
        let all: Vec<&str> = value.split(separator).collect();
        if all.len() > 1 && !value.contains(":-") && all.iter().all(|part| begin(part, None).is_some()) {
            let mut at = from;
            let mut pieces = Vec::new();
            for part in all {
                pieces.extend(begin(part, None).map(|begin| Piece { at: at..at + part.len(), begin }));
                at += part.len() + 1;
            }
            return pieces;
        }
    }
    let begin = begin(value, name);
    begin.map(|begin| Piece { at: from..word.len(), begin }).into_iter().collect()
}

fn begin(text: &str, name: Option<&str>) -> Option<Begin> {
    let follows = |rest: &str| rest.is_empty() || rest.starts_with('/');
    for home in ["~", "$HOME", "${HOME}"] {
        if text.strip_prefix(home).is_some_and(follows) {
            return Some(Begin::Home(home.len()));
        }
    }
    if let Some((inside, rest)) = text.strip_prefix("${").and_then(|text| text.split_once('}')) {
        let (name, default) = inside
            .split_once(":-")
            .map_or((inside, None), |(name, default)| (name, Some(default.to_owned())));
        return follows(rest).then(|| Begin::Variable {
            name: name.to_owned(),
            default,
            length: inside.len() + 3,
        });
    }
    if text.starts_with('/') {
        return (!text.starts_with("//") && !text.contains([' ', '\n', '*', '{', '(']))
            .then_some(Begin::Root);
    }
    let is_here = [".", ".."].contains(&text) || text.starts_with("./") || text.starts_with("../");
    // `--db-path test.db`
    let is_named = || {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        let ending = text.rsplit_once('.').map_or("", |(_, ending)| ending);
        name.is_some_and(is_path_name) && ENDINGS.contains(&ending) && text.chars().all(plain)
    };
    (is_here || is_named()).then_some(Begin::Here)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(word: &str, name: Option<&str>) -> Vec<String> {
        let kind = |begin: &Begin| match begin {
            Begin::Root => "root",
            Begin::Home(_) => "home",
            Begin::Here => "here",
            Begin::Variable { .. } => "variable",
        };
        pieces(word, name)
            .iter()
            .map(|piece| format!("{} {}", kind(&piece.begin), &word[piece.at.clone()]))
            .collect()
    }

    #[test]
    fn paths_are_known_by_their_look() {
        for (word, found) in [
            ("/srv/a b", &[][..]),
            ("/srv/a", &["root /srv/a"]),
            ("--root=/srv", &["root /srv"]),
            ("LOGS=~/x", &["home ~/x"]),
            ("~", &["home ~"]),
            ("~me/x", &[]),
            ("$HOME/x", &["home $HOME/x"]),
            ("$HOMES", &[]),
            ("${HOME}/x", &["home ${HOME}/x"]),
            ("${CLAUDE_PLUGIN_ROOT}/s.js", &["variable ${CLAUDE_PLUGIN_ROOT}/s.js"]),
            ("${CLAUDE_PROJECT_DIR:-.}", &["variable ${CLAUDE_PROJECT_DIR:-.}"]),
            ("${A}b", &[]),
            (".", &["here ."]),
            ("./test.db", &["here ./test.db"]),
            ("../x", &["here ../x"]),
            ("file:///srv/a", &["root /srv/a"]),
            ("file:./dev.db", &["here ./dev.db"]),
            ("file:/srv/a.db", &["root /srv/a.db"]),
            ("sqlite:./a.db", &["here ./a.db"]),
            ("file:a.db", &[]),
            ("sqlite:////srv/a.db", &["root /srv/a.db"]),
            ("sqlite+aiosqlite:///a.db?x=1", &["here a.db"]),
            ("sqlite:///:memory:", &[]),
            ("postgres://u@h/d", &[]),
            ("https://h/a", &[]),
            ("/a:~/b", &["root /a", "home ~/b"]),
            ("/a,/b,./c", &["root /a", "root /b", "here ./c"]),
            ("--dirs=/a,/b", &["root /a", "root /b"]),
            ("a:/b", &[]),
            ("//x", &[]),
            ("test.db", &[]),
            ("@scope/a", &[]),
            ("-v", &[]),
        ] {
            assert_eq!(texts(word, None), found, "{word}");
        }
    }

    #[test]
    fn a_name_makes_a_path_of_what_could_be_anything() {
        assert_eq!(texts("data/test.db", Some("--db-path")), ["here data/test.db"]);
        assert_eq!(texts("--db-path=test.db", None), ["here test.db"]);
        for (word, name) in
            [("test.db", "--name"), ("1.5", "--data-dir"), ("main", "--repo"), ("a@b.c", "FILE")]
        {
            assert_eq!(texts(word, Some(name)), [""; 0], "{word}");
        }
    }
}
