//! `berth backup`: what goes into the file.

use std::io::{self, Write};
use std::path::Path;

use mcp_berth::bake::{LABEL_INTEGRITY, LABEL_PACKAGE_VERSION};
use mcp_berth::cli::BackupArgs;
use mcp_berth::config::{Config, Home};
use mcp_berth::dind;
use mcp_berth::dock::docker::{Engine, Image};
use mcp_berth::dock::volume::whole::{self, Whose};
use mcp_berth::failure::{Code, Failure};
use mcp_berth::human::{Bytes, count, hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::age;
use crate::file::{self, Content, nameless};
use crate::manifest::{Kind, LONGEST_PART, Manifest, Part};
use crate::place::read;
use crate::secrets::Secrets;
use crate::volumes::{self, ReadError, Writers};

/// An image that a server needs, and what it is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Needed {
    pub(crate) server: String,
    pub(crate) image: String,
    /// The package's line; none of an image that is not baked.
    pub(crate) package: Option<String>,
    /// What it is installed on.
    pub(crate) base: Option<String>,
    /// What was installed, where the daemon has it.
    pub(crate) version: Option<String>,
    pub(crate) integrity: Option<String>,
    /// By which registries and stores know it.
    pub(crate) digests: Vec<String>,
}

#[derive(Debug, Default)]
struct Gathered {
    parts: Vec<Part>,
    contents: Vec<Content>,
}

impl Gathered {
    fn add(&mut self, kind: Kind, bytes: Vec<u8>) {
        let (size, sha256) = (bytes.len() as u64, hex(&Sha256::digest(&bytes)));
        self.push(kind, size, sha256, Content::Bytes(bytes));
    }

    fn push(&mut self, kind: Kind, size: u64, sha256: String, content: Content) {
        if let Some(path) = kind.path() {
            self.parts.push(Part { path, size, sha256, kind });
            self.contents.push(content);
        }
    }

    /// A file, if there is one.
    fn add_file(&mut self, kind: Kind, path: &Path) -> Result<(), Failure> {
        match read(path, LONGEST_PART) {
            Ok(bytes) => self.add(kind, bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let text = format!("cannot read `{}`: {error}", path.display());
                let next = Some("correct its owner and permissions".to_owned());
                return Err(Failure { code: Code::Configuration, text, next });
            }
        }
        Ok(())
    }
}

pub(crate) async fn run(args: &BackupArgs, config: &Config, home: &Home) -> anyhow::Result<()> {
    let path = &args.file;
    if path.symlink_metadata().is_ok() {
        return Err(file::unwritten(path, &io::ErrorKind::AlreadyExists.into()).into());
    }
    let lookup = |name: &str| std::env::var(name).ok();
    let (mut gathered, mut said) = (Gathered::default(), Vec::new());
    let mut secrets = None;
    if args.with_secrets {
        secrets = Some(Secrets::gather(config, &lookup, &mut said));
    }
    configuration(config, secrets.as_mut(), &mut gathered)?;
    for name in catalogue(home) {
        gathered
            .add_file(Kind::Catalogue { name: name.clone() }, &home.state.join("catalogue").join(name))?;
    }
    if args.with_certs {
        for kind in Kind::certificates() {
            if let Kind::Certificate { name } = &kind {
                let path = home.certs.join(name);
                gathered.add_file(kind, &path)?;
            }
        }
    }
    if let Some(secrets) = &secrets {
        let plain = serde_json::to_vec(secrets)?;
        gathered.add(Kind::Secrets, age::encrypt(&plain, &args.recipient)?);
    }
    let daemon = if args.no_volumes {
        None
    } else {
        Some(Engine::new(dind::endpoint(config, home).map_err(Failure::from)?))
    };
    let images = images(config, daemon.as_ref()).await?;
    gathered.add(Kind::Images, serde_json::to_vec_pretty(&images)?);
    if let Some(daemon) = &daemon {
        let writers = Writers::of(home, config);
        for whose in chosen(daemon, &args.only).await? {
            volume(daemon, whose, config, &writers, path, (&mut gathered, &mut said)).await?;
        }
    }
    let Gathered { parts, mut contents } = gathered;
    let manifest = Manifest::new(parts);
    let length = {
        let (path, manifest) = (path.clone(), manifest.clone());
        let writing = tokio::task::spawn_blocking(move || file::write(&path, &manifest, &mut contents));
        writing.await?
    };
    let length = length.map_err(|error| file::unwritten(path, &error))?;
    let mut out = io::stdout().lock();
    for line in said {
        writeln!(out, "{line}")?;
    }
    for part in &manifest.parts {
        writeln!(out, "{} ({})", part.path, Bytes(part.size))?;
    }
    let parts = count(manifest.parts.len(), "part");
    writeln!(out, "wrote `{}`: {parts}, {}", path.display(), Bytes(length))?;
    Ok(())
}

