//! The files in which a person names a client's tools: those in reach are changed, and what cannot be is told.
//!
//! Claude Code reads rules, hooks, sub-agents, commands and skills in `~/.claude` and in a project's `.claude`. Nothing outside of
//! the home folder and the project is changed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::Takeover;
use crate::clients::one_entry::{OneEntry, Sort, approvals, claim, front_matter, left, plain, settings};
use crate::clients::{Draft, Kind, Place, Scope, file};
use crate::failure::{Code, Failure};

const SETTINGS: [&str; 2] = ["settings.json", "settings.local.json"];
const SORTS: [(&str, Sort); 3] =
    [("agents", Sort::Agent), ("commands", Sort::Command), ("skills", Sort::Command)];
/// Of all who use this machine.
const MANAGED: &str = "/etc/claude-code/managed-settings.json";
/// Folders within folders, and files in all, that are looked at.
const DEEPEST: usize = 4;
const MOST: usize = 1000;

/// Why some of a file stays: the text, and the reason.
type Stays = Vec<(String, String)>;

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
            let above = folder.parent().unwrap_or(&folder);
            for path in [folder.join("CLAUDE.md"), above.join("CLAUDE.md"), above.join("CLAUDE.local.md")] {
                self.look(&path, one);
            }
        }
        self.look(Path::new(MANAGED), one);
        let own = Place::of(Kind::ClaudeCode, Scope::User, &self.reading.around)?;
        if own.path.exists() {
            let draft = draft_of(&own.path, drafts)?;
            for project in self.reading.around.projects() {
                draft.after = approvals(&draft.after, &own.path, &project.to_string_lossy(), one)?;
            }
        }
        if place.scope == Scope::User {
            self.elsewhere(&own, one);
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
        change: impl FnOnce(&str, &Path) -> Result<(String, Stays), Failure>,
    ) -> Result<(), Failure> {
        if !path.exists() {
            return Ok(());
        }
        if !self.is_in_reach(path) {
            self.look(path, one);
            return Ok(());
        }
        let is_prose = path.extension().is_some_and(|end| end == "md");
        let draft = match draft_of(path, drafts) {
            Err(failure) if is_prose => {
                self.said.push(format!("  {}", failure.text));
                return Ok(());
            }
            draft => draft?,
        };
        let is_servers = one.servers.iter().any(|server| plain(&server.name) == plain(&one.entry));
        if is_new
            && !is_servers
            && let Some(line) = claim(&draft.after, is_prose, one)
        {
            return Err(Failure {
                code: Code::Usage,
                text: format!(
                    "{}:{line}: a rule for `mcp__{}` would hold for the new entry",
                    path.display(),
                    plain(&one.entry)
                ),
                next: Some("choose another name with `--one-entry=NAME`, or take the rule out".to_owned()),
            });
        }
        let (new, stays) = change(&draft.after, path)?;
        draft.after.clone_from(&new);
        self.tell(path, &new, stays, one);
        Ok(())
    }

    /// Tells what a file names that berth does not change.
    fn look(&mut self, path: &Path, one: &OneEntry) {
        if let Ok(text) = file::read(path) {
            self.tell(path, &text, Vec::new(), one);
        }
    }

    fn tell(&mut self, path: &Path, text: &str, stays: Stays, one: &OneEntry) {
        let mut told = BTreeSet::new();
        for (stays, why) in stays {
            let line = text.lines().position(|line| line.contains(&stays)).unwrap_or_default() + 1;
            told.insert(line);
            self.said.push(format!("  {}:{line}: `{stays}` stays, change it by hand: {why}", path.display()));
        }
        for left in left(text, one).into_iter().filter(|left| !told.contains(&left.line)) {
            self.said.push(format!(
                "  {}:{}: by hand, for what is `{}` now: {}",
                path.display(),
                left.line,
                left.now,
                left.text
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
    fn elsewhere(&mut self, own: &Place, one: &OneEntry) {
        let text = file::read(&own.path).unwrap_or_default();
        let parsed: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let here = self.settings_folders();
        let projects = parsed["projects"].as_object().into_iter().flat_map(|projects| projects.keys());
        for folder in
            projects.map(|project| Path::new(project).join(".claude")).filter(|folder| !here.contains(folder))
        {
            let agents = SORTS.iter().flat_map(|(name, _)| markdown(&folder.join(name)));
            for path in SETTINGS.iter().map(|name| folder.join(name)).chain(agents) {
                self.look(&path, one);
            }
        }
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
