//! `berth import`: moves a client's servers into berth's containers.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::cli::ImportArgs;
use crate::clients::{Asked, Import, Wanted};
use crate::config::{Config, Home};
use crate::failure::{Code, Failure};
use crate::human::Plain;

pub fn run(
    args: &ImportArgs,
    config: &Config,
    home: &Home,
    explicit: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let wanted = Wanted { client: args.client, scope: args.scope, servers: &args.servers };
    let asked =
        Asked { project: args.project, credentials: args.credentials, share: args.share, ..Asked::default() };
    let import = Import::plan(wanted, asked, config, home, explicit, &super::variable)?;
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
        for draft in &import.drafts {
            if let Some(backup) = draft.write(true)? {
                writeln!(out, "kept {}", backup.display())?;
            }
        }
    }
    for line in &import.said {
        writeln!(out, "{}", Plain(line))?;
    }
    if import.drafts.is_empty() && import.failed == 0 {
        writeln!(out, "nothing to import")?;
    }
    out.flush()?;
    if import.failed > 0 {
        return Err(Failure {
            code: Code::Configuration,
            text: format!("cannot import {} of the servers, which stay as they were", import.failed),
            next: Some("see the reasons above".to_owned()),
        }
        .into());
    }
    Ok(ExitCode::SUCCESS)
}
