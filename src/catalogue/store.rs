//! The catalogue's files: one for what each key's server told, one for what of it was accepted.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use super::accepted::{Accepted, Held};
use super::changes::{Change, States, by_name, changes, state};
use super::folder::Folder;
use super::key::{ACCEPTED, LISTS, Name, Secret, is_modern};
use super::text::{self, Meta};
use super::{Hello, Key, Told};

/// No server may tell more.
const LONGEST: usize = 32 << 20;

/// The same with what berth adds.
const LONGEST_FILE: usize = LONGEST + (1 << 20);

/// So many servers, clients and revisions are known.
const MOST: usize = 256;

/// Of every image, and small.
const MOST_ACCEPTED: usize = 1024;

/// What is known of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub told: Told,
    /// It was told under this very key; else to another client or in another revision, and is a guess.
    pub is_exact: bool,
}

/// What was there before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// Nothing of this key and this image.
    New,
    /// The same tools.
    Same,
    Changed {
        changes: Vec<Change>,
        /// They go to and fro: `definitions = "varying"` is for such a server.
        is_varying: bool,
    },
}

/// What a file of the catalogue has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub server: String,
    pub client: String,
    pub revision: String,
    pub told: Told,
    /// When it was told last: seconds since 1970.
    pub at: u64,
    /// Of the file.
    pub bytes: usize,
}

/// What servers told of themselves, on disk.
#[derive(Debug, Clone)]
pub struct Catalogue {
    folder: Folder,
}

impl Catalogue {
    /// In the folder of berth's state. Touches nothing.
    pub fn open(state: &Path) -> Self {
        Self { folder: Folder::new(state.join("catalogue")) }
    }

    /// What a server told under this key; else what it told last to another client of the same era.
    pub fn find(&self, key: &Key) -> Option<Known> {
        let name = Name::new(key, &Secret::find(&self.folder)?)?;
        if let Some((_, told)) = self.read(&name.file()) {
            self.folder.mark(&name.file());
            return Some(Known { told, is_exact: true });
        }
        let others = self.folder.names(LISTS).into_iter().filter(|(file, _)| file.starts_with(&name.whose));
        let same_era = |(file, _): (String, _)| {
            let (meta, told) = self.read(&file)?;
            (is_modern(&meta.revision) == key.is_modern()).then_some((file, told))
        };
        let (file, told) = others.into_iter().find_map(same_era)?;
        self.folder.mark(&file);
        Some(Known { told, is_exact: false })
    }

    /// Keeps it, and says how it differs from what was told before. The first definitions of an image are accepted.
    ///
    /// # Errors
    /// Where it can't be written, or is longer than a file may be.
    pub fn keep(&self, key: &Key, told: &Told) -> io::Result<Kept> {
        let fault = |kind, message| Err(io::Error::new(kind, message));
        if told.bytes() > LONGEST {
            let message = format!("the lists of `{}` are longer than {} MiB", key.server, LONGEST >> 20);
            return fault(io::ErrorKind::FileTooLarge, message);
        }
        let secret = Secret::make(&self.folder)?;
        let Some(name) = Name::new(key, &secret) else {
            return fault(io::ErrorKind::InvalidInput, format!("`{}` is no name of a server", key.server));
        };
        let before = self.read(&name.file()).filter(|(_, before)| before.image == told.image);
        let mut states = States::default();
        if let Some((meta, _)) = &before {
            states = States { seen: meta.states.clone(), returns: meta.returns };
        }
        let is_varying = states.add(state(told.tools.as_ref()));
        let meta = Meta {
            server: key.server.clone(),
            client: key.client.clone(),
            revision: key.revision.clone(),
            image: told.image.clone(),
            at: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs(),
            states: states.seen,
            returns: states.returns,
        };
        self.folder.write(&name.file(), &text::write(&meta, told)?)?;
        let accepted = name.accepted(&told.image, &secret);
        // A refused probe tells no tools, and nothing is accepted by it.
        if told.tools.is_some() && self.read_accepted(&accepted).is_none() {
            self.folder.write(&accepted, &serde_json::to_vec(&Accepted::all(told))?)?;
        }
        self.folder.prune(&[(LISTS, MOST), (ACCEPTED, MOST_ACCEPTED)]);
        Ok(match before {
            None => Kept::New,
            Some((_, before)) => match changes(before.tools.as_ref(), told.tools.as_ref()) {
                changes if changes.is_empty() => Kept::Same,
                changes => Kept::Changed { changes, is_varying },
            },
        })
    }

