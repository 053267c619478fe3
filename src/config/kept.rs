//! A secret that neither the file nor the client's environment holds: `{ file = … }`, `{ command = … }`,
//! `{ keyring = … }` under `secrets`. Here is only said where it is kept; [`secrets`](crate::secrets) reads it when its
//! server starts.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{ConfigError, Place};
use super::reader::Section;
use crate::values::{Lookup, PathTemplate, Timeout};

/// A person may have to unlock what holds it.
const WITHIN: Duration = Duration::from_secs(30);

/// Where a secret is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub keeper: SecretKeeper,
    /// How long it may take to get it.
    pub within: Duration,
    /// The line of the configuration that says so.
    pub line: String,
    /// The folder of the configuration.
    pub folder: PathBuf,
}

/// What holds a secret.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretKeeper {
    File(PathBuf),
    /// Program and arguments: its standard output.
    Command(Vec<String>),
    /// A name in the person's keyring.
    Keyring(String),
}

impl fmt::Debug for SecretKeeper {
    /// A command's arguments are the person's own business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Command(words) => write!(f, "Command({})", words.first().map_or("", String::as_str)),
            Self::Keyring(name) => write!(f, "Keyring({name})"),
        }
    }
}

/// The same as it is written, its path not yet expanded.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct KeptEntry {
    keeper: Written,
    within: Duration,
}

#[derive(Clone, PartialEq, Eq)]
enum Written {
    File(PathTemplate),
    Command(Vec<String>),
    Keyring(String),
}

impl KeptEntry {
    /// Of the table that stands in a value's place.
    pub(super) fn read(mut section: Section) -> Result<Self, ConfigError> {
        let file = section.take_item("file");
        let command = section.take_item("command");
        let keyring = section.take_item("keyring");
        let within = section.take::<Timeout>("timeout")?.map_or(WITHIN, Timeout::duration);
        section.finish()?;
        let keeper = match (file, command, keyring) {
            (Some(item), None, None) => {
                let path = item.text()?;
                let path = PathTemplate::parse(path).map_err(|error| {
                    let wrong = item.error(format!("`file` {error}"));
                    match error.hint() {
                        Some(hint) => wrong.with_hint(hint),
                        None => wrong,
                    }
                })?;
                Written::File(path)
            }
            (None, Some(item), None) => {
                let words = item.list::<String>()?;
                let is_program = words.first().is_some_and(|program| !program.is_empty());
                if !is_program || words.iter().any(|word| word.contains('\0')) {
                    return Err(item
                        .error("`command` is no program with its arguments".to_owned())
                        .with_hint("write [\"pass\", \"show\", \"NAME\"]"));
                }
                Written::Command(words)
            }
            (None, None, Some(item)) => {
                let name = item.text()?;
                if !is_keyring_name(name) {
                    return Err(item
                        .error(format!("`{}` cannot be a name in the keyring", name.escape_debug()))
                        .with_hint("a name has 1 to 128 characters, none of them a control character"));
                }
                Written::Keyring(name.to_owned())
            }
            (None, None, None) => {
                return Err(section
                    .error("no `file`, `command` or `keyring`")
                    .with_hint("write one of them: { file = \"~/.config/x\" }"));
            }
            _ => return Err(section.error("`file`, `command` and `keyring` exclude each other")),
        };
        Ok(Self { keeper, within })
    }

    /// The variables that its path names.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        let path = match &self.keeper {
            Written::File(path) => Some(path.variables()),
            Written::Command(_) | Written::Keyring(_) => None,
        };
        path.into_iter().flatten()
    }

    /// `Err` is the name of a variable that is not set. A relative path begins in the folder of the configuration.
    pub(super) fn expand(&self, lookup: Lookup, place: Option<&Place>) -> Result<Kept, String> {
        let file = place.map_or(Path::new(""), |place| &place.file);
        let folder = std::path::absolute(file).ok().and_then(|file| Some(file.parent()?.to_owned()));
        let folder = folder.unwrap_or_else(|| PathBuf::from("/"));
        let keeper = match &self.keeper {
            Written::File(path) => SecretKeeper::File(folder.join(path.expand(lookup)?)),
            Written::Command(words) => {
                let mut words = words.clone();
                // A name without a `/` is looked for in PATH.
                if let Some(program) = words.first_mut().filter(|program| program.contains('/')) {
                    let path = match program.strip_prefix("~/") {
                        Some(rest) => Path::new(&lookup("HOME").ok_or("HOME")?).join(rest),
                        None => folder.join(&*program),
                    };
                    *program = path.to_string_lossy().into_owned();
                }
                SecretKeeper::Command(words)
            }
            Written::Keyring(name) => SecretKeeper::Keyring(name.clone()),
        };
        let line = place.map(ToString::to_string).unwrap_or_default();
        Ok(Kept { keeper, within: self.within, line, folder })
    }
}

