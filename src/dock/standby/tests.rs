//! What becomes of the door of a container that is put on standby.

use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::config::{Server, Settings};
use crate::dock::dial::Endpoint;
use crate::dock::door::Doors;

const EMPTY: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]";
const TAKEN: &str = "HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"message\":\"x\"}";

fn spec(doors: Doors) -> Spec {
    let settings = Settings::default();
    let server = Server::from_image("i".parse().unwrap(), Vec::new(), &settings);
    Spec { doors: Some(doors), ..Spec::new(server, "x", "0123456789ab") }
}

/// Reads on until the path of a request has come.
async fn hear(stream: &mut UnixStream, said: &mut String, path: &str) {
    let mut buffer = vec![0; 4096];
    while !said.contains(path) {
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "{said}");
        said.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
}

/// A daemon that has no containers, and gives `answer` to whoever makes one; `None`: it never answers.
async fn daemon(socket: &Path, answer: Option<&str>) -> UnixStream {
    let listener = UnixListener::bind(socket).unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut said = String::new();
    hear(&mut stream, &mut said, "GET /containers/json").await;
    stream.write_all(EMPTY.as_bytes()).await.unwrap();
    hear(&mut stream, &mut said, ".standby/start").await;
    if let Some(answer) = answer {
        stream.write_all(answer.repeat(2).as_bytes()).await.unwrap();
    }
    stream
}

/// The doors that are left when a session has left or heard the answer.
async fn doors_after(answer: Option<&str>) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let doors = Doors::make(folder.path(), "berth-dind").unwrap();
    let engine = Engine::new(Endpoint::parse(&format!("unix://{}", socket.display()), None).unwrap());
    let (spec, argv) = (spec(doors.clone()), Vec::new());
    let session = async {
        while !socket.exists() {
            tokio::task::yield_now().await;
        }
        replenish(&engine, &spec, "", &argv, 1, None).await
    };
    if answer.is_none() {
        tokio::select! {
            done = session => panic!("it has no answer: {done:?}"),
            _stream = daemon(&socket, None) => {}
        }
    } else {
        let (done, _stream) = tokio::join!(session, daemon(&socket, answer));
        assert_eq!(done.unwrap(), Vec::<String>::new());
    }
    doors.names().len()
}

#[tokio::test]
async fn a_container_that_is_made_after_its_maker_has_left_has_its_door() {
    assert_eq!(doors_after(None).await, 1);
}

#[tokio::test]
async fn a_container_that_another_session_has_made_leaves_no_door_of_ours() {
    assert_eq!(doors_after(Some(TAKEN)).await, 0);
}
