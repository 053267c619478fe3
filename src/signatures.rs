//! Whether an image has the signature that its server needs. A program of its own looks, `berth-verify`: registries and
//! their cryptography are no part of `berth run`. Here is said what it is asked, and remembered what it found.
//!
//! A verdict is for an id, which no other content can have, and for a signer: a key, or an identity with what vouches for
//! it. It is asked for once: at `berth up`, or when the image has changed. A verdict that is lost is asked for again; a
//! refusal is never remembered.

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
use protocol::{Answer, Identity, Login, Question, Signer};

const PROGRAM: &str = "berth-verify";

/// A registry answers in a second; one that does not has a session wait.
const WITHIN: Duration = Duration::from_mins(1);

/// A public key is a few lines, a trust root some dozen certificates (bytes).
const LONGEST_FILE: u64 = 256 << 10;

/// The folder of the verdicts, in berth's state, and in it that of sigstore's own trust root.
const FOLDER: &str = "signatures";
const TRUST_ROOT: &str = "trust-root";

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
    /// What is wrong with the policy's file.
    pub fn knows(&self, server: &Server, id: &str) -> Result<bool, SignatureError> {
        let Some(policy) = server.verify() else { return Ok(true) };
        let signer = signer(policy).map_err(|why| refusal(server, policy, why))?;
        Ok(self.verdict(server, id, &signer).exists())
    }

    /// Whether `server` may run the image, by a remembered verdict or by a new one.
    ///
    /// # Errors
    /// It may not, or nobody can say.
    pub async fn accepts(&self, server: &Server, held: Held<'_>) -> Result<(), SignatureError> {
        let Some(policy) = server.verify() else { return Ok(()) };
        let refused = |why| refusal(server, policy, why);
        let signer = signer(policy).map_err(refused)?;
        let verdict = self.verdict(server, held.id, &signer);
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
        let cache = self.state.join(FOLDER).join(TRUST_ROOT);
        let (image, id) = (server.image.clone(), held.id.to_owned());
        let question = Question { image, id, digests, signer, login, cache };
        let answer = ask(&question).await.map_err(refused)?;
        if let Answer::Signed { digest } = &answer
            && let Err(error) = remember(&verdict, &server.image, digest)
        {
            tracing::warn!("cannot remember that `{}` is signed: {error}", server.image);
        }
        Why::of(answer).map_or(Ok(()), |why| Err(refused(why)))
    }

    /// The file that stands for a verdict.
    fn verdict(&self, server: &Server, id: &str, signer: &Signer) -> PathBuf {
        let mut of = Sha256::new();
        of.update(format!("{id}\n{}\n", repository(&server.image)));
        match signer {
            Signer::Key(key) => of.update(key),
            Signer::Identity(Identity { name, issuer, trust_root }) => {
                // A part never runs into the next.
                for part in [Some(name), Some(issuer), trust_root.as_ref()] {
                    of.update(format!("identity {:?}\n", part.map(|part| hex(&Sha256::digest(part)))));
                }
            }
        }
        self.state.join(FOLDER).join(hex(&of.finalize()))
    }
}

fn refusal(server: &Server, policy: &Policy, why: Why) -> SignatureError {
    SignatureError {
        image: server.image.clone(),
        server: server.name.clone(),
        policy: policy.clone().into(),
        why,
    }
}

fn signer(policy: &Policy) -> Result<Signer, Why> {
    Ok(match policy {
        Policy::CosignKey(path) => Signer::Key(read(path).map_err(Why::NoKey)?),
        Policy::Identity { identity, issuer, trust_root } => Signer::Identity(Identity {
            name: identity.clone(),
            issuer: issuer.clone(),
            trust_root: trust_root.as_deref().map(read).transpose().map_err(Why::NoTrustRoot)?,
        }),
    })
}

fn read(path: &Path) -> io::Result<String> {
    let file = regular::open(path)?.ok_or_else(|| io::Error::other("it is not a regular file"))?;
    let mut text = String::new();
    file.take(LONGEST_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST_FILE {
        return Err(io::Error::other("it is longer than 256 KiB"));
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
