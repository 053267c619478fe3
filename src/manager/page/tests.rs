//! Who sees the page, and what it says.

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use mcp_berth::config::{Config, Home};
use mcp_berth::observe::audit::Audit;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::*;
use crate::configured::Configured;
use crate::index::Index;
use crate::logins::Logins;
use crate::scale::Watch;
use crate::token::Token;

struct House {
    _folder: TempDir,
    router: Router,
    index: Index,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap().to_owned();
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| path.clone())).unwrap();
        let nobody =
            format!("[dind]\nhost = \"unix://{path}/nobody.sock\"\n[servers.time]\nimage = \"mcp/time\"");
        std::fs::write(folder.path().join("berth.toml"), nobody).unwrap();
        let config = Config::load(&home, None).unwrap();
        let audit = Audit::of_manager(&home.state);
        let index = Index::open(folder.path()).unwrap();
        let (token, logins, stop) = (Token::random(), Logins::default(), CancellationToken::new());
        let watch = Watch::open(folder.path()).unwrap();
        let configured = Arc::new(Configured::new(home.clone(), None));
        let shared = Arc::new(Shared { config, configured, home, token, audit, index, logins, watch, stop });
        Self { _folder: folder, index: shared.index.clone(), router: router(&shared).merge(links(&shared)) }
    }

    async fn ask(&mut self, request: axum::http::request::Builder, body: &str) -> Response {
        let form = request.header("content-type", "application/x-www-form-urlencoded");
        self.router.call(form.body(Body::from(body.to_owned())).unwrap()).await.unwrap()
    }

    /// The cookie of a browser that has opened a link.
    async fn browser(&mut self) -> String {
        let link = text(self.ask(Request::post("/login"), "").await).await;
        let link: serde_json::Value = serde_json::from_str(&link).unwrap();
        let link = link["path"].as_str().unwrap();
        let entered = self.ask(Request::get(link), "").await;
        assert_eq!(
            (entered.status(), &entered.headers()["location"]),
            (StatusCode::SEE_OTHER, &"/".parse().unwrap())
        );
        let cookie = entered.headers()["set-cookie"].to_str().unwrap().to_owned();
        assert!(cookie.ends_with("; HttpOnly; SameSite=Strict"), "{cookie}");
        assert_eq!(self.ask(Request::get(link), "").await.status(), 401, "it opens once");
        cookie.split(';').next().unwrap().to_owned()
    }
}

async fn text(response: Response) -> String {
    String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn nobody_sees_the_page_without_a_link() {
    let mut house = House::new();
    for path in ["/", "/sessions", "/sessions/a", "/sessions/a/end", "/calls", "/servers", "/live"] {
        let refused = house.ask(Request::get(path).header("cookie", "berth=x; berth-00000000=y"), "").await;
        assert_eq!(refused.status(), 401, "{path}");
        assert!(text(refused).await.contains("berth manager open"), "{path}");
    }
    let refused = house.ask(Request::post("/sessions/a/end"), "secret=").await;
    assert_eq!(refused.status(), 401);
}

#[tokio::test]
async fn a_browser_sees_it_until_it_leaves_and_nothing_is_loaded_from_elsewhere() {
    let mut house = House::new();
    let cookie = house.browser().await;
    for (path, shown) in [
        ("/", "No session started in this period."),
        ("/", "The number was not changed in this period."),
        ("/", "look at it with `berth status`"),
        ("/sessions", "No session lives."),
        ("/calls", "No call failed."),
        ("/servers", "mcp/time"),
    ] {
        let seen = house.ask(Request::get(path).header("cookie", &cookie), "").await;
        assert_eq!(seen.status(), 200, "{path}");
        let policy = seen.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let seen = text(seen).await;
        assert!(seen.contains(shown), "{path}: {seen}");
        assert!(
            !seen.contains("=\"http") && !seen.contains("=\"//") && !seen.contains("style="),
            "{path}: {seen}"
        );
    }
    let unknown = house.ask(Request::get("/sessions/abc").header("cookie", &cookie), "").await;
    assert_eq!(unknown.status(), 404);
    let left = house.ask(Request::post("/logout").header("cookie", &cookie), "").await;
    assert!(left.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(house.ask(Request::get("/").header("cookie", &cookie), "").await.status(), 401);
}

#[tokio::test]
async fn only_the_pages_own_form_ends_a_session() {
    let mut house = House::new();
    let cookie = house.browser().await;
    let asked = house.ask(Request::get("/sessions/abc/end").header("cookie", &cookie), "").await;
    let asked = text(asked).await;
    let (_, secret) = asked.split_once("name=\"secret\" value=\"").unwrap();
    let secret = secret.split('"').next().unwrap();
    let end = |secret: &str| {
        (Request::post("/sessions/abc/end").header("cookie", &cookie), format!("secret={secret}"))
    };
    for wrong in ["", "x", &cookie] {
        let (request, body) = end(wrong);
        assert_eq!(house.ask(request, &body).await.status(), 403, "{wrong}");
    }
    // Its daemon is nobody's.
    let (request, body) = end(secret);
    assert_eq!(house.ask(request, &body).await.status(), 503);
}

#[tokio::test]
async fn the_overview_says_why_another_number_stands_by() {
    let mut house = House::new();
    let noted = crate::index::Noted {
        time: Timestamp::now().as_microsecond(),
        kind: crate::index::event::Kind::Scaling,
        name: "codex-abc".to_owned(),
        server: Some("files".to_owned()),
        client: Some("codex".to_owned()),
        detail: "2 -> 0: no session came for 5 minutes".to_owned(),
    };
    house.index.note(vec![noted]).await.unwrap();
    let cookie = house.browser().await;
    let seen = text(house.ask(Request::get("/").header("cookie", &cookie), "").await).await;
    for shown in ["2 -&gt; 0: no session came for 5 minutes", "codex-abc", "<td>files</td>"] {
        assert!(seen.contains(shown), "{shown}: {seen}");
    }
}

#[test]
fn a_strangers_text_stays_text() {
    let text = layout::text("<script>alert(1)</script>\u{202e}\u{7}").into_string();
    assert!(
        text.starts_with("&lt;script&gt;") && !text.contains('\u{202e}') && !text.contains('\u{7}'),
        "{text}"
    );
}
