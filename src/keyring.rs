//! `berth-keyring`: speaks with the Secret Service for `berth`, in a process of its own (`secrets::keyring` has what both
//! agree on). Standard output is a secret or a list of names and nothing else. It ends when its question is answered.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use mcp_berth::secrets::LONGEST;
use mcp_berth::secrets::keyring::{LOCKED, MISSING, NOBODY, SERVICE, WAITS};
use secret_service::{EncryptionType, Error, Item, SecretService};

/// Why there is no answer.
enum Fault {
    Missing,
    /// There is no bus, or nobody on it who keeps secrets.
    Nobody(Error),
    Service(Error),
    Io(io::Error),
    Usage,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Service(error)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return say(1, &error.to_string()),
    };
    match runtime.block_on(answer(&words)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Fault::Missing) => ExitCode::from(MISSING),
        Err(Fault::Service(Error::Locked | Error::Prompt | Error::PromptDisconnected)) => {
            ExitCode::from(LOCKED)
        }
        Err(Fault::Service(Error::NoResult)) => say(NOBODY, "it has no default collection"),
        Err(Fault::Service(error)) => say(1, &error.to_string()),
        Err(Fault::Nobody(error)) => say(NOBODY, &error.to_string()),
        Err(Fault::Io(error)) => say(1, &error.to_string()),
        Err(Fault::Usage) => say(64, "usage: berth-keyring get NAME | set NAME | list | remove NAME"),
    }
}

fn say(code: u8, text: &str) -> ExitCode {
    // Who does not hear it sees the code.
    _ = writeln!(io::stderr(), "{text}");
    ExitCode::from(code)
}

async fn answer(words: &[&str]) -> Result<(), Fault> {
    let service = match words {
        ["get" | "set" | "remove", _] | ["list"] => SecretService::connect(EncryptionType::Dh).await,
        _ => return Err(Fault::Usage),
    };
    let service = service.map_err(Fault::Nobody)?;
    let mut out = io::stdout();
    match *words {
        ["get", name] => {
            let found = find(&service, Some(name)).await?;
            let item = found.first().ok_or(Fault::Missing)?;
            out.write_all(&item.get_secret().await?)?;
        }
        ["set", name] => {
            let mut secret = Vec::new();
            io::stdin().take(LONGEST as u64).read_to_end(&mut secret)?;
            set(&service, name, &secret).await?;
        }
        ["remove", name] => {
            let found = find(&service, Some(name)).await?;
            if found.is_empty() {
                return Err(Fault::Missing);
            }
            for item in found {
                item.delete().await?;
            }
        }
        _ => {
            let mut names = Vec::new();
            for item in find(&service, None).await? {
                names.extend(item.get_attributes().await?.remove("username"));
            }
            names.retain(|name| !name.contains(char::is_control));
            names.sort();
            names.dedup();
            names.iter().try_for_each(|name| writeln!(out, "{name}"))?;
        }
    }
    Ok(out.flush()?)
}

/// What berth has under that name, or under any, unlocked.
async fn find<'a>(service: &'a SecretService<'a>, name: Option<&str>) -> Result<Vec<Item<'a>>, Error> {
    let mut attributes = HashMap::from([("service", SERVICE)]);
    attributes.extend(name.map(|name| ("username", name)));
    let found = service.search_items(attributes).await?;
    if !found.locked.is_empty() {
        wait_for_a_person();
        service.unlock_all(&found.locked.iter().collect::<Vec<_>>()).await?;
    }
    Ok(found.unlocked.into_iter().chain(found.locked).collect())
}

/// In the place of what is there already, or in the default collection.
async fn set(service: &SecretService<'_>, name: &str, secret: &[u8]) -> Result<(), Error> {
    if let Some(item) = find(service, Some(name)).await?.first() {
        return item.set_secret(secret, "text/plain").await;
    }
    let collection = service.get_default_collection().await?;
    if collection.is_locked().await? {
        wait_for_a_person();
        collection.unlock().await?;
    }
    let attributes = HashMap::from([("service", SERVICE), ("username", name)]);
    let label = format!("{SERVICE}: {name}");
    collection.create_item(&label, attributes, secret, true, "text/plain").await.map(drop)
}

fn wait_for_a_person() {
    // Who asks us knows by this why it takes so long.
    _ = writeln!(io::stderr(), "{WAITS}");
}
