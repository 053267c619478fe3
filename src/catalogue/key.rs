//! Under which name a key's file stands.
//!
//! Values of the environment are in it as a keyed hash only: who finds the files learns nothing that they could guess
//! and check. The hash's key is a file beside them.

use std::io;

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use super::Key;
use super::folder::Folder;
use crate::human;
use crate::values::is_server_name;

const FILE: &str = "key";
const LENGTH: usize = 32;

/// So many bytes of a hash stand in a name.
const SHOWN: usize = 16;

/// How the names of files end.
pub(super) const LISTS: &str = ".jsonl";
pub(super) const ACCEPTED: &str = ".accepted.json";

/// Since this revision a session has no `initialize`.
const MODERN: &str = "2026-07-28";

impl Key {
    /// Two eras of the protocol: an answer of one is of no use to a client of the other.
    pub(super) fn is_modern(&self) -> bool {
        is_modern(&self.revision)
    }
}

/// Revisions are dates.
pub(super) fn is_modern(revision: &str) -> bool {
    revision >= MODERN
}

/// What the hashes are keyed with.
#[derive(Debug)]
pub(super) struct Secret(hmac::Key);

impl Secret {
    pub(super) fn find(folder: &Folder) -> Option<Self> {
        let bytes = folder.read(FILE, LENGTH).filter(|bytes| bytes.len() == LENGTH)?;
        Some(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// The one that is there, or a new one. Of several processes the first makes it for all.
    pub(super) fn make(folder: &Folder) -> io::Result<Self> {
        if let Some(secret) = Self::find(folder) {
            return Ok(secret);
        }
        let mut bytes = [0; LENGTH];
        SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| io::Error::other("the system has no random bytes"))?;
        if !folder.write_first(FILE, &bytes)? && Self::find(folder).is_none() {
            // Whatever is there is no key.
            folder.write(FILE, &bytes)?;
        }
        Self::find(folder).ok_or_else(|| io::Error::other("the key that was just written is not there"))
    }

    fn print(&self, parts: &[&[u8]]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        human::hex(&context.sign().as_ref()[..SHOWN])
    }
}

/// The parts of a file's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// `SERVER-HASH-`, the hash of its specification and environment.
    pub(super) whose: String,
    /// The hash of the client's side.
    which: String,
}

impl Name {
    /// `None`: a server of such a name has no files.
    pub(super) fn new(key: &Key, secret: &Secret) -> Option<Self> {
        if !is_server_name(&key.server) {
            return None;
        }
        let mut env: Vec<&[u8]> = key.env.iter().map(String::as_bytes).collect();
        env.sort_unstable();
        let whose = [&[key.server.as_bytes(), key.spec.as_bytes()], &env[..]].concat();
        let capabilities = canonical(&key.capabilities);
        let which = [key.client.as_bytes(), key.revision.as_bytes(), capabilities.as_bytes()];
        Some(Self { whose: format!("{}-{}-", key.server, secret.print(&whose)), which: secret.print(&which) })
    }

    /// The parts of a list's file of this server; `None`: it is another's.
    pub(super) fn of(file: &str, server: &str) -> Option<Self> {
        let (whose, which) = file.strip_suffix(LISTS)?.rsplit_once('-')?;
        let print = whose.strip_prefix(server)?.strip_prefix('-')?;
        let is_print = |text: &str| text.len() == SHOWN * 2;
        (is_print(print) && is_print(which))
            .then(|| Self { whose: format!("{whose}-"), which: which.to_owned() })
    }

    pub(super) fn file(&self) -> String {
        format!("{}{}{}", self.whose, self.which, LISTS)
    }

    /// The file of what was accepted of one image: by whatever client and in whatever revision, or each new one would accept
    /// everything anew.
    pub(super) fn accepted(&self, image: &str, secret: &Secret) -> String {
        let which = secret.print(&[image.as_bytes()]);
        format!("{}{which}{}", self.whose, ACCEPTED)
    }
}

/// The same text for the same JSON; what is none stays as it is.
fn canonical(json: &str) -> String {
    let Ok(mut value) = serde_json::from_str::<serde_json::Value>(json) else { return json.to_owned() };
    value.sort_all_objects();
    value.to_string()
}
