//! What a package remembers between its sessions. On this machine it lies in the package's folder or in the home; a
//! container's end would be its end.

use super::known::{Known, Memory};
use crate::clients::Machine;
use crate::runner::{Parsed, Program};

/// Where the volume is in the container.
const FOLDER: &str = "/data";

/// Where the home of a package's container is: its image's, or the one that keeps a log-in.
pub(super) fn home_of(parsed: &Parsed) -> String {
    let own = parsed.env.iter().find(|(name, value)| name == "HOME" && value.starts_with('/'));
    own.map_or_else(|| "/tmp".to_owned(), |(_, value)| value.clone())
}

/// Gives the package a volume, unless the entry says where it keeps what it remembers.
pub(super) fn keep(parsed: &mut Parsed, machine: &Machine<'_>, known: &Known) {
    let Some(memory) = known.memory else { return };
    let volume = |target: &str| format!("{}-data:{target}:concurrent", parsed.name);
    let file = |name: &str| if name.is_empty() { FOLDER.to_owned() } else { format!("{FOLDER}/{name}") };
    let said = match memory {
        Memory::Variable(variable, _) | Memory::Folder(variable) => parsed.has_env(variable),
        Memory::Flag(flag, _) => {
            let Program::Package(package) = &parsed.program else { return };
            package.args.iter().any(|arg| arg == flag || arg.starts_with(&format!("{flag}=")))
        }
        Memory::Home(_) => false,
    };
    if said {
        return;
    }
    let (line, how) = match memory {
        Memory::Variable(variable, name) => {
            let line = volume(FOLDER);
            parsed.set_env(variable, file(name));
            (line, format!("`{variable}`"))
        }
        Memory::Folder(variable) => {
            let line = volume(FOLDER);
            parsed.set_env(variable, FOLDER.to_owned());
            (line, format!("`{variable}`"))
        }
        Memory::Flag(flag, name) => {
            let line = volume(FOLDER);
            let Program::Package(package) = &mut parsed.program else { return };
            package.args.extend([flag.to_owned(), file(name)]);
            (line, format!("`{flag}`"))
        }
        Memory::Home(folder) => {
            let at = home_of(parsed);
            let own = machine.home().map(|home| home.join(folder));
            if own.is_some_and(|own| machine.is_folder(&own)) && !machine.asked.foreign {
                parsed.mounts.push(format!("~/{folder}:{at}/{folder}:rw"));
                parsed.notes.push(format!(
                    "`~/{folder}`, where it keeps what it remembers, is mounted `:rw` at the server's HOME"
                ));
                return;
            }
            (volume(&format!("{at}/{folder}")), "its home".to_owned())
        }
    };
    let name = line.split(':').next().unwrap_or_default().to_owned();
    parsed.volumes.push(line);
    parsed.notes.push(format!(
        "what it remembers is kept in the volume `{name}`, by {how}; the volume begins empty, and all sessions of this client have it"
    ));
}
