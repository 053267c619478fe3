//! Makes signatures of identities for `fixtures/signed.sh`, all of one certificate authority: `forge FOLDER` with lines
//! `NAME simple|bundle CASE DIGEST` on standard input.

#[expect(clippy::unwrap_used, dead_code, reason = "it is the tests', which know more cases")]
mod forge;

use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;

use forge::{Case, World};
use serde_json::json;

/// What a registry is tried with.
const CASES: [Case; 11] = [
    Case::Good,
    Case::Email,
    Case::OtherIdentity,
    Case::OtherIssuer,
    Case::ForeignAuthority,
    Case::OtherKey,
    Case::Late,
    Case::ForeignLog,
    Case::EntryOfAnotherPayload,
    Case::OtherImage,
    Case::Attestation,
];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: forge FOLDER")?;
    let folder = Path::new(&folder);
    let world = World::new();
    fs::write(folder.join("trusted_root.json"), world.trust_root())?;
    for line in io::stdin().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, form, case, digest] = words[..] else { return Err(format!("what is `{line}`?").into()) };
        let known = CASES.into_iter().find(|known| format!("{known:?}") == case);
        let case = known.ok_or_else(|| format!("there is no case `{case}`"))?;
        if form == "bundle" {
            fs::write(folder.join(format!("{name}.bundle")), world.bundle(digest, case).to_string())?;
            continue;
        }
        let simple = world.simple(digest, case);
        let notes = json!({
            "dev.cosignproject.cosign/signature": simple.signature,
            "dev.sigstore.cosign/certificate": simple.certificate,
            "dev.sigstore.cosign/bundle": simple.logged,
        });
        fs::write(folder.join(format!("{name}.payload")), simple.payload)?;
        fs::write(folder.join(format!("{name}.notes")), notes.to_string())?;
    }
    Ok(())
}
