//! What the keeper's programs share: the command line that they are given, and how they fail.

use std::ffi::OsString;
use std::time::Duration;
use std::{fmt, io};

/// One line for a person, and the exit code, as in sysexits where the shell has no own meaning for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: u8,
    pub(super) message: String,
}

impl Failure {
    pub(super) const FAILED: u8 = 1;
    pub(super) const USAGE: u8 = 64;
    pub(super) const SOFTWARE: u8 = 70;
    pub(super) const SYSTEM: u8 = 71;
    pub(super) const CONFIGURATION: u8 = 78;
    pub(super) const CANNOT_EXECUTE: u8 = 126;
    pub(super) const NOT_FOUND: u8 = 127;

    pub(super) fn new(code: u8, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string() }
    }

    pub(super) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Self::USAGE, format_args!("keeper: {message}"))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(Self::SYSTEM, format_args!("keeper: {error}"))
    }
}

/// The command line, word by word; what is missing or malformed is named.
pub(super) struct Words<I>(pub(super) I);

impl<I: Iterator<Item = OsString>> Words<I> {
    pub(super) fn next(&mut self, what: &str) -> Result<OsString, Failure> {
        self.0.next().ok_or_else(|| Failure::usage(format_args!("{what} is missing")))
    }

    pub(super) fn text(&mut self, what: &str) -> Result<String, Failure> {
        self.next(what)?
            .into_string()
            .map_err(|word| Failure::usage(format_args!("`{}` is not {what}", word.display())))
    }

    pub(super) fn parsed<T: std::str::FromStr>(&mut self, what: &str) -> Result<T, Failure> {
        let word = self.text(what)?;
        word.parse().map_err(|_| Failure::usage(format_args!("`{word}` is not {what}")))
    }

    /// 32 bits of milliseconds are 49 days, and no sum of such times and the clock overflows.
    pub(super) fn milliseconds(&mut self, flag: &str) -> Result<Duration, Failure> {
        let milliseconds: u32 = self.parsed(&format!("a time in milliseconds for `{flag}`"))?;
        Ok(Duration::from_millis(milliseconds.into()))
    }

    pub(super) fn exactly(&mut self, expected: &str) -> Result<(), Failure> {
        match self.0.next() {
            Some(word) if word == expected => Ok(()),
            Some(word) => {
                Err(Failure::usage(format_args!("expected `{expected}`, found `{}`", word.display())))
            }
            None => Err(Failure::usage(format_args!("`{expected}` is missing"))),
        }
    }
}
