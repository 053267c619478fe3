//! Browsers that see the page, and links that let one in. Both are forgotten with the manager.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

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
    links: Mutex<Secrets>,
    browsers: Mutex<Secrets>,
}

/// Random texts, and until when each holds.
#[derive(Debug, Default)]
struct Secrets(Vec<(Token, Instant)>);

impl Secrets {
    fn make(&mut self, holds: Duration) -> Token {
        let now = Instant::now();
        self.0.retain(|(_, until)| *until > now);
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        let token = Token::random();
        self.0.push((token.clone(), now + holds));
        token
    }

    fn find(&self, given: &str) -> Option<usize> {
        let now = Instant::now();
        self.0.iter().position(|(token, until)| *until > now && token.is(given))
    }
}

impl Logins {
    pub(crate) fn link(&self) -> Token {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).make(LINK_HOLDS)
    }

    /// A browser's secret for a link's code, which opens nothing any more.
    pub(crate) fn enter(&self, code: &str) -> Option<Token> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let at = links.find(code)?;
        links.0.remove(at);
        Some(self.browsers.lock().unwrap_or_else(PoisonError::into_inner).make(LOGIN_HOLDS))
    }

    pub(crate) fn is_in(&self, given: &str) -> bool {
        self.browsers.lock().unwrap_or_else(PoisonError::into_inner).find(given).is_some()
    }

    pub(crate) fn leave(&self, given: &str) {
        let mut browsers = self.browsers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = browsers.find(given) {
            browsers.0.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_link_opens_once_and_within_its_time() {
        let logins = Logins::default();
        let code = logins.link();
        let browser = logins.enter(code.text()).unwrap();
        assert!(logins.enter(code.text()).is_none(), "it is used up");
        assert!(logins.is_in(browser.text()) && !logins.is_in(code.text()) && !logins.is_in(""));
        let late = logins.link();
        tokio::time::advance(LINK_HOLDS).await;
        assert!(logins.enter(late.text()).is_none());
        logins.leave(browser.text());
        assert!(!logins.is_in(browser.text()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_in_ends_and_the_oldest_gives_way() {
        let logins = Logins::default();
        let first = logins.enter(logins.link().text()).unwrap();
        for _ in 0..MOST {
            logins.enter(logins.link().text()).unwrap();
        }
        assert!(!logins.is_in(first.text()));
        let last = logins.enter(logins.link().text()).unwrap();
        tokio::time::advance(LOGIN_HOLDS).await;
        assert!(!logins.is_in(last.text()));
    }
}
