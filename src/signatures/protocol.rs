//! What `berth` and `berth-verify` say to each other: one JSON object on standard input, one on standard output. A part of
//! both programs, which share nothing else.

use std::fmt;
use std::path::PathBuf;

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
    pub signer: Signer,
    pub login: Option<Login>,
    /// Where sigstore's own trust root is kept from one question to the next.
    pub cache: PathBuf,
}

/// Whose signature counts.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signer {
    /// The holder's of a key. This is its public half, in PEM.
    Key(String),
    /// Of an identity that a certificate authority vouches for (keyless).
    Identity(Identity),
}

/// Both are compared whole.
#[derive(Debug, Serialize, Deserialize)]
pub struct Identity {
    /// An e-mail address or a URI.
    pub name: String,
    /// Who has confirmed it to the authority.
    pub issuer: String,
    /// Which authorities and logs are believed (`trusted_root.json`); without it, those of sigstore's public instance.
    pub trust_root: Option<String>,
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
    /// A signature of the signer's for this digest, which is the image's.
    Signed { digest: String },
    /// The registry has no signature for it.
    Unsigned { digest: String },
    /// It has signatures, and none is the key's.
    OtherKey { digest: String },
    /// It has signatures, and none is proved to be the identity's.
    NotProved { digest: String, why: String },
    /// The signer has signed, but another image: the signature was copied.
    OtherImage { digest: String },
    /// What the registry has under the digest is not what the daemon has.
    NotTheImage { digest: String },
    /// The key is none.
    BadKey { why: String },
    /// The trust root is none.
    BadTrustRoot { why: String },
    /// Sigstore's own trust root could not be had.
    NoTrustRoot { why: String },
    /// The registry could not be asked.
    Unreachable { why: String },
}
