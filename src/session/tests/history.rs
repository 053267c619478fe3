//! What a session's history says of its requests.

use super::*;
use crate::observe::Journal;

#[tokio::test(start_paused = true)]
async fn a_request_tells_what_berth_took_unless_it_waited_for_its_server_or_lost_it() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::begin(folder.path(), "abc", Redactor::new([]), true);
    let trace = Trace::off().with_journal(Some(journal));
    let mut stage = stage_after(Duration::from_secs(1), Exit::Lost, |input| Box::new(input), trace.clone());
    for ids in [&["1"][..], &["2", "3"]] {
        stage.client_sends(&ids.iter().map(|id| request(id)).collect::<String>()).await;
        for id in ids {
            assert_eq!(stage.server_gets().await, request(id).trim_end());
            stage.server_sends(&format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}\n")).await;
            assert_eq!(stage.client_gets().await["result"], json!({}));
        }
    }
    stage.client_sends(&request("4")).await;
    stage.server_gets().await;
    stage.server_out = None;
    assert!(stage.client_gets().await["error"].is_object());
    stage.ends().await;
    trace.close();
    let text = std::fs::read_to_string(folder.path().join("sessions/abc.jsonl")).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let calls: Vec<_> = records
        .filter(|record| record["kind"] == "call")
        .map(|record| (record["outcome"].as_str().unwrap().to_owned(), record["relay_us"].is_number()))
        .collect();
    let expected = [("ok", false), ("ok", true), ("ok", true), ("lost", false)];
    assert_eq!(calls, expected.map(|(outcome, told)| (outcome.to_owned(), told)), "{text}");
}
