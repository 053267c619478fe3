//! The arguments of `berth catalogue`.

use clap::Args;

#[derive(Debug, Args)]
pub struct CatalogueArgs {
    /// Ask these servers again, each by a session as Claude Code and one as Codex; all of the configuration, if none is named.
    #[arg(long, value_name = "SERVER", num_args = 0..)]
    pub refresh: Option<Vec<String>>,

    /// Those of a profile.
    #[arg(long, value_name = "NAME", requires = "refresh")]
    pub profile: Option<String>,

    /// Remove what servers told; accepted definitions stay accepted.
    #[arg(long, conflicts_with = "refresh")]
    pub forget: bool,
}
