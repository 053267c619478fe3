//! Who may see the page: a browser that was opened with a link of `berth manager open`.
//!
//! The link's code opens the page once, within a minute. The browser then has a cookie that no script reads and that no
//! other site's page sends along (`SameSite=Strict`). Both are forgotten with the manager.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::layout;
use crate::shared::Shared;
use crate::token::Token;
use crate::web::input::Query;

/// A link that nobody has opened by then opens nothing.
const LINK_HOLDS: Duration = Duration::from_mins(1);

/// A browser sees the page so long.
const LOGIN_HOLDS: Duration = Duration::from_hours(12);

/// So many links, and so many browsers; the oldest gives way.
const MOST: usize = 32;

/// A browser's cookie. Ports do not part cookies: another manager's log-in is not to end this one.
fn cookie_name(shared: &Shared) -> String {
    format!("berth-{}", &shared.token.fingerprint())
}

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
    fn link(&self) -> Token {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).make(LINK_HOLDS)
    }

    /// A browser's secret for a link's code, which opens nothing any more.
    fn enter(&self, code: &str) -> Option<Token> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let at = links.find(code)?;
        links.0.remove(at);
        Some(self.browsers.lock().unwrap_or_else(PoisonError::into_inner).make(LOGIN_HOLDS))
    }

    fn is_in(&self, given: &str) -> bool {
        self.browsers.lock().unwrap_or_else(PoisonError::into_inner).find(given).is_some()
    }

    fn leave(&self, given: &str) {
        let mut browsers = self.browsers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = browsers.find(given) {
            browsers.0.remove(at);
        }
    }
}

/// What the browser says of itself.
fn given(shared: &Shared, headers: &HeaderMap) -> Option<String> {
    let name = cookie_name(shared);
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|value| value.split(';')).find_map(|cookie| {
        let (found, value) = cookie.trim().split_once('=')?;
        (found == name).then(|| value.to_owned())
    })
}

/// What forms of the page carry, so that only the page's own forms do something.
pub(super) fn form_secret(shared: &Shared, headers: &HeaderMap) -> String {
    given(shared, headers).map(|cookie| shared.token.derived(&cookie)).unwrap_or_default()
}

/// Answers nobody else's browser.
pub(super) async fn inside(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if given(&shared, request.headers()).is_some_and(|cookie| shared.logins.is_in(&cookie)) {
        return next.run(request).await;
    }
    let body = html! {
        p { "This page is open to whoever has a link to it. Type in a terminal:" }
        pre { code { "berth manager open" } }
    };
    (StatusCode::UNAUTHORIZED, layout::page("Not logged in", "", &body)).into_response()
}

#[derive(Debug, Deserialize)]
pub(super) struct Code {
    #[serde(default)]
    code: String,
}

/// `/login?code=CODE`.
pub(super) async fn enter(State(shared): State<Arc<Shared>>, Query(Code { code }): Query<Code>) -> Response {
    let Some(secret) = shared.logins.enter(&code) else {
        shared.audit.event("log-in refused", "a link to the page that is used up, or was never made");
        let body = html! {
            p role="alert" { "This link was used already, or is older than a minute." }
            pre { code { "berth manager open" } }
        };
        return (StatusCode::UNAUTHORIZED, layout::page("Not logged in", "", &body)).into_response();
    };
    let name = cookie_name(&shared);
    let seconds = LOGIN_HOLDS.as_secs();
    let cookie = format!("{name}={}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict", secret.text());
    with_cookie(Redirect::to("/").into_response(), &cookie)
}

/// `POST /logout`.
pub(super) async fn leave(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if let Some(cookie) = given(&shared, &headers) {
        shared.logins.leave(&cookie);
    }
    let cookie = format!("{}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict", cookie_name(&shared));
    with_cookie(Redirect::to("/").into_response(), &cookie)
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

/// Where the page is, for one browser.
#[derive(Debug, Serialize)]
pub(super) struct Link {
    path: String,
}

/// `POST /login`, with the token.
pub(super) async fn link(State(shared): State<Arc<Shared>>) -> Json<Link> {
    Json(Link { path: format!("/login?code={}", shared.logins.link().text()) })
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
