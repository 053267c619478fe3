//! What the last imports changed, so that `berth import --undo` brings the client's files back.
//!
//! A note of each import in berth's state names the backups beside the files. Without it they are still there. What a file
//! says is kept nowhere else, except lines that name tools.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use similar::{ChangeTag, DiffTag, TextDiff};

use super::{Change, Changed, Changes, Draft, Found, Kind, Place, Surroundings, file, profile_of, restore};
use crate::config::edit::{self, Profile};
use crate::failure::{Code, Failure};

/// A folder with a file for each import: two at once do not meet.
const NOTES: &str = "imports";
/// So many imports of a client can be taken back.
const MOST: usize = 20;

/// An import that was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Made {
    /// Of its file. Later ones sort behind.
    name: String,
    client: String,
    /// Whose files they are.
    home: Option<PathBuf>,
    files: Vec<Kept>,
    /// berth's configuration.
    config: PathBuf,
    profile: Option<String>,
    is_new: bool,
    added: Vec<String>,
}

/// A client's file that was changed.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    path: PathBuf,
    /// As it was; none where there was no file.
    backup: Option<PathBuf>,
    /// Of the text that was written.
    hash: String,
    /// It has entries of servers, and the client itself writes it.
    has_entries: bool,
    /// Lines before and after, of a file without entries.
    lines: Vec<(String, String)>,
}

/// The note of an import that is being made.
#[derive(Debug)]
pub struct Undo {
    state: PathBuf,
    around: Surroundings,
    made: Made,
}

impl Undo {
    /// Begins one. `config` is berth's configuration, which is no client's file.
    pub fn begin(
        state: &Path,
        client: Kind,
        config: &Path,
        change: Option<&Change>,
        around: &Surroundings,
    ) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let made = Made {
            name: format!("{:020}-{}.json", since.as_nanos(), std::process::id()),
            client: client.id().to_owned(),
            home: around.home.clone(),
            files: Vec::new(),
            config: std::path::absolute(config).unwrap_or_else(|_| config.to_owned()),
            profile: change.map(|change| change.profile.clone()),
            is_new: change.is_some_and(|change| change.is_new),
            added: change.map(|change| change.added.clone()).unwrap_or_default(),
        };
        Self { state: state.to_owned(), around: around.clone(), made }
    }

    /// Writes a file, once it is noted: whatever ends the import, what it has changed can be taken back. Gives the path of
    /// the backup, if there was a file.
    pub fn write(&mut self, draft: &Draft) -> Result<Option<PathBuf>, Failure> {
        let before = self.made.files.len();
        let written = draft.write_after(true, |backup| self.note(draft, backup));
        if written.is_err() && self.made.files.len() > before {
            // It is as it was, or as somebody else has just made it.
            self.made.files.truncate(before);
            if before > 0 {
                write(&self.state, &self.made)?;
            } else {
                // An import that has changed nothing is none.
                let _ = fs::remove_file(self.state.join(NOTES).join(&self.made.name));
            }
        }
        written
    }

    /// Notes a file that is about to be written.
    fn note(&mut self, draft: &Draft, backup: Option<&Path>) -> Result<(), Failure> {
        let path = draft.path().to_owned();
        if path == self.made.config.canonicalize().unwrap_or_else(|_| self.made.config.clone()) {
            return Ok(());
        }
        let real = |place: &Place| place.path.canonicalize().unwrap_or_else(|_| place.path.clone());
        let has_entries = Place::of_clients(&self.around).iter().any(|place| real(place) == path);
        let lines = if has_entries { Vec::new() } else { hunks(draft.before(), &draft.after) };
        let hash = hash(&draft.after);
        self.made.files.push(Kept { path, backup: backup.map(Path::to_owned), hash, has_entries, lines });
        write(&self.state, &self.made)?;
        let known = notes(&self.state, &self.made.client, self.made.home.as_deref());
        for oldest in known.iter().rev().skip(MOST) {
            let _ = fs::remove_file(self.state.join(NOTES).join(&oldest.name));
        }
        Ok(())
    }

    /// Brings back what was written so far.
    pub fn back(self) -> Result<Changes, Failure> {
        let mut changes = Changes::default();
        if !self.made.files.is_empty() {
            undo(&self.state, &self.made, &self.around, &mut changes)?;
        }
        Ok(changes)
    }
}

