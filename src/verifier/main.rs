//! `berth-verify`: looks for an image's signature for `berth`, in a process of its own. One question on standard input, one
//! answer on standard output (`signatures/protocol.rs`). It decides nothing: what follows from an answer is `berth`'s.

mod judge;
#[expect(unreachable_pub, reason = "berth has it as a public module")]
#[path = "../signatures/protocol.rs"]
mod protocol;
mod registry;

use std::io::{self, Read, Write};
use std::process::ExitCode;

use judge::{Finding, Key};
use protocol::{Answer, Question};
use registry::{Registry, Trouble};

/// A question is a few names and a key (bytes).
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
    let key = match Key::parse(&question.key) {
        Ok(key) => key,
        Err(why) => return Answer::BadKey { why },
    };
    let mut answer = Answer::Unreachable { why: "there is no digest to ask for".to_owned() };
    for digest in &question.digests {
        answer = match look(question, &key, digest).await {
            Ok(answer) => answer,
            Err(Trouble(why)) => Answer::Unreachable { why },
        };
        if matches!(answer, Answer::Signed { .. }) {
            break;
        }
    }
    answer
}

async fn look(question: &Question, key: &Key, digest: &str) -> Result<Answer, Trouble> {
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
    let simple = registry.simple_signatures(&digest).await?;
    found.extend(simple.iter().map(|(payload, signature)| judge::simple(payload, signature, &digest, key)));
    if !found.contains(&Finding::Signed) {
        for bundle in registry.bundles(&digest).await? {
            found.push(judge::bundle(&bundle, &digest, key));
        }
    }
    let has = |finding| found.contains(&finding);
    Ok(if has(Finding::Signed) {
        Answer::Signed { digest }
    } else if has(Finding::OtherImage) {
        Answer::OtherImage { digest }
    } else if has(Finding::OtherKey) {
        Answer::OtherKey { digest }
    } else {
        Answer::Unsigned { digest }
    })
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
