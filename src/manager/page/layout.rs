//! What all views have around them, and what browsers may do with them.

use axum::http::{HeaderValue, header};
use axum::response::{Html, Response};
use maud::{DOCTYPE, Markup, html};

/// Nothing comes from elsewhere, and nothing stands in the text that is run or that styles.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
    form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

const VIEWS: [(&str, &str); 4] =
    [("/", "Overview"), ("/sessions", "Sessions"), ("/calls", "Calls"), ("/servers", "Servers")];

/// A whole page; `path` is that of its view.
pub(super) fn page(title: &str, path: &str, body: &Markup) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · berth" }
                link rel="icon" type="image/svg+xml" href="/berth.svg";
                link rel="stylesheet" href="/berth.css";
                script src="/berth.js" defer {}
            }
            body {
                a class="skip" href="#main" { "Skip to the content" }
                header {
                    strong { "berth" }
                    nav aria-label="Views" {
                        ul {
                            @for (at, name) in VIEWS {
                                li { a href=(at) aria-current=[(at == path).then_some("page")] { (name) } }
                            }
                        }
                    }
                    form method="post" action="/logout" { button type="submit" { "Log out" } }
                }
                main id="main" tabindex="-1" {
                    h1 { (title) }
                    (body)
                }
            }
        }
    };
    Html(page.into_string())
}

/// Leads to a view at once, as a link of the page's own.
pub(super) fn onward(path: &str) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="refresh" content=(format!("0; url={path}"));
                title { "berth" }
                link rel="icon" type="image/svg+xml" href="/berth.svg";
            }
            body { main { h1 { "berth" } p { a href=(path) { "Go on" } } } }
        }
    };
    Html(page.into_string())
}

/// A table that a small screen can move sideways, and a keyboard reaches.
pub(super) fn table(caption: &str, titles: &[&str], rows: &[Vec<Markup>], none: &str) -> Markup {
    html! {
        @if rows.is_empty() {
            p class="none" { (none) }
        } @else {
            div class="scroll" role="region" aria-label=(caption) tabindex="0" {
                table {
                    caption { (caption) }
                    thead { tr { @for title in titles { th scope="col" { (title) } } } }
                    tbody {
                        @for row in rows {
                            tr { @for cell in row { td { (cell) } } }
                        }
                    }
                }
            }
        }
    }
}

/// A text of a stranger's, without what moves text or hides it.
pub(super) fn text(text: &str) -> Markup {
    html! { (mcp_berth::history::show::plain(text)) }
}

pub(super) fn known(text: Option<&str>) -> Markup {
    self::text(text.filter(|text| !text.is_empty()).unwrap_or("–"))
}

/// A moment, as a person of this machine reads it.
pub(super) fn moment(time: jiff::Timestamp) -> Markup {
    html! {
        time datetime=(time.to_string()) { (mcp_berth::history::show::local(time, "%Y-%m-%d %H:%M:%S")) }
    }
}

/// A link to a session's own view.
pub(super) fn session(id: &str) -> Markup {
    html! { a href=(format!("/sessions/{id}")) { (id) } }
}

pub(super) async fn policy(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}
