//! The token that the API, the metrics and the page's log-in ask for: a file that only this user reads.

use std::fmt;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use mcp_berth::failure::{Code, Failure};
use mcp_berth::history::manager::TOKEN as FILE;
use mcp_berth::human;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;

/// So many random bytes, and twice as many digits.
const BYTES: usize = 32;

/// Shown to nobody by accident.
#[derive(Clone)]
pub(crate) struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

impl Token {
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// Takes the same time for every wrong token of the right length.
    pub(crate) fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }

    /// Names it, and tells nothing of it.
    pub(crate) fn fingerprint(&self) -> String {
        self.derived("fingerprint").chars().take(8).collect()
    }

    /// Another secret, which only whoever has `self` can make of `text`.
    pub(crate) fn derived(&self, text: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_bytes());
        human::hex(hmac::sign(&key, text.as_bytes()).as_ref())
    }

    pub(crate) fn random() -> Self {
        let mut bytes = [0; BYTES];
        // Fails where the kernel has no random numbers: nothing secret can be made there.
        SystemRandom::new().fill(&mut bytes).unwrap_or_else(|_| std::process::abort());
        Self(human::hex(&bytes))
    }
}

/// The folder's token, which is made if there is none.
///
/// # Errors
/// It can't be read or written, or others can read it.
pub(crate) fn read_or_make(folder: &Path) -> Result<Token, Failure> {
    secret(folder, FILE)
}

/// The folder's secret of this name, which is made in the same way.
///
/// # Errors
/// It can't be read or written, or others can read it.
pub(crate) fn secret(folder: &Path, name: &str) -> Result<Token, Failure> {
    let path = folder.join(name);
    let failed = |error: &io::Error| Failure {
        code: Code::Unavailable,
        text: format!("cannot use the secret in `{}`: {error}", path.display()),
        next: Some("correct the file, or remove it: the next manager makes another one".to_owned()),
    };
    match read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => return read.map_err(|error| failed(&error)),
    }
    let token = Token::random();
    match make(folder, &path, &token) {
        Ok(()) => Ok(token),
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read(&path).map_err(|error| failed(&error))
        }
        Err(error) => Err(failed(&error)),
    }
}

fn read(path: &Path) -> io::Result<Token> {
    let Some(file) = mcp_berth::regular::open(path)? else {
        return Err(io::Error::other("it is no regular file"));
    };
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        return Err(io::Error::other("others may read it"));
    }
    let mut text = String::new();
    file.take(1024).read_to_string(&mut text)?;
    let text = text.trim();
    if text.len() != 2 * BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(io::Error::other(format!("it has not {} hexadecimal digits", 2 * BYTES)));
    }
    Ok(Token(text.to_owned()))
}

/// Appears whole, or not at all.
fn make(folder: &Path, path: &Path, token: &Token) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let new = path.with_extension(format!("new.{}", std::process::id()));
    let made = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| {
            writeln!(file, "{}", token.0)?;
            file.sync_all()
        })
        .and_then(|()| std::fs::hard_link(&new, path));
    _ = std::fs::remove_file(&new);
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_is_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("manager");
        let token = read_or_make(&folder).unwrap();
        let again = read_or_make(&folder).unwrap();
        assert!(again.is(token.text()) && !again.is("") && !again.is(&"0".repeat(64)));
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        let path = folder.join(FILE);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!format!("{token:?}").contains(token.text()));

        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        let error = read_or_make(&folder).unwrap_err();
        assert!(error.text.ends_with("others may read it"), "{error:?}");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        for wrong in ["abc", &"x".repeat(64), &"a".repeat(65)] {
            std::fs::write(&path, wrong).unwrap();
            assert!(read_or_make(&folder).unwrap_err().text.contains("64 hexadecimal digits"), "{wrong}");
        }
    }

    #[test]
    fn of_two_who_make_one_the_first_has_made_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let (first, second) = (Token::random(), Token::random());
        make(folder.path(), &path, &first).unwrap();
        let refused = make(folder.path(), &path, &second).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert!(read_or_make(folder.path()).unwrap().is(first.text()));
    }
}
