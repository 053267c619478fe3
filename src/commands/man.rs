//! `berth man`: the manual, as pages for `man`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap_mangen::Man;

use crate::cli::{ManArgs, help};

pub fn run(args: &ManArgs) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let Some(folder) = &args.folder else {
        let mut page = Vec::new();
        Man::new(help::command()).render(&mut page)?;
        out.write_all(&page)?;
        return Ok(ExitCode::SUCCESS);
    };
    let written = || {
        std::fs::create_dir_all(folder)?;
        clap_mangen::generate_to(help::command(), folder)
    };
    written().with_context(|| format!("cannot write the manual into `{}`", folder.display()))?;
    let pages = 1 + help::command().get_subcommands().count();
    writeln!(out, "wrote {pages} pages into {}", folder.display())?;
    Ok(ExitCode::SUCCESS)
}
