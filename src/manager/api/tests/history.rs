//! The API on an index.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::middleware::map_response;
use axum::response::Response;
use http_body_util::BodyExt;
use mcp_berth::observe::journal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower_service::Service;

use crate::api::routers;
use crate::index::Sink;
use crate::journals::Follower;
use crate::shared::Shared;
use crate::web::problem;

/// The API on a state folder of its own, with what writes its index.
struct House {
    state: TempDir,
    shared: Arc<Shared>,
    router: Router,
    sink: Sink,
    follower: Follower,
}

impl House {
    fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let shared = Shared::of(state.path(), "");
        let sink = shared.index.sink().unwrap();
        let (open, with_token) = routers(&shared);
        let router = open.merge(with_token).layer(map_response(problem::told));
        let follower = Follower::new(state.path());
        Self { state, shared, router, sink, follower }
    }

    /// Records of a session, from this number on: (kind, what else).
    fn write(&mut self, session: &str, first: usize, records: &[(&str, &str)]) {
        let folder = self.state.path().join(journal::FOLDER);
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{session}.jsonl"));
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        for (seq, (kind, more)) in (first..).zip(records) {
            let time = format!("2026-11-22T10:00:{seq:02}Z");
            writeln!(file, "{{\"time\":\"{time}\",\"kind\":\"{kind}\",\"seq\":{seq}{more}}}").unwrap();
        }
        self.follower.look(&mut [&mut self.sink]).unwrap();
    }

    /// Three sessions with two calls each.
    fn with_three() -> Self {
        let mut house = Self::new();
        for (at, session) in ["aaaaaaaaaaaa", "abbbbbbbbbbb", "cccccccccccc"].into_iter().enumerate() {
            let client = if at == 0 { "codex" } else { "claude" };
            let start =
                format!(",\"server\":\"time\",\"client\":\"{client}\",\"container\":\"{}\"", "f".repeat(64));
            let slow =
                format!(",\"method\":\"tools/call\",\"tool\":\"t\",\"latency_ms\":{at}.5,\"outcome\":\"ok\"");
            let bad = ",\"method\":\"no/such\",\"latency_ms\":0.25,\"outcome\":\"error\",\"code\":-32601";
            house.write(session, at + 1, &[("start", &start), ("call", &slow), ("call", bad), ("end", "")]);
        }
        house
    }

    async fn ask(&mut self, request: Request<Body>) -> Response {
        self.router.call(request).await.unwrap()
    }

    async fn get(&mut self, target: &str) -> (StatusCode, Value) {
        let response = self.ask(Request::get(target).body(Body::empty()).unwrap()).await;
        let status = response.status();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        let expected = if status == 200 { "application/json" } else { "application/problem+json" };
        assert_eq!(kind, expected, "{target}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// The value of `key` in each entry of the list, over all its parts.
    async fn all(&mut self, target: &str, list: &str, key: &str) -> Vec<Value> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let (status, answer) = self.get(&format!("{target}{after}")).await;
            assert_eq!(status, 200, "{answer}");
            all.extend(answer[list].as_array().unwrap().iter().map(|entry| entry[key].clone()));
            match answer["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return all,
            }
        }
    }
}

#[tokio::test]
async fn sessions_are_listed_in_parts_and_chosen() {
    let mut house = House::with_three();
    let all = ["cccccccccccc", "abbbbbbbbbbb", "aaaaaaaaaaaa"];
    for limit in 1..=4 {
        let target = format!("/v1/sessions?limit={limit}");
        assert_eq!(house.all(&target, "sessions", "session").await, all, "{target}");
    }
    for (query, expected) in [
        ("client=codex", &all[2..]),
        ("server=time&client=claude", &all[..2]),
        ("server=fetch", &[]),
        ("state=killed", &[]),
        ("state=ended", &all),
        ("since=2026-11-22T10:00:05Z", &all[..2]),
        ("name=ab", &all[1..2]),
        ("name=ffffffffffff", &all),
        ("name=ff", &[]),
        ("name=%27%20OR%201", &[]),
    ] {
        let target = format!("/v1/sessions?{query}");
        assert_eq!(house.all(&target, "sessions", "session").await, expected, "{target}");
    }
    let (status, one) = house.get("/v1/sessions/aaaaaaaaaaaa").await;
    assert_eq!(
        (status, &one["calls"], &one["failed"], &one["dropped"]),
        (StatusCode::OK, &json!(2), &json!(1), &json!(0))
    );
}

#[tokio::test]
async fn calls_are_the_newest_the_slowest_or_the_failed() {
    let mut house = House::with_three();
    for limit in [1, 2, 5, 6, 7] {
        let newest = house.all(&format!("/v1/calls?limit={limit}"), "calls", "time").await;
        let mut sorted: Vec<&str> = newest.iter().filter_map(Value::as_str).collect();
        sorted.sort_unstable_by(|one, other| other.cmp(one));
        assert_eq!((newest.len(), &sorted), (6, &newest.iter().filter_map(Value::as_str).collect()));
        let slowest = house.all(&format!("/v1/calls?slow=true&limit={limit}"), "calls", "latency_ms").await;
        assert_eq!(slowest, [2.5, 1.5, 0.5, 0.25, 0.25, 0.25]);
    }
    let codes = house.all("/v1/calls?errors=true&client=claude&limit=1", "calls", "code").await;
    assert_eq!(codes, [-32601, -32601]);
    let tools = house.all("/v1/calls?session=aaaaaaaaaaaa", "calls", "tool").await;
    assert_eq!(tools, [Value::Null, json!("t")]);
    assert_eq!(house.all("/v1/calls?since=2026-11-22T10:00:05Z", "calls", "code").await, [-32601]);
    assert_eq!(house.all("/v1/calls?session=aaaaaaaaaaaa&server=fetch", "calls", "tool").await, [""; 0]);
}

