//! The files in which a person names a client's tools: those in reach are changed, and what cannot be is told.
//!
//! Claude Code reads rules, hooks, sub-agents, commands and skills in `~/.claude` and in a project's `.claude`. Nothing outside of
//! the home folder and the project is changed. A rule that keeps somebody from tools must hold still: else the import ends
//! before anything is written.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Check, Takeover};
use crate::clients::one_entry::{
    OneEntry, Sort, Stay, approvals, claim, claims, front_matter, left, listed, plain, settings,
};
use crate::clients::{Draft, Kind, Place, Scope, file, without_mark};
use crate::failure::{Code, Failure};

pub(super) const SETTINGS: [&str; 2] = ["settings.json", "settings.local.json"];
const SORTS: [(&str, Sort); 3] =
    [("agents", Sort::Agent), ("commands", Sort::Command), ("skills", Sort::Command)];
/// Of all who use this machine.
const MANAGED: [&str; 2] = ["/etc/claude-code/managed-settings.json", "/etc/claude-code/managed-settings.d"];
/// Folders within folders, and files in all, that are looked at.
const DEEPEST: usize = 4;
const MOST: usize = 1000;

/// What a file becomes, and what is to be told of its rules.
type Changed = Result<(String, Vec<Stay>), Failure>;

impl Takeover<'_> {
    /// Has a client's other files name the tools as they are called now.
    pub(super) fn renamed(
        &mut self,
        place: &Place,
        path: &Path,
        one: &OneEntry,
        is_new: bool,
        drafts: &mut Vec<Draft>,
    ) -> Result<(), Failure> {
        if place.kind == Kind::Codex {
            let text = drafts.iter().find(|draft| draft.path() == path).map(|draft| draft.after.clone());
            self.tell(path, &text.unwrap_or_default(), Vec::new(), one);
            return Ok(());
        }
        let users = self.users_folder();
        // What a person's own settings say holds for servers of these names in every project.
        let mut everywhere = one.clone();
        if place.scope != Scope::User {
            everywhere.others.extend(one.servers.iter().map(|server| plain(&server.name)));
        }
        for folder in self.settings_folders() {
            let one = if Some(&folder) == users.as_ref() { &everywhere } else { one };
            for path in SETTINGS.map(|name| folder.join(name)) {
                self.change(&path, drafts, is_new, one, |text, path| settings(text, path, one))?;
            }
            for (name, sort) in SORTS {
                for path in markdown(&folder.join(name)) {
                    self.change(&path, drafts, is_new, one, |text, _| Ok(front_matter(text, sort, one)))?;
                }
            }
            // They have no rules.
            let above = folder.parent().unwrap_or(&folder);
            for path in [folder.join("CLAUDE.md"), above.join("CLAUDE.md"), above.join("CLAUDE.local.md")] {
                self.look(&path, one);
            }
        }
        for path in managed() {
            self.guard(&path, is_new, one, |text, path| settings(text, path, one))?;
        }
        let own = Place::of(Kind::ClaudeCode, Scope::User, &self.reading.around)?;
        if own.path.exists() {
            let draft = draft_of(&own.path, drafts)?;
            for project in self.reading.around.projects() {
                draft.after = approvals(&draft.after, &own.path, &project.to_string_lossy(), one)?;
            }
        }
        self.of_projects(place, &own, is_new, one)?;
        if place.scope == Scope::User {
            self.elsewhere(&own, is_new, one)?;
        }
        self.settled()
    }

    /// Ends an import that would take a restriction away.
    fn settled(&mut self) -> Result<(), Failure> {
        let held = std::mem::take(&mut self.held);
        if held.is_empty() {
            return Ok(());
        }
        let text = format!("what keeps from tools would not hold for their new names: {}", held.join("; "));
        if matches!(self.check, Check::DryRun) {
            self.said.push(format!("  {text}: unless a trial shows otherwise, the import would end here"));
            return Ok(());
        }
        Err(Failure {
            code: Code::Usage,
            text,
            next: Some(
                "change these rules by hand, or leave their servers out: name the others, or import without `--one-entry`"
                    .to_owned(),
            ),
        })
    }

    /// What Claude Code's own file says of the servers and the entry in projects.
    fn of_projects(
        &mut self,
        place: &Place,
        own: &Place,
        is_new: bool,
        one: &OneEntry,
    ) -> Result<(), Failure> {
        let text = file::read(&own.path).unwrap_or_default();
        let above = place.path.parent().unwrap_or(&place.path);
        let is_reached = |project: &String| match place.scope {
            Scope::User => true,
            Scope::Local => place.project() == Some(project),
            Scope::Project => Path::new(project).starts_with(above),
        };
        let projects = projects(&text).into_iter().filter(is_reached).map(Some);
        for project in projects.chain([None]) {
            let project = project.as_deref();
            let off = listed(&text, project, "disabledMcpServers");
            if let Some(name) = off.iter().find(|name| one.servers.iter().any(|server| server.name == **name))
            {
                let of = project.map(|project| format!(" for {project}")).unwrap_or_default();
                self.held.push(format!("{}: `disabledMcpServers`{of}: `{name}`", own.path.display()));
            }
            if listed(&text, project, "allowedTools").iter().any(|rule| claims(rule, is_new, one)) {
                return Err(claimed(&own.path.display().to_string(), one));
            }
        }
        Ok(())
    }

    /// Where Claude Code has a person's settings.
    fn users_folder(&self) -> Option<PathBuf> {
        let around = &self.reading.around;
        around.claude.clone().or_else(|| Some(around.home.as_ref()?.join(".claude")))
    }

    /// The folders whose settings hold here.
    pub(super) fn settings_folders(&self) -> Vec<PathBuf> {
        let projects = self.reading.around.projects().into_iter().map(|folder| folder.join(".claude"));
        let mut all: Vec<PathBuf> = Vec::new();
        for folder in self.users_folder().into_iter().chain(projects) {
            if !all.contains(&folder) {
                all.push(folder);
            }
        }
        all
    }

    /// Changes a file that is there.
    fn change(
        &mut self,
        path: &Path,
        drafts: &mut Vec<Draft>,
        is_new: bool,
        one: &OneEntry,
        change: impl FnOnce(&str, &Path) -> Changed,
    ) -> Result<(), Failure> {
        if !path.exists() {
            return Ok(());
        }
        if !self.is_in_reach(path) {
            return self.guard(path, is_new, one, change);
        }
        let is_prose = path.extension().is_some_and(|end| end == "md");
        let draft = match draft_of(path, drafts) {
            Err(failure) if is_prose => {
                self.unread(path, &failure.text);
                return Ok(());
            }
            draft => draft?,
        };
        if let Some(line) = claim(&draft.after, is_prose, is_new, one) {
            return Err(claimed(&format!("{}:{line}", path.display()), one));
        }
        let (new, mut stays) = change(&draft.after, path)?;
        draft.after.clone_from(&new);
        stays.retain(|stay| stay.why.is_some());
        self.tell(path, &new, stays, one);
        Ok(())
    }

    /// Looks at the rules of a file that berth does not change.
    fn guard(
        &mut self,
        path: &Path,
        is_new: bool,
        one: &OneEntry,
        change: impl FnOnce(&str, &Path) -> Changed,
    ) -> Result<(), Failure> {
        let text = match file::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                self.unread(path, &format!("cannot read {}: {error}", path.display()));
                return Ok(());
            }
        };
        let is_prose = path.extension().is_some_and(|end| end == "md");
        if let Some(line) = claim(&text, is_prose, is_new, one) {
            return Err(claimed(&format!("{}:{line}", path.display()), one));
        }
        let (_, stays) = change(&text, path)?;
        self.tell(path, &text, stays, one);
        Ok(())
    }

    /// A client may read what berth cannot, such as a file that is not all text.
    fn unread(&mut self, path: &Path, why: &str) {
        let bytes = if path.is_file() { fs::read(path).unwrap_or_default() } else { Vec::new() };
        if bytes.windows(5).any(|part| part == b"mcp__") {
            self.held.push(why.to_owned());
        } else {
            self.said.push(format!("  {why}"));
        }
    }

    /// Tells what a file names that berth does not change.
    fn look(&mut self, path: &Path, one: &OneEntry) {
        if let Ok(text) = file::read(path) {
            self.tell(path, &text, Vec::new(), one);
        }
    }

    /// A line may hold anything: only a rule or a name is told of it.
    fn tell(&mut self, path: &Path, text: &str, stays: Vec<Stay>, one: &OneEntry) {
        let mut told = BTreeSet::new();
        for Stay { text: rule, why, restricts } in stays {
            let line = text.lines().position(|line| line.contains(&rule)).unwrap_or_default() + 1;
            told.insert(line);
            let place = format!("{}:{line}: `{rule}`", path.display());
            let why = why.unwrap_or_else(|| "berth does not change this file".to_owned());
            if restricts {
                self.held.push(format!("{place}: {why}"));
            } else {
                self.said.push(format!("  {place} stays, change it by hand: {why}"));
            }
        }
        for left in left(text, one).into_iter().filter(|left| !told.contains(&left.line)) {
            self.said.push(format!(
                "  {}:{}: `{}` is `{}` now, change it by hand",
                path.display(),
                left.line,
                left.was,
                left.now
            ));
        }
    }

    /// Whether a file is the person's own or the project's, wherever links lead.
    fn is_in_reach(&self, path: &Path) -> bool {
        let around = &self.reading.around;
        let real = |path: &Path| path.canonicalize().ok();
        let roots = around.home.iter().chain(&around.claude).cloned().chain(around.projects());
        let roots: Vec<PathBuf> = roots.filter_map(|root| real(&root)).collect();
        real(path).is_some_and(|path| roots.iter().any(|root| path.starts_with(root)))
    }

    /// Other projects of this person: what they say is theirs.
    fn elsewhere(&mut self, own: &Place, is_new: bool, one: &OneEntry) -> Result<(), Failure> {
        let text = file::read(&own.path).unwrap_or_default();
        let real = |folder: PathBuf| folder.canonicalize().unwrap_or(folder);
        let here: Vec<PathBuf> = self.settings_folders().into_iter().map(real).collect();
        let folders = projects(&text).into_iter().map(|project| Path::new(&project).join(".claude"));
        for folder in folders.filter(|folder| !here.contains(&real(folder.clone()))) {
            for path in SETTINGS.map(|name| folder.join(name)) {
                self.guard(&path, is_new, one, |text, path| settings(text, path, one))?;
            }
            for (name, sort) in SORTS {
                for path in markdown(&folder.join(name)) {
                    self.guard(&path, is_new, one, |text, _| Ok(front_matter(text, sort, one)))?;
                }
            }
        }
        Ok(())
    }
}

