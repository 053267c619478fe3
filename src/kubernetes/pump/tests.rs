//! Streams over a websocket's two ends in memory.

use serde_json::json;
use tokio::io::{DuplexStream, duplex};
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;

type Kubelet = WebSocketStream<DuplexStream>;

async fn pair(room: usize) -> (To<DuplexStream>, From<DuplexStream>, Kubelet) {
    let (ours, theirs) = duplex(room);
    let (to, from) = halves(WebSocketStream::from_raw_socket(ours, Role::Client, None).await);
    (to, from, WebSocketStream::from_raw_socket(theirs, Role::Server, None).await)
}

fn message(channel: u8, bytes: &[u8]) -> Message {
    Message::Binary([&[channel], bytes].concat().into())
}

#[tokio::test]
async fn bytes_go_by_their_channels() {
    let (mut to, mut from, mut kubelet) = pair(4096).await;
    to.send(Bytes::from_static(b"in")).await.unwrap();
    assert_eq!(kubelet.next().await.unwrap().unwrap(), message(STDIN, b"in"));
    // What shows the channels first, what was not asked for, and no channel at all.
    for said in [message(STDOUT, b""), message(2, b"errors"), message(9, b"x"), Message::Binary(Bytes::new())]
    {
        kubelet.send(said).await.unwrap();
    }
    kubelet.send(message(STDOUT, b"out")).await.unwrap();
    assert_eq!(from.next().await.unwrap().unwrap(), "out");
    kubelet.close(None).await.unwrap();
    assert!(from.next().await.is_none());
}

#[tokio::test]
async fn the_end_is_told_with_its_exit_code_or_its_reason() {
    let failure = json!({
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": "command terminated with non-zero exit code",
        "details": { "causes": [{ "reason": "ExitCode", "message": "69" }] },
    });
    let refusal = json!({ "status": "Failure", "message": "container not found (\"server\")", "code": 500 });
    for (status, code, text) in [
        (json!({ "status": "Success" }), Some(0), "the process has ended"),
        (failure, Some(69), "command terminated with non-zero exit code"),
        (refusal, None, "container not found (\"server\")"),
    ] {
        let (_to, mut from, mut kubelet) = pair(4096).await;
        kubelet.send(message(STATUS, status.to_string().as_bytes())).await.unwrap();
        let error = from.next().await.unwrap().unwrap_err();
        let ended = error.get_ref().unwrap().downcast_ref::<Ended>().unwrap();
        assert_eq!((ended.exit_code(), ended.to_string().as_str()), (code, text));
    }
    let (_to, mut from, mut kubelet) = pair(4096).await;
    kubelet.send(message(STATUS, b"no status")).await.unwrap();
    assert!(from.next().await.unwrap().is_err());
    // One that is cut off ends as well.
    let (_to, mut from, kubelet) = pair(4096).await;
    drop(kubelet);
    assert!(!matches!(from.next().await, Some(Ok(_))));
}

#[tokio::test]
async fn no_message_is_longer_than_its_bound() {
    let (_to, mut from, mut kubelet) = pair(64 << 10).await;
    let sender = tokio::spawn(async move {
        kubelet.send(message(STDOUT, &vec![b'x'; LONGEST - 1])).await.unwrap();
        kubelet.send(message(STDOUT, &vec![b'x'; LONGEST])).await.unwrap();
        kubelet
    });
    assert_eq!(from.next().await.unwrap().unwrap().len(), LONGEST - 1);
    let error = from.next().await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the API server sends too long a message");
    sender.await.unwrap();
}

#[tokio::test]
async fn neither_direction_waits_for_the_other() {
    let (mut to, mut from, kubelet) = pair(1024).await;
    let (mut sink, mut stream) = kubelet.split();
    // Nobody reads this one.
    let flood = tokio::spawn(async move {
        for _ in 0..100 {
            sink.send(message(STDOUT, &[b'x'; 500])).await.unwrap();
        }
        sink
    });
    let reader = tokio::spawn(async move {
        let mut count = 0;
        while count < 100 {
            if let Message::Binary(_) = stream.next().await.unwrap().unwrap() {
                count += 1;
            }
        }
        stream
    });
    for _ in 0..100 {
        to.send(Bytes::from_static(&[b'y'; 500])).await.unwrap();
    }
    let _stream = reader.await.unwrap();
    assert!(!flood.is_finished(), "what nobody reads has no more room than the socket");
    for _ in 0..100 {
        assert_eq!(from.next().await.unwrap().unwrap().len(), 500);
    }
    let _sink = flood.await.unwrap();
}

#[tokio::test]
async fn a_ping_is_answered_and_so_is_ours() {
    let (mut to, mut from, mut kubelet) = pair(4096).await;
    to.ping(Bytes::from_static(b"t")).await.unwrap();
    let kubelets = tokio::spawn(async move {
        assert!(matches!(kubelet.next().await, Some(Ok(Message::Ping(_)))));
        kubelet.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
        assert_eq!(kubelet.next().await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"there?")));
        // Its end would be seen first by whoever looks.
        kubelet
    });
    let came = std::future::poll_fn(|context| from.poll_came(context)).await;
    assert!(matches!(&came, Some(Ok(Came::Pong(bytes))) if bytes == "t"), "{came:?}");
    tokio::select! {
        came = from.next() => panic!("{came:?}"),
        kubelet = kubelets => drop(kubelet.unwrap()),
    }
}
