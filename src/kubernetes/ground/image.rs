//! The keeper's image: one file in one layer, as `docker save` writes it. The same program makes the same bytes.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use mcp_berth::config::Config;
use mcp_berth::dock::keeper::KEEPER;
use mcp_berth::failure::{Code, Failure};
use mcp_berth::human::hex;
use serde_json::json;
use sha2::{Digest, Sha256};

/// Nobody in particular: it only copies itself.
const USER: &str = "65534:65534";

pub(super) fn write(config: &Config, output: Option<&Path>) -> anyhow::Result<()> {
    let reference = config.kubernetes.keeper_image();
    if reference.contains('@') {
        return Err(Failure {
            code: Code::Configuration,
            text: format!(
                "`keeper_image = \"{reference}\"` names an image that is there already, by its digest"
            ),
            next: Some("name it by a tag, or remove `keeper_image` from [kubernetes]".to_owned()),
        }
        .into());
    }
    let archive = archive(&reference, KEEPER)?;
    match output {
        Some(file) => {
            let written = File::create(file).and_then(|mut out| out.write_all(&archive));
            written.map_err(|error| Failure {
                code: Code::Unavailable,
                text: format!("cannot write `{}`: {error}", file.display()),
                next: Some("name another file".to_owned()),
            })?;
            writeln!(io::stdout().lock(), "{reference} is in {}", file.display())?;
        }
        None if io::stdout().is_terminal() => {
            return Err(Failure {
                code: Code::Usage,
                text: "an image is not for terminals".to_owned(),
                next: Some("type: berth kubernetes image | docker load".to_owned()),
            }
            .into());
        }
        None => io::stdout().lock().write_all(&archive)?,
    }
    Ok(())
}

/// As the registries' world calls this machine's architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn archive(reference: &str, keeper: &[u8]) -> io::Result<Vec<u8>> {
    let layer = tar(&[("keeper", keeper, 0o755)])?;
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Entrypoint": ["/keeper"],
            "User": USER,
            "Labels": {
                "org.opencontainers.image.title": "berth-keeper",
                "org.opencontainers.image.description": "holds the pods of berth's sessions",
                "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
                "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
                "io.mcp-berth.keeper": digest(keeper),
            },
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", digest(&layer))] },
        "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "berth kubernetes image" }],
    });
    let config = config.to_string();
    let (config_name, layer_name) =
        (format!("{}.json", digest(config.as_bytes())), format!("{}.tar", digest(&layer)));
    let manifest =
        json!([{ "Config": config_name, "RepoTags": [reference], "Layers": [layer_name] }]).to_string();
    tar(&[
        (&config_name, config.as_bytes(), 0o644),
        (&layer_name, &layer, 0o644),
        ("manifest.json", manifest.as_bytes(), 0o644),
    ])
}

/// Everybody's files of no time.
fn tar(files: &[(&str, &[u8], u32)]) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes, mode) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(*mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        tar.append_data(&mut header, name, *bytes)?;
    }
    tar.into_inner()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use serde_json::Value;

    use super::*;

    fn files(archive: &[u8]) -> BTreeMap<String, (Vec<u8>, u32)> {
        let mut tar = tar::Archive::new(archive);
        let read = |entry: io::Result<tar::Entry<'_, &[u8]>>| {
            let mut entry = entry.unwrap();
            let (name, mode) = (entry.path().unwrap().display().to_string(), entry.header().mode().unwrap());
            assert_eq!(entry.header().mtime().unwrap(), 0, "{name}");
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (name, (bytes, mode))
        };
        tar.entries().unwrap().map(read).collect()
    }

    #[test]
    fn an_image_has_the_keeper_and_each_part_by_its_digest() {
        let made = archive("r/berth-keeper:1", b"program").unwrap();
        assert_eq!(made, archive("r/berth-keeper:1", b"program").unwrap(), "the same bytes each time");
        let files = files(&made);
        let manifest: Value = serde_json::from_slice(&files["manifest.json"].0).unwrap();
        assert_eq!(manifest[0]["RepoTags"], json!(["r/berth-keeper:1"]));
        let named = |key: &Value| files[key.as_str().unwrap()].0.clone();
        let (config, layer) = (named(&manifest[0]["Config"]), named(&manifest[0]["Layers"][0]));
        assert_eq!(manifest[0]["Config"], format!("{}.json", digest(&config)));
        let config: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"], json!([format!("sha256:{}", digest(&layer))]));
        assert_eq!(config["config"]["Labels"]["io.mcp-berth.keeper"], digest(b"program"));
        let inside = super::tests::files(&layer);
        assert_eq!(inside, BTreeMap::from([("keeper".to_owned(), (b"program".to_vec(), 0o755))]));
    }

    #[test]
    fn an_image_with_a_digest_is_not_made() {
        let home = mcp_berth::config::Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned()))
            .unwrap();
        let text = "[kubernetes]\nkeeper_image = \"r/k@sha256:00\"";
        let config = Config::parse(text, Path::new("b.toml"), &home).unwrap();
        assert!(
            write(&config, Some(Path::new("/nowhere/x"))).unwrap_err().to_string().contains("by its digest")
        );
    }
}
