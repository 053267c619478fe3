//! Browsers that see the page, and links that let one in. Both are forgotten with the manager.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use tokio::time::Instant;

use crate::token::Token;

/// A link that nobody has opened by then opens nothing.
const LINK_HOLDS: Duration = Duration::from_mins(1);

/// A browser sees the page so long.
pub(crate) const LOGIN_HOLDS: Duration = Duration::from_hours(12);

/// So many links, and so many browsers; the oldest gives way.
const MOST: usize = 32;

/// Links and log-ins that hold.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    links: Mutex<Kept<Link>>,
    browsers: Mutex<Kept<Token>>,
}

/// Who has opened a link.
#[derive(Debug)]
pub(crate) enum Opened {
    /// This browser, which gets a secret of its own.
    By(Token),
    /// The browser that asks had opened it before.
    Before,
    /// Nobody may.
    No,
}

#[derive(Debug)]
struct Link {
    code: Token,
    /// What its browser got.
    browser: Option<Token>,
}

/// What holds, and until when.
#[derive(Debug)]
struct Kept<T>(Vec<(T, Instant)>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Kept<T> {
    fn keep(&mut self, kept: T, holds: Duration) {
        self.tidy();
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push((kept, Instant::now() + holds));
    }

    fn tidy(&mut self) {
        let now = Instant::now();
        self.0.retain(|(_, until)| *until > now);
    }
}

impl Logins {
    /// The code of a new link.
    pub(crate) fn link(&self) -> Token {
        let code = Token::random();
        let link = Link { code: code.clone(), browser: None };
        self.links.lock().unwrap_or_else(PoisonError::into_inner).keep(link, LINK_HOLDS);
        code
    }

    /// Opens the link with this code; `given` is what the browser has of an earlier log-in.
    ///
    /// A link that is opened twice was seen by somebody else, who may have been the faster one: it lets nobody in any more, and
    /// whom it has let in goes (RFC 6749, section 4.1.2, of codes).
    pub(crate) fn open(&self, code: &str, given: Option<&str>) -> Opened {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.tidy();
        let Some(at) = links.0.iter().position(|(link, _)| link.code.is(code)) else { return Opened::No };
        let link = &mut links.0[at].0;
        match &link.browser {
            None => {
                let secret = Token::random();
                link.browser = Some(secret.clone());
                self.browsers().keep(secret.clone(), LOGIN_HOLDS);
                Opened::By(secret)
            }
            Some(browser) if given.is_some_and(|given| browser.is(given)) => Opened::Before,
            Some(browser) => {
                self.leave(browser.text());
                links.0.remove(at);
                Opened::No
            }
        }
    }

    pub(crate) fn is_in(&self, given: &str) -> bool {
        let mut browsers = self.browsers();
        browsers.tidy();
        browsers.0.iter().any(|(secret, _)| secret.is(given))
    }

    pub(crate) fn leave(&self, given: &str) {
        self.browsers().0.retain(|(secret, _)| !secret.is(given));
    }

    fn browsers(&self) -> MutexGuard<'_, Kept<Token>> {
        self.browsers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A browser's cookie. Ports do not part cookies: another manager's log-in is not to end this one.
pub(crate) fn cookie_name(token: &Token) -> String {
    format!("berth-{}", token.fingerprint())
}

/// What the browser says of itself.
pub(crate) fn given<'a>(token: &Token, headers: &'a HeaderMap) -> Option<&'a str> {
    let name = cookie_name(token);
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|value| value.split(';')).find_map(|cookie| {
        let (found, value) = cookie.trim().split_once('=')?;
        (found == name).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(logins: &Logins, code: &Token) -> Option<Token> {
        match logins.open(code.text(), None) {
            Opened::By(secret) => Some(secret),
            _ => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_opens_within_its_time() {
        let logins = Logins::default();
        let code = logins.link();
        let browser = open(&logins, &code).unwrap();
        assert!(logins.is_in(browser.text()) && !logins.is_in(code.text()) && !logins.is_in(""));
        let late = logins.link();
        tokio::time::advance(LINK_HOLDS).await;
        assert!(matches!(logins.open(late.text(), None), Opened::No));
        assert!(logins.is_in(browser.text()));
        logins.leave(browser.text());
        assert!(!logins.is_in(browser.text()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_that_opens_twice_lets_nobody_in() {
        let logins = Logins::default();
        let code = logins.link();
        let (first, other) = (open(&logins, &code).unwrap(), open(&logins, &logins.link()).unwrap());
        assert!(matches!(logins.open(code.text(), Some(first.text())), Opened::Before), "the same browser");
        assert!(matches!(logins.open(code.text(), Some(other.text())), Opened::No));
        assert!(!logins.is_in(first.text()), "it may be the wrong one");
        assert!(logins.is_in(other.text()));
        assert!(matches!(logins.open(code.text(), Some(first.text())), Opened::No));
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_in_ends_and_the_oldest_gives_way() {
        let logins = Logins::default();
        let first = open(&logins, &logins.link()).unwrap();
        for _ in 0..MOST {
            open(&logins, &logins.link()).unwrap();
        }
        assert!(!logins.is_in(first.text()));
        let last = open(&logins, &logins.link()).unwrap();
        tokio::time::advance(LOGIN_HOLDS).await;
        assert!(!logins.is_in(last.text()));
    }
}
