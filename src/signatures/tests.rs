//! What is asked, what is remembered, and what a refusal says.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::*;
use crate::config::Settings;
use crate::failure::{Code, Failure};

const DIGEST: &str = "sha256:00ff";

fn server(image: &str, key: &Path) -> Server {
    let mut settings = Settings::default();
    settings.verify = Some(Policy::CosignKey(key.to_owned()));
    Server::from_image(image.parse().unwrap(), Vec::new(), &settings)
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn an_image_is_looked_for_in_its_own_repository_alone() {
    for (image, expected) in [
        ("node", "node"),
        ("node:22", "node"),
        ("docker.io/library/node:22@sha256:aa", "node"),
        ("index.docker.io/me/x", "me/x"),
        ("box:5000/a/b", "box:5000/a/b"),
        ("box:5000/a/b:1", "box:5000/a/b"),
    ] {
        assert_eq!(repository(image), expected, "{image}");
    }
    let known = names(&["box:5000/a@sha256:1", "box:5000/b@sha256:2", "a@sha256:3", "odd"]);
    assert_eq!(digests("box:5000/a:latest", &known), ["sha256:1"]);
    assert_eq!(digests("docker.io/library/a", &known), ["sha256:3"]);
    assert_eq!(digests("elsewhere/a", &known), [""; 0]);
}

#[tokio::test]
async fn what_was_built_here_is_refused_without_a_question() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("cosign.pub");
    let cli = DockerCli::default();
    let judge = Judge { state: folder.path(), cli: &cli };
    let server = server("mine", &key);
    let held = Held { id: "sha256:1", repo_digests: &names(&["other@sha256:2"]) };
    let said = |error: SignatureError| Failure::from(error);
    let error = said(judge.accepts(&server, held).await.unwrap_err());
    assert!(error.to_string().contains("the key cannot be read (No such file"), "{error}");
    fs::write(&key, "-----BEGIN PUBLIC KEY-----").unwrap();
    let error = said(judge.accepts(&server, held).await.unwrap_err());
    assert_eq!(
        error.to_string(),
        "the image `mine` has no digest of a registry, so nobody can have signed it: it was built or loaded on this \
         machine; push it to a registry and sign it there, or write `verify = false` for `mine`"
    );
    assert_eq!(error.code, Code::Configuration);
}

#[tokio::test]
async fn a_verdict_is_for_one_image_of_one_repository_and_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("cosign.pub");
    fs::write(&key, "one").unwrap();
    let cli = DockerCli::default();
    let judge = Judge { state: folder.path(), cli: &cli };
    let signed = server("box:5000/a:1", &key);
    assert!(!judge.knows(&signed, "sha256:1").unwrap());
    let verdict = judge.verdict(&signed, "sha256:1", &Signer::Key("one".to_owned()));
    remember(&verdict, &signed.image, DIGEST).unwrap();
    assert_eq!(fs::read_to_string(&verdict).unwrap(), "box:5000/a:1@sha256:00ff\n");
    assert!(judge.knows(&signed, "sha256:1").unwrap());
    let held = Held { id: "sha256:1", repo_digests: &[] };
    judge.accepts(&signed, held).await.expect("nobody is asked again");
    assert!(judge.knows(&server("box:5000/a:2", &key), "sha256:1").unwrap(), "a tag says nothing");
    assert!(!judge.knows(&signed, "sha256:2").unwrap(), "another image");
    assert!(!judge.knows(&server("box:5000/b:1", &key), "sha256:1").unwrap(), "another repository");
    fs::write(&key, "two").unwrap();
    assert!(!judge.knows(&signed, "sha256:1").unwrap(), "another key in the same file");
    let free = Server::from_image("box:5000/a:1".parse().unwrap(), Vec::new(), &Settings::default());
    assert!(judge.knows(&free, "sha256:2").unwrap(), "it needs no signature");
}

