//! The arguments of `berth tools`.

use clap::Args;

#[derive(Debug, Args)]
pub struct ToolsArgs {
    /// These servers, in one session if there are several; by default each server of the configuration, alone.
    #[arg(value_name = "SERVER", conflicts_with = "profile")]
    pub servers: Vec<String>,

    /// The servers of a profile of the configuration.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,

    /// What the client calls the entry, if not as the server or the profile.
    #[arg(long, value_name = "NAME")]
    pub entry: Option<String>,

    /// Accept the definitions as they are now, where `definitions = "hold"` refuses them: of all servers, of a server, or of a
    /// tool.
    #[arg(long, value_name = "SERVER[__TOOL]", num_args = 0..=1, conflicts_with_all = ["servers", "profile", "json"])]
    pub accept: Option<Option<String>>,

    /// Print a JSON array, with an object for each entry.
    #[arg(long)]
    pub json: bool,
}
