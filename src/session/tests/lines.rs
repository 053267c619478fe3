//! What becomes of single lines.

use super::*;
use crate::session::lane::inflight::CAPACITY;

#[tokio::test(start_paused = true)]
async fn bad_lines_are_answered_and_the_next_one_goes_through() {
    let mut stage = stage(Exit::Code(0));
    let long = "l".repeat(500);
    for (line, id, code) in [
        (r#"{"jsonrpc":"2.0","id":5,"method":"x",}"#.to_owned(), json!(5), -32700),
        ("no json at all".to_owned(), json!(null), -32700),
        (format!(r#"{{"jsonrpc":"2.0","method":"x","params":"{long}","id":"end"}}"#), json!("end"), -32600),
    ] {
        stage.client_sends(&format!("{line}\n\n \n")).await;
        let answer = stage.client_gets().await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&id, &json!(code)), "{line}");
    }
    stage.client_sends(&request("6")).await;
    assert_eq!(stage.server_gets().await, request("6").trim_end());
}

#[tokio::test(start_paused = true)]
async fn what_a_server_spoils_becomes_an_error_for_the_request_that_waits() {
    let mut stage = stage(Exit::Code(0));
    for id in ["1", "2", "3"] {
        stage.client_sends(&request(id)).await;
        stage.server_gets().await;
    }
    stage.server_sends("starting up...\n{\"level\":\"info\"}\n42\n\n").await;
    stage.server_sends("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{broken}\n").await;
    let long = "l".repeat(500);
    stage.server_sends(&format!("{{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":\"{long}\"}}\n")).await;
    stage.server_sends("{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":{}}").await;
    stage.server_out = None;
    assert_eq!(stage.client_gets().await["error"]["code"], -32700);
    let too_long = stage.client_gets().await;
    assert_eq!(too_long["id"], 2);
    assert!(too_long["error"]["message"].as_str().unwrap().contains("max_line"));
    assert_eq!(stage.client_gets().await["id"], 3, "the last line needs no newline");
}

#[tokio::test(start_paused = true)]
async fn each_request_that_a_spoilt_batch_answers_gets_its_error() {
    let mut stage = stage(Exit::Code(0));
    let long = "l".repeat(500);
    for (spoilt, code, why) in [
        (
            format!(
                r#"[{{"jsonrpc":"2.0","id":1,"result":"{long}"}},{{"jsonrpc":"2.0","id":2,"result":{{}}}}]"#
            ),
            -32600,
            "max_line",
        ),
        (
            r#"[{"jsonrpc":"2.0","id":1,"result":{}},5,{"id":2,"error":{}}]"#.to_owned(),
            -32600,
            "in a batch with",
        ),
        (
            r#"[{"jsonrpc":"2.0","id":1,"result":{}},{"level":30},{"id":2,"result":{}}]"#.to_owned(),
            -32600,
            "in a batch with",
        ),
        (
            r#"[{"jsonrpc":"2.0","id":1,"result":{}},{"id":2,"result":{,}}]"#.to_owned(),
            -32700,
            "invalid JSON",
        ),
    ] {
        let batch = format!("[{},{}]", request("1").trim_end(), request("2").trim_end());
        stage.client_sends(&format!("{batch}\n{}", request("3"))).await;
        assert_eq!(stage.server_gets().await, batch);
        assert_eq!(stage.server_gets().await, request("3").trim_end());
        stage.server_sends(&format!("{spoilt}\n{{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":{{}}}}\n")).await;
        for id in [1, 2] {
            let answer = stage.client_gets().await;
            assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(id), &json!(code)), "{spoilt}");
            assert!(answer["error"]["message"].as_str().unwrap().contains(why), "{answer}");
        }
        assert_eq!(stage.client_gets().await, json!({ "jsonrpc": "2.0", "id": 3, "result": {} }));
    }
}

#[tokio::test(start_paused = true)]
async fn each_request_in_a_spoilt_batch_gets_its_error() {
    let mut stage = stage(Exit::Code(0));
    let long = "l".repeat(500);
    let batch = format!(
        r#"[{{"jsonrpc":"2.0","method":"n"}},{{"jsonrpc":"2.0","id":"a","method":"{long}"}},{{"jsonrpc":"2.0","id":"b","method":"x"}}]"#
    );
    stage.client_sends(&format!("{batch}\n")).await;
    for id in ["a", "b"] {
        let answer = stage.client_gets().await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(id), &json!(-32600)));
    }
    let odd = r#"[{"jsonrpc":"2.0","id":"a","method":"x"},5,{"level":30,"id":"c","method":"GET"},{"jsonrpc":"2.0","id":"b","method":"x"}]"#;
    for batch in [&batch, odd] {
        stage.server_sends(&format!("{batch}\n")).await;
        for id in ["a", "b"] {
            let refusal: Value = serde_json::from_str(&stage.server_gets().await).unwrap();
            assert_eq!((&refusal["id"], &refusal["error"]["code"]), (&json!(id), &json!(-32600)), "{batch}");
        }
    }
    stage.client_sends(&request("7")).await;
    assert_eq!(stage.server_gets().await, request("7").trim_end(), "and nothing else reached the server");
    stage.server_sends("{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}\n").await;
    assert_eq!(stage.client_gets().await["id"], 7, "nor the client");
}

