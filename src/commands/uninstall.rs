//! `berth uninstall`: servers of berth's, out of a client's configuration.

use std::io::Write;
use std::process::ExitCode;

use super::variable;
use crate::cli::UninstallArgs;
use crate::clients::{Cli, Draft, Found, Place, Surroundings, is_berth};
use crate::failure::{Code, Failure};

pub fn run(args: &UninstallArgs) -> anyhow::Result<ExitCode> {
    let around = Surroundings::here(&variable)?;
    let mut out = std::io::stdout().lock();
    let mut gone = Vec::new();
    for place in Place::chosen(args.client, args.scope, &around)? {
        let mut draft = Draft::of(&place.path)?;
        let mut document = place.read(draft.before())?;
        let servers = document.servers();
        let named = servers.iter().filter(|(name, _)| args.servers.contains(name));
        let mut own = Vec::new();
        for (name, found) in named {
            if !matches!(found, Found::Stdio(entry) if is_berth(entry)) {
                return Err(Failure {
                    code: Code::Configuration,
                    text: format!("{} has a `{name}` that is not berth's", place.title()),
                    next: Some("name another scope, or take it out with the client's own command".to_owned()),
                }
                .into());
            }
            own.push(name);
        }
        if own.is_empty() {
            continue;
        }
        let backup = if let Some(cli) = Cli::of(&place, &variable) {
            let backup = draft.backup()?;
            own.iter().try_for_each(|name| cli.remove(name))?;
            backup
        } else {
            for name in &own {
                document.remove(name);
            }
            draft.after = document.text();
            draft.write(true)?
        };
        if let Some(backup) = backup {
            writeln!(out, "kept {}", backup.display())?;
        }
        for name in own {
            writeln!(out, "{}: `{name}` taken out", place.title())?;
            gone.push(name.clone());
        }
    }
    for name in args.servers.iter().filter(|name| !gone.contains(name)) {
        writeln!(out, "{}: there is no `{name}`", args.client.name())?;
    }
    Ok(ExitCode::SUCCESS)
}
