//! `digest`: which image a server may run, whatever a registry or another build puts under its name.

use super::error::ConfigError;
use super::reader::Item;
use super::server::Server;
use crate::failure::{Code, Explain};

/// An image that is not the one that was pinned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the image `{image}` has changed: its digest is `{found}`, not `{pinned}`")]
pub struct ChangedImage {
    image: String,
    found: String,
    pinned: String,
    server: String,
}

impl Explain for ChangedImage {
    fn code(&self) -> Code {
        Code::Configuration
    }

    fn next(&self) -> Option<String> {
        Some(format!("find out why it changed; `berth bake --pin {}` accepts the new digest", self.server))
    }
}

impl Server {
    /// Whether an image with these digests may be run.
    pub fn accepts(&self, found: &[String]) -> Result<(), ChangedImage> {
        if self.digests.is_empty() || self.digests.iter().any(|pinned| found.contains(pinned)) {
            return Ok(());
        }
        let first = |digests: &[String]| digests.first().cloned().unwrap_or_default();
        Err(ChangedImage {
            image: self.image.clone(),
            found: first(found),
            pinned: first(&self.digests),
            server: self.name.clone(),
        })
    }
}

/// A digest, or a list of those of one image in different stores.
pub(super) fn read_digests(item: &Item) -> Result<Vec<String>, ConfigError> {
    let digests = if item.is_list() { item.list::<String>()? } else { vec![item.read::<String>()?] };
    let is_digest = |text: &String| {
        let hex = text.strip_prefix("sha256:");
        hex.is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
    };
    if digests.is_empty() || !digests.iter().all(is_digest) {
        return Err(item
            .error(format!(
                "`{}` must be \"sha256:\" and 64 hexadecimal digits, or a list of these",
                item.name
            ))
            .with_hint("`berth bake --pin` writes it"));
    }
    Ok(digests)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Home};
    use crate::failure::Failure;

    fn parse(lines: &str) -> Result<Config, String> {
        let home = Home::from_env(&|_| Some("/h".to_owned())).unwrap();
        let text = format!("[servers.a]\n{lines}");
        Config::parse(&text, Path::new("/b.toml"), &home).map_err(|error| error.to_string())
    }

    fn digest(of: char) -> String {
        format!("sha256:{}", of.to_string().repeat(64))
    }

    #[test]
    fn one_of_the_digests_has_to_be_the_images() {
        let (a, b, c) = (digest('a'), digest('b'), digest('c'));
        let server = |lines: String| parse(&lines).unwrap().server("a").unwrap().clone();
        let pinned = server(format!("image = \"i\"\ndigest = [\"{a}\", \"{b}\"]"));
        assert_eq!(pinned.accepts(&[c.clone(), b.clone()]), Ok(()));
        let changed = Failure::from(pinned.accepts(std::slice::from_ref(&c)).unwrap_err());
        assert_eq!(
            changed.to_string(),
            format!(
                "the image `i` has changed: its digest is `{c}`, not `{a}`; find out why it changed; \
                 `berth bake --pin a` accepts the new digest"
            )
        );
        assert_eq!(changed.code, Code::Configuration);
        let one = server(format!("image = \"i\"\ndigest = \"{a}\""));
        assert!(one.accepts(std::slice::from_ref(&a)).is_ok() && one.accepts(&[]).is_err());
        assert!(server("image = \"i\"".to_owned()).accepts(&[]).is_ok(), "nothing is pinned");
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        for text in ["\"x\"", "\"sha256:00\"", "[]", "[\"sha256:\"]"] {
            let error = parse(&format!("image = \"i\"\ndigest = {text}")).unwrap_err();
            assert!(error.contains("/b.toml:3: `digest` must be \"sha256:\" and 64"), "{error}");
        }
        let of_package = parse(&format!("npx = \"p\"\ndigest = \"{}\"", digest('a'))).unwrap_err();
        assert!(of_package.contains("`digest` needs `image`"), "{of_package}");
    }
}