/// Takes back the last import of a client; what is done is in `changes`, whatever comes after it.
pub fn last(state: &Path, client: Kind, around: &Surroundings, changes: &mut Changes) -> Result<(), Failure> {
    let made = notes(state, client.id(), around.home.as_deref()).pop().ok_or_else(|| Failure {
        code: Code::Configuration,
        text: format!("no import of {} is left to take back", client.id()),
        next: None,
    })?;
    undo(state, &made, around, changes)
}

fn undo(state: &Path, made: &Made, around: &Surroundings, changes: &mut Changes) -> Result<(), Failure> {
    // All of it is looked at before the first file is written. The rules come first: no server may be back without them.
    let mut drafts = Vec::new();
    let (entries, rules): (Vec<&Kept>, Vec<&Kept>) = made.files.iter().partition(|kept| kept.has_entries);
    for kept in rules.into_iter().chain(entries) {
        match back(kept)? {
            Back::Draft(draft) => drafts.push((draft, kept)),
            Back::Remove => {}
            Back::Stays(why) if kept.has_entries => {
                changes.said.push(format!("{}: {why}", kept.path.display()));
            }
            Back::Stays(why) => return Err(stuck(kept, &why)),
        }
    }
    let mut config = Draft::of(&made.config)?;
    if let Some(profile) = &made.profile {
        let change = if made.is_new { Profile::Gone } else { Profile::Without(&made.added) };
        let after = edit::with_profile(config.before(), profile, change).map_err(wrong)?;
        let is_gone = edit::profile(&after, profile).is_none();
        match is_gone.then(|| in_use(made, profile, &config, &drafts, around)).flatten() {
            Some(why) => {
                changes.said.push(format!("{}: [profiles.{profile}] stays: {why}", config.path().display()));
            }
            None => config.after = after,
        }
    }
    write_all(&drafts)?;
    for (draft, kept) in &drafts {
        let restored = Changed::Restored(kept.path.clone());
        if draft.changes() { changes.made(restored) } else { changes.said.push(restored.to_string()) }
    }
    for kept in made.files.iter().filter(|kept| is_new_and_as_written(kept)) {
        fs::remove_file(&kept.path).map_err(|error| failed(&kept.path, &error))?;
        changes.made(Changed::Gone(kept.path.clone()));
    }
    if config.changes() {
        config.write(true)?;
        let name = made.profile.clone().unwrap_or_default();
        changes.made(Changed::Profile { file: config.path().to_owned(), name });
    }
    let note = state.join(NOTES).join(&made.name);
    fs::remove_file(&note).map_err(|error| failed(&note, &error))
}

/// Writes all files, or leaves them as they are.
fn write_all(drafts: &[(Draft, &Kept)]) -> Result<(), Failure> {
    for (at, (draft, _)) in drafts.iter().enumerate() {
        let Err(mut failure) = draft.write(true) else { continue };
        for (written, _) in &drafts[..at] {
            let again = Draft::of(written.path()).and_then(|mut draft| {
                written.before().clone_into(&mut draft.after);
                draft.write(true)
            });
            if again.is_err() {
                failure.text =
                    format!("{}; {} is as before the import", failure.text, written.path().display());
            }
        }
        return Err(failure);
    }
    Ok(())
}

/// Why a profile that would go has to stay.
fn in_use(
    made: &Made,
    profile: &str,
    config: &Draft,
    drafts: &[(Draft, &Kept)],
    around: &Surroundings,
) -> Option<String> {
    if !edit::is_profile_of(config.before(), profile, &made.added) {
        return edit::profile(config.before(), profile).map(|_| "it has changed since the import".to_owned());
    }
    for place in Place::of_clients(around) {
        let path = place.path.canonicalize().unwrap_or_else(|_| place.path.clone());
        let text = match drafts.iter().find(|(draft, _)| draft.path() == path) {
            Some((draft, _)) => draft.after.clone(),
            // What import has written alone is gone then.
            None if made.files.iter().any(|kept| kept.path == path && is_new_and_as_written(kept)) => {
                continue;
            }
            None => match file::read(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Some(format!("{}: {error}", path.display())),
            },
        };
        let parts = match place.read_all(&text) {
            Ok(parts) => parts,
            Err(failure) => return Some(failure.text),
        };
        for (part, document) in parts {
            let uses =
                |found: &Found| matches!(found, Found::Stdio(entry) if profile_of(entry) == Some(profile));
            if let Some((name, _)) = document.servers().iter().find(|(_, found)| uses(found)) {
                return Some(format!("{} has the entry `{name}`", part.title()));
            }
        }
    }
    None
}

