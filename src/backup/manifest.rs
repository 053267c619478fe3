//! What a backup says of itself: its first entry. Nothing of a backup is believed that this does not allow.
//!
//! A backup comes from anywhere. Each part has one path that follows from what it is; a manifest with any other is refused.

use std::collections::BTreeSet;

use jiff::Timestamp;
use mcp_berth::dind::certs;
use mcp_berth::dock::volume::whole::Whose;
use serde::{Deserialize, Serialize};

/// Backups of a greater number are of a later berth.
pub(crate) const SCHEMA: u32 = 1;
pub(crate) const PATH: &str = "manifest.json";
/// The entry behind all parts: the digest of the manifest.
pub(crate) const END: &str = "manifest.sha256";
/// No manifest is longer (bytes).
pub(crate) const LONGEST: u64 = 16 << 20;
/// All parts but volumes are read into memory (bytes).
pub(crate) const LONGEST_PART: u64 = 64 << 20;
const LONGEST_PARTS: u64 = 256 << 20;

const CERTIFICATES: [&str; 6] =
    [certs::CA, certs::CA_KEY, certs::SERVER_CERT, certs::SERVER_KEY, certs::CLIENT_CERT, certs::CLIENT_KEY];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) schema: u32,
    /// The version of the berth that made it.
    pub(crate) berth: String,
    pub(crate) made_at: Timestamp,
    pub(crate) parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) path: String,
    pub(crate) size: u64,
    pub(crate) sha256: String,
    #[serde(flatten)]
    pub(crate) kind: Kind,
}

/// What a part is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Kind {
    /// `berth.toml`, or the file that `--config` named.
    Configuration,
    /// What servers told of themselves, a file of the state folder.
    Catalogue {
        name: String,
    },
    Certificate {
        name: String,
    },
    /// The images that servers need, and what each is made of.
    Images,
    /// Encrypted: files with servers' variables and secrets.
    Secrets,
    Volume {
        volume: String,
        /// `None`: it is all clients'.
        client: Option<String>,
        /// When the last session that could write to it ended; `None`: none is known.
        last_writer_ended: Option<Timestamp>,
    },
}

impl Kind {
    /// The only path that such a part has; `None`: there is no such part.
    pub(crate) fn path(&self) -> Option<String> {
        match self {
            Self::Configuration => Some("config/berth.toml".to_owned()),
            Self::Catalogue { name } => is_plain(name).then(|| format!("catalogue/{name}")),
            Self::Certificate { name } => {
                CERTIFICATES.contains(&name.as_str()).then(|| format!("certs/{name}"))
            }
            Self::Images => Some("images.json".to_owned()),
            Self::Secrets => Some("secrets.age".to_owned()),
            Self::Volume { .. } => Some(format!("volumes/{}.tar", self.volume()?.name()?)),
        }
    }

    pub(crate) fn volume(&self) -> Option<Whose> {
        match self {
            Self::Volume { volume, client, .. } => {
                Some(Whose { volume: volume.clone(), client: client.clone() })
            }
            _ => None,
        }
    }

    pub(crate) fn certificates() -> impl Iterator<Item = Self> {
        CERTIFICATES.iter().map(|name| Self::Certificate { name: (*name).to_owned() })
    }
}

