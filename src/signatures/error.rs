//! Why an image's signature does not count, with the next command.

use std::io;
use std::path::PathBuf;

use super::PROGRAM;
use super::protocol::Answer;
use crate::failure::{Code, Explain};

/// Why an image may not be run.
#[derive(Debug, thiserror::Error)]
#[error("the image `{image}` {why}")]
pub struct SignatureError {
    pub(super) image: String,
    pub(super) server: String,
    pub(super) key: PathBuf,
    pub(super) why: Why,
}

/// The same without the image.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    #[error(
        "has no digest of a registry, so nobody can have signed it: it was built or loaded on this machine"
    )]
    Local,
    #[error("is not signed: its registry has no signature for `{0}`")]
    Unsigned(String),
    #[error("is signed by others: its registry has no signature of the configured key for `{0}`")]
    OtherKey(String),
    #[error("has a signature that was made for another image, not for `{0}`")]
    OtherImage(String),
    #[error("is not what its registry has as `{0}`")]
    NotTheImage(String),
    #[error("cannot be verified: the key cannot be read ({0})")]
    NoKey(io::Error),
    #[error("cannot be verified: the key is not a public key in PEM ({0})")]
    BadKey(String),
    #[error("cannot be verified: its registry gives no answer ({0})")]
    Registry(String),
    #[error("cannot be verified: `{PROGRAM}`, which should be beside `berth`, cannot be started ({0})")]
    NoProgram(io::Error),
    #[error("cannot be verified: `{PROGRAM}` {0}")]
    Program(String),
}

impl Why {
    /// `None`: it is signed.
    pub(super) fn of(answer: Answer) -> Option<Self> {
        Some(match answer {
            Answer::Signed { .. } => return None,
            Answer::Unsigned { digest } => Self::Unsigned(digest),
            Answer::OtherKey { digest } => Self::OtherKey(digest),
            Answer::OtherImage { digest } => Self::OtherImage(digest),
            Answer::NotTheImage { digest } => Self::NotTheImage(digest),
            Answer::BadKey { why } => Self::BadKey(why),
            Answer::Unreachable { why } => Self::Registry(why),
        })
    }
}

impl Explain for SignatureError {
    fn code(&self) -> Code {
        match self.why {
            Why::Registry(_) | Why::Program(_) => Code::Unavailable,
            _ => Code::Configuration,
        }
    }

    fn next(&self) -> Option<String> {
        let Self { image, server, key, why } = self;
        let key = key.display();
        Some(match why {
            Why::Local => {
                format!("push it to a registry and sign it there, or write `verify = false` for `{server}`")
            }
            Why::Unsigned(digest) => format!(
                "sign it with `cosign sign`, ask its publisher for the signature of `{digest}`, or write \
                 `verify = false` for `{server}`"
            ),
            Why::OtherKey(_) | Why::OtherImage(_) => {
                format!("do not run it before its publisher confirms the key in `{key}`")
            }
            Why::NotTheImage(_) => {
                format!("remove the copy on this machine with `docker rmi {image}`, then type `berth up`")
            }
            Why::NoKey(_) | Why::BadKey(_) => format!("correct `{key}` or `cosign_key` of `{server}`"),
            Why::Registry(_) => {
                "see whether the registry is up and `docker login` holds, then type `berth up`".to_owned()
            }
            Why::NoProgram(_) => "install it with `cargo install --path src/verifier`".to_owned(),
            Why::Program(_) => "type `berth up` to try again".to_owned(),
        })
    }
}
