//! `berth restore`: what a backup holds, brought back where it is missing, and nowhere else unless it is forced.
//!
//! Nothing is changed before the whole file is checked. Each step can be repeated: what is there already stays.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mcp_berth::cli::RestoreArgs;
use mcp_berth::config::{Config, Home};
use mcp_berth::dock::docker::Engine;
use mcp_berth::failure::{Code, Failure};
use mcp_berth::human::count;

use crate::age;
use crate::file::{Checked, folder_of};
use crate::gather::Needed;
use crate::manifest::{Kind, Part};
use crate::place::{Found, is_below, is_own, put};
use crate::report::{Report, say, stays};
use crate::secrets::Secrets;

mod exchange;

/// What people call them.
const CERTIFICATES: &str = "certificates";

/// How far the paths of the configuration that counts here are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// It came with this backup, in this run: to its folder, if that is berth's own.
    New,
    /// It is the backup's own, and was here before: further, if the person insists.
    Same,
    /// It is the person's.
    Own,
}

/// One restoration.
struct Restore<'a> {
    args: &'a RestoreArgs,
    home: &'a Home,
    /// The configuration's file.
    target: PathBuf,
    backup: Arc<Checked>,
    report: Report,
    /// Where the configuration may send secrets.
    trust: Trust,
    /// Whether its folder was berth's own before anything was written.
    is_own: bool,
}

pub(crate) async fn run(args: &RestoreArgs, explicit: Option<&Path>, home: &Home) -> anyhow::Result<()> {
    let path = args.file.clone();
    let backup = tokio::task::spawn_blocking(move || Checked::read(&path)).await??;
    let target = explicit.unwrap_or(&home.config_file).to_owned();
    let report = Report::of(args.dry_run);
    let (backup, is_own) = (Arc::new(backup), is_own(folder_of(&target), home));
    let mut restore = Restore { args, home, target, backup, report, trust: Trust::Own, is_own };
    let secrets = restore.secrets()?;
    let config = restore.configuration(secrets.as_ref())?;
    restore.folder("catalogue", &home.state.join("catalogue"), &["key"])?;
    restore.folder(CERTIFICATES, &home.certs, &[])?;
    if let Some(secrets) = secrets {
        restore.secret_files(secrets, &config)?;
    }
    restore.volumes(&config).await?;
    restore.report.end()
}

