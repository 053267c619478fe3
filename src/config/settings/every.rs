//! Every setting of a server, once: its key, its default, its texts, its option. The file's reader, the command line,
//! `--help` and the manual come from this table. A new setting is an entry here, a field of [`Settings`], and its use.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use super::definition::DefaultValue::{Value as Is, Words};
use super::definition::Takes::{Many, Nothing, One};
use super::definition::{Change, DefaultValue, Setting, values};
use crate::config::env::{EnvEntry, read_env};
use crate::config::env_file::{EnvFile, read_env_files};
use crate::config::error::ConfigError;
use crate::config::mount::{MountEntry, read_mounts};
use crate::config::overrides::Overrides;
use crate::config::places::WorkFolder;
use crate::config::ports;
use crate::config::protect::{self, Extent, ProtectedName};
use crate::config::reader::{Section, Source};
use crate::config::settings::Settings;
use crate::config::volume::{Volume, read_volumes};
use crate::values::{AbsolutePath, ByteSize, Standby, Timeout, Tmpfs, ToolPattern, Value};

mod container;
mod session;
mod several;

/// Headings of `berth run --help`.
const FILES: &str = "Files";
const SESSION: &str = "Session";
const TOOLS: &str = "Tools";
const VARIABLES: &str = "Variables";

/// The settings, in the order of the manual.
pub fn every_setting() -> &'static [Setting] {
    static TABLE: LazyLock<Vec<Setting>> = LazyLock::new(table);
    &TABLE
}

