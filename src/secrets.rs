//! The secrets that are kept outside of the configuration: a file, a command's output, the person's keyring.
//!
//! They are read once in a session, beside the start of its container, and never stored. They reach the server's process
//! and the redactor, nobody else. No message and no `Debug` output contains one. What reads them ends with its session.

pub(crate) mod command;
mod error;
mod file;
pub mod keyring;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, Shared, try_join, try_join_all};
use tokio_util::task::AbortOnDropHandle;

use crate::config::{EnvVar, Kept, SecretKeeper};
use crate::failure::{Code, Failure};
use crate::observe::redact::Redactor;
use crate::values::parts;

pub use command::CommandError;
pub use error::SecretError;

/// A secret is a line, or a key of a few lines: 64 KiB.
pub const LONGEST: usize = 64 << 10;

/// The secrets of one session. Clones share them.
#[derive(Clone)]
pub struct Secrets(Arc<Inner>);

struct Inner {
    server: String,
    /// By the variable's name.
    kept: Vec<(String, Kept)>,
    redactor: Redactor,
    reading: OnceLock<Reading>,
}

type Values = BTreeMap<String, String>;
type Reading = Shared<BoxFuture<'static, Result<Arc<Values>, Failure>>>;

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("kept", &self.0.kept).finish_non_exhaustive()
    }
}

impl Secrets {
    /// Those among the variables of `server` that are kept elsewhere; `None` where there are none.
    pub fn among(env: &[EnvVar], server: &str, redactor: &Redactor) -> Option<Self> {
        let kept = env.iter().filter_map(|var| Some((var.name.clone(), var.kept.clone()?)));
        let kept: Vec<_> = kept.collect();
        (!kept.is_empty()).then(|| {
            let reading = OnceLock::new();
            Self(Arc::new(Inner { server: server.to_owned(), kept, redactor: redactor.clone(), reading }))
        })
    }

    /// Reads them all, or waits until they are read.
    ///
    /// # Errors
    /// The first that cannot be read, each time the same.
    pub async fn read(&self) -> Result<(), Failure> {
        self.reading().await.map(drop)
    }

    /// How long it may still take.
    pub fn patience(&self) -> Duration {
        if self.0.reading.get().is_some_and(|reading| reading.peek().is_some()) {
            return Duration::ZERO;
        }
        // The keyring's are read one after the other.
        let keyring = self.0.kept.iter().filter(|(_, kept)| is_in_keyring(kept));
        let others = self.0.kept.iter().filter(|(_, kept)| !is_in_keyring(kept));
        let longest = others.map(|(_, kept)| kept.within).max().unwrap_or_default();
        longest.max(keyring.map(|(_, kept)| kept.within).sum())
    }

    /// The environment `env` (`NAME=value`) with their values.
    ///
    /// # Errors
    /// As of [`read`](Self::read).
    pub async fn fill(&self, env: &[String]) -> Result<Vec<String>, Failure> {
        let values = self.reading().await?;
        let filled = env.iter().map(|var| {
            let name = var.split_once('=').map_or(var.as_str(), |(name, _)| name);
            values.get(name).map_or_else(|| var.clone(), |value| format!("{name}={value}"))
        });
        Ok(filled.collect())
    }

    fn reading(&self) -> Reading {
        let Inner { server, kept, redactor, reading } = &*self.0;
        let begin = || {
            let (server, kept, redactor) = (server.clone(), kept.clone(), redactor.clone());
            let task = tokio::spawn(async move {
                let values = read_all(&server, &kept, &redactor).await?;
                // Nobody has them before the redactor knows them.
                redactor.learn(values.values().flat_map(|value| parts(value)));
                Ok(Arc::new(values))
            });
            // With the session's end the last clone of it ends, too, and what it waits for is killed.
            let task = AbortOnDropHandle::new(task);
            async move { task.await.unwrap_or_else(|_| Err(interrupted())) }.boxed().shared()
        };
        reading.get_or_init(begin).clone()
    }
}

fn interrupted() -> Failure {
    Failure { code: Code::Internal, text: "the secrets were not read to their end".to_owned(), next: None }
}

fn is_in_keyring(kept: &Kept) -> bool {
    matches!(kept.keeper, SecretKeeper::Keyring(_))
}

/// At the same time, but for the keyring: it would ask a person for each.
async fn read_all(server: &str, kept: &[(String, Kept)], redactor: &Redactor) -> Result<Values, SecretError> {
    let (keyring, others): (Vec<_>, Vec<_>) = kept.iter().partition(|(_, kept)| is_in_keyring(kept));
    let one = |(name, kept): &(String, Kept)| {
        let (name, kept) = (name.clone(), kept.clone());
        async move {
            let value =
                read_one(&kept, redactor).await.map_err(|why| SecretError::new(server, &name, &kept, why))?;
            Ok::<_, SecretError>((name, value))
        }
    };
    let one_by_one = async {
        let mut values = Vec::new();
        for secret in keyring {
            values.push(one(secret).await?);
        }
        Ok(values)
    };
    let (one_by_one, at_once) = try_join(one_by_one, try_join_all(others.into_iter().map(one))).await?;
    Ok(one_by_one.into_iter().chain(at_once).collect())
}

async fn read_one(kept: &Kept, redactor: &Redactor) -> Result<String, error::Why> {
    let bytes = match &kept.keeper {
        SecretKeeper::File(path) => file::read(path, kept.within).await?,
        SecretKeeper::Command(words) => command::output(words, &kept.folder, kept.within, redactor).await?,
        SecretKeeper::Keyring(name) => keyring::get(name, kept.within).await?,
    };
    as_value(bytes)
}

/// A variable's value: text, without the newline that editors and programs put at its end.
fn as_value(bytes: Vec<u8>) -> Result<String, error::Why> {
    let mut text = String::from_utf8(bytes).map_err(|_| error::Why::NotText)?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    match text {
        text if text.contains('\0') => Err(error::Why::NotText),
        text if text.is_empty() => Err(error::Why::Empty),
        text => Ok(text),
    }
}

#[cfg(test)]
mod tests;
