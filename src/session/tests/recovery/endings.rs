//! The manual's table of endings, row by row: whatever was open, in both eras.

use super::midway::ASKED;
use super::*;

const MANUAL: &str = include_str!("../../../help/sessions.md");

const DISCOVER: &str = r#"{"jsonrpc":"2.0","id":0,"method":"server/discover","params":{"_meta":{}}}"#;
const LISTEN: &str = r#"{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{}}"#;
const HOLDS: &str = r#"{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":1}}}"#;
const TOLD: &str = r#"{"jsonrpc":"2.0","method":"notifications/told"}"#;

/// Both ways of a server that goes on are noticed with a message.
const NOTICED: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Nothing,
    Request,
    Batch,
    Subscription,
    /// By the server.
    Asked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Era {
    Legacy,
    Modern,
}

/// A row of the table.
#[derive(Debug)]
struct Row {
    exit: Exit,
    is_deaf: bool,
    reaction: OnFailure,
    /// It may wait for the next request.
    sleeps: bool,
    code: Option<u8>,
}

impl Row {
    fn read(line: &str) -> Self {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [server, reaction, session, code] = cells[..] else { panic!("{line}") };
        let exit = match server {
            "exits with 0" => Exit::Code(0),
            "exits with 7" => Exit::Code(7),
            "is killed by SIGKILL" => Exit::Code(137),
            "closes its output and lives on" => Exit::Silent,
            // They look alike from here.
            "closes its input and lives on" | "loses its container" | "loses its daemon" => Exit::Lost,
            _ => panic!("{line}"),
        };
        let (reaction, verb) = match reaction {
            "`restart`" => (OnFailure::Restart, "goes on"),
            "`exit`" => (OnFailure::Exit, "ends"),
            _ => panic!("{line}"),
        };
        let is_deaf = server.starts_with("closes its input");
        let sleeps = session == "goes on at once; with nothing open, at the next request";
        let when = match exit {
            _ if is_deaf => "five seconds after the next message",
            // The backend takes them to be sure.
            Exit::Silent => "after three seconds",
            _ => "at once",
        };
        assert!(sleeps || session == format!("{verb} {when}"), "{line}");
        Self { exit, is_deaf, reaction, sleeps, code: code.parse().ok() }
    }
}

fn rows() -> Vec<Row> {
    let table =
        MANUAL.split("<!-- endings -->").nth(1).unwrap().split("<!-- endings end -->").next().unwrap();
    table.lines().filter(|line| line.starts_with('|')).skip(2).map(Row::read).collect()
}

#[tokio::test(start_paused = true)]
async fn every_row_of_the_table_holds_whatever_is_open_in_both_eras() {
    let rows = rows();
    assert_eq!(rows.len(), 14);
    for row in &rows {
        for open in [Open::Nothing, Open::Request, Open::Batch, Open::Subscription, Open::Asked] {
            for era in [Era::Legacy, Era::Modern] {
                let case = format!("{row:?}, {open:?}, {era:?}");
                let hangs = Duration::from_mins(5);
                let tried = tokio::time::timeout(hangs, tried(row, open, era, &case)).await;
                assert!(tried.is_ok(), "it hangs: {case}");
            }
        }
    }
}