#[tokio::test]
async fn a_verdict_is_for_one_identity_of_one_issuer_and_one_trust_root() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("trusted_root.json");
    let cli = DockerCli::default();
    let judge = Judge { state: folder.path(), cli: &cli };
    let server = |identity: &str, issuer: &str, root: Option<&Path>| {
        let (identity, issuer) = (identity.to_owned(), issuer.to_owned());
        let mut settings = Settings::default();
        settings.verify = Some(Policy::Identity { identity, issuer, trust_root: root.map(Into::into) });
        Server::from_image("box:5000/a".parse().unwrap(), Vec::new(), &settings)
    };
    let signed = server("me", "them", Some(&root));
    let held = Held { id: "sha256:1", repo_digests: &names(&["box:5000/a@sha256:2"]) };
    let error = Failure::from(judge.accepts(&signed, held).await.unwrap_err());
    let text = error.to_string();
    assert!(text.contains("the trust root cannot be read (No such file"), "{text}");
    assert!(text.ends_with(&format!("; correct `{}` or `trust_root` of `a`", root.display())), "{text}");
    fs::write(&root, "{}").unwrap();
    let verdict = judge.verdict(&signed, "sha256:1", &signer(signed.verify().unwrap()).unwrap());
    remember(&verdict, &signed.image, DIGEST).unwrap();
    judge.accepts(&signed, held).await.expect("nobody is asked again");
    for (identity, issuer, root) in [
        ("you", "them", Some(&*root)),
        ("me", "us", Some(&*root)),
        ("them", "me", Some(&*root)),
        ("me", "them", None),
        ("methem", "", Some(&*root)),
    ] {
        let other = server(identity, issuer, root);
        assert!(!judge.knows(&other, "sha256:1").unwrap(), "{identity} {issuer} {root:?}");
    }
    fs::write(&root, "{ }").unwrap();
    assert!(!judge.knows(&signed, "sha256:1").unwrap(), "other authorities in the same file");
}

#[test]
fn a_refusal_says_whom_to_ask_and_what_to_type() {
    let said = |trust_root: Option<PathBuf>, why: Why| {
        let (identity, issuer) = ("me@example.org".to_owned(), "https://example.org".to_owned());
        let policy = Policy::Identity { identity, issuer, trust_root }.into();
        Failure::from(SignatureError { image: "i".to_owned(), server: "s".to_owned(), policy, why })
    };
    let refused = said(None, Why::NotProved(DIGEST.to_owned(), "odd".to_owned()));
    let next = "before its publisher confirms that `me@example.org` of `https://example.org` signs it";
    assert!(refused.to_string().ends_with(next), "{refused}");
    assert_eq!(refused.code, Code::Configuration);
    let offline = said(None, Why::NoPublicRoot("refused".to_owned()));
    assert!(offline.to_string().contains("; type `cosign trusted-root create"), "{offline}");
    assert_eq!(offline.code, Code::Unavailable);
    let bad = said(Some("/r.json".into()), Why::BadTrustRoot("odd".to_owned()));
    assert!(bad.to_string().ends_with("; correct `/r.json` or `trust_root` of `s`"), "{bad}");
}

#[test]
fn only_a_signature_is_no_reason_to_refuse() {
    let digest = DIGEST.to_owned();
    assert!(Why::of(Answer::Signed { digest: digest.clone() }).is_none());
    for (answer, expected) in [
        (Answer::Unsigned { digest: digest.clone() }, "is not signed"),
        (Answer::OtherKey { digest: digest.clone() }, "is signed by others"),
        (
            Answer::NotProved { digest: digest.clone(), why: "odd".to_owned() },
            "has no signature for `sha256:00ff` that is proved to be the configured identity's (odd)",
        ),
        (Answer::OtherImage { digest: digest.clone() }, "made for another image"),
        (Answer::NotTheImage { digest }, "is not what its registry has"),
        (Answer::BadKey { why: "odd".to_owned() }, "not a public key in PEM (odd)"),
        (Answer::BadTrustRoot { why: "odd".to_owned() }, "the trust root is not one in JSON (odd)"),
        (Answer::NoTrustRoot { why: "refused".to_owned() }, "trust root cannot be fetched (refused)"),
        (Answer::Unreachable { why: "refused".to_owned() }, "its registry gives no answer (refused)"),
    ] {
        let why = Why::of(answer).unwrap().to_string();
        assert!(why.contains(expected), "{why}");
    }
}

#[test]
fn a_program_that_says_nothing_sensible_has_found_nothing() {
    let ended = |code: i32, out: &str, err: &str| {
        let status = ExitStatus::from_raw(code << 8);
        heard(Ok(Ended { status, out: out.as_bytes().to_vec(), err: err.to_owned() }))
    };
    let signed = r#"{"found":"signed","digest":"sha256:00ff"}"#;
    assert_eq!(ended(0, signed, "").unwrap(), Answer::Signed { digest: DIGEST.to_owned() });
    for (code, out, err, expected) in [
        (1, signed, "lost", "failed (lost)"),
        (1, signed, "", "failed (exit status: 1)"),
        (0, "", "", "gave an invalid answer"),
        (0, r#"{"found":"something","digest":""}"#, "", "gave an invalid answer"),
    ] {
        let why = ended(code, out, err).unwrap_err().to_string();
        assert!(why.ends_with(expected), "{why}");
    }
}
