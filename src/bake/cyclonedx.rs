//! A baked image's packages as `CycloneDX` 1.6, in JSON. Pure, and the same for the same image.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::packages::{Ecosystem, Installed};
use crate::human::hex;

/// What stands in a package URL as it is.
const PLAIN: AsciiSet = NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_').remove(b'~');

/// The image that is listed.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub server: &'a str,
    pub image: &'a str,
    /// Its id in the daemon.
    pub id: &'a str,
    /// When it was made, as the daemon has it.
    pub created: &'a str,
    /// Of its main package.
    pub version: &'a str,
}

/// The document.
pub fn document(subject: &Subject<'_>, packages: &[Installed]) -> Value {
    let Subject { server, image, id, created, version } = *subject;
    let mut root = json!({
        "type": "application",
        "bom-ref": format!("berth:{server}"),
        "name": server,
        "properties": [
            { "name": "mcp-berth:image", "value": image },
            { "name": "mcp-berth:image-id", "value": id },
        ],
    });
    if !version.is_empty() {
        root["version"] = version.into();
    }
    let mut metadata = json!({
        "tools": { "components": [
            { "type": "application", "name": "mcp-berth", "version": env!("CARGO_PKG_VERSION") },
        ] },
        "component": root,
    });
    if let Ok(created) = created.parse::<jiff::Timestamp>() {
        metadata["timestamp"] = created.round(jiff::Unit::Second).unwrap_or(created).to_string().into();
    }
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": serial(server, id),
        "version": 1,
        "metadata": metadata,
        "components": packages.iter().map(component).collect::<Vec<_>>(),
    })
}

/// A UUID (version 8: of one's own making) that follows from the server and its image.
fn serial(server: &str, id: &str) -> String {
    let mut bytes = Sha256::digest(format!("{server}\n{id}"));
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex(&bytes[..16]);
    let groups = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    format!("urn:uuid:{}", groups.join("-"))
}

fn component(package: &Installed) -> Value {
    let url = url(package);
    let (group, name) = match package.name.split_once('/') {
        Some((group, name)) if package.ecosystem == Ecosystem::Npm => (Some(group), name),
        _ => (None, package.name.as_str()),
    };
    let mut component = json!({
        "type": "library",
        "bom-ref": url,
        "name": name,
        "version": package.version,
        "purl": url,
    });
    if let Some(group) = group {
        component["group"] = group.into();
    }
    let hashes: Vec<Value> =
        package.integrity.iter().flat_map(|text| text.split_whitespace()).filter_map(hash).collect();
    if !hashes.is_empty() {
        component["hashes"] = hashes.into();
    }
    if let Some(license) = &package.license {
        component["licenses"] = json!([self::license(license)]);
    }
    component
}

/// A package URL: `pkg:npm/%40scope/name@version`.
fn url(package: &Installed) -> String {
    let kind = match package.ecosystem {
        Ecosystem::Npm => "npm",
        Ecosystem::Pypi => "pypi",
    };
    let encoded = |text: &str| utf8_percent_encode(text, &PLAIN).to_string();
    let name: Vec<String> = package.name.split('/').map(encoded).collect();
    format!("pkg:{kind}/{}@{}", name.join("/"), encoded(&package.version))
}

/// Of `sha512-BASE64`.
fn hash(integrity: &str) -> Option<Value> {
    let (algorithm, digest) = integrity.split_once('-')?;
    let (name, length) = match algorithm {
        "sha512" => ("SHA-512", 64),
        "sha384" => ("SHA-384", 48),
        "sha256" => ("SHA-256", 32),
        "sha1" => ("SHA-1", 20),
        _ => return None,
    };
    let bytes = STANDARD.decode(digest).ok().filter(|bytes| bytes.len() == length)?;
    Some(json!({ "alg": name, "content": hex(&bytes) }))
}

/// An expression of SPDX where it has the form of one, else whatever the package calls it.
fn license(text: &str) -> Value {
    let is_id = |word: &str| word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.+".contains(&b));
    let words: Vec<&str> = text.split(['(', ')', ' ']).filter(|word| !word.is_empty()).collect();
    let is_expression = words.iter().enumerate().all(|(n, word)| match n % 2 {
        0 => is_id(word),
        _ => ["AND", "OR", "WITH"].contains(word),
    });
    let is_said = words.len() % 2 == 1 && !["UNLICENSED", "Proprietary"].contains(&text);
    if is_expression && is_said {
        json!({ "expression": text })
    } else {
        json!({ "license": { "name": text } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(ecosystem: Ecosystem, name: &str, version: &str) -> Installed {
        let (name, version) = (name.to_owned(), version.to_owned());
        Installed { ecosystem, name, version, license: None, integrity: None }
    }

    const SUBJECT: Subject<'_> = Subject {
        server: "files",
        image: "berth-npx/files:00",
        id: "sha256:00",
        created: "2026-11-26T10:00:00.123456Z",
        version: "1.2",
    };

    #[test]
    fn a_document_has_the_server_and_each_package() {
        let mut scoped = package(Ecosystem::Npm, "@s/a", "1.0.0+x");
        scoped.license = Some("MIT".to_owned());
        scoped.integrity = Some(format!("sha512-{}", STANDARD.encode([7; 64])));
        let document = document(&SUBJECT, &[scoped, package(Ecosystem::Pypi, "q", "1")]);
        assert_eq!(document["bomFormat"], "CycloneDX");
        assert_eq!(document["metadata"]["component"]["name"], "files");
        assert_eq!(document["metadata"]["component"]["version"], "1.2");
        assert_eq!(document["metadata"]["timestamp"], "2026-11-26T10:00:00Z");
        let serial = document["serialNumber"].as_str().unwrap();
        assert!(
            serial.starts_with("urn:uuid:") && serial.len() == 45 && serial.as_bytes()[23] == b'8',
            "{serial}"
        );
        assert_eq!(
            document["components"],
            json!([
                {
                    "type": "library", "bom-ref": "pkg:npm/%40s/a@1.0.0%2Bx", "name": "a", "version": "1.0.0+x",
                    "purl": "pkg:npm/%40s/a@1.0.0%2Bx", "group": "@s",
                    "hashes": [{ "alg": "SHA-512", "content": "07".repeat(64) }],
                    "licenses": [{ "expression": "MIT" }],
                },
                { "type": "library", "bom-ref": "pkg:pypi/q@1", "name": "q", "version": "1", "purl": "pkg:pypi/q@1" },
            ])
        );
    }

    #[test]
    fn the_same_image_has_the_same_document_and_another_a_number_of_its_own() {
        assert_eq!(document(&SUBJECT, &[]), document(&SUBJECT, &[]));
        let other = document(&Subject { id: "sha256:01", ..SUBJECT }, &[]);
        assert_ne!(document(&SUBJECT, &[])["serialNumber"], other["serialNumber"]);
    }

    #[test]
    fn licences_are_expressions_where_they_have_the_form() {
        for text in ["MIT", "(MIT OR Apache-2.0)", "GPL-2.0-only WITH Classpath-exception-2.0"] {
            assert_eq!(license(text), json!({ "expression": text }));
        }
        for text in ["UNLICENSED", "SEE LICENSE IN x", "MIT License", "Apache 2.0", "MIT OR"] {
            assert_eq!(license(text), json!({ "license": { "name": text } }));
        }
    }

    #[test]
    fn a_digest_that_is_none_is_left_out() {
        assert_eq!(hash("sha512-AA=="), None);
        assert_eq!(hash("md5-AA=="), None);
        assert_eq!(hash("x"), None);
    }
}
