//! Who sees the page, and what it says.

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use tempfile::TempDir;
use tower_service::Service;

use super::*;
use crate::index::Index;

struct House {
    folder: TempDir,
    router: Router,
    index: Index,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap().to_owned();
        let nobody =
            format!("[dind]\nhost = \"unix://{path}/nobody.sock\"\n[servers.time]\nimage = \"mcp/time\"");
        let shared = Shared::of(folder.path(), &nobody);
        Self { folder, index: shared.index.clone(), router: router(&shared).merge(links(&shared)) }
    }

    /// Records of a session, which the index takes.
    fn write(&self, session: &str, now: Timestamp, records: &[String]) {
        let folder = self.folder.path().join(mcp_berth::observe::journal::FOLDER);
        std::fs::create_dir_all(&folder).unwrap();
        let lines = (1..)
            .zip(records)
            .map(|(seq, record)| format!("{{\"time\":\"{now}\",\"seq\":{seq},{record}}}\n"));
        std::fs::write(folder.join(format!("{session}.jsonl")), lines.collect::<String>()).unwrap();
        crate::journals::Follower::new(self.folder.path())
            .look(&mut [&mut self.index.sink().unwrap()])
            .unwrap();
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
        assert_eq!(entered.status(), 200);
        let cookie = entered.headers()["set-cookie"].to_str().unwrap().to_owned();
        assert!(cookie.ends_with("; HttpOnly; SameSite=Strict"), "{cookie}");
        assert!(text(entered).await.contains("content=\"0; url=/\""));
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let again = self.ask(Request::get(link).header("cookie", &cookie), "").await;
        assert_eq!(
            (again.status(), again.headers().get("set-cookie")),
            (StatusCode::OK, None),
            "the same browser"
        );
        cookie
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
        ("/servers", "not known yet"),
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
    let (_, secret) = cookie.split_once('=').unwrap();
    let of_another = format!("berth-00000000={secret}");
    let refused = house.ask(Request::get("/").header("cookie", of_another), "").await;
    assert_eq!(refused.status(), 401, "another manager's");
    let left = house.ask(Request::post("/logout").header("cookie", &cookie), "").await;
    assert!(left.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(house.ask(Request::get("/").header("cookie", &cookie), "").await.status(), 401);
}

#[tokio::test]
async fn a_link_that_another_browser_opens_too_ends_the_log_in() {
    let mut house = House::new();
    let link = text(house.ask(Request::post("/login"), "").await).await;
    let link: serde_json::Value = serde_json::from_str(&link).unwrap();
    let link = link["path"].as_str().unwrap();
    let entered = house.ask(Request::get(link), "").await;
    let cookie = entered.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(house.ask(Request::get("/").header("cookie", &cookie), "").await.status(), 200);
    let other = house.ask(Request::get(link), "").await;
    assert_eq!((other.status(), other.headers().get("set-cookie")), (StatusCode::UNAUTHORIZED, None));
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
    assert!(!cookie.contains(secret), "a page's text does not open the page");
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

#[tokio::test]
async fn a_link_that_opens_nothing_is_noted() {
    let mut house = House::new();
    assert_eq!(house.ask(Request::get("/login?code=x"), "").await.status(), 401);
    let path = house.folder.path().join("state").join(mcp_berth::observe::audit::FILE);
    while !path.exists() {
        tokio::task::yield_now().await;
    }
    while std::fs::read_to_string(&path).unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(std::fs::read_to_string(path).unwrap().contains("log-in refused"));
}

#[tokio::test]
async fn what_journals_tell_is_counted_and_shown() {
    let mut house = House::new();
    let now = Timestamp::now();
    let call = |tool: &str, ms: u32, outcome: &str| {
        format!(
            "\"kind\":\"call\",\"method\":\"tools/call\",\"tool\":\"{tool}\",\"latency_ms\":{ms},\"outcome\":\"{outcome}\""
        )
    };
    for (session, how) in [("aaaaaaaaaaaa", "standby"), ("bbbbbbbbbbbb", "cold"), ("cccccccccccc", "cold")] {
        let start = "\"kind\":\"start\",\"server\":\"files\",\"client\":\"codex\"".to_owned();
        let up = format!(
            "\"kind\":\"up\",\"how\":\"{how}\",\"duration_ms\":100.0,\"server\":\"files\",\"client\":\"codex\",\"lost\":0"
        );
        let note = "\"kind\":\"note\",\"name\":\"port in use\",\"detail\":\"a word of it\"".to_owned();
        house.write(
            session,
            now,
            &[start, up, note, call("slow", 900, "ok"), call("fast", 1, "ok"), call("bad", 2, "error")],
        );
    }
    let cookie = house.browser().await;
    let mut page =
        async |path: &str| text(house.ask(Request::get(path).header("cookie", &cookie), "").await).await;
    let seen = page("/").await;
    assert!(seen.contains("1 of 3 from standby") && seen.contains("33 %"), "{seen}");
    let seen = page("/calls").await;
    let (slow, failed) = seen.split_once("id=\"failed\"").unwrap();
    let at = |tool| slow.find(tool);
    assert!(at("slow</td>") < at("fast</td>") && at("fast</td>").is_some(), "the slowest first: {slow}");
    assert!(failed.contains("bad</td>") && !failed.contains("slow</td>"), "{failed}");
    let seen = page("/sessions/aaaaaaaaaaaa").await;
    assert!(seen.contains("class=\"bad\">killed<") && seen.contains("a word of it"), "{seen}");
    assert!(!seen.contains("End this session"), "it is over");
}

#[test]
fn a_strangers_text_stays_text() {
    let text = layout::text("<script>alert(1)</script>\u{202e}\u{7}").into_string();
    assert!(
        text.starts_with("&lt;script&gt;") && !text.contains('\u{202e}') && !text.contains('\u{7}'),
        "{text}"
    );
}
