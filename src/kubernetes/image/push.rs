//! `berth bake --push`: puts baked images into the registry that the nodes pull from.
//!
//! berth does it itself, not its daemon: a registry that this machine reaches, as on its loopback, need not be in reach of a
//! container. Layers go as the daemon has them, and those that are there already do not go again.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use futures::{Stream, StreamExt, TryStreamExt};
use mcp_berth::cli::BakeArgs;
use mcp_berth::commands::{self, dind_engine, variable};
use mcp_berth::config::{Config, Home, Server};
use mcp_berth::dind::place;
use mcp_berth::dind::progress::Progress;
use mcp_berth::dock::docker::Engine;
use mcp_berth::docker_cli::{DockerCli, registry};
use mcp_berth::failure::{Code, Failure, chain};
use mcp_berth::human::hex;
use oci_client::errors::OciDistributionError;
use oci_client::manifest::{
    IMAGE_CONFIG_MEDIA_TYPE, IMAGE_LAYER_GZIP_MEDIA_TYPE, IMAGE_LAYER_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE,
    OciDescriptor, OciImageManifest, OciManifest,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::registry::{Registry, Trouble};
use super::{Images, reference};

/// In the archive, and longer than either ever is (bytes).
const MANIFEST: &str = "manifest.json";
const LONGEST: u64 = 4 << 20;
/// What is read of a layer at once (bytes).
const PIECE: usize = 1 << 20;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Bakes what the arguments say, and pushes it.
pub(crate) async fn run(
    args: &BakeArgs,
    config: &Config,
    home: &Home,
    file: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    if config.kubernetes.registry.is_none() {
        return Err(Failure {
            code: Code::Configuration,
            text: "[kubernetes] names no `registry` to push to".to_owned(),
            next: Some("set `registry = \"registry.example/mcp\"` there".to_owned()),
        }
        .into());
    }
    let baked = Box::pin(commands::bake::run(args, config, home, file)).await?;
    if baked != ExitCode::SUCCESS {
        return Ok(baked);
    }
    // What was pinned is called otherwise since.
    let mut config = Config::load(home, file)?;
    place::recall(&mut config, home);
    push_all(args, &config, home).await
}

async fn push_all(args: &BakeArgs, config: &Config, home: &Home) -> anyhow::Result<ExitCode> {
    let daemon = dind_engine(config, home)?;
    let images = Images::of(config, home, &variable);
    let (mut failed, progress) = (None, Progress::stderr());
    for (server, recipe) in commands::bake::packages(args, config)? {
        let to = reference(&server, &config.kubernetes);
        let said = async {
            let pushed = push(&daemon, &recipe.image(), &to, home).await?;
            // What it runs is known from here on.
            images.ask(&Server { image: to.clone(), ..server.clone() }, None).await?;
            Ok::<_, Failure>(pushed)
        };
        match said.await {
            Ok(digest) => writeln!(io::stdout().lock(), "{}: pushed {to} ({digest})", server.name)?,
            Err(failure) => {
                progress.say(&failure.message());
                failed = failed.or(Some(failure.code));
            }
        }
    }
    Ok(failed.map_or(ExitCode::SUCCESS, |code| ExitCode::from(code.exit_code())))
}

/// Gives the digest by which nodes can pull it.
async fn push(daemon: &Engine, image: &str, to: &str, home: &Home) -> Result<String, Failure> {
    let local = |error: &io::Error| Failure {
        code: Code::Unavailable,
        text: format!("cannot push `{image}`: {}", chain(error)),
        next: Some("type `berth bake` first; look at `berth status`".to_owned()),
    };
    let archive =
        Archive::of(daemon.export_image(image), &home.state).await.map_err(|error| local(&error))?;
    let cli = DockerCli::from_env(&variable);
    let credential = cli.credential(to).await.credential;
    let sent = async { archive.send(&Registry::new(to, credential.as_ref())?).await };
    sent.await.map_err(|trouble| Failure {
        code: Code::Unavailable,
        text: match &trouble {
            Trouble::Other(why) => format!("cannot push `{to}`: {why}"),
            Trouble::Absent | Trouble::Denied => {
                format!("`{}` lets nobody push `{to}` like that", registry(to))
            }
        },
        next: Some(match trouble {
            Trouble::Denied => format!("type `docker login {}`, then `berth bake --push`", registry(to)),
            _ => "look at `registry` in [kubernetes], and whether it answers".to_owned(),
        }),
    })
}

/// What `docker save` writes of an image, in a file that goes with this.
struct Archive {
    file: NamedTempFile,
    config: Part,
    layers: Vec<Part>,
}

/// A piece of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    at: u64,
    length: u64,
    digest: String,
    is_gzip: bool,
}

/// A line of the archive's list.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    layers: Vec<String>,
}

impl Archive {
    async fn of(tar: impl Stream<Item = io::Result<bytes::Bytes>>, state: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(state)?;
        let mut file = NamedTempFile::new_in(state)?;
        let mut tar = std::pin::pin!(tar);
        while let Some(piece) = tar.next().await {
            file.write_all(&piece?)?;
        }
        tokio::task::spawn_blocking(move || Self::read(file)).await.map_err(io::Error::other)?
    }