#[tokio::test]
async fn bad_input_gets_a_problem() {
    let mut house = House::with_three();
    for target in [
        "/v1/sessions?limit=0",
        "/v1/sessions?limit=1001",
        "/v1/sessions?limit=-1",
        "/v1/sessions?limit=x",
        "/v1/sessions?state=dead",
        "/v1/sessions?since=yesterday",
        "/v1/sessions?after=x",
        "/v1/sessions?clinet=codex",
        "/v1/sessions?client=a&client=b",
        "/v1/sessions/%ff",
        "/v1/calls?slow=perhaps",
        "/v1/calls?after=1-x",
        "/v1/calls?limit=4294967296",
        "/v1/events?kind=none",
        "/v1/events?after=x",
        "/v1/events/stream?after=-1",
        "/v1/events/stream?limit=1",
    ] {
        let (status, problem) = house.get(target).await;
        assert_eq!(
            (status, &problem["status"]),
            (StatusCode::BAD_REQUEST, &json!(400)),
            "{target}: {problem}"
        );
    }
    for target in ["/v1/sessions/bbbbbbbbbbbb", "/v1/nothing", "/v1/sessions/"] {
        assert_eq!(house.get(target).await.0, 404, "{target}");
    }
    let request = Request::delete("/v1/sessions").body(Body::empty()).unwrap();
    let response = house.ask(request).await;
    assert_eq!(
        (response.status(), &response.headers()["content-type"]),
        (StatusCode::METHOD_NOT_ALLOWED, &"application/problem+json".parse().unwrap())
    );
    for (query, last) in [("", "x"), ("", "-1"), ("?after=-1", "0")] {
        let request = Request::get(format!("/v1/events/stream{query}")).header("last-event-id", last);
        assert_eq!(house.ask(request.body(Body::empty()).unwrap()).await.status(), 400, "{query} {last}");
    }
}

#[tokio::test]
async fn a_broken_index_is_unavailable() {
    let mut house = House::with_three();
    std::fs::remove_file(house.state.path().join("index.db")).unwrap();
    assert_eq!(house.get("/v1/sessions").await.0, 503);
}

/// A stream of events, as a client reads it.
struct Stream(Body);

impl Stream {
    /// Number and data of the next event. `None`: the stream has ended.
    async fn next(&mut self) -> Option<(i64, Value)> {
        let frame = tokio::time::timeout(Duration::from_mins(1), self.0.frame()).await.expect("in time")?;
        let text = String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap();
        let field =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        Some((field("id:").parse().unwrap(), serde_json::from_str(&field("data:")).unwrap()))
    }
}

impl House {
    async fn stream(&mut self, target: &str, last: Option<i64>) -> Stream {
        let mut request = Request::get(target);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = self.ask(request.body(Body::empty()).unwrap()).await;
        assert_eq!(
            (response.status(), &response.headers()["content-type"]),
            (StatusCode::OK, &"text/event-stream".parse().unwrap())
        );
        Stream(response.into_body())
    }
}

#[tokio::test]
async fn a_stream_goes_on_behind_the_last_event_and_tells_what_happens() {
    let mut house = House::with_three();
    let numbers = house.all("/v1/events?limit=2", "events", "id").await;
    let numbers: Vec<i64> = numbers.iter().rev().filter_map(Value::as_i64).collect();
    assert_eq!(numbers.len(), 3, "an end each");

    let mut now = house.stream("/v1/events/stream", None).await;
    let mut behind = house.stream("/v1/events/stream?after=0", Some(numbers[0])).await;
    let mut ends = house.stream("/v1/events/stream?kind=end&after=0", None).await;
    for number in &numbers[1..] {
        assert_eq!(behind.next().await.unwrap().0, *number);
    }
    for number in &numbers {
        assert_eq!(ends.next().await.unwrap().0, *number);
    }
    // It waits, and is told.
    assert!(tokio::time::timeout(Duration::from_millis(200), now.next()).await.is_err());
    house.write(
        "dddddddddddd",
        1,
        &[("up", ",\"how\":\"cold\""), ("note", ",\"name\":\"stray output\""), ("end", "")],
    );
    let mut last = 0;
    for kind in ["start", "quarantine", "end"] {
        let (number, event) = now.next().await.unwrap();
        assert_eq!((&event["kind"], &event["session"]), (&json!(kind), &json!("dddddddddddd")));
        assert_eq!(behind.next().await.unwrap(), (number, event));
        last = number;
    }
    assert_eq!(ends.next().await.unwrap().0, last);
    // The manager ends, and so does each stream.
    house.shared.stop.cancel();
    for stream in [&mut now, &mut behind, &mut ends] {
        assert_eq!(stream.next().await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_says_that_it_lives_and_there_are_not_too_many() {
    let mut house = House::new();
    let mut streams = Vec::new();
    for _ in 0..16 {
        streams.push(house.stream("/v1/events/stream?after=0", None).await);
    }
    let (status, problem) = house.get("/v1/events/stream").await;
    assert_eq!(status, 503, "{problem}");
    let frame = streams[0].0.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(frame.starts_with(b":"), "{frame:?}");
    streams.pop();
    house.stream("/v1/events/stream?after=0", None).await;
}
