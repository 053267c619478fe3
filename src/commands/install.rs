//! `berth install`: servers of the configuration, into a client's.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use super::variable;
use crate::cli::InstallArgs;
use crate::clients::{
    Cli, Document, Draft, Entry, Found, Place, Scope, Surroundings, check_name, is_berth, of_berth,
};
use crate::config::Config;
use crate::failure::{Code, Failure};

/// What is to be done for one server.
enum Step {
    Nothing,
    Add(Entry),
    Replace(Entry),
    Rewire(Entry),
}

pub fn run(args: &InstallArgs, config: &Config, explicit: Option<&Path>) -> anyhow::Result<ExitCode> {
    let around = Surroundings::here(&variable)?;
    let place = Place::of(args.client, args.scope.unwrap_or(Scope::User), &around)?;
    let mut draft = Draft::of(&place.path)?;
    let mut document = place.read(draft.before())?;
    // All of them are looked at before the first is done.
    let mut steps = Vec::new();
    for name in &args.servers {
        let server = config.server(name)?;
        check_name(name)?;
        let entry = of_berth(args.client, server, explicit, &variable);
        steps.push((name, step(&*document, name, entry, &place, args.force)?));
    }
    let cli = Cli::of(&place, &variable);
    let mut out = std::io::stdout().lock();
    let mut is_kept = false;
    for (name, step) in steps {
        let done = match (step, &cli) {
            (Step::Nothing, _) => "is there already",
            (Step::Add(entry), Some(cli)) => {
                // The client writes its own file; what it was is kept all the same.
                if !is_kept && let Some(backup) = draft.backup()? {
                    writeln!(out, "kept {}", backup.display())?;
                }
                is_kept = true;
                cli.add(name, &entry)?;
                draft = Draft::of(&place.path)?;
                document = place.read(draft.before())?;
                "installed"
            }
            (Step::Add(entry) | Step::Replace(entry), _) => {
                document.put(name, &entry);
                "installed"
            }
            (Step::Rewire(entry), _) => {
                document.rewire(name, &entry);
                "brought up to date"
            }
        };
        if cli.is_none() || document.text() != draft.before() {
            draft.after = document.text();
            if let Some(backup) = draft.write(args.scope != Some(Scope::Project))? {
                writeln!(out, "kept {}", backup.display())?;
            }
            draft = Draft::of(&place.path)?;
        }
        writeln!(out, "{}: `{name}` {done}", place.title())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn step(
    document: &dyn Document,
    name: &str,
    entry: Entry,
    place: &Place,
    force: bool,
) -> Result<Step, Failure> {
    let found = document.servers().into_iter().find(|(known, _)| known == name);
    match found {
        None => Ok(Step::Add(entry)),
        Some((_, Found::Stdio(old))) if is_berth(&old) => {
            let has =
                |name: &String| old.env_vars.contains(name) || old.env.iter().any(|(known, _)| known == name);
            let is_same =
                old.command == entry.command && old.args == entry.args && entry.env_vars.iter().all(has);
            Ok(if is_same { Step::Nothing } else { Step::Rewire(entry) })
        }
        Some(_) if force => Ok(Step::Replace(entry)),
        Some(_) => Err(Failure {
            code: Code::Configuration,
            text: format!("{} has a `{name}` that is not berth's", place.title()),
            next: Some("replace it with `--force`, or have it taken over by `berth import`".to_owned()),
        }),
    }
}
