//! Why an image's signature does not count, with the next command.

use std::io;

use super::PROGRAM;
use super::protocol::Answer;
use crate::config::Policy;
use crate::failure::{Code, Explain};

/// Why an image may not be run.
#[derive(Debug, thiserror::Error)]
#[error("the image `{image}` {why}")]
pub struct SignatureError {
    pub(super) image: String,
    pub(super) server: String,
    pub(super) policy: Box<Policy>,
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
    #[error("has no signature for `{0}` that is proved to be the configured identity's ({1})")]
    NotProved(String, String),
    #[error("has a signature that was made for another image, not for `{0}`")]
    OtherImage(String),
    #[error("is not what its registry has as `{0}`")]
    NotTheImage(String),
    #[error("cannot be verified: the key cannot be read ({0})")]
    NoKey(io::Error),
    #[error("cannot be verified: the key is not a public key in PEM ({0})")]
    BadKey(String),
    #[error("cannot be verified: the trust root cannot be read ({0})")]
    NoTrustRoot(io::Error),
    #[error("cannot be verified: the trust root is not one in JSON ({0})")]
    BadTrustRoot(String),
    #[error("cannot be verified: sigstore's trust root cannot be fetched ({0})")]
    NoPublicRoot(String),
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
            Answer::NotProved { digest, why } => Self::NotProved(digest, why),
            Answer::OtherImage { digest } => Self::OtherImage(digest),
            Answer::NotTheImage { digest } => Self::NotTheImage(digest),
            Answer::BadKey { why } => Self::BadKey(why),
            Answer::BadTrustRoot { why } => Self::BadTrustRoot(why),
            Answer::NoTrustRoot { why } => Self::NoPublicRoot(why),
            Answer::Unreachable { why } => Self::Registry(why),
        })
    }
}

impl Explain for SignatureError {
    fn code(&self) -> Code {
        match self.why {
            Why::Registry(_) | Why::NoPublicRoot(_) | Why::Program(_) => Code::Unavailable,
            _ => Code::Configuration,
        }
    }

    fn next(&self) -> Option<String> {
        let Self { image, server, policy, why } = self;
        let (confirmed, file) = match &**policy {
            Policy::CosignKey(key) => (format!("the key in `{}`", key.display()), Some(key)),
            Policy::Identity { identity, issuer, trust_root } => {
                (format!("that `{identity}` of `{issuer}` signs it"), trust_root.as_ref())
            }
        };
        let file = file.map(|file| file.display().to_string()).unwrap_or_default();
        Some(match why {
            Why::Local => {
                format!("push it to a registry and sign it there, or write `verify = false` for `{server}`")
            }
            Why::Unsigned(digest) => format!(
                "sign it with `cosign sign`, ask its publisher for the signature of `{digest}`, or write \
                 `verify = false` for `{server}`"
            ),
            Why::OtherKey(_) | Why::NotProved(..) | Why::OtherImage(_) => {
                format!("do not run it before its publisher confirms {confirmed}")
            }
            Why::NotTheImage(_) => {
                format!("remove the copy on this machine with `docker rmi {image}`, then type `berth up`")
            }
            Why::NoKey(_) | Why::BadKey(_) => format!("correct `{file}` or `cosign_key` of `{server}`"),
            Why::NoTrustRoot(_) | Why::BadTrustRoot(_) => {
                format!("correct `{file}` or `trust_root` of `{server}`")
            }
            Why::NoPublicRoot(_) => format!(
                "type `cosign trusted-root create --with-default-services --out trusted_root.json` on a machine with \
                 the network, copy the file here, and name it as `trust_root` of `{server}`"
            ),
            Why::Registry(_) => {
                "see whether the registry is up and `docker login` holds, then type `berth up`".to_owned()
            }
            Why::NoProgram(_) => "install it with `cargo install --path src/verifier`".to_owned(),
            Why::Program(_) => "type `berth up` to try again".to_owned(),
        })
    }
}
