//! The nameservers for sessions: those of this machine, told to the daemon at each change.
//!
//! Sessions ask the daemon's own address, where the keeper forwards their questions (`keeper/resolve.rs`). A laptop
//! changes its network while the daemon runs, but the daemon's container keeps the nameservers of its start. So a berth
//! on the daemon's machine tells the daemon which nameservers this machine asks now.
//!
//! The message is the name of an empty volume. The daemon makes a volume in one step, so it gets the message whole or
//! not at all. A list of its volumes shows what it knows. `keeper/resolv_conf.rs` reads it.

mod host;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::docker::{DockerError, Engine};
use super::labels;

pub(crate) use super::resolv_conf::Resolver;

use super::resolv_conf::{NAMESERVERS, VOLUME, boot};

/// How often a session looks for a change of this machine's.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Of a folder's name, which a volume's is.
const LONGEST_NAME: usize = 255;
/// Whom this machine itself asks, whoever else could.
pub fn asked_here() -> Vec<IpAddr> {
    host::own(std::path::Path::new("/")).nameservers
}

impl Resolver {
    /// This machine's; `None` where nobody but itself could ask its nameservers, or where they are not known.
    pub(crate) fn of_this_machine() -> Option<Self> {
        host::resolver(std::path::Path::new("/"))
    }

    /// Only the nameservers that others than this machine itself can ask.
    fn without_loopback(mut self) -> Option<Self> {
        self.nameservers.retain(|address| !address.to_canonical().is_loopback() && !address.is_unspecified());
        self.nameservers.truncate(NAMESERVERS);
        Some(self).filter(|resolver| !resolver.nameservers.is_empty())
    }

    /// The volume that tells it, for as long as this machine runs, which `boot` says.
    fn volume(&self, boot: &str) -> String {
        let mut name = format!("{VOLUME}b{boot}");
        let mut add = |kind: char, word: &str| {
            if name.len() + word.len() + 2 <= LONGEST_NAME {
                name.push('_');
                name.push(kind);
                name.push_str(word);
            }
        };
        // No name of a volume may hold a colon.
        self.nameservers.iter().for_each(|address| add('n', &address.to_string().replace(':', "-")));
        let options = self.options.iter().filter(|option| is_plain(option, ":-") && !option.contains('.'));
        options.for_each(|option| add('o', &option.replace(':', ".")));
        // Last, for this list has no bound.
        self.search.iter().filter(|domain| is_plain(domain, ".-")).for_each(|domain| add('s', domain));
        name
    }
}

fn is_plain(word: &str, others: &str) -> bool {
    !word.is_empty() && word.chars().all(|char| char.is_ascii_alphanumeric() || others.contains(char))
}

impl fmt::Display for Resolver {
    /// For a person: the nameservers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&list(&self.nameservers))
    }
}

/// For a person.
pub fn list(nameservers: &[IpAddr]) -> String {
    nameservers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// For a person: what is not as it should be.
pub fn difference(daemon: &[IpAddr], this_machine: &[IpAddr]) -> String {
    if daemon == this_machine {
        return "the daemon has other search domains or resolver options than this machine".to_owned();
    }
    let daemon = if daemon.is_empty() { "set at its start".to_owned() } else { list(daemon) };
    format!("the daemon asks other nameservers ({daemon}) than this machine ({})", list(this_machine))
}

/// What the daemon has been told, for as long as it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Empty where nothing was told since this machine was started: the daemon has those of its own start.
    pub nameservers: Vec<IpAddr>,
    /// Whether it is what this machine has now, or this machine has nothing to tell.
    pub is_current: bool,
}

/// What the daemon has been told.
pub async fn told(engine: &Engine) -> Result<Told, DockerError> {
    let (volumes, boot) = (volumes(engine).await?, boot());
    let ours = format!("{VOLUME}b{boot}_");
    let own: Vec<&String> = volumes.iter().filter(|volume| volume.starts_with(&ours)).collect();
    let is_current =
        Resolver::of_this_machine().is_none_or(|resolver| own.as_slice() == [&resolver.volume(&boot)]);
    let read = own.iter().filter_map(|volume| Resolver::of_volume(volume, &boot));
    let nameservers = read.flat_map(|resolver| resolver.nameservers).collect();
    Ok(Told { nameservers, is_current })
}

/// Tells the daemon the nameservers of this machine; gives them if they are news.
///
/// Safe against everybody who does the same at once, for all of them tell the same: whoever told what was old by then
/// sees the change at his next look, and tells it.
pub(crate) async fn tell(engine: &Engine) -> Result<Option<Resolver>, DockerError> {
    let Some(resolver) = Resolver::of_this_machine() else { return Ok(None) };
    let volume = resolver.volume(&boot());
    let mut others = volumes(engine).await?;
    let known = others.len();
    others.retain(|other| *other != volume);
    let is_new = others.len() == known;
    if is_new {
        engine.create_volume(&volume, HashMap::from([labels::managed_by()])).await?;
    }
    // After it: the newest counts, and there is always one.
    for other in &others {
        engine.remove_volume(other).await?;
    }
    Ok(Some(resolver).filter(|_| is_new))
}

/// Tells the daemon whenever the nameservers of this machine have changed. Never ends; to be dropped at any time.
pub async fn follow(engine: &Engine) {
    let mut told = None;
    loop {
        let state = host::state(std::path::Path::new("/"));
        if told.as_ref() != Some(&state) {
            match tell(engine).await {
                Ok(news) => {
                    if let Some(resolver) = news {
                        tracing::info!("the daemon now asks the nameservers {resolver}");
                    }
                    told = Some(state);
                }
                Err(error) => tracing::debug!("cannot tell the daemon the nameservers: {error}"),
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Those that tell something, of whatever machine and time.
async fn volumes(engine: &Engine) -> Result<Vec<String>, DockerError> {
    let mut volumes = engine.volumes(&labels::managed_by_filter()).await?;
    volumes.retain(|volume| volume.starts_with(VOLUME));
    Ok(volumes)
}

#[cfg(test)]
mod tests;
