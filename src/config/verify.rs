//! `verify`: whose signature an image needs. Here is only said whose; [`signatures`](crate::signatures) looks for it.

use std::path::Path;
use std::sync::Arc;

use super::error::ConfigError;
use super::home::Home;
use super::reader::Section;
use super::settings::definition::{Change, DefaultValue, Setting};
use super::settings::{Policy, Settings};

const ABOUT: &str = "whose signature `image` needs: `{ cosign_key = \"FILE\" }`, a public key in PEM, or \
     `{ identity = \"…\", issuer = \"URL\" }`, both compared whole, with `trust_root = \"FILE\"` for other authorities than \
     sigstore's; `false` takes that of `[defaults]` away; see [packages](packages.md)";

const EXAMPLE: &str = "write verify = { cosign_key = \"~/keys/cosign.pub\" } or verify = { identity = \"me@example.org\", \
     issuer = \"https://accounts.example.org\" }";

pub(super) fn setting() -> Setting {
    Setting::custom("verify", DefaultValue::Words("none"), ABOUT, read, |_| {
        Err("`verify` is not for the command line".to_owned())
    })
}

fn read(section: &mut Section<'_>, key: &'static str) -> Result<Option<Change>, ConfigError> {
    let Some(item) = section.take_item(key) else { return Ok(None) };
    let place = item.place();
    let wrong = |message: String| ConfigError::new(message).at(Some(place.clone())).with_hint(EXAMPLE);
    if !item.is_table() {
        return match item.read::<bool>() {
            Ok(false) => Ok(Some(change(None))),
            _ => Err(wrong(format!("`{key}` does not say whose signature"))),
        };
    }
    let mut table = item.section(format!("`{key}`"))?;
    let mut text = |name| table.take::<String>(name).map(|text| text.filter(|text| !text.is_empty()));
    let (file, identity) = (text("cosign_key")?, text("identity")?);
    let (issuer, trust_root) = (text("issuer")?, text("trust_root")?);
    table.finish()?;
    let policy = match (file, identity, issuer) {
        (Some(file), None, None) if trust_root.is_none() => Policy::CosignKey(file.into()),
        (None, Some(identity), Some(issuer)) => {
            Policy::Identity { identity, issuer, trust_root: trust_root.map(Into::into) }
        }
        (Some(_), ..) => {
            return Err(wrong(format!("`{key}` has a key and an identity, but takes one of them")));
        }
        (None, Some(_), None) => return Err(wrong(format!("`identity` in `{key}` needs `issuer`"))),
        (None, None, Some(_)) => return Err(wrong(format!("`issuer` in `{key}` needs `identity`"))),
        (None, None, None) => return Err(wrong(format!("`{key}` has no `cosign_key`, and no `identity`"))),
    };
    Ok(Some(change(Some(policy))))
}

fn change(policy: Option<Policy>) -> Change {
    Arc::new(move |settings: &mut Settings| settings.verify.clone_from(&policy))
}

impl Settings {
    /// The policy's file where the configuration's paths lead.
    pub(super) fn resolve_verify(&mut self, home: &Home, file: &Path) {
        let Some(Policy::CosignKey(path) | Policy::Identity { trust_root: Some(path), .. }) =
            &mut self.verify
        else {
            return;
        };
        *path = home.resolve(path, file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn parse(text: &str) -> Result<Config, String> {
        let home = Home::from_env(&|_| Some("/h".to_owned())).unwrap();
        Config::parse(text, Path::new("/etc/b.toml"), &home).map_err(|error| error.to_string())
    }

    fn policy(text: &str) -> Option<Policy> {
        parse(text).unwrap().server("a").unwrap().verify().cloned()
    }

    #[test]
    fn a_servers_policy_goes_before_that_of_all() {
        let key = |path: &str| Some(Policy::CosignKey(path.into()));
        let all = "[defaults]\nverify = { cosign_key = \"~/all.pub\" }\n";
        assert_eq!(policy("[servers.a]\nimage = \"i\""), None);
        assert_eq!(
            policy("[servers.a]\nimage = \"i\"\nverify = { cosign_key = \"k.pub\" }"),
            key("/etc/k.pub")
        );
        assert_eq!(policy(&format!("{all}[servers.a]\nimage = \"i\"")), key("/h/all.pub"));
        assert_eq!(policy(&format!("{all}[servers.a]\nimage = \"i\"\nverify = false")), None);
        let own = format!("{all}[servers.a]\nimage = \"i\"\nverify = {{ cosign_key = \"/k\" }}");
        assert_eq!(policy(&own), key("/k"));
        assert_eq!(policy(&format!("{all}[servers.a]\nnpx = \"p\"")), None, "it is baked here");
        let config = parse(&format!("{all}[servers.a]\nimage = \"i\"")).unwrap();
        assert!(config.defaults.verify.is_some(), "`berth run --image` has it too");
    }

    #[test]
    fn an_identity_is_taken_as_it_is_written_and_its_trust_root_is_a_file() {
        let of = |trust_root: Option<&str>| {
            let (identity, issuer) = ("me@example.org".to_owned(), "https://example.org".to_owned());
            Some(Policy::Identity { identity, issuer, trust_root: trust_root.map(Into::into) })
        };
        let written = |rest: &str| {
            let keys = "identity = \"me@example.org\", issuer = \"https://example.org\"";
            policy(&format!("[servers.a]\nimage = \"i\"\nverify = {{ {keys}{rest} }}"))
        };
        assert_eq!(written(""), of(None));
        assert_eq!(written(", trust_root = \"~/root.json\""), of(Some("/h/root.json")));
        assert_eq!(written(", trust_root = \"root.json\""), of(Some("/etc/root.json")));
    }

    #[test]
    fn what_says_nobodys_signature_is_refused() {
        let error =
            |value: &str| parse(&format!("[servers.a]\nimage = \"i\"\nverify = {value}")).unwrap_err();
        for (value, expected) in [
            ("true", "`verify` does not say whose signature"),
            ("\"k.pub\"", "`verify` does not say whose signature"),
            ("{}", "`verify` has no `cosign_key`, and no `identity`"),
            ("{ cosign_key = \"\" }", "`verify` has no `cosign_key`, and no `identity`"),
            ("{ trust_root = \"r\" }", "`verify` has no `cosign_key`, and no `identity`"),
            ("{ identity = \"me@example.org\" }", "`identity` in `verify` needs `issuer`"),
            ("{ identity = \"me@example.org\", issuer = \"\" }", "`identity` in `verify` needs `issuer`"),
            ("{ issuer = \"https://example.org\" }", "`issuer` in `verify` needs `identity`"),
            (
                "{ identity = \"\", issuer = \"https://example.org\" }",
                "`issuer` in `verify` needs `identity`",
            ),
            ("{ cosign_key = \"k\", identity = \"i\", issuer = \"u\" }", "a key and an identity"),
            ("{ cosign_key = \"k\", issuer = \"u\" }", "a key and an identity"),
            ("{ cosign_key = \"k\", trust_root = \"r\" }", "a key and an identity"),
        ] {
            let error = error(value);
            assert!(error.contains(expected) && error.ends_with(EXAMPLE), "{value}: {error}");
            assert!(error.starts_with("/etc/b.toml:3: "), "{error}");
        }
        assert!(error("{ cosign_keys = \"k\" }").contains("did you mean `cosign_key`?"));
        let baked = parse("[servers.a]\nnpx = \"p\"\nverify = { cosign_key = \"k\" }").unwrap_err();
        assert!(baked.contains("`verify` needs `image`"), "{baked}");
    }
}
