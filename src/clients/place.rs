//! Where the clients' files are, and which part of a file is for whom.

use std::path::{Path, PathBuf};

use super::{Document, Kind, Scope, claude_code, codex};
use crate::failure::{Code, Failure};
use crate::values::Lookup;

/// A place for entries: a file, and for Claude Code the part of it that is for a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub kind: Kind,
    pub scope: Scope,
    pub path: PathBuf,
    /// The project whose part of the file it is.
    pub(super) project: Option<String>,
}

/// What is for somebody in a client's file, by the folder that it is for, if it is for one alone.
pub type Part = (Place, Box<dyn Document>);

/// What decides where the files are.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// `None` where nobody says.
    pub home: Option<PathBuf>,
    /// The working folder.
    pub folder: PathBuf,
    /// `CLAUDE_CONFIG_DIR` and `CODEX_HOME`.
    pub claude: Option<PathBuf>,
    pub codex: Option<PathBuf>,
}

impl Surroundings {
    /// Of a client that is started in `folder`.
    pub fn new(folder: PathBuf, lookup: Lookup) -> Self {
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = set("HOME").filter(|home| home.is_absolute());
        Self { home, folder, claude: set("CLAUDE_CONFIG_DIR"), codex: set("CODEX_HOME") }
    }

    /// Of a client that is started here.
    pub fn here(lookup: Lookup) -> Result<Self, Failure> {
        let folder = std::env::current_dir()
            .map_err(|error| Failure::new(Code::Configuration, &error, "change to a folder that exists"))?;
        let around = Self::new(folder, lookup);
        around.home()?;
        Ok(around)
    }

    fn home(&self) -> Result<&Path, Failure> {
        self.home.as_deref().ok_or_else(|| Failure {
            code: Code::Configuration,
            text: "HOME is not an absolute path".to_owned(),
            next: Some("set HOME".to_owned()),
        })
    }

    /// Claude Code's own file.
    fn claude(&self) -> Result<PathBuf, Failure> {
        let folder = self.claude.as_deref().map_or_else(|| self.home(), Ok)?;
        Ok(folder.join(".claude.json"))
    }

    /// Codex's own file.
    fn codex(&self) -> Result<PathBuf, Failure> {
        let folder = self.codex.clone().map_or_else(|| Ok(self.home()?.join(".codex")), Ok::<_, Failure>)?;
        Ok(folder.join("config.toml"))
    }

    /// The repository that the working folder is in, else the working folder.
    fn project(&self) -> &Path {
        self.folder.ancestors().find(|folder| folder.join(".git").exists()).unwrap_or(&self.folder)
    }

    /// The folders whose settings a client may read here.
    pub(super) fn projects(&self) -> Vec<PathBuf> {
        let project = self.project().to_owned();
        if project == self.folder { vec![project] } else { vec![project, self.folder.clone()] }
    }
}

impl Place {
    pub fn of(kind: Kind, scope: Scope, around: &Surroundings) -> Result<Self, Failure> {
        let place = |path, project| Self { kind, scope, path, project };
        Ok(match (kind, scope) {
            (Kind::ClaudeCode, Scope::User) => place(around.claude()?, None),
            (Kind::ClaudeCode, Scope::Local) => {
                place(around.claude()?, Some(around.project().to_string_lossy().into_owned()))
            }
            (Kind::ClaudeCode, Scope::Project) => {
                let paths = || around.folder.ancestors().map(|folder| folder.join(".mcp.json"));
                let own = around.folder.join(".mcp.json");
                place(paths().find(|path| path.exists()).unwrap_or(own), None)
            }
            (Kind::Codex, Scope::User) => place(around.codex()?, None),
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

    /// The files that the clients read for somebody in a folder, those that say where they are: there, or not.
    pub fn of_clients(around: &Surroundings) -> Vec<Self> {
        let places = [
            (Kind::ClaudeCode, Scope::User),
            (Kind::ClaudeCode, Scope::Project),
            (Kind::Codex, Scope::User),
            (Kind::Codex, Scope::Project),
        ];
        let places = places.into_iter().filter_map(|(kind, scope)| Self::of(kind, scope, around).ok());
        places.fold(Vec::new(), |mut distinct: Vec<Self>, place| {
            // One file can be both, for somebody in their home folder.
            if distinct.iter().all(|known| known.path != place.path) {
                distinct.push(place);
            }
            distinct
        })
    }

    /// The file's text, understood.
    pub fn read(&self, text: &str) -> Result<Box<dyn Document>, Failure> {
        Ok(match self.kind {
            Kind::ClaudeCode => {
                Box::new(claude_code::Document::parse(text, self.project.as_deref(), &self.path)?)
            }
            Kind::Codex => Box::new(codex::Document::parse(text, &self.path)?),
        })
    }

    /// The file's text with all that is in it, whichever folder it is for.
    pub fn read_all(&self, text: &str) -> Result<Vec<Part>, Failure> {
        let mut parts: Vec<Part> = vec![(self.clone(), self.read(text)?)];
        if (self.kind, self.scope) == (Kind::ClaudeCode, Scope::User) {
            for (project, document) in
                claude_code::Document::parse(text, None, &self.path)?.projects(&self.path)?
            {
                let place = Self { scope: Scope::Local, project: Some(project), ..self.clone() };
                parts.push((place, Box::new(document)));
            }
        }
        Ok(parts)
    }

    /// The folder that it is for alone.
    pub fn project(&self) -> Option<&str> {
        self.project.as_deref()
    }

    /// For a person.
    pub fn title(&self) -> String {
        format!("{}, {} ({})", self.kind.name(), self.scope.as_str(), self.path.display())
    }
}
