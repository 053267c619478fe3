//! What every request passes, as its client sees it.

use axum::Extension;
use axum::http::header;

use super::daemon::Api;
use crate::web::serve::Peer;

const HERE: (&str, &str) = ("host", "localhost");

#[tokio::test(start_paused = true)]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let api = Api::new("");
    for _ in 0..200 {
        assert_eq!(api.ask("GET", "/healthz", &[HERE]).await.status(), 200);
    }
    let refused = api.ask("GET", "/healthz", &[HERE]).await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()[header::RETRY_AFTER]),
        (429, &"1".parse().unwrap())
    );
}

#[tokio::test]
async fn an_answer_is_kept_nowhere_and_shown_in_no_frame() {
    let answer = Api::new("").ask("GET", "/healthz", &[HERE]).await;
    for (name, value) in
        [("cache-control", "no-store"), ("x-frame-options", "DENY"), ("x-content-type-options", "nosniff")]
    {
        assert_eq!(answer.headers()[name], value, "{name}");
    }
}

#[tokio::test]
async fn a_refusal_is_noted_with_its_address() {
    let mut api = Api::new("");
    api.router = api.router.layer(Extension(Peer("192.0.2.7".parse().unwrap())));
    let refused = api.ask("GET", "/v1/containers", &[HERE, ("authorization", "Bearer x")]).await;
    assert_eq!(refused.status(), 401);
    while api.audit().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(api.audit()[0].detail, "from 192.0.2.7: a wrong token");
}
