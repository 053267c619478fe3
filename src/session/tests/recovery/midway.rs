//! Half-done work when a server is lost.

use super::*;

pub(super) const ASKED: &str = r#"{"jsonrpc":"2.0","id":9,"method":"roots/list"}"#;
const LATE: &str = r#"{"jsonrpc":"2.0","id":9,"result":{"roots":[]}}"#;

impl Scene {
    /// A new server is there and has heard the handshake.
    pub(super) async fn goes_on(&mut self) -> Server {
        let mut server = self.server();
        assert_eq!(server.hears().await, INITIALIZE);
        server.says(WELCOME).await;
        assert_eq!(server.hears().await, INITIALIZED);
        assert_eq!(self.hears().await, CHANGED);
        server
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_wants_no_other_server_gets_none() {
    let mut scene = scene(&[AT_ONCE, AT_ONCE], |options| options.settings.on_failure = OnFailure::Exit);
    let mut first = scene.begins().await;
    for id in [1, 2] {
        scene.says(&call(id)).await;
        assert_eq!(first.hears().await, call(id));
    }
    drop(first);
    for id in [1, 2] {
        scene.hears_error(id, "is gone").await;
    }
    assert!(scene.client_out.next_line().await.unwrap().is_none(), "the session ends");
    assert_eq!(failure(scene.session.await.unwrap()).code, Code::Unavailable);
    let mut second = scene.servers.next().unwrap();
    assert!(second.heard.next_line().await.unwrap().is_none(), "nobody has started it");
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_half_written_at_the_loss_reaches_the_next_server_whole() {
    let mut scene = scene(&[AT_ONCE, AT_ONCE], |_| {});
    let first = scene.begins().await;
    let line = format!("{}\n", call(1));
    let (one_half, other_half) = line.split_at(20);
    scene.client_in.as_mut().unwrap().write_all(one_half.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(first);
    let mut second = scene.goes_on().await;
    scene.client_in.as_mut().unwrap().write_all(other_half.as_bytes()).await.unwrap();
    assert_eq!(second.hears().await, call(1));
    second.says(&result(1)).await;
    assert_eq!(scene.hears().await, result(1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_half_written_at_the_loss_is_an_error_and_no_part_of_the_next() {
    let mut scene = scene(&[AT_ONCE, AT_ONCE], |_| {});
    let mut first = scene.begins().await;
    scene.says(&call(1)).await;
    assert_eq!(first.hears().await, call(1));
    let half = Bytes::from(result(1)).slice(..25);
    first.says.send(Ok(Output::Stdout(half))).await.unwrap();
    drop(first);
    scene.hears_error(1, "").await;
    let mut second = scene.goes_on().await;
    scene.calls(&mut second, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_there_is_no_server_ends_the_session() {
    let mut scene = scene(&[AT_ONCE, NEVER], |options| options.settings.recover_within = NEVER);
    let mut first = scene.begins().await;
    scene.says(&call(1)).await;
    assert_eq!(first.hears().await, call(1));
    drop(first);
    scene.hears_error(1, "is gone").await;
    let left = Instant::now();
    scene.client_in.take().unwrap().shutdown().await.unwrap();
    assert_eq!(scene.session.await.unwrap(), Over::Client);
    assert!(left.elapsed() < Duration::from_secs(10), "{:?}", left.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_to_a_lost_server_is_nobodys() {
    let mut scene = scene(&[AT_ONCE, AT_ONCE], |_| {});
    let first = scene.begins().await;
    first.says(ASKED).await;
    assert_eq!(scene.hears().await, ASKED);
    drop(first);
    let taken_back: Value = serde_json::from_str(&scene.hears().await).unwrap();
    assert_eq!(
        (&taken_back["method"], &taken_back["params"]["requestId"]),
        (&json!("notifications/cancelled"), &json!(9))
    );
    let mut second = scene.goes_on().await;
    scene.says(LATE).await;
    scene.calls(&mut second, 1).await;
    // The same id of a question of its own.
    second.says(ASKED).await;
    assert_eq!(scene.hears().await, ASKED);
    scene.says(LATE).await;
    assert_eq!(second.hears().await, LATE);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_notifications_breaks_off_with_an_error_and_is_not_opened_again_by_us() {
    let listen = r#"{"jsonrpc":"2.0","id":7,"method":"subscriptions/listen","params":{}}"#;
    let opened = r#"{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":7}}}"#;
    let mut scene = scene(&[AT_ONCE, AT_ONCE], |_| {});
    let mut first = scene.server();
    scene.calls(&mut first, 1).await;
    scene.says(listen).await;
    assert_eq!(first.hears().await, listen);
    first.says(opened).await;
    assert_eq!(scene.hears().await, opened);
    scene.says(&call(2)).await;
    assert_eq!(first.hears().await, call(2));
    drop(first);
    scene.hears_error(7, "is gone").await;
    scene.hears_error(2, "is gone").await;
    let mut second = scene.server();
    scene.calls(&mut second, 3).await;
}
