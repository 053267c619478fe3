//! Servers that are lost one after the other, and what their client hears.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const INITIALIZE: &str = "{\"jsonrpc\":\"2.0\",  \"id\":0,\"method\":\"initialize\",\"params\":{}}";
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
const WELCOME: &str = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true}}}}"#;
const REFUSAL: &str = r#"{"jsonrpc":"2.0","id":0,"error":{"code":1,"message":"not yet"}}"#;
const CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;

/// Of the test's clock, which takes no time: who waits for longer waits for ever.
const HANGS: Duration = Duration::from_hours(1);

/// The session's servers, each there so long after it is wanted; a client that has them all.
struct Scene {
    client_in: Option<WriteHalf<DuplexStream>>,
    client_out: Lines<BufReader<ReadHalf<DuplexStream>>>,
    servers: std::vec::IntoIter<Server>,
    /// How many of them were wanted.
    started: Arc<AtomicUsize>,
    session: JoinHandle<Over>,
}

/// One server, as the test plays it. Dropped, it is lost.
struct Server {
    heard: Lines<BufReader<ReadHalf<DuplexStream>>>,
    says: mpsc::Sender<io::Result<Output>>,
}

fn scene(delays: &[Duration], adapt: impl FnOnce(&mut Options)) -> Scene {
    scene_of(delays.iter().map(|delay| (*delay, Exit::Lost)), adapt)
}

/// The same, with each server's end.
fn scene_of(all: impl IntoIterator<Item = (Duration, Exit)>, adapt: impl FnOnce(&mut Options)) -> Scene {
    let (client, ours) = tokio::io::duplex(PIPE);
    let (client_out, client_in) = split(client);
    let (from_client, to_client) = split(ours);
    let (mut servers, mut starts) = (Vec::new(), Vec::new());
    for (delay, exit) in all {
        let (server, theirs) = tokio::io::duplex(PIPE);
        let (says, output) = mpsc::channel(8);
        servers.push(Server { heard: BufReader::new(split(server).0).lines(), says });
        let input: Input = Box::new(split(theirs).1);
        starts.push((
            delay,
            Played {
                input: Some(input),
                output,
                exit,
                left: Arc::default(),
                terminated: Arc::default(),
                introduced: Arc::default(),
            },
        ));
    }
    let mut options = options(&CancellationToken::new());
    options.settings.on_failure = OnFailure::Restart;
    adapt(&mut options);
    let mut starts = starts.into_iter();
    let started = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&started);
    let session = tokio::spawn(run(from_client, to_client, options, move |_| {
        let next = starts.next();
        count.fetch_add(1, Ordering::Relaxed);
        async move {
            let Some((delay, played)) = next else {
                return Err(Failure { code: Code::Unavailable, text: "no daemon".into(), next: None });
            };
            tokio::time::sleep(delay).await;
            Ok(played)
        }
    }));
    Scene {
        client_in: Some(client_in),
        client_out: BufReader::new(client_out).lines(),
        servers: servers.into_iter(),
        started,
        session,
    }
}

impl Scene {
    /// The next server, which has come.
    fn server(&mut self) -> Server {
        self.servers.next().expect("another server")
    }

    async fn says(&mut self, line: &str) {
        self.client_in.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    async fn hears(&mut self) -> String {
        let line = tokio::time::timeout(HANGS, self.client_out.next_line()).await;
        line.expect("the client hears nothing").unwrap().expect("a line")
    }

    /// An error for this id, with this in its text.
    async fn hears_error(&mut self, id: u32, text: &str) {
        let answer: Value = serde_json::from_str(&self.hears().await).unwrap();
        assert_eq!(answer["id"], id, "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap_or_default().contains(text), "{answer}");
    }

    /// Calls `server`, which answers.
    async fn calls(&mut self, server: &mut Server, id: u32) {
        self.says(&call(id)).await;
        assert_eq!(server.hears().await, call(id));
        server.says(&result(id)).await;
        assert_eq!(self.hears().await, result(id));
    }

    /// The handshake with a first server.
    async fn begins(&mut self) -> Server {
        let mut server = self.server();
        self.says(INITIALIZE).await;
        assert_eq!(server.hears().await, INITIALIZE);
        server.says(WELCOME).await;
        assert_eq!(self.hears().await, WELCOME);
        self.says(INITIALIZED).await;
        assert_eq!(server.hears().await, INITIALIZED);
        server
    }
}

impl Server {
    async fn hears(&mut self) -> String {
        let line = tokio::time::timeout(HANGS, self.heard.next_line()).await;
        line.expect("the server hears nothing").unwrap().expect("a line")
    }

    async fn says(&self, line: &str) {
        self.says.send(Ok(Output::Stdout(format!("{line}\n").into()))).await.unwrap();
    }
}

fn call(id: u32) -> String {
    request(&id.to_string()).trim_end().to_owned()
}

fn result(id: u32) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)
}

