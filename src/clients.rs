//! The AI clients' own configurations: where their files are, which servers stand in them, and how an entry is put in or
//! taken out with everything else left as it was.
//!
//! What is decided here is text to text; only [`Draft`] reads and writes files. No value of a variable is ever part of a
//! message.

mod berth;
mod claude_code;
mod cli;
mod codex;
mod draft;
mod translate;

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::failure::{Code, Failure};

pub use berth::{is_berth, of_berth};
pub use cli::Cli;
pub use draft::Draft;
pub use translate::{Translated, secret_arguments, translate};

/// A client whose configuration berth can edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    ClaudeCode,
    Codex,
}

impl Kind {
    /// As berth's commands have it.
    pub fn id(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::Codex => "codex",
        }
    }

    /// As people have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ClaudeCode => "Claude Code",
            Self::Codex => "Codex",
        }
    }
}

/// For whom an entry is: `user` for a person everywhere, `project` for everybody in a project, `local` for a person in a
/// project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scope {
    User,
    Project,
    Local,
}

impl Scope {
    pub const ALL: [Self; 3] = [Self::User, Self::Project, Self::Local];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Project => "project",
            Self::Local => "local",
        }
    }
}

/// A server on standard input and output, as a client has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    pub command: String,
    pub args: Vec<String>,
    /// Variables with their values.
    pub env: Vec<(String, String)>,
    /// Variables that are passed on from the client's own environment; only Codex needs them named.
    pub env_vars: Vec<String>,
    /// The folder it starts in.
    pub cwd: Option<String>,
    /// Seconds; only Codex has it in its configuration.
    pub startup_timeout: Option<u64>,
}

/// What stands under a server's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Stdio(Entry),
    /// By HTTP or the like, with its address: no matter of berth's.
    Remote,
    /// Neither; why.
    Unknown(&'static str),
}

/// A client's file with its servers. Whatever is done leaves the rest of the text as it was.
pub trait Document {
    fn servers(&self) -> Vec<(String, Found)>;
    /// Puts an entry in, or in the place of what has its name.
    fn put(&mut self, name: &str, entry: &Entry);
    /// Changes what is started, and adds variables; what else the entry has stays.
    fn rewire(&mut self, name: &str, entry: &Entry);
    fn remove(&mut self, name: &str);
    fn text(&self) -> String;
}

/// A place for entries: a file, and for Claude Code the part of it that is for a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub kind: Kind,
    pub scope: Scope,
    pub path: PathBuf,
    /// The project whose part of the file it is.
    project: Option<String>,
}

/// What decides where the files are.
#[derive(Debug, Clone)]
pub struct Surroundings {
    pub home: PathBuf,
    /// The working folder.
    pub folder: PathBuf,
    /// `CLAUDE_CONFIG_DIR` and `CODEX_HOME`.
    pub claude: Option<PathBuf>,
    pub codex: Option<PathBuf>,
}

impl Surroundings {
    pub fn from_env(lookup: crate::values::Lookup) -> Result<Self, Failure> {
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let missing = |what: &str, next: &str| Failure {
            code: Code::Configuration,
            text: what.to_owned(),
            next: Some(next.to_owned()),
        };
        let home = set("HOME").filter(|home| home.is_absolute());
        Ok(Self {
            home: home.ok_or_else(|| missing("HOME is no absolute path", "set HOME"))?,
            folder: std::env::current_dir().map_err(|error| {
                Failure::new(Code::Configuration, &error, "change to a folder that exists")
            })?,
            claude: set("CLAUDE_CONFIG_DIR"),
            codex: set("CODEX_HOME"),
        })
    }

    /// The repository that the working folder is in, else the working folder.
    fn project(&self) -> &Path {
        self.folder.ancestors().find(|folder| folder.join(".git").exists()).unwrap_or(&self.folder)
    }
}

impl Place {
    pub fn of(kind: Kind, scope: Scope, around: &Surroundings) -> Result<Self, Failure> {
        let place = |path, project| Self { kind, scope, path, project };
        let claude = || around.claude.as_ref().unwrap_or(&around.home).join(".claude.json");
        let codex = || around.codex.clone().unwrap_or_else(|| around.home.join(".codex")).join("config.toml");
        Ok(match (kind, scope) {
            (Kind::ClaudeCode, Scope::User) => place(claude(), None),
            (Kind::ClaudeCode, Scope::Local) => {
                place(claude(), Some(around.project().to_string_lossy().into_owned()))
            }
            (Kind::ClaudeCode, Scope::Project) => {
                let paths = || around.folder.ancestors().map(|folder| folder.join(".mcp.json"));
                let own = around.folder.join(".mcp.json");
                place(paths().find(|path| path.exists()).unwrap_or(own), None)
            }
            (Kind::Codex, Scope::User) => place(codex(), None),
            (Kind::Codex, Scope::Project) => place(around.project().join(".codex/config.toml"), None),
            (Kind::Codex, Scope::Local) => {
                return Err(Failure {
                    code: Code::Usage,
                    text: "Codex has no scope `local`".to_owned(),
                    next: Some("use `--scope user` or `--scope project`".to_owned()),
                });
            }
        })
    }

    /// Of one scope, or of all that there are, whose files exist.
    pub fn chosen(kind: Kind, scope: Option<Scope>, around: &Surroundings) -> Result<Vec<Self>, Failure> {
        if let Some(scope) = scope {
            return Ok(vec![Self::of(kind, scope, around)?]);
        }
        let mut places: Vec<Self> = Vec::new();
        for scope in Scope::ALL {
            // One file can be both, for somebody in their home folder.
            match Self::of(kind, scope, around) {
                Ok(place)
                    if places
                        .iter()
                        .all(|known| (&known.path, &known.project) != (&place.path, &place.project)) =>
                {
                    places.push(place);
                }
                _ => {}
            }
        }
        places.retain(|place| place.path.exists());
        Ok(places)
    }

    /// The file's text, understood.
    pub fn read(&self, text: &str) -> Result<Box<dyn Document>, Failure> {
        match self.kind {
            Kind::ClaudeCode => {
                let table = match &self.project {
                    Some(project) => vec!["projects", project, "mcpServers"],
                    None => vec!["mcpServers"],
                };
                claude_code::Document::parse(text, &table, &self.path).map(|document| Box::new(document) as _)
            }
            Kind::Codex => codex::Document::parse(text, &self.path).map(|document| Box::new(document) as _),
        }
    }

    /// For a person.
    pub fn title(&self) -> String {
        format!("{}, {} ({})", self.kind.name(), self.scope.as_str(), self.path.display())
    }
}

/// Both clients take fewer characters than berth does.
pub fn check_name(name: &str) -> Result<(), Failure> {
    if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        return Ok(());
    }
    Err(Failure {
        code: Code::Configuration,
        text: format!("no client takes `{name}` as a server's name: only letters, digits, `-` and `_`"),
        next: Some(format!("rename [servers.{name}] in the configuration")),
    })
}

fn broken(path: &Path, line: usize, what: &str) -> Failure {
    Failure {
        code: Code::Configuration,
        text: format!("{}:{line}: {what}", path.display()),
        next: Some("correct the file; nothing was changed".to_owned()),
    }
}

#[cfg(test)]
mod tests;
