//! The arguments of the commands for shell and manual: `help`, `completions`, `man`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

#[derive(Debug, Args)]
pub struct HelpArgs {
    /// A topic of the manual, or a command; without it, all of both are listed.
    pub topic: Option<String>,
}

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell that is to read it.
    pub shell: Shell,
}

#[derive(Debug, Args)]
pub struct ManArgs {
    /// A folder for berth(1), a page for each command and one for each topic; without it, berth(1) goes to standard output.
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
}
