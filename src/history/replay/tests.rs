use std::time::Duration;

use tokio::io::BufReader;

use super::*;

const ASKED: &str = include_str!("../../../fixtures/transcripts/asked.jsonl");

fn recording() -> Recording {
    Recording::read(ASKED.as_bytes()).unwrap()
}

/// A server that answers `says` to each line that contains the first of a pair, once its turn has come.
async fn against(says: &[(&str, &str)], ignored: &[&str]) -> (Outcome, Vec<String>) {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let (output, input) = tokio::io::split(ours);
    let ignored: Vec<Pointer> = ignored.iter().map(|text| text.parse().unwrap()).collect();
    let server = async {
        let (heard, mut say) = tokio::io::split(theirs);
        let mut heard = BufReader::new(heard);
        let mut lines = Vec::new();
        for (wanted, answer) in says {
            let mut line = String::new();
            while !line.contains(wanted) {
                line.clear();
                assert!(heard.read_line(&mut line).await.unwrap() > 0, "{wanted} never came");
                lines.push(line.trim().to_owned());
            }
            say.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
        }
        // It stays: only a timeout tells that nothing more comes.
        (lines, heard, say)
    };
    let replayed = replay(recording(), (BufReader::new(output), input), &ignored, Duration::from_secs(5));
    let (outcome, (lines, ..)) = tokio::join!(replayed, server);
    (outcome.unwrap(), lines)
}

const SAME: [(&str, &str); 3] = [
    (r#""id":1"#, r#"{"jsonrpc":"2.0","result":{"a":1,"b":[2,"x [redacted]"]},"id":1}"#),
    ("tools/call", r#"{"jsonrpc":"2.0","id":"of-today","method":"roots/list"}"#),
    (r#""of-today""#, r#"{"jsonrpc":"2.0","id":2,"result":{"at":"now"}}"#),
];

#[tokio::test(start_paused = true)]
async fn the_same_answers_in_another_order_of_keys_are_no_differences() {
    let (outcome, lines) = against(&SAME, &["/result/*"]).await;
    assert!(outcome.differences.is_empty(), "{outcome:?}");
    let (outcome, lines_again) = against(&SAME, &[]).await;
    assert_eq!(lines, lines_again);
    assert_eq!((outcome.requests, outcome.compared), (3, 2), "who was never answered is asked all the same");
    assert_eq!(outcome.redacted, [json!(2)]);
    let found = &outcome.differences[0];
    assert_eq!((&found.id, found.tool.as_deref()), (&json!(2), Some("echo")));
    let expected = Difference {
        pointer: "/result/at".to_owned(),
        recorded: "\"then\"".to_owned(),
        now: "\"now\"".to_owned(),
    };
    assert_eq!(found.differences, [expected]);
    // The client's answer has the id that the server asks by now.
    assert_eq!(lines[3], r#"{"jsonrpc":"2.0","id":"of-today","result":{"roots":[]}}"#);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_and_a_question_that_is_not_asked_are_differences() {
    let (outcome, _) =
        against(&[(r#""id":1"#, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#)], &["/result/*"]).await;
    let told: Vec<&str> = outcome.differences.iter().map(|it| it.differences[0].now.as_str()).collect();
    assert_eq!(told, ["the server no longer asks this", "no answer within 5s"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_recording_has_no_answer_to_is_refused_and_holds_nobody_up() {
    let mut says = SAME.to_vec();
    says.insert(0, (r#""id":1"#, r#"{"jsonrpc":"2.0","id":9,"method":"sampling/createMessage"}"#));
    says[1].0 = "the recording has no such request";
    let (outcome, _) = against(&says, &["/result/*"]).await;
    assert!(outcome.differences.is_empty(), "{outcome:?}");
}

#[test]
fn without_bodies_or_with_a_cut_one_there_is_nothing_to_replay() {
    let error = |text: &str| Recording::read(text.as_bytes()).unwrap_err().to_string();
    let line =
        r#"{"time":"2026-11-22T10:00:00Z","direction":"client->server","kind":"request","method":"m","id":1"#;
    assert!(error(&format!("{line}}}\n")).contains("--trace-bodies"));
    assert!(
        error(&format!("{line},\"body\":\"x\",\"truncated\":true}}\n")).contains("`m` is longer than 64 KiB")
    );
    assert_eq!(error("no trace\n"), "the trace has no messages");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_compared_is_waited_for_and_a_server_that_does_not_read_is_given_up() {
    let cut = ASKED.replacen(
        "\"body\":{\"jsonrpc\":\"2.0\",\"id\":2,\"result\"",
        "\"truncated\":true,\"body\":{\"jsonrpc\":\"2.0\",\"id\":2,\"result\"",
        1,
    );
    let recording = Recording::read(cut.as_bytes()).unwrap();
    assert_eq!(recording.not_compared, 1);
    let awaited = recording.events.iter().position(|event| matches!(event, Event::Await { .. }));
    assert_eq!(awaited, Some(recording.events.len() - 2), "before the request behind it");
    let (ours, _theirs) = tokio::io::duplex(16);
    let (output, input) = tokio::io::split(ours);
    let began = Instant::now();
    let outcome =
        replay(recording, (BufReader::new(output), input), &[], Duration::from_secs(5)).await.unwrap();
    assert_eq!((outcome.requests, outcome.compared), (3, 1));
    assert!(began.elapsed() <= Duration::from_secs(40), "{:?}", began.elapsed());
}

#[test]
fn an_answer_of_berths_own_is_waited_for() {
    let own = r#"{"time":"2026-11-22T10:00:01Z","session":"s","direction":"server->client","kind":"note","name":"our answer","detail":"{\"jsonrpc\":\"2.0\",\"id\":3,\"error\":{}}"}"#;
    let recording = Recording::read(format!("{ASKED}{own}\n").as_bytes()).unwrap();
    assert!(matches!(recording.events.last(), Some(Event::Await { id }) if *id == 3), "{recording:?}");
}
