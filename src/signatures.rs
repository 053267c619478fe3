//! Whether an image has the signature that its server needs. A program of its own looks, `berth-verify`: registries and
//! their cryptography are no part of `berth run`. Here is said what it is asked, and remembered what it found.
//!
//! A verdict is for an id, which no other content can have, and for a key. It is asked for once: at `berth up`, or when the
//! image has changed. A verdict that is lost is asked for again; a refusal is never remembered.

mod error;
pub mod protocol;

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::process::Command;

pub use error::{SignatureError, Why};

use crate::config::{Policy, Server};
use crate::docker_cli::DockerCli;
use crate::human::hex;
use crate::observe::redact::Redactor;
use crate::regular;
use crate::secrets::command::{self, CommandError, Ended};
use protocol::{Answer, Login, Question};

const PROGRAM: &str = "berth-verify";

/// A registry answers in a second; one that does not has a session wait.
const WITHIN: Duration = Duration::from_mins(1);

/// A public key is a few lines (bytes).
const LONGEST_KEY: u64 = 64 << 10;

/// The folder of the verdicts, in berth's state.
const FOLDER: &str = "signatures";

/// An image of an engine.
#[derive(Debug, Clone, Copy)]
pub struct Held<'a> {
    pub id: &'a str,
    /// `NAME@DIGEST`, of registries.
    pub repo_digests: &'a [String],
}

/// Where verdicts are, and who asks a registry.
#[derive(Debug, Clone, Copy)]
pub struct Judge<'a> {
    pub state: &'a Path,
    pub cli: &'a DockerCli,
}

impl Judge<'_> {
    /// Whether `server` may run the image; true where a verdict was remembered, or none is needed.
    ///
    /// # Errors
    /// The key, or what is wrong with the key's file.
    pub fn knows(&self, server: &Server, id: &str) -> Result<bool, SignatureError> {
        let Some(policy) = server.verify() else { return Ok(true) };
        let key = key(policy).map_err(|why| refusal(server, policy, why))?;
        Ok(self.verdict(server, id, &key).exists())
    }

    /// Whether `server` may run the image, by a remembered verdict or by a new one.
    ///
    /// # Errors
    /// It may not, or nobody can say.
    pub async fn accepts(&self, server: &Server, held: Held<'_>) -> Result<(), SignatureError> {
        let Some(policy) = server.verify() else { return Ok(()) };
        let refused = |why| refusal(server, policy, why);
        let key = key(policy).map_err(refused)?;
        let verdict = self.verdict(server, held.id, &key);
        if verdict.exists() {
            return Ok(());
        }
        let digests = digests(&server.image, held.repo_digests);
        if digests.is_empty() {
            return Err(refused(Why::Local));
        }
        let login = self.cli.credential(&server.image).await.credential.map(|credential| Login {
            username: credential.username,
            password: credential.password,
            token: credential.registry_token,
        });
        let question = Question { image: server.image.clone(), id: held.id.to_owned(), digests, key, login };
        let answer = ask(&question).await.map_err(refused)?;
        if let Answer::Signed { digest } = &answer
            && let Err(error) = remember(&verdict, &server.image, digest)
        {
            tracing::warn!("cannot remember that `{}` is signed: {error}", server.image);
        }
        Why::of(answer).map_or(Ok(()), |why| Err(refused(why)))
    }

    /// The file that stands for a verdict.
    fn verdict(&self, server: &Server, id: &str, key: &str) -> PathBuf {
        let of = Sha256::digest(format!("{id}\n{}\n{key}", repository(&server.image)));
        self.state.join(FOLDER).join(hex(&of))
    }
}

fn refusal(server: &Server, policy: &Policy, why: Why) -> SignatureError {
    let Policy::CosignKey(key) = policy;
    SignatureError { image: server.image.clone(), server: server.name.clone(), key: key.clone(), why }
}

fn key(policy: &Policy) -> Result<String, Why> {
    let Policy::CosignKey(path) = policy;
    read(path).map_err(Why::NoKey)
}

fn read(path: &Path) -> io::Result<String> {
    let file = regular::open(path)?.ok_or_else(|| io::Error::other("it is not a regular file"))?;
    let mut text = String::new();
    file.take(LONGEST_KEY + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST_KEY {
        return Err(io::Error::other("it is too long for a key"));
    }
    Ok(text)
}

/// The digests under which the image's own registry has it.
fn digests(image: &str, repo_digests: &[String]) -> Vec<String> {
    let of_its_own = |name: &&String| {
        let of = name.rsplit_once('@').map(|(of, _)| repository(of));
        of == Some(repository(image))
    };
    let found = repo_digests.iter().filter(of_its_own);
    found.filter_map(|name| Some(name.rsplit_once('@')?.1.to_owned())).collect()
}

/// An image's name without tag and digest, and without what stands for Docker Hub.
fn repository(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or(image);
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    let name = name[last..].find(':').map_or(name, |colon| &name[..last + colon]);
    let name =
        name.strip_prefix("index.docker.io/").or_else(|| name.strip_prefix("docker.io/")).unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

/// The program's answer.
async fn ask(question: &Question) -> Result<Answer, Why> {
    let question = serde_json::to_vec(question).map_err(|error| Why::Program(error.to_string()))?;
    let program = command::beside(PROGRAM).map_err(Why::NoProgram)?;
    let mut command = Command::new(program);
    command.current_dir("/");
    // No session's secret is in the question.
    heard(command::run(command, Some(&question), WITHIN, &Redactor::new([])).await)
}

fn heard(ended: Result<Ended, CommandError>) -> Result<Answer, Why> {
    let Ended { status, out, err } = ended.map_err(|error| match error {
        CommandError::Start(error) => Why::NoProgram(error),
        error => Why::Program(error.to_string()),
    })?;
    if !status.success() {
        let said = if err.is_empty() { status.to_string() } else { err };
        return Err(Why::Program(format!("failed ({said})")));
    }
    serde_json::from_slice(&out).map_err(|_| Why::Program("gave an invalid answer".to_owned()))
}

/// Whole or not at all.
fn remember(verdict: &Path, image: &str, digest: &str) -> io::Result<()> {
    let folder = verdict.parent().unwrap_or(verdict);
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(file, "{image}@{digest}")?;
    file.persist(verdict)?;
    Ok(())
}

#[cfg(test)]
mod tests;
