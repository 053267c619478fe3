//! The images that berth makes: files in one layer, as `docker save` writes them. The same programs make the same bytes.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use mcp_berth::config::Config;
use mcp_berth::dock::keeper::KEEPER;
use mcp_berth::failure::{Code, Failure};
use mcp_berth::human::hex;
use serde_json::json;
use sha2::{Digest, Sha256};

/// Nobody in particular.
const USER: &str = "65534:65534";

/// What an image is made of.
#[derive(Debug)]
pub(super) struct Image<'a> {
    /// The setting that names it, and the name.
    pub(super) setting: &'static str,
    pub(super) reference: String,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    /// Names and bytes; the first is what it runs.
    pub(super) programs: &'a [(&'a str, &'a [u8])],
}

/// Writes the keeper's image.
pub(super) fn write_keeper(config: &Config, output: Option<&Path>) -> anyhow::Result<()> {
    let image = Image {
        setting: "keeper_image",
        reference: config.kubernetes.keeper_image(),
        title: "berth-keeper",
        description: "holds the pods of berth's sessions",
        programs: &[("keeper", KEEPER)],
    };
    write(&image, "berth kubernetes image", output)
}

/// `command`: what a person types for it.
pub(super) fn write(image: &Image<'_>, command: &str, output: Option<&Path>) -> anyhow::Result<()> {
    let Image { setting, reference, .. } = image;
    if reference.contains('@') {
        return Err(Failure {
            code: Code::Configuration,
            text: format!(
                "`{setting} = \"{reference}\"` names an image that is there already, by its digest"
            ),
            next: Some(format!("name it by a tag, or remove `{setting}` from [kubernetes]")),
        }
        .into());
    }
    let archive = archive(image)?;
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
                next: Some(format!("type: {command} | docker load")),
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

fn archive(image: &Image<'_>) -> io::Result<Vec<u8>> {
    let Image { reference, title, description, programs, .. } = image;
    let files: Vec<(&str, &[u8], u32)> =
        programs.iter().map(|(name, bytes)| (*name, *bytes, 0o755)).collect();
    let layer = tar(&files)?;
    let (entrypoint, first) = programs.first().copied().unwrap_or_default();
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Entrypoint": [format!("/{entrypoint}")],
            "User": USER,
            "Labels": {
                "org.opencontainers.image.title": title,
                "org.opencontainers.image.description": description,
                "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
                "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
                format!("io.mcp-berth.{entrypoint}"): digest(first),
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
        let image = Image {
            setting: "keeper_image",
            reference: "r/berth-keeper:1".to_owned(),
            title: "t",
            description: "d",
            programs: &[("keeper", b"program")],
        };
        let made = archive(&image).unwrap();
        assert_eq!(made, archive(&image).unwrap(), "the same bytes each time");
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
            write_keeper(&config, Some(Path::new("/nowhere/x")))
                .unwrap_err()
                .to_string()
                .contains("by its digest")
        );
    }
}
