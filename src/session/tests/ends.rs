//! Who holds up whom, and how a session comes to its end.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_holds_up_its_own_direction_only() {
    let mut stage = stage(Exit::Code(0));
    let notification = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{}\"}}\n", "y".repeat(300));
    let flood = stage.server_out.clone().unwrap();
    let text = notification.clone();
    let flooding = tokio::spawn(async move {
        for _ in 0..50 {
            flood.send(Ok(Output::Stdout(Bytes::copy_from_slice(text.as_bytes())))).await.unwrap();
        }
    });
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!flooding.is_finished(), "nothing is queued beyond the pipes");
    for id in 0..50 {
        stage.client_sends(&request(&id.to_string())).await;
        assert_eq!(stage.server_gets().await, request(&id.to_string()).trim_end());
    }
    for _ in 0..50 {
        assert_eq!(stage.client_out.next_line().await.unwrap().unwrap(), notification.trim_end());
    }
    flooding.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_read_holds_up_its_own_direction_only() {
    let mut stage = stage(Exit::Code(0));
    let mut client_in = stage.client_in.take().unwrap();
    let stuffing = tokio::spawn(async move {
        for id in 0..MANY {
            client_in.write_all(request(&id.to_string()).as_bytes()).await.unwrap();
        }
        client_in
    });
    for n in 0..50 {
        stage.server_sends(&format!("{{\"jsonrpc\":\"2.0\",\"method\":\"n{n}\"}}\n")).await;
        assert_eq!(stage.client_gets().await["method"], format!("n{n}"));
    }
    assert!(!stuffing.is_finished(), "nothing is queued beyond the pipes");
    for id in 0..MANY {
        assert_eq!(stage.server_gets().await, request(&id.to_string()).trim_end());
    }
    stuffing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_with_its_input_has_done_nothing_wrong() {
    let mut stage = stage_with(Exit::Code(0), |input| Box::new(SlowToClose(input)));
    stage.client_sends(&request("1")).await;
    stage.server_gets().await;
    stage.client_closes().await;
    assert!(stage.server_in.next_line().await.unwrap().is_none());
    stage.server_out = None;
    assert!(stage.client_out.next_line().await.unwrap().is_none(), "nobody waits for an answer");
    assert_eq!(stage.ends().await, Over::Client);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_after_the_end_of_its_input_is_told_to_end() {
    let mut stage = stage(Exit::Code(143));
    stage.client_sends(&request("1")).await;
    stage.server_gets().await;
    let closed = Instant::now();
    stage.client_closes().await;
    assert!(stage.server_in.next_line().await.unwrap().is_none(), "its input ends at once");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let told = stage.terminated.lock().unwrap().expect("told to end");
    assert_eq!(told - closed, Duration::from_secs(2), "after half of the grace");
    let left = stage.left.lock().unwrap().expect("told that the client has left");
    assert_eq!(left, closed, "whose time counts, should we be killed in between");
    stage.server_out = None;
    assert_eq!(stage.ends().await, Over::Client);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_be_ended_does_not_keep_the_session() {
    let mut stage = stage(Exit::Lost);
    let closed = Instant::now();
    stage.client_closes().await;
    let _held = stage.server_out.clone();
    assert_eq!(stage.ends().await, Over::Client);
    assert_eq!(closed.elapsed(), Duration::from_secs(5), "the grace and a second");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_gets_its_answers_though_the_time_for_them_is_over() {
    let mut stage = stage(Exit::Lost);
    for id in 0..20 {
        stage.client_sends(&request(&id.to_string())).await;
        stage.server_gets().await;
    }
    stage.client_closes().await;
    // It stays beyond the grace, and nobody knows what has become of it.
    let _held = stage.server_out.clone();
    for _ in 0..20 {
        assert!(stage.client_gets().await["error"]["message"].is_string());
    }
    assert_eq!(stage.ends().await, Over::Client);
}

#[tokio::test(start_paused = true)]
async fn a_signal_ends_a_session_whose_client_does_not_read() {
    let mut stage = stage(Exit::Lost);
    for _ in 0..10 {
        let line = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{}\"}}\n", "z".repeat(300));
        if tokio::time::timeout(Duration::from_secs(1), stage.server_sends(&line)).await.is_err() {
            break;
        }
    }
    stage.stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(20), &mut stage.session).await;
    assert!(ended.is_ok(), "it hangs on a client that does not read");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_outlasts_the_grace_is_answered_with_that() {
    let mut stage = stage(Exit::Code(0));
    stage.client_sends(&request("1")).await;
    stage.server_gets().await;
    stage.client_closes().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    stage.server_out = None;
    let answer = stage.client_gets().await;
    assert_eq!(answer["id"], 1);
    assert!(answer["error"]["message"].as_str().unwrap().contains("closed its output"), "{answer}");
    assert_eq!(stage.ends().await, Over::Client);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_in_order_after_its_client_owes_nothing() {
    let mut stage = stage(Exit::Code(0));
    stage.client_sends(&request("1")).await;
    stage.server_gets().await;
    stage.client_closes().await;
    assert!(stage.server_in.next_line().await.unwrap().is_none());
    stage.server_out = None;
    assert!(
        stage.client_out.next_line().await.unwrap().is_none(),
        "what goes through `cat` comes back as it was"
    );
    assert_eq!(stage.ends().await, Over::Client);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_closes_its_side_and_does_not_read_cannot_keep_the_session() {
    let mut stage = stage(Exit::Lost);
    let flood = stage.server_out.clone().unwrap();
    let flooding = tokio::spawn(async move {
        let line = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{}\"}}\n", "w".repeat(300));
        while flood.send(Ok(Output::Stdout(Bytes::copy_from_slice(line.as_bytes())))).await.is_ok() {}
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let closed = Instant::now();
    stage.client_closes().await;
    let ended = tokio::time::timeout(Duration::from_mins(1), &mut stage.session).await;
    assert!(ended.is_ok(), "it waits for ever");
    assert!(closed.elapsed() <= Duration::from_secs(6), "{:?}", closed.elapsed());
    flooding.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_no_input_any_more_is_ended_and_what_it_was_asked_is_answered() {
    let mut stage = stage(Exit::Code(143));
    stage.client_sends(&request("1")).await;
    stage.server_gets().await;
    // Its output stays open.
    stage.server_in = BufReader::new(split(tokio::io::duplex(1).0).0).lines();
    let asked = Instant::now();
    stage.client_sends(&request("2")).await;
    for id in [1, 2] {
        let answer = stage.client_gets().await;
        assert_eq!(answer["id"], id);
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("has closed its input and goes on without it"), "{message}");
    }
    let told = stage.terminated.lock().unwrap().expect("told to end");
    assert_eq!(told - asked, Duration::from_secs(5), "it might have been about to end");
    stage.client_closes().await;
    assert_eq!(failure(stage.ends().await).code, Code::Unavailable);
}
