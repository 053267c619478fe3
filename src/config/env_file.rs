//! `env_file`: files with a server's variables, as `docker run --env-file` reads them. Read at each start, on the machine of
//! the client.
//!
//! A file is full of credentials: all its values are secrets, and no message shows one of its lines.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::env::EnvVar;
use super::error::{ConfigError, Place};
use super::reader::Section;
use crate::regular;
use crate::values::{Lookup, PathTemplate, Value, ValueError, from_str};

/// More than any list of variables needs (bytes).
const LONGEST: u64 = 1 << 20;

from_str!(EnvFile);

/// A file of variables; its path is not yet expanded.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct EnvFile {
    path: PathTemplate,
    pub(super) place: Option<Place>,
}

impl Value for EnvFile {
    const EXPECTED: &'static str = "a file's path such as \"~/.config/server.env\"";

    fn from_text(text: &str) -> Option<Self> {
        let path = PathTemplate::parse(text).ok().filter(|_| !text.is_empty())?;
        Some(Self { path, place: None })
    }
}

impl fmt::Debug for EnvFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EnvFile").field(&self.path).finish()
    }
}

pub(super) fn read_env_files(
    section: &mut Section,
    key: &'static str,
) -> Result<Option<Vec<EnvFile>>, ConfigError> {
    let Some(item) = section.take_item(key) else { return Ok(None) };
    let mut files: Vec<EnvFile> = item.list()?;
    for file in &mut files {
        file.place = Some(item.place());
    }
    Ok(Some(files))
}

impl EnvFile {
    /// The variables that its path names.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        self.path.variables()
    }

    /// A relative path begins in the folder of the configuration, and that of an option where berth was started.
    pub(super) fn expand(&self, lookup: Lookup) -> Result<PathBuf, String> {
        let file = self.place.as_ref().map_or(Path::new(""), |place| &place.file);
        let folder = file.parent().map(Path::to_owned).unwrap_or_default();
        Ok(folder.join(self.path.expand(lookup)?))
    }
}

/// What the files of a server say, the later over the former.
pub(super) fn read_all(
    server: &str,
    files: &[EnvFile],
    lookup: Lookup,
) -> Result<BTreeMap<String, EnvVar>, ConfigError> {
    let mut env = BTreeMap::new();
    for file in files {
        let wrong = |message: String| ConfigError::new(message).at(file.place.clone());
        let path = file.expand(lookup).map_err(|variable| {
            wrong(format!(
                "server `{server}` needs the variable `{variable}` for its `env_file`, but it is not set"
            ))
            .with_hint("set it for the client that starts berth, or write the path out")
        })?;
        let shown = path.display();
        let text = read(&path).map_err(|why| {
            wrong(format!("server `{server}` cannot read its `env_file` {shown}: {why}"))
                .with_hint("write the file, or remove it from `env_file`")
        })?;
        let found = parse(&text, lookup).map_err(|Wrong { line, why }| {
            wrong(format!("line {line} of the `env_file` {shown} {why}"))
                .with_hint("write NAME=VALUE, or NAME for the client's own variable")
        })?;
        env.extend(found.into_iter().map(|(name, value)| {
            let var = EnvVar { name: name.clone(), value, secret: true, kept: None };
            (name, var)
        }));
    }
    Ok(env)
}

/// Nothing that blocks, and nothing without an end.
fn read(path: &Path) -> Result<String, String> {
    let file = regular::open(path).map_err(|error| error.to_string())?.ok_or("it is no regular file")?;
    let mut text = String::new();
    let read = file.take(LONGEST + 1).read_to_string(&mut text).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => "it is not UTF-8".to_owned(),
        _ => error.to_string(),
    })?;
    if read as u64 > LONGEST { Err("it is longer than 1 MiB".to_owned()) } else { Ok(text) }
}

#[derive(Debug, PartialEq, Eq)]
struct Wrong {
    line: usize,
    why: &'static str,
}