fn table() -> Vec<Setting> {
    [
        variables(),
        container::container(),
        Vec::from(ports::settings()),
        files(),
        tools(),
        session::session(),
        several::several(),
        standby(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What the server finds in its environment.
fn variables() -> Vec<Setting> {
    vec![
        Setting::custom(
            "env",
            Words("none"),
            "`{ NAME = \"value\" }`; `${VAR}` and `${VAR:-default}` come from the client's environment",
            |section, _| Ok(change(read_env(section)?, Settings::apply_env)),
            |texts| env_entries(texts, false),
        )
        .option("env", Many("NAME=VALUE"), VARIABLES)
        .short('e')
        .help("a variable of the server; `${VAR}` is taken from the client's environment"),
        Setting::custom(
            "secrets",
            Words("none"),
            "the same, or `{ NAME = { file = \"…\" } }` and others; berth redacts the value wherever it would be shown",
            // `env` has read them: a name may not stand in both.
            |_, _| Ok(None),
            |texts| env_entries(texts, true),
        )
        .option("secret", Many("NAME=VALUE"), VARIABLES)
        .help("the same; berth redacts the value wherever it would be shown"),
        Setting::custom(
            "env_vars",
            Words("none"),
            "`[\"NAME\"]`: variables of the client's environment that the server gets where they are set; see [secrets](secrets.md)",
            // `env` has read them, too.
            |_, _| Ok(None),
            |_| Err("expected a list in the configuration".to_owned()),
        ),
        Setting::custom(
            "env_file",
            Words("none"),
            "`[\"/path\"]`: files of `NAME=value` lines, as `docker run --env-file` reads them, read at each start; `env` goes \
             before; the lists of all layers add up",
            |section, key| Ok(read_env_files(section, key)?.map(|files| always(files, add_env_files))),
            |texts| values::<EnvFile>(texts).map(|files| always(files, add_env_files)),
        )
        .option("env-file", Many("FILE"), VARIABLES)
        .help("a file of the server's variables, as `docker run --env-file` reads it"),
    ]
}

fn add_env_files(settings: &mut Settings, files: &[EnvFile]) {
    settings.env_files.extend_from_slice(files);
}

/// What it sees of files.
fn files() -> Vec<Setting> {
    vec![
        Setting::custom(
            "mounts",
            Words("none"),
            "`[\"SOURCE:TARGET[:rw]\"]`: folders and files of this machine, read-only unless `:rw` stands behind them; \
             see [files](files.md)",
            |section, key| Ok(read_mounts(section, key)?.map(|mounts| always(mounts, Settings::apply_mounts))),
            |texts| values::<MountEntry>(texts).map(|mounts| always(mounts, Settings::apply_mounts)),
        )
        .option("mount", Many("SOURCE:TARGET[:rw]"), FILES)
        .short('v')
        .help("a folder or file of this machine, read-only unless `:rw` is behind it; `share` in [dind] has to hold it"),
        Setting::custom(
            "volumes",
            Words("none"),
            "`[\"NAME:TARGET[:OPTION,…]\"]`: folders that are kept between sessions; options: `ro`, `shared`, `concurrent`; see [files](files.md)",
            |section, key| Ok(read_volumes(section, key)?.map(|volumes| always(volumes, Settings::apply_volumes))),
            |texts| values::<Volume>(texts).map(|volumes| always(volumes, Settings::apply_volumes)),
        )
        .option("volume", Many("NAME:TARGET[:ro]"), FILES)
        .help("a volume of this client's that is kept between sessions; `:shared` behind it makes it all clients' own"),
        Setting::custom(
            "protect",
            Is("\"existing\""),
            "which names that the host obeys (`.git`, `.mcp.json`, `.vscode`, …) stay read-only in `:rw` mounts: those that \
             exist, with `true` the missing ones as well, or a list of names; see [files](files.md)",
            read_protect,
            parse_protect,
        )
        .option("protect", Many("NAME"), FILES)
        .help("a name that stays read-only in `:rw` mounts, instead of the usual ones; `true` for missing ones too, `false` for none"),
        Setting::one::<WorkFolder>("workdir", Words("the image's"), "the folder in which the server starts; may begin with `${VAR}` or `${VAR:-.}`", |settings, path| {
            settings.workdir = Some(path.into_inner());
        })
        .option("workdir", One("PATH"), FILES),
        Setting::one::<bool>("read_only", Is("false"), "whether the root file system is read-only", |settings, read_only| {
            settings.read_only = read_only;
        })
        .option("read-only", Nothing, FILES)
        .help("make the container's root file system read-only"),
        Setting::custom(
            "tmpfs",
            Is("{ \"/tmp\" = \"256m\" }"),
            "folders in memory, with their sizes; nothing in them can be run unless it is `{ size = \"64m\", exec = true }`; a \
             layer replaces those below it",
            read_tmpfs,
            |_| Err("expected a table in the configuration".to_owned()),
        ),
    ]
}

/// What a client may use of it.
fn tools() -> Vec<Setting> {
    vec![
        Setting::list::<ToolPattern>(
            "tools",
            Words("all"),
            "the only tools that a client sees and may call: `[\"read_*\"]`; see [tools](tools.md)",
            |settings, tools| settings.tools = Some(tools),
        )
        .option("tool", Many("PATTERN"), TOOLS)
        .help("a tool that may be used, such as `read_*`; all others may not; instead of the configuration's `tools`"),
        Setting::list::<ToolPattern>(
            "deny_tools",
            Words("none"),
            "forbidden tools, whatever `tools` says; the lists of all layers add up",
            |settings, denied| settings.deny_tools.extend(denied),
        )
        .option("deny-tool", Many("PATTERN"), TOOLS)
        .help("a tool that may not be used; beside the configuration's `deny_tools`"),
    ]
}

/// A number, or a table of the least and the most.
fn read_standby(section: &mut Section<'_>, key: &'static str) -> Result<Option<Standby>, ConfigError> {
    let Some(item) = section.take_item(key) else { return Ok(None) };
    if !item.is_table() {
        return item.read().map(Some);
    }
    let mut table = item.section(format!("`{key}`"))?;
    let count = |bound: Option<Standby>| bound.map(Standby::most);
    let least = count(table.take("min")?).unwrap_or(0);
    let most = count(table.take("max")?);
    let most = most.ok_or_else(|| table.error(format!("`{key}` needs a `max`")))?;
    let standby = Standby::between(least, most)
        .ok_or_else(|| table.error(format!("`{key}` has a `min` of {least} and a `max` of {most}")))?;
    table.finish()?;
    Ok(Some(standby))
}

fn set_standby(standby: Standby) -> Change {
    Arc::new(move |settings| settings.standby = standby)
}

/// What is ready before a session comes.
fn standby() -> Vec<Setting> {
    vec![
        Setting::custom(
            "standby",
            Is("1"),
            "containers kept started for the next sessions of the same kind of client; `0` for none, and to use none; \
             `{ min = 0, max = 8 }`: as many as a manager finds useful",
            |section, key| Ok(read_standby(section, key)?.map(set_standby)),
            |texts| {
                let [text] = texts else { return Err("expected one value".to_owned()) };
                let standby = text.parse::<Standby>().map_err(|error| error.to_string())?;
                Ok(set_standby(standby))
            },
        )
        .option("standby", One("N"), SESSION),
        Setting::one::<Timeout>(
            "standby_ttl",
            Is("\"30m\""),
            "how long such a container waits before it ends by itself",
            |settings, time| settings.standby_ttl = time.duration(),
        ),
        Setting::one::<bool>(
            "prestart",
            Is("false"),
            "whether the server runs in that container already; it has heard nothing yet",
            |settings, prestart| settings.prestart = prestart,
        ),
    ]
}

/// A change that is there only where there is something to change.
fn change<T: Send + Sync + 'static>(values: Vec<T>, set: fn(&mut Settings, &[T])) -> Option<Change> {
    (!values.is_empty()).then(|| always(values, set))
}

fn always<T: Send + Sync + 'static>(values: Vec<T>, set: fn(&mut Settings, &[T])) -> Change {
    Arc::new(move |settings| set(settings, &values))
}

fn env_entries(texts: &[&str], secret: bool) -> Result<Change, String> {
    let parsed: Result<Vec<EnvEntry>, _> = texts.iter().map(|text| text.parse::<EnvEntry>()).collect();
    let entries = parsed.map_err(|error| error.to_string())?;
    let entries = entries.into_iter().map(|entry| if secret { entry.secret() } else { entry }).collect();
    Ok(always(entries, Settings::apply_env))
}

/// How far the usual names are protected, or a list instead of them.
fn read_protect(section: &mut Section<'_>, key: &'static str) -> Result<Option<Change>, ConfigError> {
    let Some(item) = section.take_item(key) else { return Ok(None) };
    Ok(Some(if item.is_list() { named(item.list()?) } else { usual(item.read()?) }))
}

fn parse_protect(texts: &[&str]) -> Result<Change, String> {
    Ok(match texts {
        ["existing"] => usual(Extent::Existing),
        ["true"] => usual(Extent::All),
        ["false"] => usual(Extent::None),
        _ => named(values(texts)?),
    })
}

fn named(names: Vec<ProtectedName>) -> Change {
    always(names, Settings::apply_protect)
}

fn usual(extent: Extent) -> Change {
    match extent {
        Extent::Existing => always(protect::all(), Settings::apply_protect_existing),
        Extent::All => named(protect::all()),
        Extent::None => named(Vec::new()),
    }
}

fn read_tmpfs(section: &mut Section<'_>, key: &'static str) -> Result<Option<Change>, ConfigError> {
    let Some(table) = section.take_section(key)? else { return Ok(None) };
    let mut tmpfs = BTreeMap::<String, Tmpfs>::new();
    for item in table.entries() {
        let path = AbsolutePath::from_text(&item.name).ok_or_else(|| {
            item.key_error(format!("`{}` in `tmpfs` is not an absolute path such as \"/tmp\"", item.name))
        })?;
        // The kernel takes 0 for «no limit».
        let no_size = format!("`{}` in `tmpfs` has no size", item.name);
        let (size, exec, sizeless) = if item.is_table() {
            let mut table = item.section(format!("[tmpfs.\"{}\"]", path.as_str()))?;
            let (size, exec) = (table.take::<ByteSize>("size")?, table.take::<bool>("exec")?);
            table.finish()?;
            (size, exec.unwrap_or_default(), table.error(no_size))
        } else {
            (Some(item.read::<ByteSize>()?), false, item.error(no_size))
        };
        let Some(bytes) = size.map(ByteSize::bytes).filter(|bytes| *bytes > 0) else {
            return Err(sizeless.with_hint("write \"64m\", or { size = \"64m\", exec = true }"));
        };
        tmpfs.insert(path.into_inner(), Tmpfs { bytes, exec });
    }
    Ok(Some(Arc::new(move |settings| settings.tmpfs.clone_from(&tmpfs))))
}

impl Settings {
    /// The layer `over` on these.
    pub(in crate::config) fn apply(&mut self, over: &Overrides) {
        over.apply(self);
    }
}

impl Default for Settings {
    fn default() -> Self {
        static DEFAULT: LazyLock<Settings> = LazyLock::new(|| {
            let mut settings = Settings::blank();
            // Without its limits no server may run.
            let defaults = defaults(every_setting()).unwrap_or_else(|error| unreachable!("{error}"));
            settings.apply(&defaults);
            settings
        });
        DEFAULT.clone()
    }
}

/// The table's own values, read as if they stood in a file.
fn defaults(table: &[Setting]) -> Result<Overrides, ConfigError> {
    let lines = table.iter().filter_map(|setting| match setting.default {
        DefaultValue::Value(value) => Some(format!("{} = {value}\n", setting.key)),
        DefaultValue::Words(_) => None,
    });
    let text: String = lines.collect();
    let source = Source::new(Path::new("the built-in settings"), &text);
    let mut section = source.root()?;
    let defaults = Overrides::read(&mut section, table)?;
    section.finish()?;
    Ok(defaults)
}

#[cfg(test)]
impl Overrides {
    /// With what options would say, for tests.
    #[must_use]
    pub(crate) fn with(mut self, key: &str, texts: &[&str]) -> Self {
        let setting = every_setting().iter().find(|setting| setting.key == key);
        self.set(setting.expect("a key of the table"), texts).expect("a value of that setting");
        self
    }
}

#[cfg(test)]
mod tests;
