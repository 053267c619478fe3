//! A person's bounds for a kind of container.

use serde_json::{Value, json};

use super::daemon::{Api, json_of};

impl Api {
    async fn put(&self, kind: &str, body: &str) -> (u16, Value) {
        let bearer = format!("Bearer {}", self.token.text());
        let headers =
            [("host", "localhost"), ("authorization", &*bearer), ("content-type", "application/json")];
        let answer = self.send("PUT", &format!("/v1/standby/{kind}"), &headers, body.to_owned()).await;
        (answer.status().as_u16(), json_of(answer).await)
    }
}

#[tokio::test]
async fn bounds_hold_until_they_are_taken_back_and_are_noted_without_values() {
    let api = Api::new("");
    let (status, set) = api.put("codex-abc", "{\"min\":7,\"max\":9.0}").await;
    assert_eq!((status, &set["kind"]), (200, &json!("codex-abc")), "{set}");
    let expected = (&json!(7), &json!(9), &json!("api"));
    let bounds = |told: &Value| told["bounds"].clone();
    let of = bounds(&set);
    assert_eq!((&of["min"], &of["max"], &of["set_by"]), expected);
    assert!(of["since"].as_str().is_some());
    let (_, told) = api.told("GET", "/v1/standby").await;
    assert_eq!(told["kinds"].as_array().unwrap().len(), 1, "the container's own kind: {told}");
    assert_eq!((bounds(&told["kinds"][0]), &told["kinds"][0]["server"]), (of, &json!("files")));

    assert_eq!(api.put("codex-abc", "{\"min\":-0.0,\"max\":9}").await.1["bounds"]["min"], 0);

    let (status, left) = api.told("DELETE", "/v1/standby/codex-abc").await;
    assert_eq!((status, &left["kind"]), (200, &json!("codex-abc")));
    let (status, problem) = api.told("DELETE", "/v1/standby/codex-abc").await;
    let detail = "nothing was set for `codex-abc`; see `/v1/standby`";
    assert_eq!((status, &problem["detail"]), (404, &json!(detail)));

    while api.audit().len() < 3 {
        tokio::task::yield_now().await;
    }
    let mut noted = api.audit();
    noted.sort_by_key(|entry| entry.time);
    let noted: Vec<_> = noted.iter().map(|entry| (entry.event.as_str(), entry.detail.as_str())).collect();
    let expected = [
        ("setting changed", "`standby` of `codex-abc` is set by the API"),
        ("setting changed", "`standby` of `codex-abc` is set by the API"),
        ("setting changed", "`standby` of `codex-abc` is taken back by the API"),
    ];
    assert_eq!(noted, expected);
}

#[tokio::test]
async fn what_is_no_kind_or_no_bounds_is_a_problem_and_changes_nothing() {
    let api = Api::new("");
    let (status, problem) = api.put("codex-nobody", "{\"min\":0,\"max\":1}").await;
    assert_eq!((status, problem["status"].as_u64()), (404, Some(404)));
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.starts_with("no session or container of a kind `codex-nobody`"), "{detail}");
    for (body, expected) in [
        ("{\"min\":2,\"max\":1}", "`min` is 2 and `max` is 1"),
        ("{\"min\":0,\"max\":65}", "65"),
        ("{\"min\":0}", "max"),
        ("{\"min\":0.5,\"max\":1}", "0.5"),
        ("{\"min\":-1,\"max\":1}", "-1"),
        ("{\"min\":0,\"max\":1,\"x\":1}", "`x`"),
        ("[", "the body"),
        ("", "the body"),
    ] {
        let (status, problem) = api.put("codex-abc", body).await;
        // Each number may be right by itself.
        let status_of = if expected.starts_with("`min`") { 409 } else { 400 };
        assert_eq!(status, status_of, "{body}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(expected), "{body}: {problem}");
    }
    let long = format!("{{\"min\":0,\"max\":1{}}}", " ".repeat(5000));
    assert_eq!(api.put("codex-abc", &long).await.0, 413);
    let bearer = format!("Bearer {}", api.token.text());
    let headers = [("host", "localhost"), ("authorization", &*bearer)];
    let no_json =
        api.send("PUT", "/v1/standby/codex-abc", &headers, "{\"min\":0,\"max\":1}".to_owned()).await;
    assert_eq!(no_json.status(), 415);
    assert_eq!(json_of(no_json).await["status"], 415);
    let (_, told) = api.told("GET", "/v1/standby").await;
    assert_eq!(told["kinds"][0]["bounds"], Value::Null);
    assert!(api.audit().is_empty());
}
