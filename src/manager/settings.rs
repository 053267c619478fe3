//! Notices that somebody has changed `berth.toml`, and notes in the audit which settings: their names, never a value.
//!
//! Of each setting the manager keeps a digest with a random key of its own, so that it also notices what was changed while no
//! manager ran. The key and the digests lie in the manager's folder. No value comes back from a digest without the key.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mcp_berth::config::Config;
use mcp_berth::failure::Failure;
use mcp_berth::observe::audit::{self, Entry};
use mcp_berth::regular;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::configured::Configured;
use crate::token::{self, Token};

/// In the manager's folder.
const FILE: &str = "settings.json";
const KEY: &str = "settings.key";

/// What the file means. Of another berth's nothing is known.
const SCHEMA: u32 = 1;

const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Of a digest so many digits are kept.
const DIGITS: usize = 32;

/// Of a setting's name so much is told (characters).
const NAME: usize = 100;

/// So many lines are written for one change of the file; the last one counts the others.
const LINES: usize = 60;

/// What the file said, as far as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Known {
    schema: u32,
    /// The key's name: by another key, nothing is known.
    key: String,
    /// The configuration's file.
    file: PathBuf,
    digests: BTreeMap<String, String>,
}

/// Looks at the file.
#[derive(Debug)]
pub(crate) struct Settings {
    state: PathBuf,
    path: PathBuf,
    key: Token,
    configured: Arc<Configured>,
    known: Option<Known>,
    /// The configuration that was looked at last.
    last: Option<Arc<Config>>,
}

impl Settings {
    /// `folder` is the manager's.
    ///
    /// # Errors
    /// There is no key, and none can be made.
    pub(crate) fn open(state: &Path, folder: &Path, configured: &Arc<Configured>) -> Result<Self, Failure> {
        let (path, key) = (folder.join(FILE), token::secret(folder, KEY)?);
        let known = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Known>(&text).ok());
        let is_ours = |known: &Known| {
            known.schema == SCHEMA && known.key == key.fingerprint() && known.file == configured.path()
        };
        let known = known.filter(is_ours);
        let (state, configured) = (state.to_owned(), Arc::clone(configured));
        Ok(Self { state, path, key, configured, known, last: None })
    }

    /// Looks until `stop`.
    pub(crate) async fn watch(mut self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            // It waits for the disk.
            let looked = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            let Ok(settings) = looked.await else { return };
            self = settings;
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// A file with a mistake is in force for nobody, and is looked at again when it is right.
    fn look(&mut self) {
        let Ok(config) = self.configured.now().all else { return };
        if self.last.as_ref().is_some_and(|last| Arc::ptr_eq(last, &config)) {
            return;
        }
        let is_first = self.last.replace(config).is_none();
        let Some(digests) = self.digests() else { return };
        let file = self.configured.path().to_owned();
        let now = Known { schema: SCHEMA, key: self.key.fingerprint(), file, digests };
        if self.known.as_ref() == Some(&now) {
            return;
        }
        if let Some(before) = &self.known {
            // First: what is said twice is better than what is never said.
            for entry in lines(&before.digests, &now, is_first) {
                audit::note(&self.state, &entry);
            }
        }
        let text = serde_json::to_vec(&now).map_err(io::Error::from);
        if let Err(error) = text.and_then(|text| regular::replace(&self.path, &text)) {
            tracing::warn!("cannot keep what `{}` says: {error}", now.file.display());
        }
        self.known = Some(now);
    }

    /// Of all settings of the file, by their names.
    fn digests(&self) -> Option<BTreeMap<String, String>> {
        let text = match fs::read_to_string(self.configured.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.ok()?,
        };
        let mut settings = BTreeMap::new();
        collect("", &text.parse::<toml::Table>().ok()?, &mut settings);
        let digest = |(name, value): (String, String)| {
            let mut digest = self.key.derived(&format!("{name}\0{value}"));
            digest.truncate(DIGITS);
            (name, digest)
        };
        Some(settings.into_iter().map(digest).collect())
    }
}

/// Names as TOML has them, `servers.files.network`, with the values' text.
fn collect(within: &str, table: &toml::Table, settings: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let is_bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        let key = if is_bare { key.clone() } else { format!("{key:?}") };
        let name = if within.is_empty() { key } else { format!("{within}.{key}") };
        match value {
            toml::Value::Table(table) if !table.is_empty() => collect(&name, table, settings),
            value => _ = settings.insert(name, value.to_string()),
        }
    }
}

/// A line for each server that is concerned, and one for all the rest.
fn lines(before: &BTreeMap<String, String>, now: &Known, is_first: bool) -> Vec<Entry> {
    let names: BTreeSet<&String> = before.keys().chain(now.digests.keys()).collect();
    let mut changes: BTreeMap<Option<&str>, Vec<String>> = BTreeMap::new();
    for name in names {
        let what = match (before.get(name), now.digests.get(name)) {
            (Some(before), Some(now)) if before == now => continue,
            (Some(_), Some(_)) => "changed",
            (None, _) => "added",
            (_, None) => "removed",
        };
        let server = name.strip_prefix("servers.").and_then(|rest| rest.split('.').next());
        let name: String = name.chars().take(NAME).collect();
        changes.entry(server).or_default().push(format!("`{name}` {what}"));
    }
    let more = changes.len().saturating_sub(LINES);
    let when = if is_first { " while no manager ran" } else { "" };
    let file = now.file.display().to_string();
    let mut lines: Vec<Entry> = changes
        .into_iter()
        .take(LINES)
        .map(|(server, changes)| Entry {
            server: server.map(str::to_owned),
            ..Entry::new(audit::CHANGED, &joined(&format!("{file}{when}: "), &changes))
        })
        .collect();
    if let Some(last) = lines.last_mut() {
        last.missing = more as u64;
    }
    lines
}

/// As many as a line has room for; the others are counted.
fn joined(begin: &str, changes: &[String]) -> String {
    let mut text = begin.to_owned();
    for (at, change) in changes.iter().enumerate() {
        let left = changes.len() - at;
        let separator = if at == 0 { "" } else { ", " };
        // Room for the words below.
        if at > 0 && text.chars().count() + change.chars().count() + 30 > audit::DETAIL {
            return format!("{text}, and {left} others");
        }
        text += separator;
        text += change;
    }
    text
}

/// Whoever reads finds the old file or this one.
#[cfg(test)]
mod tests;