/// A file's name in one folder, and nothing else.
fn is_plain(name: &str) -> bool {
    !name.starts_with('.')
        && (1..=255).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

impl Manifest {
    pub(crate) fn new(parts: Vec<Part>) -> Self {
        Self { schema: SCHEMA, berth: env!("CARGO_PKG_VERSION").to_owned(), made_at: Timestamp::now(), parts }
    }

    /// Why it is refused.
    pub(crate) fn read(text: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Of {
            schema: u32,
            berth: String,
        }
        let of: Of =
            serde_json::from_slice(text).map_err(|error| format!("its manifest is damaged: {error}"))?;
        if of.schema > SCHEMA {
            let berth: String = of.berth.chars().filter(char::is_ascii_graphic).take(20).collect();
            return Err(format!("berth {berth} made it, which writes backups in a newer form"));
        }
        let manifest: Self =
            serde_json::from_slice(text).map_err(|error| format!("its manifest is damaged: {error}"))?;
        let (mut paths, mut bytes) = (BTreeSet::new(), 0_u64);
        for part in &manifest.parts {
            if part.kind.path().as_ref() != Some(&part.path) {
                return Err(format!("its manifest has a part at `{}`", part.path.escape_debug()));
            }
            if !paths.insert(&part.path) {
                return Err(format!("its manifest has `{}` twice", part.path));
            }
            if part.kind.volume().is_none() {
                bytes = bytes.saturating_add(part.size);
                if part.size > LONGEST_PART || bytes > LONGEST_PARTS {
                    return Err(format!("`{}` is longer than any such part", part.path));
                }
            }
        }
        Ok(manifest)
    }

    pub(crate) fn text(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(kind: Kind) -> Part {
        Part { path: kind.path().unwrap(), size: 1, sha256: "00".to_owned(), kind }
    }

    fn volume(volume: &str, client: Option<&str>) -> Kind {
        Kind::Volume { volume: volume.into(), client: client.map(Into::into), last_writer_ended: None }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let ended = Some("2026-01-02T03:04:05Z".parse().unwrap());
        let memory =
            Kind::Volume { volume: "m".into(), client: Some("codex".into()), last_writer_ended: ended };
        let kinds = [Kind::Configuration, Kind::Images, Kind::Secrets, memory, volume("all", None)];
        let kinds = kinds.into_iter().chain(Kind::certificates());
        let manifest = Manifest::new(kinds.map(part).collect());
        assert_eq!(Manifest::read(&manifest.text()), Ok(manifest));
    }

    #[test]
    fn a_part_has_the_path_that_it_must_have() {
        let read = |kind: Kind, path: &str| {
            let parts = vec![Part { path: path.to_owned(), size: 1, sha256: String::new(), kind }];
            Manifest::read(&Manifest::new(parts).text()).map(drop)
        };
        let catalogue = |name: &str| Kind::Catalogue { name: name.to_owned() };
        assert_eq!(read(catalogue("a.json"), "catalogue/a.json"), Ok(()));
        for (kind, path) in [
            (Kind::Configuration, "../berth.toml"),
            (Kind::Configuration, "/etc/passwd"),
            (catalogue("../x"), "catalogue/../x"),
            (catalogue(".."), "catalogue/.."),
            (catalogue("a/b"), "catalogue/a/b"),
            (catalogue(""), "catalogue/"),
            (Kind::Certificate { name: "x.pem".into() }, "certs/x.pem"),
            (volume("../x", None), "volumes/berth-data_../x.tar"),
            (volume("m", Some("a_b")), "volumes/berth-data-a_b_m.tar"),
            (volume("m", None), "volumes/berth-data_n.tar"),
        ] {
            let said = read(kind, path).unwrap_err();
            assert!(said.starts_with("its manifest has a part at"), "{path}: {said}");
        }
    }

    #[test]
    fn what_a_later_berth_made_or_is_too_long_or_twice_is_refused() {
        let later = br#"{ "schema": 2, "berth": "9.0", "parts": "of another kind" }"#;
        assert!(Manifest::read(later).unwrap_err().contains("berth 9.0 made it"));
        assert!(Manifest::read(b"{}").unwrap_err().starts_with("its manifest is damaged"));
        let twice = Manifest::new(vec![part(Kind::Images), part(Kind::Images)]);
        assert_eq!(Manifest::read(&twice.text()), Err("its manifest has `images.json` twice".to_owned()));
        let long = Part { size: LONGEST_PART + 1, ..part(Kind::Images) };
        assert!(Manifest::read(&Manifest::new(vec![long]).text()).unwrap_err().contains("is longer than"));
        let memory = Part { size: 1 << 40, ..part(volume("m", None)) };
        assert!(
            Manifest::read(&Manifest::new(vec![memory]).text()).is_ok(),
            "a volume goes through no memory"
        );
    }
}