    fn read(file: NamedTempFile) -> io::Result<Self> {
        let odd = |what: &str| {
            io::Error::new(io::ErrorKind::InvalidData, format!("the daemon's archive has {what}"))
        };
        let mut places: HashMap<PathBuf, (u64, u64)> = HashMap::new();
        let mut archive = tar::Archive::new(file.reopen()?);
        for entry in archive.entries_with_seek()? {
            let entry = entry?;
            places.insert(entry.path()?.into_owned(), (entry.raw_file_position(), entry.size()));
        }
        let place =
            |name: &str| places.get(Path::new(name)).copied().ok_or_else(|| odd(&format!("no `{name}`")));
        let mut reader = file.reopen()?;
        let (at, length) = place(MANIFEST)?;
        reader.seek(SeekFrom::Start(at))?;
        let mut list = Vec::new();
        Read::by_ref(&mut reader).take(length.min(LONGEST)).read_to_end(&mut list)?;
        let list: Vec<Listed> = serde_json::from_slice(&list)?;
        let [listed] = list.as_slice() else { return Err(odd("not one image")) };
        let mut part = |name: &str| part(&mut reader, place(name)?);
        let config = part(&listed.config)?;
        let layers = listed.layers.iter().map(|name| part(name)).collect::<io::Result<_>>()?;
        Ok(Self { file, config, layers })
    }

    async fn send(&self, registry: &Registry) -> Result<String, Trouble> {
        for part in self.layers.iter().chain([&self.config]) {
            if !registry.has(&part.digest).await {
                let file = self.file.reopen().map_err(OciDistributionError::from)?;
                registry.put(&part.digest, part.length, read(file, part).await?).await?;
            }
        }
        registry.name(&self.manifest()).await
    }

    fn manifest(&self) -> OciManifest {
        let descriptor = |part: &Part, media_type: &str| OciDescriptor {
            media_type: media_type.to_owned(),
            digest: part.digest.clone(),
            size: part.length.try_into().unwrap_or(i64::MAX),
            ..OciDescriptor::default()
        };
        let layer = |part: &Part| {
            descriptor(part, if part.is_gzip { IMAGE_LAYER_GZIP_MEDIA_TYPE } else { IMAGE_LAYER_MEDIA_TYPE })
        };
        OciManifest::Image(OciImageManifest {
            media_type: Some(OCI_IMAGE_MEDIA_TYPE.to_owned()),
            config: descriptor(&self.config, IMAGE_CONFIG_MEDIA_TYPE),
            layers: self.layers.iter().map(layer).collect(),
            ..OciImageManifest::default()
        })
    }
}

fn part(file: &mut File, (at, length): (u64, u64)) -> io::Result<Part> {
    file.seek(SeekFrom::Start(at))?;
    let (mut left, mut begin, mut hash) = (file.take(length), Vec::new(), Sha256::new());
    left.by_ref().take(GZIP.len() as u64).read_to_end(&mut begin)?;
    hash.update(&begin);
    let mut piece = vec![0; PIECE];
    loop {
        match left.read(&mut piece)? {
            0 => break,
            count => hash.update(&piece[..count]),
        }
    }
    Ok(Part { at, length, digest: format!("sha256:{}", hex(&hash.finalize())), is_gzip: begin == GZIP })
}

async fn read(
    file: File,
    part: &Part,
) -> Result<
    impl Stream<Item = Result<bytes::Bytes, OciDistributionError>> + Send + 'static,
    OciDistributionError,
> {
    let mut file = tokio::fs::File::from_std(file);
    file.seek(SeekFrom::Start(part.at)).await?;
    Ok(ReaderStream::with_capacity(file.take(part.length), PIECE).map_err(OciDistributionError::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(files: &[(&str, &[u8])]) -> io::Result<Archive> {
        let mut tar = tar::Builder::new(NamedTempFile::new()?);
        for (name, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, *bytes)?;
        }
        Archive::read(tar.into_inner()?)
    }

    #[test]
    fn an_archive_becomes_a_manifest_of_its_own_bytes() {
        let list = br#"[{"Config":"blobs/c","RepoTags":["a:1"],"Layers":["blobs/x","blobs/y"]}]"#;
        let zipped = [&GZIP[..], b"zipped"].concat();
        let found =
            archive(&[("blobs/x", b"plain"), ("blobs/c", b"{}"), ("blobs/y", &zipped), (MANIFEST, list)])
                .unwrap();
        let digest = |bytes: &[u8]| format!("sha256:{}", hex(&Sha256::digest(bytes)));
        let OciManifest::Image(manifest) = found.manifest() else { panic!() };
        assert_eq!((manifest.config.digest, manifest.config.size), (digest(b"{}"), 2));
        let layers: Vec<_> =
            manifest.layers.iter().map(|it| (it.digest.clone(), it.media_type.as_str())).collect();
        let expected =
            [(digest(b"plain"), IMAGE_LAYER_MEDIA_TYPE), (digest(&zipped), IMAGE_LAYER_GZIP_MEDIA_TYPE)];
        assert_eq!(layers, expected);
    }

    #[tokio::test]
    async fn a_layer_is_sent_from_its_place_to_its_end() {
        let list = br#"[{"Config":"c","Layers":["x"]}]"#;
        let found = archive(&[("c", b"{}"), ("x", b"plain"), (MANIFEST, list)]).unwrap();
        let stream = read(found.file.reopen().unwrap(), &found.layers[0]).await.unwrap();
        let bytes: Vec<bytes::Bytes> = stream.try_collect().await.unwrap();
        assert_eq!(bytes.concat(), b"plain");
    }

    #[test]
    fn an_archive_that_is_none_is_refused() {
        let refused = |files: &[(&str, &[u8])]| archive(files).err().unwrap().to_string();
        assert!(refused(&[("x", b"")]).contains("no `manifest.json`"));
        assert!(refused(&[(MANIFEST, br#"[{"Config":"c","Layers":[]}]"#)]).contains("no `c`"));
        assert!(refused(&[(MANIFEST, b"[]")]).contains("not one image"));
    }
}
