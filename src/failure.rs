//! What an error means outside its module: the text for a person, the next command, the exit code. Each error
//! implements [`Explain`] where it is defined.

pub mod cause;

use std::error::Error;
use std::fmt;

/// What went wrong outside of the messages. The numbers are the exit codes (sysexits), and the codes of JSON-RPC errors: they
/// stand outside of -32768…-32000, as MCP 2026-07-28 advises for codes that are not the specification's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The command line is wrong.
    Usage = 64,
    /// The daemon, the container or the server is not there, or no longer.
    Unavailable = 69,
    /// A fault of berth's own.
    Internal = 70,
    /// The configuration doesn't allow it.
    Configuration = 78,
}

impl Code {
    pub const fn exit_code(self) -> u8 {
        self as u8
    }
}

impl From<Code> for i64 {
    fn from(code: Code) -> Self {
        Self::from(code.exit_code())
    }
}

/// What an error means to whoever meets it.
pub trait Explain: Error {
    fn code(&self) -> Code;

    /// What a person does next; `None` where the text says it.
    fn next(&self) -> Option<String>;

    /// Cause and object; no full stop.
    fn text(&self) -> String
    where
        Self: Sized,
    {
        chain(self)
    }
}

/// Why there is no server (any more), for a person: what happened, and the next command to type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: Code,
    /// Cause and object, causes chained by colons; no full stop.
    pub text: String,
    /// What mends it.
    pub next: Option<String>,
}

impl Failure {
    /// Of an error that does not know what it means here.
    pub fn new(code: Code, error: &dyn Error, next: &str) -> Self {
        Self { code, text: chain(error), next: Some(next.to_owned()) }
    }

    pub fn of(error: &impl Explain) -> Self {
        Self { code: error.code(), text: error.text(), next: error.next() }
    }

    /// One line for a person.
    pub fn message(&self) -> String {
        format!("berth: {self}")
    }
}

impl<E: Explain> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::of(&error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.next {
            Some(next) => write!(f, "{}; {next}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

impl Error for Failure {}

/// The errors' messages from the outermost to the cause.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn our_codes_are_the_exit_codes_and_outside_the_reserved_range() {
        for (code, exit) in
            [(Code::Usage, 64), (Code::Unavailable, 69), (Code::Internal, 70), (Code::Configuration, 78)]
        {
            assert_eq!(code.exit_code(), exit);
            assert_eq!(i64::from(code), i64::from(exit));
            assert!(!(-32768..=-32000).contains(&i64::from(code)));
        }
    }
}