impl Restore<'_> {
    fn small(&self, wanted: impl Fn(&Kind) -> bool) -> Vec<(Part, Vec<u8>)> {
        let parts = self.backup.manifest.parts.iter().filter(|part| wanted(&part.kind));
        parts.filter_map(|part| Some((part.clone(), self.backup.small.get(&part.path)?.clone()))).collect()
    }

    /// What was encrypted, if somebody can read it.
    fn secrets(&mut self) -> anyhow::Result<Option<Secrets>> {
        let Some((_, encrypted)) = self.small(|kind| *kind == Kind::Secrets).pop() else { return Ok(None) };
        let Some(identity) = &self.args.identity else {
            say("left out the secrets: `--identity FILE` decrypts them")?;
            return Ok(None);
        };
        let plain = age::decrypt(&encrypted, identity)?;
        Ok(Some(serde_json::from_slice(&plain).map_err(|_| Failure {
            code: Code::Configuration,
            text: "the secrets are not as berth writes them; nothing was changed".to_owned(),
            next: Some("take another backup".to_owned()),
        })?))
    }

    /// Never over another one, which names its own daemon; gives the one that counts here from then on.
    fn configuration(&mut self, secrets: Option<&Secrets>) -> anyhow::Result<Config> {
        let plain = self.small(|kind| *kind == Kind::Configuration).pop().map(|(_, bytes)| bytes);
        let secret = secrets.and_then(|secrets| secrets.configuration.clone()).map(String::into_bytes);
        let Some(text) = plain.or(secret) else {
            return Ok(Config::load(self.home, self.explicit())?);
        };
        let what = format!("`{}`", self.target.display());
        let trial = self.args.dry_run;
        match Found::at(&self.target, &text)? {
            Found::Same => {
                self.trust = Trust::Same;
                stays(&what)?;
            }
            Found::Nothing => {
                self.trust = Trust::New;
                if !trial {
                    put(&self.target, &text)?;
                }
                self.report.wrote(&what)?;
            }
            Found::Other => {
                let mut beside = self.target.clone().into_os_string();
                beside.push(".restored");
                let beside = PathBuf::from(beside);
                let what = format!("`{}`, beside a `berth.toml` that differs", beside.display());
                match Found::at(&beside, &text)? {
                    Found::Same => stays(&what)?,
                    Found::Other if !self.args.force => self.report.left(&what, "it differs, too")?,
                    Found::Other | Found::Nothing => {
                        if !trial {
                            put(&beside, &text)?;
                        }
                        self.report.wrote(&what)?;
                    }
                }
            }
        }
        if self.target.exists() {
            return Ok(Config::load(self.home, self.explicit())?);
        }
        let text = String::from_utf8_lossy(&text);
        Ok(Config::parse(&text, &self.target, self.home)?)
    }

    fn explicit(&self) -> Option<&Path> {
        (self.target != self.home.config_file).then_some(self.target.as_path())
    }

    /// Files that belong together. `keys`: where one of these is another, all are; without any, each of the files is one.
    fn folder(&mut self, title: &str, folder: &Path, keys: &[&str]) -> anyhow::Result<()> {
        let is_of = |kind: &Kind| match kind {
            Kind::Catalogue { .. } => title == "catalogue",
            Kind::Certificate { .. } => title == CERTIFICATES,
            _ => false,
        };
        let mut found = BTreeMap::new();
        for (part, bytes) in self.small(is_of) {
            let name = part.path.rsplit('/').next().unwrap_or_default().to_owned();
            let at = Found::at(&folder.join(&name), &bytes)?;
            found.insert(name, (at, bytes));
        }
        let is_key = |name: &str| keys.is_empty() || keys.contains(&name);
        let differs = found.iter().any(|(name, (at, _))| is_key(name) && *at == Found::Other);
        let what = format!("the {title} in `{}`", folder.display());
        if found.is_empty() {
            return Ok(());
        }
        if differs && title == CERTIFICATES {
            // A daemon may run with them.
            let why = "others are there; remove them first, if no daemon needs them";
            return Ok(self.report.left_always(&what, why)?);
        }
        if differs && !self.args.force {
            return Ok(self.report.left(&what, "another is there")?);
        }
        let mut written = 0;
        for (name, (at, bytes)) in &found {
            // What a server told here is newer than what it told there.
            let stays = *at == Found::Same || (*at == Found::Other && !self.args.force);
            if !stays {
                written += 1;
                if !self.args.dry_run {
                    put(&folder.join(name), bytes)?;
                }
            }
        }
        match written {
            0 => stays(&what)?,
            files => self.report.wrote(&format!("{what}: {}", count(files, "file")))?,
        }
        Ok(())
    }

    /// Only where the configuration looks for them.
    fn secret_files(&mut self, secrets: Secrets, config: &Config) -> anyhow::Result<()> {
        let lookup = |name: &str| std::env::var(name).ok();
        let places = config.secret_files(&lookup);
        for (name, text) in secrets.files {
            let Some(path) = places.get(&name) else {
                say(&format!("left out `{}`: no server here has it", name.escape_debug()))?;
                continue;
            };
            let what = format!("`{}`", path.display());
            if !self.is_trusted(path) {
                if matches!(Found::at(path, text.as_bytes()), Ok(Found::Same)) {
                    stays(&what)?;
                    continue;
                }
                let why = "it lies outside of berth's own folder, and a `berth.toml` of this backup named it";
                // In the run that brings the configuration nobody has seen yet where it sends files.
                let next = match self.trust {
                    Trust::New => "look at it, then restore again with `--force`",
                    _ => "`--force` writes it",
                };
                self.report.left_always(&what, &format!("{why}; {next}"))?;
                continue;
            }
            match Found::at(path, text.as_bytes())? {
                Found::Same => stays(&what)?,
                Found::Other if !self.args.force => {
                    self.report.left(&what, "it differs")?;
                }
                Found::Other | Found::Nothing => {
                    if !self.args.dry_run {
                        put(path, text.as_bytes())?;
                    }
                    self.report.wrote(&what)?;
                }
            }
        }
        Ok(())
    }

    /// Whoever made the backup chose the paths of its configuration.
    fn is_trusted(&self, path: &Path) -> bool {
        match self.trust {
            Trust::Own => true,
            Trust::Same if self.args.force => true,
            Trust::Same | Trust::New => {
                let is_berths =
                    [&self.home.state, &self.home.certs].into_iter().any(|own| path.starts_with(own));
                self.is_own && !is_berths && is_below(folder_of(&self.target), path)
            }
        }
    }

    /// Tells which images are made anew.
    async fn images(&self, daemon: &Engine) -> anyhow::Result<()> {
        let Some((_, text)) = self.small(|kind| *kind == Kind::Images).pop() else { return Ok(()) };
        let needed: Vec<Needed> = serde_json::from_slice(&text).unwrap_or_default();
        let mut is_missing = false;
        for Needed { server, image, package, version, .. } in needed {
            let Some(package) = package else { continue };
            if daemon.image(&image).await.ok().flatten().is_some() {
                continue;
            }
            is_missing = true;
            let version = version.map(|version| format!(", which was {version}")).unwrap_or_default();
            let line = format!("to be baked for `{server}`: {package}{version}");
            say(&line.chars().filter(|char| !char.is_control()).collect::<String>())?;
        }
        if is_missing {
            say("`berth bake` makes these images")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
