//! `verify`: whose signature an image needs. Here is only said whose; [`signatures`](crate::signatures) looks for it.

use std::path::Path;
use std::sync::Arc;

use super::error::ConfigError;
use super::home::Home;
use super::reader::Section;
use super::settings::definition::{Change, DefaultValue, Setting};
use super::settings::{Policy, Settings};

const ABOUT: &str = "whose signature `image` needs: `{ cosign_key = \"FILE\" }`, a public key in PEM; `false` takes that of \
     `[defaults]` away; see [packages](packages.md)";

const EXAMPLE: &str = "write verify = { cosign_key = \"~/keys/cosign.pub\" }";

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
    let of_identity = table.take_item("identity").is_some() | table.take_item("issuer").is_some();
    let file = table.take::<String>("cosign_key")?;
    table.finish()?;
    if of_identity {
        return Err(wrong(format!(
            "`identity` and `issuer` in `{key}` are not supported: berth checks keys only"
        )));
    }
    match file.filter(|file| !file.is_empty()) {
        Some(file) => Ok(Some(change(Some(Policy::CosignKey(file.into()))))),
        None => Err(wrong(format!("`{key}` has no `cosign_key`"))),
    }
}

fn change(policy: Option<Policy>) -> Change {
    Arc::new(move |settings: &mut Settings| settings.verify.clone_from(&policy))
}

impl Settings {
    /// The key's file where the configuration's paths lead.
    pub(super) fn resolve_verify(&mut self, home: &Home, file: &Path) {
        if let Some(Policy::CosignKey(key)) = &mut self.verify {
            *key = home.resolve(key, file);
        }
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
    fn what_says_nobodys_signature_is_refused() {
        let error =
            |value: &str| parse(&format!("[servers.a]\nimage = \"i\"\nverify = {value}")).unwrap_err();
        for (value, expected) in [
            ("true", "`verify` does not say whose signature"),
            ("\"k.pub\"", "`verify` does not say whose signature"),
            ("{}", "`verify` has no `cosign_key`"),
            ("{ cosign_key = \"\" }", "`verify` has no `cosign_key`"),
            (
                "{ identity = \"me@example.org\", issuer = \"https://example.org\" }",
                "`identity` and `issuer` in `verify` are not supported",
            ),
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