async fn tried(row: &Row, open: Open, era: Era, case: &str) {
    let ends = [(AT_ONCE, row.exit.clone()), (AT_ONCE, Exit::Lost)];
    let mut scene = scene_of(ends, |options| options.settings.on_failure = row.reaction);
    let mut server = match era {
        Era::Legacy => scene.begins().await,
        Era::Modern => {
            let mut server = scene.server();
            scene.says(DISCOVER).await;
            assert_eq!(server.hears().await, DISCOVER);
            server.says(&result(0)).await;
            assert_eq!(scene.hears().await, result(0));
            server
        }
    };
    leave_open(open, &mut scene, &mut server).await;
    let ended = Instant::now();
    let rest = end(row, server);
    if row.is_deaf {
        scene.says(TOLD).await;
    }
    let waits = row.sleeps && matches!(open, Open::Nothing | Open::Asked);
    match open {
        Open::Request | Open::Subscription => scene.hears_error(1, "the server `played`").await,
        Open::Batch => {
            scene.hears_error(1, "the server `played`").await;
            scene.hears_error(2, "the server `played`").await;
        }
        // Nobody is there to take it back for, where the end follows.
        Open::Asked if row.reaction == OnFailure::Restart => {
            let said = scene.hears().await;
            assert!(said.contains("notifications/cancelled") && said.contains("\"requestId\":9"), "{said}");
        }
        Open::Nothing | Open::Asked => {}
    }
    if row.is_deaf && row.code.is_none() {
        // What is asked before is lost with it.
        tokio::time::sleep(NOTICED).await;
    }
    let Some(code) = row.code else { return goes_on(scene, era, waits, case).await };
    assert_eq!(scene.client_out.next_line().await.unwrap(), None, "{case}");
    let after = if row.is_deaf { NOTICED } else { Duration::ZERO };
    assert!(ended.elapsed() >= after && ended.elapsed() < after + Duration::from_millis(20), "{case}");
    assert_eq!(scene.session.await.unwrap().exit_code(), code, "{case}");
    assert_eq!(scene.started.load(Ordering::Relaxed), 1, "{case}");
    drop(rest);
}

/// The halves of a server that lives on.
type Rest = (Option<Lines<BufReader<ReadHalf<DuplexStream>>>>, Option<mpsc::Sender<io::Result<Output>>>);

fn end(row: &Row, server: Server) -> Rest {
    let Server { heard, says } = server;
    match row.exit {
        _ if row.is_deaf => (None, Some(says)),
        Exit::Silent => (Some(heard), None),
        _ => (None, None),
    }
}

async fn leave_open(open: Open, scene: &mut Scene, server: &mut Server) {
    let said = match open {
        Open::Nothing => return,
        Open::Asked => {
            server.says(ASKED).await;
            assert_eq!(scene.hears().await, ASKED);
            return;
        }
        Open::Request => call(1),
        Open::Batch => format!("[{},{}]", call(1), call(2)),
        Open::Subscription => LISTEN.to_owned(),
    };
    scene.says(&said).await;
    assert_eq!(server.hears().await, said);
    if open == Open::Subscription {
        server.says(HOLDS).await;
        assert_eq!(scene.hears().await, HOLDS);
    }
}

