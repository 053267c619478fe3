//! One layer of a server's settings: `[defaults]`, a server's own table, or the flags. A layer says only
//! what it changes.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::error::{ConfigError, Place};
use super::mount::{self, MountEntry};
use super::reader::Section;
use super::volume::{self, Volume};
use crate::values::Template;
use crate::values::ToolPattern;
use crate::values::Value;
use crate::values::{AbsolutePath, Capability, Network, OnFailure, User};
use crate::values::{ByteSize, Cpus, LineLimit, Memory, Pids, Span, Standby, Timeout};

/// What a layer changes; all of it optional.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Added to those of the layers below, variable by variable.
    pub env: Vec<EnvEntry>,
    pub network: Option<Network>,
    pub memory: Option<Memory>,
    pub cpus: Option<Cpus>,
    pub pids: Option<Pids>,
    pub cap_add: Option<Vec<Capability>>,
    pub read_only: Option<bool>,
    pub user: Option<User>,
    pub workdir: Option<AbsolutePath>,
    /// Replaces that of the layers below as a whole, so that one can be taken away.
    pub tmpfs: Option<BTreeMap<AbsolutePath, ByteSize>>,
    pub no_new_privileges: Option<bool>,
    pub max_line: Option<LineLimit>,
    pub stop_grace: Option<Span>,
    pub connect_timeout: Option<Timeout>,
    pub start_timeout: Option<Timeout>,
    pub standby: Option<Standby>,
    pub standby_ttl: Option<Timeout>,
    pub prestart: Option<bool>,
    pub on_failure: Option<OnFailure>,
    pub recover_within: Option<Timeout>,
    pub answer_timeout: Option<Timeout>,
    pub call_timeout: Option<Timeout>,
    /// Replaces that of the layers below.
    pub tools: Option<Vec<ToolPattern>>,
    /// Added to those of the layers below, so that no layer allows by forbidding.
    pub deny_tools: Vec<ToolPattern>,
    /// Added to those of the layers below, target by target; an empty list takes them away.
    pub mounts: Option<Vec<MountEntry>>,
    /// The same.
    pub volumes: Option<Vec<Volume>>,
    pub journal: Option<bool>,
}

impl Overrides {
    pub(super) fn read(section: &mut Section) -> Result<Self, ConfigError> {
        Ok(Self {
            env: read_env(section)?,
            network: section.take("network")?,
            memory: section.take("memory")?,
            cpus: section.take("cpus")?,
            pids: section.take("pids")?,
            cap_add: section.take_list("cap_add")?,
            read_only: section.take("read_only")?,
            user: section.take("user")?,
            workdir: section.take("workdir")?,
            tmpfs: read_tmpfs(section)?,
            no_new_privileges: section.take("no_new_privileges")?,
            max_line: section.take("max_line")?,
            stop_grace: section.take("stop_grace")?,
            connect_timeout: section.take("connect_timeout")?,
            start_timeout: section.take("start_timeout")?,
            standby: section.take("standby")?,
            standby_ttl: section.take("standby_ttl")?,
            prestart: section.take("prestart")?,
            on_failure: section.take("on_failure")?,
            recover_within: section.take("recover_within")?,
            answer_timeout: section.take("answer_timeout")?,
            call_timeout: section.take("call_timeout")?,
            tools: section.take_list("tools")?,
            deny_tools: section.take_list("deny_tools")?.unwrap_or_default(),
            mounts: mount::read_mounts(section)?,
            volumes: volume::read_volumes(section)?,
            journal: section.take("journal")?,
        })
    }
}

fn read_tmpfs(section: &mut Section) -> Result<Option<BTreeMap<AbsolutePath, ByteSize>>, ConfigError> {
    let Some(table) = section.take_section("tmpfs")? else { return Ok(None) };
    let mut tmpfs = BTreeMap::new();
    for item in table.entries() {
        let path = AbsolutePath::from_text(&item.name).ok_or_else(|| {
            item.key_error(format!("`{}` in `tmpfs` is no absolute path such as \"/tmp\"", item.name))
        })?;
        let size: ByteSize = item.read()?;
        if size.bytes() == 0 {
            // The kernel takes 0 for «no limit».
            return Err(item
                .error(format!("`{}` in `tmpfs` has no size", item.name))
                .with_hint("write \"64m\""));
        }
        tmpfs.insert(path, size);
    }
    Ok(Some(tmpfs))
}

