//! Who is let in: the right Host, no foreign Origin, the token, and not too often.
//!
//! A page of another site reaches these ports through the browser of the person who sits here. Under a name that it has
//! moved to this machine (DNS rebinding) its requests have that name as their `Host`; in any other way they have its
//! `Origin`. So a `Host` is an address or `localhost`, and an `Origin` is the same as the `Host`. Pictures and scripts that a
//! page asks for have no `Origin`; browsers say of all requests whose page's they are (`Sec-Fetch-Site`).
//!
//! Who is refused stands in the audit, and no token does.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use mcp_berth::observe::audit::Audit;
use tokio::time::Instant;

use super::problem::{self, Problem};
use super::serve::Peer;
use crate::logins::{Logins, given};
use crate::token::Token;

/// In the audit.
const EVENT: &str = "log-in refused";

/// So many requests at once, and so many more each second.
const BURST: f64 = 200.0;
const RATE: f64 = 50.0;

/// What all requests of a listener pass.
#[derive(Debug)]
pub(crate) struct Guard {
    token: Token,
    audit: Audit,
    logins: Arc<Logins>,
    /// Nobody else's requests keep out who may come in.
    known: Allowance,
    strangers: Allowance,
}

/// How many requests are allowed at `.1`.
#[derive(Debug)]
struct Allowance(Mutex<(f64, Instant)>);

impl Default for Allowance {
    fn default() -> Self {
        Self(Mutex::new((BURST, Instant::now())))
    }
}

impl Allowance {
    fn allows_one_more(&self) -> bool {
        let mut allowance = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, at) = &mut *allowance;
        let now = Instant::now();
        *left = (*left + RATE * now.duration_since(*at).as_secs_f64()).min(BURST);
        *at = now;
        let is_allowed = *left >= 1.0;
        if is_allowed {
            *left -= 1.0;
        }
        is_allowed
    }
}

impl Guard {
    pub(crate) fn new(token: Token, audit: Audit, logins: Arc<Logins>) -> Arc<Self> {
        let (known, strangers) = Default::default();
        Arc::new(Self { token, audit, logins, known, strangers })
    }

    /// Whose requests these are counted with.
    fn allowance(&self, headers: &HeaderMap) -> &Allowance {
        let is_in = || given(&self.token, headers).is_some_and(|cookie| self.logins.is_in(cookie));
        if self.has_token(headers) || is_in() { &self.known } else { &self.strangers }
    }

    /// Notes who was refused, and why.
    fn refused(&self, why: &str, request: &Extensions) {
        let from = request.get::<Peer>().map(|Peer(address)| format!("from {address}: ")).unwrap_or_default();
        self.audit.event(EVENT, &format!("{from}{why}"));
    }

    /// The token of `Authorization: Bearer TOKEN` (RFC 6750, section 2.1).
    pub(crate) fn has_token(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.split_once(' '));
        given.is_some_and(|(scheme, token)| {
            scheme.eq_ignore_ascii_case("bearer") && self.token.is(token.trim())
        })
    }
}

/// Before anything else: `Host`, `Origin` and rates.
pub(crate) async fn same_site(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let authority = request.uri().authority().map(axum::http::uri::Authority::as_str);
    if let Err(problem) = check_site(request.headers(), authority) {
        if problem.status == StatusCode::FORBIDDEN {
            guard.refused(&problem.detail, request.extensions());
        }
        return problem.into_response();
    }
    if !guard.allowance(request.headers()).allows_one_more() {
        let mut problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many requests; ask more slowly");
        problem.retry_after = Some(1);
        return problem.into_response();
    }
    next.run(request).await
}

/// Where a token is needed.
pub(crate) async fn with_token(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    if guard.has_token(request.headers()) {
        return next.run(request).await;
    }
    if request.headers().contains_key(header::AUTHORIZATION) {
        guard.refused("a wrong token", request.extensions());
    }
    let detail = "the request needs `Authorization: Bearer TOKEN`; `berth manager token` prints the token";
    Problem::new(StatusCode::UNAUTHORIZED, detail).into_response()
}

/// What every answer says to browsers.
pub(crate) async fn headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Routes that are open to all, which say nothing but that somebody is there, and routes that need the token, behind what every
/// request passes.
pub(crate) fn behind(open: Router, with_token: Router, guard: &Arc<Guard>) -> Router {
    // Unknown paths are of the last one merged: they need the token, too.
    open.merge(with_token.layer(from_fn_with_state(Arc::clone(guard), self::with_token)))
        .layer(from_fn_with_state(Arc::clone(guard), same_site))
        .layer(map_response(problem::told))
        .layer(map_response(headers))
}

fn check_site(headers: &HeaderMap, authority: Option<&str>) -> Result<(), Problem> {
    let forbidden = |detail: String| Problem::new(StatusCode::FORBIDDEN, detail);
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|value| value.to_str().ok()).or(authority);
    let Some(host) = host.filter(|_| hosts.next().is_none()) else {
        return Err(Problem::bad_request("the request needs one `Host`"));
    };
    if !is_here(host) {
        return Err(forbidden(format!(
            "`Host: {}` is not this machine; use an address or `localhost`",
            shown(host)
        )));
    }
    for origin in headers.get_all(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        if origin.strip_prefix("http://") != Some(host) {
            return Err(forbidden(format!(
                "a page of `{}` may not ask; only pages of `http://{}`",
                shown(origin),
                shown(host)
            )));
        }
    }
    let says = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    // A link may lead here; what it leads to is not for the other page to read.
    let is_link = says("sec-fetch-mode") == Some(b"navigate") && says("sec-fetch-dest") == Some(b"document");
    let is_foreign = says("sec-fetch-site").is_some_and(|site| !matches!(site, b"same-origin" | b"none"));
    if is_foreign && !is_link {
        return Err(forbidden(format!(
            "a page of another origin may not ask; only pages of `http://{}`",
            shown(host)
        )));
    }
    Ok(())
}