#[tokio::test(start_paused = true)]
async fn a_side_that_waits_for_a_spoilt_answer_is_told() {
    let mut stage = stage(Exit::Code(0));
    // The client's answer to the server: its id is the server's, so the client hears nothing of it.
    stage.client_sends("{\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{,}}\n").await;
    let refusal: Value = serde_json::from_str(&stage.server_gets().await).unwrap();
    assert_eq!((&refusal["id"], &refusal["error"]["code"]), (&json!(5), &json!(-32700)));
    // The server's own request.
    let long = "l".repeat(500);
    stage.server_sends(&format!("{{\"jsonrpc\":\"2.0\",\"id\":6,\"method\":\"{long}\"}}\n")).await;
    let refusal: Value = serde_json::from_str(&stage.server_gets().await).unwrap();
    assert_eq!((&refusal["id"], &refusal["error"]["code"]), (&json!(6), &json!(-32600)));
    stage.client_sends(&request("7")).await;
    assert_eq!(stage.server_gets().await, request("7").trim_end(), "and nothing of it reached the client");
}

#[tokio::test(start_paused = true)]
async fn a_servers_last_words_keep_its_secrets() {
    let mut stage = stage(Exit::Code(1));
    stage.client_sends(&request("1")).await;
    stage.server_gets().await;
    let said = Output::Stderr(Bytes::from_static(b"auth failed for hunter2hunter2\n"));
    stage.server_out.take().unwrap().send(Ok(said)).await.unwrap();
    let message = stage.client_gets().await["error"]["message"].to_string();
    assert!(message.contains("auth failed"), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_log_line_with_a_method_is_no_message() {
    let mut stage = stage(Exit::Code(0));
    stage.server_sends("{\"level\":30,\"method\":\"GET\",\"id\":1}\n").await;
    stage.server_sends("{\"jsonrpc\":\"2.0\",\"method\":\"real\"}\n").await;
    assert_eq!(stage.client_gets().await["method"], "real");
}

#[tokio::test(start_paused = true)]
async fn answers_that_nobody_asked_for_pass_as_they_are() {
    let mut stage = stage(Exit::Code(0));
    stage.client_sends(&request("1")).await;
    stage.server_gets().await;
    let lines = [
        r#"{"jsonrpc":"2.0","id":"never asked","result":{ }}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":"first"}"#,
        r#"{"jsonrpc":"2.0", "id":1.0,"error":{"code":1,"message":"second"}}"#,
    ];
    for line in lines {
        stage.server_sends(&format!("{line}\n")).await;
        assert_eq!(stage.client_out.next_line().await.unwrap().unwrap(), line);
    }
    stage.client_sends(&request("2")).await;
    assert_eq!(stage.server_gets().await, request("2").trim_end());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_codex_names_late_is_passed_on_once() {
    let mut stage = stage(Exit::Code(0));
    stage
        .client_sends(
            "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\",\"params\":{\"clientInfo\":{\"name\":\"codex-mcp-client\"}}}\n",
        )
        .await;
    stage.server_gets().await;
    for (id, session) in [(1, "first"), (2, "second")] {
        let meta = format!("{{\"x-codex-turn-metadata\":{{\"session_id\":\"{session}\"}}}}");
        let call = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{{\"name\":\"x\",\"_meta\":{meta}}}}}\n"
        );
        stage.client_sends(&call).await;
        assert_eq!(stage.server_gets().await + "\n", call, "as it came");
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(*stage.introduced.lock().unwrap(), ["first"]);
}

#[tokio::test(start_paused = true)]
async fn more_requests_than_can_be_in_flight_are_read_as_answers_come() {
    let mut stage = stage(Exit::Code(0));
    let mut input = stage.client_in.take().unwrap();
    let all = CAPACITY + 100;
    let client = tokio::spawn(async move {
        for id in 0..all {
            input.write_all(request(&id.to_string()).as_bytes()).await.unwrap();
        }
        input
    });
    for id in 0..CAPACITY {
        assert_eq!(stage.server_gets().await, request(&id.to_string()).trim_end());
    }
    let more = tokio::time::timeout(Duration::from_mins(1), stage.server_gets()).await;
    assert!(more.is_err(), "the client is not read: {more:?}");
    for id in 0..all {
        stage.server_sends(&format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}\n")).await;
        assert_eq!(stage.client_gets().await, json!({ "jsonrpc": "2.0", "id": id, "result": {} }));
        if CAPACITY + id < all {
            assert_eq!(stage.server_gets().await, request(&(CAPACITY + id).to_string()).trim_end());
        }
    }
    drop(client.await.unwrap());
}