const AT_ONCE: Duration = Duration::ZERO;
const NEVER: Duration = Duration::from_secs(1_000_000);

#[tokio::test(start_paused = true)]
async fn a_beginning_that_a_lost_server_leaves_unanswered_is_the_next_servers() {
    // The client may ask on before the next one is there.
    for asks_on in [false, true] {
        let mut scene = scene(&[Duration::ZERO, Duration::from_secs(2)], |_| {});
        scene.says(INITIALIZE).await;
        let mut first = scene.server();
        assert_eq!(first.hears().await, INITIALIZE);
        drop(first);
        if asks_on {
            tokio::time::sleep(Duration::from_secs(1)).await;
            scene.says(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).await;
        }
        let mut second = scene.server();
        assert_eq!(second.hears().await, INITIALIZE, "once more, as it came");
        if asks_on {
            assert_eq!(second.hears().await, r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
        }
        second.says(WELCOME).await;
        assert_eq!(scene.hears().await, WELCOME, "and of nothing else");
    }
}

#[tokio::test(start_paused = true)]
async fn a_beginning_that_no_server_answers_fails_once() {
    let mut scene = scene(&[Duration::ZERO], |_| {});
    scene.says(INITIALIZE).await;
    let mut first = scene.server();
    assert_eq!(first.hears().await, INITIALIZE);
    drop(first);
    let answer: Value = serde_json::from_str(&scene.hears().await).unwrap();
    assert_eq!((&answer["id"], &answer["error"]["message"]), (&json!(0), &json!("berth: no daemon")));
}

#[tokio::test(start_paused = true)]
async fn the_next_server_hears_the_handshake_as_it_came_and_the_client_hears_nothing_of_it() {
    let mut scene = scene(&[AT_ONCE, AT_ONCE], |_| {});
    let mut first = scene.begins().await;
    scene.says(&call(1)).await;
    assert_eq!(first.hears().await, call(1));
    drop(first);
    scene.hears_error(1, "is gone").await;
    let mut second = scene.server();
    assert_eq!(second.hears().await, INITIALIZE);
    second.says(WELCOME).await;
    assert_eq!(second.hears().await, INITIALIZED);
    assert_eq!(scene.hears().await, CHANGED);
    scene.calls(&mut second, 2).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_said_while_there_is_no_server_is_said_once() {
    let level = r#"{"jsonrpc":"2.0","id":5,"method":"logging/setLevel","params":{"level":"info"}}"#;
    let mut scene = scene(&[AT_ONCE, Duration::from_secs(3)], |_| {});
    drop(scene.begins().await);
    // The loss is known by then, and the next server is not there yet.
    tokio::time::sleep(Duration::from_secs(1)).await;
    scene.says(level).await;
    let mut second = scene.server();
    assert_eq!(second.hears().await, INITIALIZE);
    second.says(WELCOME).await;
    assert_eq!(second.hears().await, INITIALIZED);
    assert_eq!(second.hears().await, level, "the client's own, and nothing of ours before it");
    second.says(&result(5)).await;
    assert_eq!([scene.hears().await, scene.hears().await], [CHANGED, &result(5)]);
    scene.calls(&mut second, 6).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_the_handshake_is_replaced() {
    for (answer, why) in [
        (REFUSAL, "refuses the handshake"),
        (r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"1"}}"#, "another protocol revision"),
        (r#"{"jsonrpc":"2.0","id":0,"result":broken}"#, "not a JSON-RPC message"),
    ] {
        let mut scene = scene(&[AT_ONCE, AT_ONCE, AT_ONCE], |_| {});
        drop(scene.begins().await);
        let mut second = scene.server();
        assert_eq!(second.hears().await, INITIALIZE);
        scene.says(&call(1)).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        second.says(answer).await;
        scene.hears_error(1, why).await;
        let mut third = scene.server();
        assert_eq!(third.hears().await, INITIALIZE);
        third.says(WELCOME).await;
        assert_eq!(third.hears().await, INITIALIZED);
        assert_eq!(scene.hears().await, CHANGED);
        scene.calls(&mut third, 2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn idle_servers_are_replaced_however_often_nobody_had_asked_them_anything() {
    let mut scene = scene(&[AT_ONCE; 4], |_| {});
    let mut first = scene.server();
    scene.calls(&mut first, 1).await;
    drop(first);
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_hours(1)).await;
        drop(scene.server());
    }
    tokio::time::sleep(Duration::from_hours(1)).await;
    let mut last = scene.server();
    scene.calls(&mut last, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_servers_notification_is_no_first_answer() {
    let mut scene =
        scene(&[AT_ONCE, AT_ONCE], |options| options.settings.answer_timeout = Duration::from_secs(30));
    let mut first = scene.server();
    first.says(CHANGED).await;
    assert_eq!(scene.hears().await, CHANGED);
    scene.says(&call(1)).await;
    assert_eq!(first.hears().await, call(1));
    scene.hears_error(1, "has not answered anything within 30s").await;
}

#[tokio::test(start_paused = true)]
async fn a_repeated_handshake_that_is_never_answered_does_not_hold_calls_for_ever() {
    let mut scene =
        scene(&[AT_ONCE, AT_ONCE], |options| options.settings.answer_timeout = Duration::from_secs(30));
    drop(scene.begins().await);
    let mut second = scene.server();
    assert_eq!(second.hears().await, INITIALIZE);
    second.says(CHANGED).await;
    assert_eq!(scene.hears().await, CHANGED);
    scene.says(&call(1)).await;
    scene.hears_error(1, "has not answered anything within 30s").await;
}

#[tokio::test(start_paused = true)]
async fn a_calls_time_begins_when_there_is_a_server_for_it() {
    let mut scene = scene(&[AT_ONCE, Duration::from_secs(8)], |options| {
        options.settings.call_timeout = Some(Duration::from_secs(5));
    });
    drop(scene.begins().await);
    let mut second = scene.server();
    scene.says(&call(1)).await;
    assert_eq!(second.hears().await, INITIALIZE);
    tokio::time::sleep(Duration::from_secs(8)).await;
    second.says(WELCOME).await;
    assert_eq!(second.hears().await, INITIALIZED);
    assert_eq!(scene.hears().await, CHANGED);
    assert_eq!(second.hears().await, call(1));
    tokio::time::sleep(Duration::from_secs(4)).await;
    second.says(&result(1)).await;
    assert_eq!(scene.hears().await, result(1), "it had five seconds from when it was asked");
    scene.says(&call(2)).await;
    scene.hears_error(2, "has not answered this call within 5s").await;
}

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_is_tried_no_longer_than_all_tries_together() {
    let mut scene = scene(&[AT_ONCE, NEVER], |_| {});
    drop(scene.begins().await);
    let began = Instant::now();
    scene.says(&call(1)).await;
    scene.hears_error(1, "is gone").await;
    assert!(began.elapsed() <= Duration::from_secs(11), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_lost_again_and_again_is_given_up() {
    let mut scene = scene(&[AT_ONCE; 6], |_| {});
    drop(scene.begins().await);
    for _ in 0..5 {
        drop(scene.server());
    }
    let ended = Instant::now();
    assert!(scene.client_out.next_line().await.unwrap().is_none(), "the session ends, though nobody asks");
    assert!(ended.elapsed() < Duration::from_secs(1), "{:?}", ended.elapsed());
    assert_eq!(failure(scene.session.await.unwrap()).code, Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn what_was_answered_reaches_a_client_that_has_closed_its_side() {
    // Which of two things that are ready is taken first is a matter of chance.
    for _ in 0..50 {
        let mut scene = scene(&[NEVER], |_| {});
        scene.says("no json").await;
        scene.client_in.take().unwrap().shutdown().await.unwrap();
        let answer: Value = serde_json::from_str(&scene.hears().await).unwrap();
        assert_eq!(answer["error"]["code"], -32700);
        assert_eq!(scene.session.await.unwrap(), Over::Client);
    }
}

mod endings;
mod midway;
