//! The arguments of the commands for shell and manual: `completions`, `man`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell that is to read it.
    pub shell: Shell,
}

#[derive(Debug, Args)]
pub struct ManArgs {
    /// A folder for berth(1) and a page for each subcommand; without it, berth(1) goes to standard output.
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
}
