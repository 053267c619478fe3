//! Who may see the page: a browser that was opened with a link of `berth manager open`.
//!
//! The link's code opens the page once, within a minute. The browser then has a cookie that no script reads and that no
//! other site's page sends along (`SameSite=Strict`). Both are forgotten with the manager.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use serde::{Deserialize, Serialize};

use super::layout;
use crate::logins::{LOGIN_HOLDS, Opened, cookie_name, given};
use crate::shared::Shared;
use crate::web::input::Query;

/// What forms of the page carry, so that only the page's own forms do something.
pub(super) fn form_secret(shared: &Shared, headers: &HeaderMap) -> String {
    given(&shared.token, headers).map(|cookie| shared.token.derived(cookie)).unwrap_or_default()
}

/// Answers nobody else's browser.
pub(super) async fn inside(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if given(&shared.token, request.headers()).is_some_and(|cookie| shared.logins.is_in(cookie)) {
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
pub(super) async fn enter(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Query(Code { code }): Query<Code>,
) -> Response {
    let secret = match shared.logins.open(&code, given(&shared.token, &headers)) {
        Opened::By(secret) => secret,
        Opened::Before => return layout::onward("/").into_response(),
        Opened::No => {
            shared.audit.event("log-in refused", "a link to the page that is used up, or was never made");
            let body = html! {
                p role="alert" {
                    "This link was opened already, or is older than a minute. Whoever has opened it is logged out."
                }
                pre { code { "berth manager open" } }
            };
            return (StatusCode::UNAUTHORIZED, layout::page("Not logged in", "", &body)).into_response();
        }
    };
    let name = cookie_name(&shared.token);
    let seconds = LOGIN_HOLDS.as_secs();
    let cookie = format!("{name}={}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict", secret.text());
    // No redirect: where a page of another site had the link, what the redirect leads to would not get the cookie.
    with_cookie(layout::onward("/").into_response(), &cookie)
}

/// `POST /logout`.
pub(super) async fn leave(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if let Some(cookie) = given(&shared.token, &headers) {
        shared.logins.leave(cookie);
    }
    let cookie = format!("{}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict", cookie_name(&shared.token));
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
