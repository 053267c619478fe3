//! The arguments of the commands that edit an AI client's configuration: `install`, `uninstall`, `import`.

use clap::Args;

use crate::clients::{Kind, Scope};
use crate::values::is_server_name;

#[derive(Debug, Args)]
pub struct InstallArgs {
    /// Whose configuration.
    pub client: Kind,
    /// The servers' names in berth's configuration; each becomes an entry.
    #[arg(required_unless_present = "profile", conflicts_with = "profile", value_name = "SERVER")]
    pub servers: Vec<String>,
    /// One entry of this name for all servers of a profile of berth's configuration.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// For whom: `user` (the default) for you everywhere, `project` for all who work in this project, `local` for you in it.
    #[arg(long)]
    pub scope: Option<Scope>,
    /// Replace entries of the same names, whatever they are.
    #[arg(long)]
    pub force: bool,
    /// Have the client wait for these servers before it begins; only Codex can.
    #[arg(long)]
    pub required: bool,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct UninstallArgs {
    /// Whose configuration.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub client: Option<Kind>,
    /// The servers' names.
    #[arg(required_unless_present = "all", value_name = "SERVER")]
    pub servers: Vec<String>,
    /// Only of this scope, instead of wherever they stand.
    #[arg(long, conflicts_with = "all")]
    pub scope: Option<Scope>,
    /// Remove everything of berth's: clients' entries, daemon, images, servers' volumes, state and certificates.
    #[arg(long)]
    pub all: bool,
    /// Do not ask.
    #[arg(short, long, requires = "all")]
    pub yes: bool,
    /// Only say what would be removed.
    #[arg(long, requires = "all")]
    pub dry_run: bool,
    /// End active sessions, and go on where the engine cannot be reached.
    #[arg(long, requires = "all")]
    pub force: bool,
    /// Remove `berth.toml`, too.
    #[arg(long, requires = "all")]
    pub config_too: bool,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct ImportArgs {
    /// Whose configuration.
    pub client: Kind,
    /// Only these servers, instead of all.
    #[arg(value_name = "SERVER")]
    pub servers: Vec<String>,
    /// Only of this scope, instead of wherever they stand.
    #[arg(long)]
    pub scope: Option<Scope>,
    /// Move credentials among a server's arguments into the `env` of its entry.
    #[arg(long)]
    pub move_secrets: bool,
    /// Show what would change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Write into `share` what the servers mount of this machine.
    #[arg(long)]
    pub share: bool,
    /// Mount the client's project, at its own path, for servers that work on it.
    #[arg(long)]
    pub project: bool,
    /// Mount log-ins of the home folder (`~/.aws`, `~/.kube`), read-only, for packages that live on them.
    #[arg(long)]
    pub credentials: bool,
    /// Change the entries without trying whether their servers start.
    #[arg(long)]
    pub no_check: bool,
    /// Gather the servers into a profile of this name, behind one entry; what names their tools follows.
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "work", value_parser = profile)]
    pub one_entry: Option<String>,
    /// Bring the client's files back as they were before its last import.
    #[arg(long, conflicts_with_all = ["servers", "scope", "move_secrets", "dry_run", "share", "project", "credentials", "no_check", "one_entry"])]
    pub undo: bool,
}

/// A name that is fit for berth.toml and for a client's entry, whose tools no rule of another server can mean.
fn profile(name: &str) -> Result<String, String> {
    if is_server_name(name) && !name.contains('.') && !name.contains("__") && !name.ends_with('_') {
        Ok(name.to_owned())
    } else {
        Err("a name has letters, digits, `-` and single `_`".to_owned())
    }
}