/// A variable for a server, its value not yet expanded. As a flag: `NAME=VALUE`, or `NAME` for `${NAME}`.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvEntry {
    pub(super) name: String,
    pub(super) template: Template,
    /// Whether it was written under `secrets`.
    pub(super) secret: bool,
    pub(super) place: Option<Place>,
}

impl EnvEntry {
    /// Hides the value wherever it would be shown, whatever its name.
    #[must_use]
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

impl fmt::Debug for EnvEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=${:?}", self.name, self.template)
    }
}

/// A flag that gives a variable is wrong. It does not show the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    #[error("expected NAME=VALUE, or NAME for the variable of that name")]
    Name,
    #[error("the value of `{name}` {fault}")]
    Value { name: String, fault: String },
}

impl FromStr for EnvEntry {
    type Err = EnvError;

    fn from_str(text: &str) -> Result<Self, EnvError> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => (text, format!("${{{text}}}")),
        };
        if !is_env_name(name) {
            return Err(EnvError::Name);
        }
        let template = Template::parse(&value).map_err(|error| {
            let fault = match error.hint() {
                Some(hint) => format!("{error}; {hint}"),
                None => error.to_string(),
            };
            EnvError::Value { name: name.to_owned(), fault }
        })?;
        Ok(Self { name: name.to_owned(), template, secret: false, place: None })
    }
}

fn read_env(section: &mut Section) -> Result<Vec<EnvEntry>, ConfigError> {
    let mut entries: Vec<EnvEntry> = Vec::new();
    for key in ["env", "secrets"] {
        for item in section.take_section(key)?.map(Section::entries).unwrap_or_default() {
            if !is_env_name(&item.name) {
                return Err(item
                    .key_error(format!("`{}` in `{key}` is no name of a variable", item.name))
                    .with_hint("a name is letters, digits, `_`, `.` and `-`, with a letter or `_` first"));
            }
            if entries.iter().any(|entry| entry.name == item.name) {
                return Err(item
                    .key_error(format!("`{}` stands in both `env` and `secrets`", item.name))
                    .with_hint("keep the one in `secrets`"));
            }
            let template = Template::parse(item.text()?).map_err(|error| {
                let wrong = item.error(format!("`{}` in `{key}` {error}", item.name));
                match error.hint() {
                    Some(hint) => wrong.with_hint(hint),
                    None => wrong,
                }
            })?;
            let place = Some(item.place());
            entries.push(EnvEntry { name: item.name, template, secret: key == "secrets", place });
        }
    }
    Ok(entries)
}

/// Wider than POSIX by `.` and `-`, which some servers' own settings have.
fn is_env_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        text.parse::<EnvEntry>().unwrap_err().to_string()
    }

    #[test]
    fn a_flag_without_a_value_names_the_clients_variable() {
        let entry: EnvEntry = "A_1".parse().unwrap();
        assert_eq!(entry.template.expand(&|name| Some(format!("<{name}>"))).unwrap(), "<A_1>");
        let entry: EnvEntry = "A=b=c".parse().unwrap();
        assert_eq!(entry.template.expand(&|_| None).unwrap(), "b=c");
    }

    #[test]
    fn a_wrong_flag_is_explained_without_its_value() {
        assert_eq!(error("=hunter2"), "expected NAME=VALUE, or NAME for the variable of that name");
        assert_eq!(error("1A=hunter2"), "expected NAME=VALUE, or NAME for the variable of that name");
        assert_eq!(
            error("A=hunter2${"),
            "the value of `A` has a `${` without its `}`; \
             write `${NAME}`, `${NAME:-default}`, or `$$` for a plain `$`"
        );
        // A dotted name has no variable of its own to be taken from.
        assert!(error("a.b").starts_with("the value of `a.b` has a `${…}`"));
    }

    #[test]
    fn debug_hides_the_value() {
        let entry: EnvEntry = "A=hunter2${HOME}".parse().unwrap();
        assert_eq!(format!("{entry:?}"), r#"A=$["HOME"]"#);
    }
}
