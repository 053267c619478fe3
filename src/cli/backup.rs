//! The arguments of `berth backup` and `berth restore`, which `berth` hands on to `berth-backup`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Clone, Args)]
pub struct BackupArgs {
    /// The file to write; there must be none of that name.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Take the certificates and their keys along.
    #[arg(long)]
    pub with_certs: bool,
    /// Take the files of `env_file` and `secrets` along, and secrets in `berth.toml`, encrypted for `--recipient`.
    #[arg(long, requires = "recipient")]
    pub with_secrets: bool,
    /// Who can read the secrets: a recipient of age, `age1…` or `ssh-…`.
    #[arg(long, value_name = "AGE", requires = "with_secrets")]
    pub recipient: Vec<String>,
    /// Only these volumes, by the names that servers have for them, instead of all.
    #[arg(long, value_name = "VOLUME")]
    pub only: Vec<String>,
    /// No volumes: needs no daemon.
    #[arg(long, conflicts_with = "only")]
    pub no_volumes: bool,
}

#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// The file of a backup.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only say what would be done.
    #[arg(long)]
    pub dry_run: bool,
    /// Replace volumes that were written to since, secrets' files and a catalogue that differ.
    #[arg(long)]
    pub force: bool,
    /// The file with the identity that age decrypts the secrets with; without it they are left out.
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
}

impl BackupArgs {
    /// The same arguments as words of a command line.
    pub fn words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["backup".into()];
        for (flag, given) in [
            ("--with-certs", self.with_certs),
            ("--with-secrets", self.with_secrets),
            ("--no-volumes", self.no_volumes),
        ] {
            words.extend(given.then(|| flag.into()));
        }
        words.extend(self.recipient.iter().map(|recipient| format!("--recipient={recipient}").into()));
        words.extend(self.only.iter().map(|volume| format!("--only={volume}").into()));
        words.extend(["--".into(), self.file.clone().into_os_string()]);
        words
    }
}

impl RestoreArgs {
    /// The same arguments as words of a command line.
    pub fn words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["restore".into()];
        for (flag, given) in [("--dry-run", self.dry_run), ("--force", self.force)] {
            words.extend(given.then(|| flag.into()));
        }
        if let Some(identity) = &self.identity {
            words.extend(["--identity".into(), identity.clone().into_os_string()]);
        }
        words.extend(["--".into(), self.file.clone().into_os_string()]);
        words
    }
}

#[cfg(test)]
mod tests {
    use clap::{Parser, Subcommand};

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(subcommand)]
        command: Of,
    }

    #[derive(Debug, Subcommand)]
    enum Of {
        Backup(BackupArgs),
        Restore(RestoreArgs),
    }

    fn words(line: &str) -> Vec<OsString> {
        let line = std::iter::once("berth").chain(line.split(' '));
        match Program::try_parse_from(line).unwrap().command {
            Of::Backup(args) => args.words(),
            Of::Restore(args) => args.words(),
        }
    }

    #[test]
    fn the_words_say_the_same() {
        for line in [
            "backup -- f",
            "backup --with-certs --with-secrets --recipient=age1x --recipient=age1y --only=a --only=b -- f",
            "backup --no-volumes -- -f",
            "restore -- f",
            "restore --dry-run --force --identity k -- f",
        ] {
            assert_eq!(words(line).join(" ".as_ref()), *line);
        }
        for wrong in
            ["backup f --with-secrets", "backup f --recipient age1x", "backup f --only a --no-volumes"]
        {
            let line = std::iter::once("berth").chain(wrong.split(' '));
            assert!(Program::try_parse_from(line).is_err(), "{wrong}");
        }
    }
}
