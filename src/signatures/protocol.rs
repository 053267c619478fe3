//! What `berth` and `berth-verify` say to each other: one JSON object on standard input, one on standard output. A part of
//! both programs, which share nothing else.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether the image with that id was signed.
#[derive(Debug, Serialize, Deserialize)]
pub struct Question {
    /// As the configuration names it.
    pub image: String,
    /// The daemon's, which is the digest of its configuration or of a manifest.
    pub id: String,
    /// Under which its registry should have it.
    pub digests: Vec<String>,
    /// A public key in PEM.
    pub key: String,
    pub login: Option<Login>,
}

/// For the registry. It goes through a pipe, and is part of no message.
#[derive(Serialize, Deserialize)]
pub struct Login {
    pub username: String,
    pub password: String,
    /// Instead of both.
    pub token: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "found", rename_all = "kebab-case")]
pub enum Answer {
    /// A signature of the key for this digest, which is the image's.
    Signed { digest: String },
    /// The registry has no signature for it.
    Unsigned { digest: String },
    /// It has signatures, and none is the key's.
    OtherKey { digest: String },
    /// The key has signed, but another image: the signature was copied.
    OtherImage { digest: String },
    /// What the registry has under the digest is not what the daemon has.
    NotTheImage { digest: String },
    /// The key is none.
    BadKey { why: String },
    /// The registry could not be asked.
    Unreachable { why: String },
}