enum Back {
    Draft(Draft),
    Remove,
    Stays(String),
}

/// What a file has to become.
fn back(kept: &Kept) -> Result<Back, Failure> {
    let mut draft = Draft::of(&kept.path)?;
    let Some(backup) = &kept.backup else {
        // It may have been noted and never written.
        return Ok(if is_as_written(kept) || !kept.path.exists() {
            Back::Remove
        } else {
            Back::Stays("it has changed since, and stays; before the import it was not there".to_owned())
        });
    };
    let before = file::read(backup).map_err(|error| failed(backup, &error))?;
    if hash(draft.before()) == kept.hash || draft.before() == before {
        draft.after = before;
        return Ok(Back::Draft(draft));
    }
    let changed = || format!("its rules have changed since; before the import it was {}", backup.display());
    if kept.has_entries {
        draft.after = restore::entries(&before, draft.before(), &kept.path)?;
        return Ok(Back::Draft(draft));
    }
    let mut text = draft.before().to_owned();
    for (old, new) in &kept.lines {
        let mut found = text.match_indices(new.as_str());
        match (found.next(), found.next()) {
            (Some((at, _)), None) if !new.is_empty() => text.replace_range(at..at + new.len(), old),
            _ => return Ok(Back::Stays(changed())),
        }
    }
    draft.after = text;
    Ok(Back::Draft(draft))
}

/// A file of rules that nobody can put back but its owner.
fn stuck(kept: &Kept, why: &str) -> Failure {
    let (path, backup) = (kept.path.display(), kept.backup.as_deref().unwrap_or(&kept.path).display());
    Failure {
        code: Code::Configuration,
        text: format!(
            "nothing was taken back, as the servers would be back without their rules: {path}: {why}"
        ),
        next: Some(format!("copy {backup} to {path}, run `--undo` again, and then add what has come since")),
    }
}

fn wrong(why: String) -> Failure {
    Failure { code: Code::Configuration, text: why, next: None }
}

fn is_new_and_as_written(kept: &Kept) -> bool {
    kept.backup.is_none() && is_as_written(kept)
}

fn is_as_written(kept: &Kept) -> bool {
    file::read(&kept.path).is_ok_and(|text| hash(&text) == kept.hash)
}

/// The lines that differ.
fn hunks(before: &str, after: &str) -> Vec<(String, String)> {
    let diff = TextDiff::from_lines(before, after);
    let changed = diff.ops().iter().filter(|op| op.tag() != DiffTag::Equal);
    changed
        .map(|op| {
            let of = |tag| {
                let lines = diff.iter_changes(op).filter(|change| change.tag() == tag);
                lines.map(|change| change.value().to_owned()).collect::<String>()
            };
            (of(ChangeTag::Delete), of(ChangeTag::Insert))
        })
        .collect()
}

fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// A person's imports of a client, the last one last. What cannot be read is none: the backups are there.
fn notes(state: &Path, client: &str, home: Option<&Path>) -> Vec<Made> {
    let entries = fs::read_dir(state.join(NOTES)).into_iter().flatten().flatten();
    let texts = entries.filter_map(|entry| file::read(&entry.path()).ok());
    let mut notes: Vec<Made> = texts.filter_map(|text| serde_json::from_str(&text).ok()).collect();
    notes.retain(|made| made.client == client && made.home.as_deref() == home);
    notes.sort_by(|a, b| a.name.cmp(&b.name));
    notes
}

fn write(state: &Path, made: &Made) -> Result<(), Failure> {
    let folder = state.join(NOTES);
    let path = folder.join(&made.name);
    let written = || -> io::Result<()> {
        fs::create_dir_all(&folder)?;
        // Its owner's alone.
        let mut file = tempfile::NamedTempFile::new_in(&folder)?;
        file.write_all(&serde_json::to_vec_pretty(made)?)?;
        file.persist(&path)?;
        Ok(())
    };
    written().map_err(|error| failed(&path, &error))
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure {
        code: Code::Configuration,
        text: format!("cannot take back {}: {error}", path.display()),
        next: Some("the files that were kept beside it end in `.bak`".to_owned()),
    }
}
