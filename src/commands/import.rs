//! `berth import`: moves a client's servers into berth's containers.

mod trial;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::cli::ImportArgs;
use crate::clients::undo::{self, Undo};
use crate::clients::{Asked, Changes, Check, Import, Reading, Surroundings, Wanted};
use crate::config::{Config, Home};
use crate::dind::progress::Progress;
use crate::failure::{Code, Failure};
use crate::human::Plain;
use crate::observe::audit;

pub async fn run(
    args: &ImportArgs,
    config: &Config,
    home: &Home,
    explicit: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    if args.undo {
        let mut out = std::io::stdout().lock();
        let mut changes = Changes::default();
        let around = Surroundings::here(&super::variable)?;
        let undone = undo::last(&home.state, args.client, &around, &mut changes);
        audit::note_changes(&home.state, "berth import --undo", &changes.made);
        for line in &changes.said {
            writeln!(out, "{}", Plain(line))?;
        }
        undone?;
        return Ok(ExitCode::SUCCESS);
    }
    let wanted = Wanted {
        client: args.client,
        scope: args.scope,
        servers: &args.servers,
        move_secrets: args.move_secrets,
    };
    let asked =
        Asked { project: args.project, credentials: args.credentials, share: args.share, ..Asked::default() };
    let reading = Reading::new(wanted, asked, config, home, explicit, &super::variable)?;
    let reading = reading.gathered(args.one_entry.clone());
    let is_tried = !args.dry_run && !args.no_check;
    let check = if args.dry_run || is_tried { Check::DryRun } else { Check::LeftOut };
    let mut import = reading.plan(check, &super::variable)?;
    let mut next = "see the reasons above";
    if is_tried && import.taken.is_empty() {
        import = reading.plan(Check::LeftOut, &super::variable)?;
    } else if is_tried {
        let progress = Progress::stderr();
        let path = explicit.unwrap_or(&home.config_file);
        let ground = trial::Ground { config, home, path, folder: reading.folder(), progress: &progress };
        let trials = tokio::select! {
            trials = Box::pin(trial::all(&import, &ground)) => trials?,
            // The sessions are killed as they are dropped.
            stopped = super::validate::stopped() => {
                stopped?;
                progress.say("interrupted; nothing was changed");
                return Ok(ExitCode::from(super::validate::INTERRUPTED));
            }
        };
        import = reading.plan(Check::Made(&trials), &super::variable)?;
        if trials.values().any(Result::is_err) {
            // What mends a server may be a line of berth.toml, or what `berth run` alone shows.
            next = "see the reasons above; `--no-check` takes over what does not start yet";
        }
    }
    let path = explicit.unwrap_or(&home.config_file);
    let around = Surroundings::here(&super::variable)?;
    let undo = Undo::begin(&home.state, args.client, path, import.profile.as_ref(), &around);
    write(args, &import, undo)?;
    if !args.dry_run {
        let written = import.drafts.iter().map(|draft| format!("{} is written", draft.path().display()));
        let names =
            import.taken.iter().map(|taken| format!("{}: `{}`", args.client.name(), taken.server.name));
        audit::note_changes(&home.state, "berth import", names.chain(written));
    }
    if !args.dry_run && !import.taken.is_empty() {
        fill(&import, home, explicit).await;
    }
    if import.failed > 0 {
        return Err(Failure {
            code: Code::Configuration,
            text: format!("cannot import {} of the servers, which stay as they were", import.failed),
            next: Some(next.to_owned()),
        }
        .into());
    }
    Ok(ExitCode::SUCCESS)
}

/// The servers that start late are asked what they are, by the configuration as it is now.
async fn fill(import: &Import, home: &Home, explicit: Option<&Path>) {
    let Ok(mut config) = Config::load(home, explicit) else { return };
    crate::dind::place::recall(&mut config, home);
    let taken: Vec<String> = import.taken.iter().map(|taken| taken.server.name.clone()).collect();
    super::catalogue::fill::ahead(&config, home, explicit, Some(&taken), &Progress::stderr()).await;
}

/// Shows the differences, makes them, and says what became of each server.
fn write(args: &ImportArgs, import: &Import, mut undo: Undo) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for diff in import.diffs() {
        for line in diff.lines() {
            // What a project's file says is anybody's.
            let cells: Vec<String> = line.split('\t').map(|cell| Plain(cell).to_string()).collect();
            writeln!(out, "{}", cells.join("\t"))?;
        }
        writeln!(out)?;
    }
    if !args.dry_run {
        let wrote: Result<(), Failure> = import.drafts.iter().try_for_each(|draft| {
            let backup = undo.write(draft)?;
            // What nobody reads is no reason to stop halfway.
            let _ = backup.iter().try_for_each(|backup| writeln!(out, "kept {}", backup.display()));
            Ok(())
        });
        if let Err(failure) = wrote {
            // Half of the files would have the new names.
            undo.back()?.said.iter().try_for_each(|line| writeln!(out, "{}", Plain(line)))?;
            return Err(failure.into());
        }
    }
    for line in &import.said {
        writeln!(out, "{}", Plain(line))?;
    }
    if import.drafts.is_empty() && import.failed == 0 {
        writeln!(out, "nothing to import")?;
    }
    out.flush()?;
    Ok(())
}