/// The settings of all who use this machine.
pub(super) fn managed() -> Vec<PathBuf> {
    let [file, folder] = MANAGED.map(PathBuf::from);
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let more = entries.filter(|path| path.extension().is_some_and(|end| end == "json"));
    std::iter::once(file).chain(more).collect()
}

/// The projects that Claude Code's own file knows.
fn projects(text: &str) -> Vec<String> {
    let parsed: serde_json::Value = serde_json::from_str(without_mark(text).1).unwrap_or_default();
    parsed["projects"].as_object().into_iter().flat_map(|projects| projects.keys().cloned()).collect()
}

fn claimed(place: &str, one: &OneEntry) -> Failure {
    Failure {
        code: Code::Usage,
        text: format!("{place}: a rule for `mcp__{}` would hold for the new entry", plain(&one.entry)),
        next: Some("choose another name with `--one-entry=NAME`, or take the rule out".to_owned()),
    }
}

/// What a file is going to be. Before the entry itself: no moment may have it without its rules.
fn draft_of<'a>(path: &Path, drafts: &'a mut Vec<Draft>) -> Result<&'a mut Draft, Failure> {
    let read = Draft::of(path)?;
    let at = drafts.iter().position(|draft| draft.path() == read.path()).unwrap_or_else(|| {
        drafts.insert(0, read);
        0
    });
    Ok(&mut drafts[at])
}

/// The Markdown files of a folder, and of those within.
fn markdown(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![(folder.to_owned(), 0)]);
    while let Some((folder, depth)) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            // A folder that is a link could lead in a circle.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) && depth < DEEPEST {
                folders.push((path, depth + 1));
            } else if path.extension().is_some_and(|end| end == "md") && path.is_file() && found.len() < MOST
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