/// Whether nobody else can have the name of a `HOST[:PORT]`: it is an address, or `localhost`.
fn is_here(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() && !port.starts_with('+') => name,
        _ => host,
    };
    let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    match inner {
        Some(inner) => inner.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()),
        None => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4()),
    }
}

/// A stranger's text, short.
fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logins::{Opened, cookie_name};

    fn guard(token: Token) -> Arc<Guard> {
        Guard::new(token, Audit::of_manager(std::path::Path::new("/dev/null")), Arc::default())
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn status(pairs: &[(&'static str, &str)]) -> u16 {
        check_site(&headers(pairs), None).err().map_or(200, |problem| problem.status)
    }

    #[test]
    fn a_host_is_this_machine() {
        for host in ["localhost", "localhost:18080", "127.0.0.1:18080", "[::1]:18080", "[::1]", "10.0.0.7"] {
            assert_eq!(status(&[("host", host)]), 200, "{host}");
        }
        for host in ["example.org", "localhost.example.org", "127.0.0.1.example.org:80", "[::1", "a:b", "::1"]
            .into_iter()
            .chain(["localhost:+80", "[127.0.0.1]", "[x]", "::ffff:10.0.0.7"])
        {
            assert_eq!(status(&[("host", host)]), 403, "{host}");
        }
        assert_eq!(status(&[]), 400);
        assert!(check_site(&HeaderMap::new(), Some("localhost:1")).is_ok(), "the request's own address");
        assert_eq!(status(&[("host", "localhost"), ("host", "example.org")]), 400);
    }

    #[test]
    fn an_origin_is_the_same_as_the_host() {
        let origin = |origin: &str| status(&[("host", "127.0.0.1:19090"), ("origin", origin)]);
        assert_eq!(origin("http://127.0.0.1:19090"), 200);
        for foreign in
            ["http://127.0.0.1:8000", "http://localhost:19090", "https://127.0.0.1:19090", "null", ""]
        {
            assert_eq!(origin(foreign), 403, "{foreign}");
        }
    }

    #[test]
    fn another_pages_requests_are_refused_but_for_its_links() {
        let asks = |site: &str, mode: &str, dest: &str| {
            let fetch = [("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)];
            status(&[&[("host", "127.0.0.1:19090")], &fetch[..]].concat())
        };
        for site in ["cross-site", "same-site", "anything"] {
            assert_eq!(asks(site, "no-cors", "script"), 403, "{site}");
            assert_eq!(asks(site, "cors", "empty"), 403, "{site}");
            assert_eq!(asks(site, "navigate", "iframe"), 403, "{site}");
            assert_eq!(asks(site, "no-cors", "document"), 403, "{site}");
            assert_eq!(asks(site, "navigate", "document"), 200, "{site}");
        }
        assert_eq!(asks("same-origin", "cors", "empty"), 200);
        assert_eq!(asks("none", "navigate", "document"), 200);
    }

    #[test]
    fn the_token_is_a_bearers() {
        let token = Token::random();
        let guard = guard(token.clone());
        let has = |value: &str| guard.has_token(&headers(&[("authorization", value)]));
        assert!(has(&format!("Bearer {}", token.text())) && has(&format!("bearer  {}", token.text())));
        let wrong = Token::random();
        for value in
            [token.text().to_owned(), format!("Basic {}", token.text()), format!("Bearer {}", wrong.text())]
        {
            assert!(!has(&value), "{value}");
        }
        assert!(!guard.has_token(&HeaderMap::new()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_too_often_waits_and_nobody_else_does() {
        let token = Token::random();
        let guard = guard(token.clone());
        let asks = |value: &str| {
            let headers =
                headers(&[("authorization", value), ("cookie", &format!("{}=x", cookie_name(&token)))]);
            (0..1000).filter(|_| guard.allowance(&headers).allows_one_more()).count()
        };
        assert_eq!(asks("Bearer x"), 200);
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert_eq!((asks("Bearer x"), asks(&format!("Bearer {}", token.text()))), (50, 200));
        let Opened::By(browser) = guard.logins.open(guard.logins.link().text(), None) else { panic!() };
        let cookie = format!("{}={}", cookie_name(&token), browser.text());
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        let headers = headers(&[("cookie", &cookie)]);
        assert_eq!((0..1000).filter(|_| guard.allowance(&headers).allows_one_more()).count(), 50);
        assert_eq!((asks("Bearer x"), asks(&format!("Bearer {}", token.text()))), (50, 0));
        tokio::time::advance(std::time::Duration::from_hours(1)).await;
        assert_eq!(asks("Bearer x"), 200, "who has waited long has no more at once");
    }
}
