//! The arguments of `berth secret`.

use clap::{Args, Subcommand};

use crate::config::is_keyring_name;

#[derive(Debug, Args)]
pub struct SecretArgs {
    #[command(subcommand)]
    pub command: SecretCommand,
}

#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Keep a secret under a name; it is asked for, or read from standard input.
    Set {
        /// What `{ keyring = "NAME" }` names.
        #[arg(value_parser = name)]
        name: String,
    },
    /// List the names.
    List,
    /// Remove a name and its secret.
    Remove {
        /// What `{ keyring = "NAME" }` names.
        #[arg(value_parser = name)]
        name: String,
    },
}

fn name(text: &str) -> Result<String, String> {
    if is_keyring_name(text) {
        return Ok(text.to_owned());
    }
    Err("a name has 1 to 128 characters, none of them a control character".to_owned())
}