/// As the docker CLI has it (`opts/file.go`): no quotes, nothing behind a value is a comment, blanks before a name don't count
/// and those behind a value do.
fn parse(text: &str, lookup: Lookup) -> Result<Vec<(String, String)>, Wrong> {
    let mut found = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (n, line) in text.lines().enumerate() {
        let wrong = |why| Wrong { line: n + 1, why };
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (line, lookup(line)),
        };
        if name.is_empty() {
            return Err(wrong("has no name before its `=`"));
        }
        if name.contains(char::is_whitespace) {
            return Err(wrong("has a blank in its name"));
        }
        if line.contains('\0') {
            return Err(wrong("has a NUL character"));
        }
        found.extend(value.map(|value| (name.to_owned(), value)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Home, Server};

    fn lookup(name: &str) -> Option<String> {
        match name {
            "HOME" => Some("/home/me".to_owned()),
            "PASSED" => Some("on".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn a_file_is_read_as_docker_reads_it() {
        let text =
            "\u{feff}A=1\r\n# B=2\n\n  \tC= 3 # no comment \nD=\"q\"\nE=a=b\nF=\nPASSED\nUNSET\n a.b-c=x";
        let found = parse(text, &lookup).unwrap();
        let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [
            ("A", "1"),
            ("C", " 3 # no comment "),
            ("D", "\"q\""),
            ("E", "a=b"),
            ("F", ""),
            ("PASSED", "on"),
            ("a.b-c", "x"),
        ];
        assert_eq!(found, expected);
        for (text, line, why) in [
            ("A=1\n=hunter2", 2, "has no name before its `=`"),
            ("export A=hunter2", 1, "has a blank in its name"),
            ("A =hunter2", 1, "has a blank in its name"),
            ("A=a\0", 1, "has a NUL character"),
        ] {
            assert_eq!(parse(text, &lookup), Err(Wrong { line, why }), "{text}");
        }
    }

    fn server(folder: &Path, keys: &str) -> Server {
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        let text = format!("[servers.a]\nimage = \"i\"\n{keys}\n");
        let config = Config::parse(&text, &folder.join("b.toml"), &home);
        config.unwrap().server("a").unwrap().clone()
    }

    #[test]
    fn files_are_read_at_each_start_and_env_goes_before() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("one.env", "A=file-a\nB=file-b\nC=file-c\n");
        write("two.env", "C=later\n");
        let server = server(folder.path(), "env_file = [\"one.env\", \"two.env\"]\nenv = { A = \"own\" }");
        let env = || server.resolve_env(&lookup).map(|env| env.into_iter().map(|var| (var.name, var.value)));
        let pairs = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>()
        };
        let before: Vec<_> = env().unwrap().collect();
        assert_eq!(before, pairs(&[("A", "own"), ("B", "file-b"), ("C", "later")]));
        let shown = format!("{:?}", server.resolve_env(&lookup).unwrap());
        assert_eq!(shown, "[A=[redacted], B=[redacted], C=[redacted]]");
        write("one.env", "B=new\n");
        assert_eq!(env().unwrap().collect::<Vec<_>>(), pairs(&[("A", "own"), ("B", "new"), ("C", "later")]));
    }

    #[test]
    fn what_cannot_be_read_is_told_with_the_line_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let said = |keys: &str| {
            let error = server(folder.path(), keys).resolve_env(&lookup).unwrap_err().to_string();
            error.replace(&folder.path().display().to_string(), "/c")
        };
        assert_eq!(
            said("env_file = [\"none.env\"]"),
            "/c/b.toml:3: server `a` cannot read its `env_file` /c/none.env: No such file or directory (os error 2); write \
             the file, or remove it from `env_file`"
        );
        assert!(said("env_file = [\"~/x.env\"]").contains("`env_file` /home/me/x.env: "));
        assert!(
            said("env_file = [\"${NONE}/x.env\"]").contains("needs the variable `NONE` for its `env_file`")
        );
        assert!(said("env_file = [\"/\"]").contains("it is no regular file"));
        std::fs::write(folder.path().join("x.env"), "A=1\nB hunter2\n").unwrap();
        let wrong = said("env_file = [\"x.env\"]");
        assert_eq!(
            wrong,
            "/c/b.toml:3: line 2 of the `env_file` /c/x.env has a blank in its name; write NAME=VALUE, or NAME for the \
             client's own variable"
        );
        let mut ahead = server(folder.path(), "env_file = [\"x.env\"]");
        ahead.settings.prestart = true;
        assert!(ahead.check().unwrap_err().to_string().contains("it has variables from an `env_file`"));
        assert!(server(folder.path(), "env_file = [\"${DIR}/x.env\"]").variables().contains("DIR"));
    }
}