/// In the clear, unless a secret stands in it.
fn configuration(
    config: &Config,
    secrets: Option<&mut Secrets>,
    gathered: &mut Gathered,
) -> Result<(), Failure> {
    let Some(file) = &config.file else { return Ok(()) };
    let Some((server, variable)) = config.written_secret() else {
        return gathered.add_file(Kind::Configuration, file);
    };
    let Some(secrets) = secrets else {
        return Err(Failure {
            code: Code::Configuration,
            text: format!("`{}` has a secret written out: `{variable}` of server `{server}`", file.display()),
            next: Some(
                "keep it elsewhere (`berth help secrets`), or type `--with-secrets --recipient AGE`"
                    .to_owned(),
            ),
        });
    };
    let text = crate::secrets::read(file)
        .map_err(|error| Failure::new(Code::Configuration, &error, "correct the file"))?;
    secrets.configuration = Some(text);
    Ok(())
}

/// The files of what servers told.
fn catalogue(home: &Home) -> Vec<String> {
    let entries = std::fs::read_dir(home.state.join("catalogue")).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| Kind::Catalogue { name: name.clone() }.path().is_some());
    names.sort();
    names
}

async fn images(config: &Config, daemon: Option<&Engine>) -> Result<Vec<Needed>, Failure> {
    let mut needed = Vec::new();
    for server in config.servers.values() {
        let found = match daemon {
            Some(daemon) => daemon.image(&server.image).await.map_err(Failure::from)?,
            None => None,
        };
        let label = |name: &str| found.as_ref()?.labels.get(name).cloned();
        let recipe = server.recipe.as_ref();
        needed.push(Needed {
            server: server.name.clone(),
            image: server.image.clone(),
            package: recipe.map(|recipe| {
                format!("{} {}", recipe.package.runner.as_str(), recipe.package.packages.join(" "))
            }),
            base: recipe.map(|recipe| recipe.base().to_owned()),
            version: recipe.and_then(|_| label(LABEL_PACKAGE_VERSION)),
            integrity: recipe.and_then(|_| label(LABEL_INTEGRITY)),
            digests: found.as_ref().map(Image::digests).unwrap_or_default(),
        });
    }
    Ok(needed)
}

/// The volumes that are to be taken along.
async fn chosen(daemon: &Engine, only: &[String]) -> Result<Vec<Whose>, Failure> {
    let mut all = whole::all(daemon).await.map_err(Failure::from)?;
    if let Some(missing) = only.iter().find(|name| all.iter().all(|whose| whose.volume != **name)) {
        let mut names: Vec<&str> = all.iter().map(|whose| whose.volume.as_str()).collect();
        names.dedup();
        let next = match names.as_slice() {
            [] => "leave `--only` out: it has none".to_owned(),
            names => format!("name one of {}", names.join(", ")),
        };
        let text = format!("the DinD daemon has no volume `{missing}`");
        return Err(Failure { code: Code::Usage, text, next: Some(next) });
    }
    all.retain(|whose| only.is_empty() || only.contains(&whose.volume));
    Ok(all)
}

async fn volume(
    daemon: &Engine,
    whose: Whose,
    config: &Config,
    writers: &Writers,
    path: &Path,
    (gathered, said): (&mut Gathered, &mut Vec<String>),
) -> Result<(), Failure> {
    let archive = nameless(file::folder_of(path)).map_err(|error| file::unwritten(path, &error))?;
    let read = volumes::read(daemon, &whose, config.dind.host.is_none(), archive).await;
    let packed = read.map_err(|error| match error {
        ReadError::Lease(error) => Failure::of(&error),
        ReadError::Docker(error) => Failure::of(&error),
        ReadError::Write(error) => file::unwritten(path, &error),
    })?;
    if packed.seen.left_out > 0 {
        let pipes = count(packed.seen.left_out, "pipe");
        said.push(format!("left out {pipes} of `{}`", whose.volume));
    }
    let last_writer_ended = writers.last(&whose, &packed.seen);
    let kind = Kind::Volume { volume: whose.volume, client: whose.client, last_writer_ended };
    gathered.push(kind, packed.size, packed.sha256, Content::File(packed.to));
    Ok(())
}