    /// What was accepted; `None` before the image's first definitions were kept.
    pub fn accepted(&self, key: &Key, image: &str) -> Option<Accepted> {
        let secret = Secret::find(&self.folder)?;
        let file = Name::new(key, &secret)?.accepted(image, &secret);
        let accepted = self.read_accepted(&file)?;
        self.folder.mark(&file);
        Some(accepted)
    }

    /// Whether a tool may be called where changed definitions are held. Before anything was accepted all is.
    pub fn is_accepted(&self, key: &Key, image: &str, tool: &str, definition: &[u8]) -> bool {
        self.accepted(key, image).is_none_or(|accepted| accepted.holds(tool, definition))
    }

    /// A person accepts a tool of a server, or all of them, as they were told last: which are new, for all clients together.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn accept(&self, server: &str, tool: Option<&str>) -> io::Result<Vec<String>> {
        let Some(secret) = Secret::find(&self.folder) else { return Ok(Vec::new()) };
        let mut news = Vec::new();
        for (file, _) in self.folder.names(LISTS) {
            let Some(name) = Name::of(&file, server) else { continue };
            let Some((_, told)) = self.read(&file) else { continue };
            let file = name.accepted(&told.image, &secret);
            // Where nothing was accepted yet, nothing is refused.
            let Some(mut accepted) = self.read_accepted(&file) else { continue };
            let more = accepted.accept(told.tools.as_ref(), tool);
            if !more.is_empty() {
                self.folder.write(&file, &serde_json::to_vec(&accepted)?)?;
                news.extend(more);
            }
        }
        news.sort();
        news.dedup();
        Ok(news)
    }

    /// The tools of a server that it told otherwise, when it told them last, than a person has accepted.
    pub fn held(&self, server: &str) -> Vec<Held> {
        let Some(secret) = Secret::find(&self.folder) else { return Vec::new() };
        let mut held = Vec::new();
        for (file, _) in self.folder.names(LISTS) {
            let Some(name) = Name::of(&file, server) else { continue };
            let Some((_, told)) = self.read(&file) else { continue };
            let accepted = self.read_accepted(&name.accepted(&told.image, &secret));
            held.extend(accepted.into_iter().flat_map(|accepted| accepted.held(told.tools.as_ref())));
        }
        held.sort();
        held.dedup();
        held
    }

    /// All that is there, by server and client.
    pub fn entries(&self) -> Vec<Entry> {
        let entry = |(file, _): (String, SystemTime)| {
            let text = self.folder.read(&file, LONGEST_FILE)?;
            let bytes = text.len();
            let (Meta { server, client, revision, at, .. }, told) = text::read(text)?;
            Some(Entry { server, client, revision, told, at, bytes })
        };
        let mut entries: Vec<_> = self.folder.names(LISTS).into_iter().filter_map(entry).collect();
        entries.sort_by(|a, b| (&a.server, &a.client, &a.revision).cmp(&(&b.server, &b.client, &b.revision)));
        entries
    }

    /// What a server told last, to whomever: no answer to a client, but to a person.
    pub fn latest(&self, server: &str) -> Option<Told> {
        let of_server =
            self.folder.names(LISTS).into_iter().filter(|(file, _)| Name::of(file, server).is_some());
        let read = of_server.filter_map(|(file, _)| self.read(&file));
        let (_, told) =
            read.filter(|(_, told)| told.hello != Hello::NoDiscover).max_by_key(|(meta, _)| meta.at)?;
        Some(told)
    }

    /// The names of all tools that a server has told anybody.
    pub fn tools(&self, server: &str) -> BTreeSet<String> {
        let of_server =
            self.folder.names(LISTS).into_iter().filter(|(file, _)| Name::of(file, server).is_some());
        let told = of_server.filter_map(|(file, _)| Some(self.read(&file)?.1));
        told.flat_map(|told| by_name(told.tools.as_ref()).into_keys().collect::<Vec<_>>()).collect()
    }

    /// Removes what servers told; what was accepted stays. How many files there were.
    pub fn forget(&self) -> usize {
        let files = self.folder.names(LISTS);
        for (file, _) in &files {
            self.folder.remove(file);
        }
        files.len()
    }

    fn read(&self, file: &str) -> Option<(Meta, Told)> {
        text::read(self.folder.read(file, LONGEST_FILE)?)
    }

    fn read_accepted(&self, file: &str) -> Option<Accepted> {
        serde_json::from_slice(&self.folder.read(file, LONGEST_FILE)?).ok()
    }
}

#[cfg(test)]
mod tests;
