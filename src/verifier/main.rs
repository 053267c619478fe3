//! `berth-verify`: looks for an image's signature for `berth`, in a process of its own. One question on standard input, one
//! answer on standard output (`signatures/protocol.rs`). It decides nothing: what follows from an answer is `berth`'s.

#[cfg(test)]
mod forge;
mod judge;
#[expect(unreachable_pub, reason = "berth has it as a public module")]
#[path = "../signatures/protocol.rs"]
mod protocol;
mod registry;
mod trust;

use std::io::{self, Read, Write};
use std::process::ExitCode;

use judge::{Finding, Identity, Judge, Key};
use protocol::{Answer, Question, Signer};
use registry::{Registry, Trouble};

/// A question is a few names, and a key or a trust root (bytes).
const LONGEST: u64 = 1 << 20;

/// A signed image has a few signatures; who has more hides one.
const MOST_SIGNATURES: usize = 64;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Who does not hear it sees the code.
            _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut question = Vec::new();
    io::stdin().take(LONGEST).read_to_end(&mut question)?;
    let question: Question =
        serde_json::from_slice(&question).map_err(|_| "usage: berth-verify <QUESTION")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(answer(&question));
    let mut out = io::stdout();
    serde_json::to_writer(&mut out, &answer)?;
    Ok(out.flush()?)
}

/// The first digest with a signature; without any, what is known of the last.
async fn answer(question: &Question) -> Answer {
    let judge = match judge(question).await {
        Ok(judge) => judge,
        Err(answer) => return answer,
    };
    let mut answer = Answer::Unreachable { why: "there is no digest to ask for".to_owned() };
    for digest in &question.digests {
        answer = match look(question, &judge, digest).await {
            Ok(answer) => answer,
            Err(Trouble(why)) => Answer::Unreachable { why },
        };
        if matches!(answer, Answer::Signed { .. }) {
            break;
        }
    }
    answer
}

/// Who judges the signatures.
async fn judge(question: &Question) -> Result<Judge, Answer> {
    match &question.signer {
        Signer::Key(pem) => Key::parse(pem).map(Judge::Key).map_err(|why| Answer::BadKey { why }),
        Signer::Identity(wanted) => {
            let root = match &wanted.trust_root {
                Some(json) => trust::parse(json).map_err(|why| Answer::BadTrustRoot { why })?,
                None => trust::public(&question.cache).await.map_err(|why| Answer::NoTrustRoot { why })?,
            };
            let identity = Identity::new(wanted, &root).map_err(|why| Answer::BadTrustRoot { why })?;
            Ok(Judge::Identity(Box::new(identity)))
        }
    }
}

async fn look(question: &Question, judge: &Judge, digest: &str) -> Result<Answer, Trouble> {
    let digest = digest.to_owned();
    let (registry, manifest) =
        Registry::that_answers(&question.image, question.login.as_ref(), &digest).await?;
    let Some(manifest) = manifest else {
        return Err(Trouble(format!("it has nothing under `{digest}` any more")));
    };
    if !leads_to(&registry, &manifest, &digest, &question.id).await? {
        return Ok(Answer::NotTheImage { digest });
    }
    let mut found = Vec::new();
    found.extend(
        registry.simple_signatures(&digest).await?.iter().map(|simple| judge.simple(simple, &digest)),
    );
    if !found.contains(&Finding::Signed) {
        for bundle in registry.bundles(&digest).await? {
            found.push(judge.bundle(&bundle, &digest));
        }
    }
    Ok(sum(&found, digest))
}

/// One signature that counts is enough: who can add others cannot take it away.
fn sum(found: &[Finding], digest: String) -> Answer {
    let has = |finding| found.contains(&finding);
    let reason = found.iter().find_map(|finding| match finding {
        Finding::NotProved(why) => Some(why.clone()),
        _ => None,
    });
    if has(Finding::Signed) {
        Answer::Signed { digest }
    } else if has(Finding::OtherImage) {
        Answer::OtherImage { digest }
    } else if let Some(why) = reason {
        Answer::NotProved { digest, why }
    } else if has(Finding::OtherKey) {
        Answer::OtherKey { digest }
    } else {
        Answer::Unsigned { digest }
    }
}

/// Whether the manifest is that of the image with this id: a store has its images by the digest of the configuration, of the
/// manifest, or of the list that the manifest is in.
async fn leads_to(registry: &Registry, manifest: &[u8], digest: &str, id: &str) -> Result<bool, Trouble> {
    let manifest = judge::Manifest::parse(manifest).map_err(Trouble)?;
    if id == digest || manifest.config() == Some(id) || manifest.children().any(|child| child == id) {
        return Ok(true);
    }
    for child in manifest.children() {
        let Some(bytes) = registry.manifest(child).await? else { continue };
        if judge::Manifest::parse(&bytes).map_err(Trouble)?.config() == Some(id) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_signature_that_counts_is_enough_and_otherwise_the_gravest_reason_is_told() {
        let digest = || "sha256:00ff".to_owned();
        let not_proved = || Finding::NotProved("odd".to_owned());
        let found = [Finding::Nothing, not_proved(), Finding::OtherImage, Finding::Signed];
        for (seen, expected) in [
            (4, Answer::Signed { digest: digest() }),
            (3, Answer::OtherImage { digest: digest() }),
            (2, Answer::NotProved { digest: digest(), why: "odd".to_owned() }),
            (1, Answer::Unsigned { digest: digest() }),
            (0, Answer::Unsigned { digest: digest() }),
        ] {
            assert_eq!(sum(&found[..seen], digest()), expected, "{seen}");
        }
        assert_eq!(
            sum(&[Finding::Nothing, Finding::OtherKey], digest()),
            Answer::OtherKey { digest: digest() }
        );
    }
}
