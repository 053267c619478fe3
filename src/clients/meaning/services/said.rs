//! All that an entry says, each with the name it stands under: variables, flags with their values, words.

use super::super::stated::{Stated, whole_variable};
use crate::values::Lookup;

/// Endings of names of hosts, and of their ports.
const HOSTS: [&str; 8] = ["HOSTNAME", "HOST", "SERVER", "ADDRESS", "ADDR", "IP", "URL", "URI"];
const PORT: &str = "PORT";

/// Names of what says nothing of a service.
const IGNORED: [&str; 6] = ["ORIGIN", "CORS", "NO_PROXY", "NO-PROXY", "ALLOWED", "TRUSTED"];

/// Names of what the server itself listens at.
const LISTENS: [&str; 2] = ["LISTEN", "BIND"];

/// A value, and what it is called.
#[derive(Debug, Clone)]
pub(super) struct Said {
    /// In capitals, with `_`; empty for a word among the arguments.
    pub(super) name: String,
    /// As the person wrote it.
    pub(super) shown: String,
    pub(super) value: String,
    is_flag: bool,
}

impl Said {
    fn variable(name: &str, value: String) -> Self {
        Self { name: name.to_ascii_uppercase(), shown: name.to_owned(), value, is_flag: false }
    }

    fn flag(flag: &str, value: &str) -> Self {
        let name = flag.trim_start_matches('-').to_ascii_uppercase().replace(['-', '.'], "_");
        Self { name, shown: flag.to_owned(), value: value.to_owned(), is_flag: true }
    }

    fn word(value: &str) -> Self {
        Self { name: String::new(), shown: String::new(), value: value.to_owned(), is_flag: true }
    }

    /// Where it stands, in words.
    pub(super) fn place(&self) -> String {
        if self.shown.is_empty() { "an argument".to_owned() } else { format!("`{}`", self.shown) }
    }

    pub(super) fn is_ignored(&self) -> bool {
        IGNORED.iter().any(|word| self.name.contains(word))
    }

    pub(super) fn listens(&self) -> bool {
        LISTENS.iter().any(|word| self.name.contains(word))
    }

    /// What the name says of products.
    pub(super) fn words(&self) -> Vec<String> {
        let stem = self.stem().unwrap_or_else(|| self.name.clone());
        super::known::words(&stem)
    }

    /// What stands in front of the `HOST` in its name: `MYSQL`, `PG`, nothing.
    pub(super) fn stem(&self) -> Option<String> {
        stem(&self.name, &HOSTS)
    }

    pub(super) fn names_a_host(&self) -> bool {
        !self.value.is_empty() && self.stem().is_some_and(|stem| !super::known::is_own_listener(&stem))
    }

    fn number(&self) -> Option<u16> {
        self.value.trim().parse().ok().filter(|port| *port > 0)
    }

    /// Its value, where its name is that of the port beside the host of that stem.
    pub(super) fn port_of(&self, host: &str) -> Option<u16> {
        let stem = stem(&self.name, &[PORT])?;
        (stem == host).then(|| self.number())?
    }

    /// A port that a browser comes back to, by its name.
    pub(super) fn callback_port(&self) -> Option<u16> {
        let stem = stem(&self.name, &[PORT])?;
        ["CALLBACK", "REDIRECT"].iter().any(|word| stem.contains(word)).then(|| self.number())?
    }

    /// A port for which no host stands there, of whatever machine.
    pub(super) fn lone_port(&self, all: &[Self]) -> Option<u16> {
        let own =
            stem(&self.name, &[PORT]).filter(|stem| !self.is_flag && !super::known::is_own_listener(stem))?;
        let has_host = all.iter().any(|other| other.stem().is_some_and(|host| host == own));
        (!has_host).then(|| self.number())?
    }
}

fn stem(name: &str, endings: &[&str]) -> Option<String> {
    endings.iter().find_map(|ending| {
        let stem = name.strip_suffix(ending)?;
        // `PGHOST` and `PGPORT` are such names; `SKIP` is no address.
        let is_whole = stem.is_empty() || stem.ends_with('_') || ["HOST", "PORT"].contains(ending);
        is_whole.then(|| stem.trim_end_matches('_').to_owned())
    })
}

/// All that the server will be told.
pub(super) fn said(stated: &Stated, lookup: Lookup<'_>) -> Vec<Said> {
    let mut said: Vec<Said> = stated
        .variables
        .iter()
        .filter_map(|(name, value)| {
            let value = match whole_variable(value) {
                Some(variable) => lookup(variable)?,
                None => value.clone(),
            };
            Some(Said::variable(name, value))
        })
        .collect();
    let mut words = stated.args.iter().peekable();
    while let Some(word) = words.next() {
        match word.split_once('=') {
            Some((flag, value)) if flag.starts_with('-') && !flag.contains("://") => {
                said.push(Said::flag(flag, value));
            }
            _ if word.starts_with('-') => {
                let value = words.peek().filter(|next| !next.starts_with('-'));
                said.extend(value.map(|value| Said::flag(word, value)));
                if value.is_some() {
                    words.next();
                }
            }
            _ => said.push(Said::word(word)),
        }
    }
    said
}
