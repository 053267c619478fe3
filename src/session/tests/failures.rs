//! A server that dies, or that there is none of, and what its client is told.

use super::*;

#[tokio::test(start_paused = true)]
async fn each_request_in_flight_is_answered_when_the_server_dies_and_none_twice() {
    let mut stage = stage(Exit::Code(7));
    for id in ["1", "\"two\"", "3"] {
        stage.client_sends(&request(id)).await;
        stage.server_gets().await;
    }
    stage.server_sends("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n").await;
    assert_eq!(stage.client_gets().await["result"], json!({}));
    stage.server_out = None;
    for id in [json!("two"), json!(3)] {
        let answer = stage.client_gets().await;
        assert_eq!(answer["id"], id);
        assert_eq!(answer["error"]["code"], 69);
        assert!(answer["error"]["message"].as_str().unwrap().contains("exited with code 7"), "{answer}");
    }
    assert!(stage.client_out.next_line().await.unwrap().is_none(), "nothing more");
    assert_eq!(stage.ends().await.exit_code(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_closes_its_output_and_goes_on_is_told_apart_from_a_dead_one() {
    let mut stage = stage(Exit::Silent);
    stage.client_sends(&request("1")).await;
    stage.server_gets().await;
    let last = Output::Stderr(Bytes::from_static(b"closing it\n"));
    stage.server_out.as_ref().unwrap().send(Ok(last)).await.unwrap();
    stage.server_out = None;
    let answer = stage.client_gets().await;
    let said = answer["error"]["message"].as_str().unwrap();
    let cause =
        "the server `played` has closed its output and goes on without it; its last words: closing it";
    assert!(said.contains(cause), "{said}");
    let failure = failure(stage.ends().await);
    let next = "look for what closes its standard output, or ask its author";
    assert_eq!(
        (failure.code, failure.text.as_str(), failure.next.as_deref()),
        (Code::Unavailable, cause, Some(next))
    );
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_knows_why_a_server_is_lost_has_the_word() {
    let (why, next) = ("the node `n` ended the pod `p`: Evicted".to_owned(), "type `kubectl`".to_owned());
    let mut stage = stage(Exit::LostAs { why, next });
    stage.client_sends(&request("1")).await;
    stage.server_gets().await;
    stage.server_out = None;
    let cause = "the server `played` was lost: the node `n` ended the pod `p`: Evicted";
    let answer = stage.client_gets().await;
    assert!(answer["error"]["message"].as_str().unwrap().contains(cause), "{answer}");
    let failure = failure(stage.ends().await);
    assert_eq!((failure.text.as_str(), failure.next.as_deref()), (cause, Some("type `kubectl`")));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_the_dead_server_never_read_is_answered_too() {
    let mut stage = stage(Exit::Lost);
    let filler = "x".repeat(300);
    // More than the pipe holds: the last ones are stuck in our hands when the server dies.
    for id in 0..6 {
        stage.client_sends(&format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{filler}\"}}\n")).await;
    }
    stage.server_out = None;
    for id in 0..6 {
        assert_eq!(stage.client_gets().await["id"], id);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_server_the_first_request_is_told_why_and_then_it_ends() {
    let mut stage = failing_stage(Code::Configuration);
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(!stage.session.is_finished(), "it waits for a request, or nobody would know");
    stage.client_sends(&request("1")).await;
    let answer = stage.client_gets().await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(1), &json!(78)));
    assert!(answer["error"]["message"].as_str().unwrap().contains("`berth up`"));
    assert_eq!(failure(stage.ends().await).code, Code::Configuration);
}

#[tokio::test(start_paused = true)]
async fn without_a_server_a_probe_is_told_and_so_is_the_initialize_behind_it() {
    let mut stage = failing_stage(Code::Unavailable);
    stage.client_sends("{\"jsonrpc\":\"2.0\",\"id\":\"p\",\"method\":\"server/discover\"}\n").await;
    assert_eq!(stage.client_gets().await["id"], "p");
    tokio::time::sleep(Duration::from_secs(3)).await;
    stage.client_sends(&request("0")).await;
    assert_eq!(stage.client_gets().await["id"], 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_server_a_client_that_asks_on_and_on_does_not_keep_the_session() {
    let mut stage = failing_stage(Code::Unavailable);
    let asking = async {
        for id in 0.. {
            let line = request(&id.to_string());
            if stage.client_in.as_mut().unwrap().write_all(line.as_bytes()).await.is_err() {
                break;
            }
            let Ok(Some(answer)) = stage.client_out.next_line().await else { break };
            assert!(answer.contains("no daemon"), "{answer}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), asking).await.expect("it ends");
    assert_eq!(failure(stage.ends().await).code, Code::Unavailable);
}
