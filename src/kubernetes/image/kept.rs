//! What is known of an image, in a file of berth's state. A file that is lost or odd costs a question.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use mcp_berth::human::hex;
use mcp_berth::regular;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Image;

const FOLDER: &str = "cluster-images";
/// Longer than any image's words (bytes).
const LONGEST: u64 = 1 << 20;

/// An answer, and when it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// As the server names the image.
    name: String,
    pub(super) asked: SystemTime,
    /// The digest that the registry had for the name; `None`: an engine has told.
    pub(super) means: Option<String>,
    pub(super) image: Image,
}

impl Kept {
    /// An answer of this moment.
    pub(super) fn new(name: &str, means: Option<String>, image: Image) -> Self {
        Self { name: name.to_owned(), asked: SystemTime::now(), means, image }
    }

    pub(super) fn read(state: &Path, name: &str) -> Option<Self> {
        let mut text = String::new();
        regular::open(&path(state, name)).ok()??.take(LONGEST).read_to_string(&mut text).ok()?;
        let kept: Self = serde_json::from_str(&text).ok()?;
        (kept.name == name).then_some(kept)
    }

    pub(super) fn write(&self, state: &Path) -> io::Result<()> {
        let path = path(state, &self.name);
        fs::create_dir_all(path.parent().unwrap_or(state))?;
        regular::replace(&path, serde_json::to_string(self)?.as_bytes())
    }
}

fn path(state: &Path, name: &str) -> PathBuf {
    state.join(FOLDER).join(hex(&Sha256::digest(name)[..12]))
}