/// A new server serves; where nobody needed one, it comes with the next request.
async fn goes_on(mut scene: Scene, era: Era, waits: bool, case: &str) {
    if waits {
        scene.says(TOLD).await;
        tokio::time::sleep(Duration::from_mins(2)).await;
        assert_eq!(scene.started.load(Ordering::Relaxed), 1, "{case}");
        scene.says(&call(5)).await;
    }
    let mut second = match era {
        Era::Legacy => scene.goes_on().await,
        Era::Modern => scene.server(),
    };
    if waits {
        assert_eq!(second.hears().await, TOLD, "{case}");
    } else {
        scene.says(&call(5)).await;
    }
    assert_eq!(second.hears().await, call(5), "{case}");
    second.says(&result(5)).await;
    assert_eq!(scene.hears().await, result(5), "{case}");
    assert_eq!(scene.started.load(Ordering::Relaxed), 2, "{case}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_after_each_request_is_started_for_each() {
    let all = (0..20).map(|_| (AT_ONCE, Exit::Code(0)));
    let mut scene = scene_of(all, |_| {});
    let mut server = scene.begins().await;
    for id in 1..20 {
        scene.calls(&mut server, id).await;
        drop(server);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(scene.started.load(Ordering::Relaxed), id as usize, "nobody asks");
        if id == 19 {
            break;
        }
        scene.says(&call(100 + id)).await;
        server = scene.goes_on().await;
        assert_eq!(server.hears().await, call(100 + id));
        server.says(&result(100 + id)).await;
        assert_eq!(scene.hears().await, result(100 + id));
    }
    scene.client_in.take().unwrap().shutdown().await.unwrap();
    assert_eq!(scene.session.await.unwrap(), Over::Client, "it waited for nobody");
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_and_withdrawn_starts_the_next_server_before_it_is_told() {
    let mut scene = scene_of([(AT_ONCE, Exit::Code(0)), (AT_ONCE, Exit::Lost)], |_| {});
    drop(scene.begins().await);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let withdrawn = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}"#;
    scene.says(&format!("{}\n{withdrawn}", call(5))).await;
    let mut second = scene.goes_on().await;
    assert_eq!([second.hears().await, second.hears().await], [call(5), withdrawn.to_owned()]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_spoke_ends_its_session_with_its_own_code_at_once() {
    for open in [false, true] {
        let mut scene = scene_of([(AT_ONCE, Exit::Code(7))], |_| {});
        let mut server = scene.server();
        if open {
            scene.says(INITIALIZE).await;
            assert_eq!(server.hears().await, INITIALIZE);
        }
        let ended = Instant::now();
        drop(server);
        if open {
            scene.hears_error(0, "exited with code 7").await;
        }
        assert_eq!(scene.client_out.next_line().await.unwrap(), None);
        // The first request of a client that has just begun may be on its way.
        assert!(ended.elapsed() <= Duration::from_millis(300), "{:?}", ended.elapsed());
        assert_eq!(scene.session.await.unwrap().exit_code(), 7);
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_the_last_server_leaves_unanswered_is_asked_on_within_a_second() {
    let mut scene = scene_of([(AT_ONCE, Exit::Code(1))], |_| {});
    let mut server = scene.server();
    scene.says(DISCOVER).await;
    assert_eq!(server.hears().await, DISCOVER);
    drop(server);
    scene.hears_error(0, "exited with code 1").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    scene.says(&call(1)).await;
    scene.hears_error(1, "exited with code 1").await;
    assert_eq!(scene.client_out.next_line().await.unwrap(), None);
    assert_eq!(scene.session.await.unwrap().exit_code(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_ends_in_order_with_its_session_alone() {
    let mut scene = scene_of([(AT_ONCE, Exit::Ended)], |_| {});
    let mut server = scene.server();
    leave_open(Open::Subscription, &mut scene, &mut server).await;
    drop(server);
    let answer: Value = serde_json::from_str(&scene.hears().await).unwrap();
    assert_eq!((&answer["id"], &answer["result"]["resultType"]), (&json!(1), &json!("complete")), "{answer}");
    assert_eq!(scene.client_out.next_line().await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_client_without_a_word_has_its_server_all_the_same() {
    let mut scene = scene_of([(Duration::from_secs(20), Exit::Code(3))], |_| {});
    let began = Instant::now();
    scene.client_in.take().unwrap().shutdown().await.unwrap();
    let mut server = scene.server();
    assert_eq!(server.heard.next_line().await.unwrap(), None, "its input is empty");
    server.says(TOLD).await;
    assert_eq!(scene.hears().await, TOLD);
    drop(server);
    assert_eq!(scene.session.await.unwrap().exit_code(), 3);
    assert!(began.elapsed() < Duration::from_secs(21), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_server_of_a_client_without_a_word_is_ended_as_any() {
    let mut scene = scene_of([(Duration::from_secs(20), Exit::Code(143))], |_| {});
    scene.client_in.take().unwrap().shutdown().await.unwrap();
    let mut server = scene.server();
    assert_eq!(server.heard.next_line().await.unwrap(), None, "its input is empty");
    let stays = Instant::now();
    assert_eq!(scene.session.await.unwrap(), Over::Client);
    assert_eq!(stays.elapsed(), Duration::from_secs(5), "the grace and a second, from when it was there");
    drop(server);
}