/// Whether the keyring may have something under this name.
pub fn is_keyring_name(name: &str) -> bool {
    (1..=128).contains(&name.chars().count()) && !name.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{Config, Home};

    fn parse(secret: &str) -> Result<Config, String> {
        let home = Home::from_env(&|name| (name == "HOME").then(|| "/h".to_owned())).unwrap();
        let text = format!("[servers.a]\nimage = \"i\"\nsecrets = {{ X = {secret} }}");
        Config::parse(&text, Path::new("/c/b.toml"), &home).map_err(|error| error.to_string())
    }

    fn kept(secret: &str) -> Kept {
        let config = parse(secret).unwrap();
        let lookup = |name: &str| (name == "HOME").then(|| "/home/me".to_owned());
        let env = config.server("a").unwrap().resolve_env(&lookup).unwrap();
        assert_eq!((env[0].secret, env[0].value.as_str()), (true, ""), "nothing is read yet");
        env[0].kept.clone().unwrap()
    }

    fn error(secret: &str) -> String {
        let error = parse(secret).unwrap_err();
        error.strip_prefix("/c/b.toml:3: ").unwrap_or_else(|| panic!("{error}")).to_owned()
    }

    #[test]
    fn each_way_to_keep_a_secret_is_read() {
        let file = |text: &str| match kept(text).keeper {
            SecretKeeper::File(path) => path,
            other => panic!("{other:?}"),
        };
        assert_eq!(file(r#"{ file = "~/.config/x" }"#), PathBuf::from("/home/me/.config/x"));
        assert_eq!(file(r#"{ file = "${HOME}/x" }"#), PathBuf::from("/home/me/x"));
        assert_eq!(file(r#"{ file = "x/y" }"#), PathBuf::from("/c/x/y"), "beside the configuration");
        let words = |text: &str| match kept(text).keeper {
            SecretKeeper::Command(words) => words,
            other => panic!("{other:?}"),
        };
        assert_eq!(words(r#"{ command = ["pass", "show", "~/x"] }"#), ["pass", "show", "~/x"]);
        assert_eq!(words(r#"{ command = ["~/bin/x"] }"#), ["/home/me/bin/x"]);
        assert_eq!(words(r#"{ command = ["./x"] }"#), ["/c/./x"]);
        let keyring = kept(r#"{ keyring = "git hub", timeout = "2m" }"#);
        assert_eq!(keyring.keeper, SecretKeeper::Keyring("git hub".to_owned()));
        assert_eq!((keyring.within, keyring.line.as_str()), (Duration::from_mins(2), "/c/b.toml:3"));
    }

    #[test]
    fn mistakes_have_a_line_and_say_what_is_right() {
        let none =
            "no `file`, `command` or `keyring` in [secrets.X]; write one of them: { file = \"~/.config/x\" }";
        assert_eq!(error("{ }"), none);
        let both = "`file`, `command` and `keyring` exclude each other in [secrets.X]";
        assert_eq!(error(r#"{ file = "x", keyring = "y" }"#), both);
        assert_eq!(error(r#"{ flie = "x" }"#), "unknown key `flie` in [secrets.X]; did you mean `file`?");
        assert_eq!(
            error(r#"{ command = "pass show x" }"#),
            "`command` must be a list in brackets, not a text"
        );
        let no_program = "`command` is no program with its arguments; write [\"pass\", \"show\", \"NAME\"]";
        assert_eq!(error("{ command = [] }"), no_program);
        assert_eq!(error(r#"{ command = [""] }"#), no_program);
        assert!(error(r#"{ keyring = "" }"#).starts_with("`` cannot be a name in the keyring; a name has"));
        assert!(error(r#"{ file = "$HOME/x" }"#).starts_with("`file` has a `$` before a name"));
    }

    #[test]
    fn only_a_secret_can_be_kept_elsewhere() {
        let home = Home::from_env(&|_| Some("/h".to_owned())).unwrap();
        let text = "[servers.a]\nimage = \"i\"\nenv = { X = { file = \"x\" } }";
        let error = Config::parse(text, Path::new("/b.toml"), &home).unwrap_err().to_string();
        assert_eq!(error, "/b.toml:3: `X` must be a text in quotes, not a table; write it under `secrets`");
        let prestart = parse(r#"{ file = "x" }"#).unwrap().server("a").unwrap().clone();
        let mut server = prestart;
        server.settings.prestart = true;
        let error = server.check().unwrap_err().to_string();
        assert!(error.contains("cannot be prestarted: its variable `X` is a secret"), "{error}");
    }

    #[test]
    fn a_missing_variable_of_a_path_is_named() {
        let config = parse(r#"{ file = "${NONE}/x" }"#).unwrap();
        let server = config.server("a").unwrap();
        assert!(server.variables().contains("NONE"));
        let error = server.resolve_env(&|_| None).unwrap_err().to_string();
        assert!(error.starts_with("/c/b.toml:3: server `a` needs the variable `NONE`"), "{error}");
    }

    #[test]
    fn debug_shows_no_argument() {
        let words = ["p".to_owned(), "hunter2".to_owned()];
        assert_eq!(format!("{:?}", SecretKeeper::Command(words.into())), "Command(p)");
    }
}
