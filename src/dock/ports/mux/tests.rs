//! The real container's side, on this machine: what a process there connects to ends at a listener of the test's.

mod keeper_side;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::Stdio;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio_util::io::ReaderStream;

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::dock::keeper;
use crate::observe::Trace;
use crate::observe::stderr::StderrSink;
use crate::observe::stderr::tests::Caught;

const MANY: usize = 20 << 20;
const PATIENCE: Duration = Duration::from_mins(1);

/// What a person is told while this lives.
struct Warnings {
    stderr: StderrSink,
    caught: Caught,
    _guard: tracing::subscriber::DefaultGuard,
}

impl Warnings {
    fn begin() -> Self {
        let (stderr, caught) = Caught::sink();
        let guard = tracing::subscriber::set_default(crate::logging::subscriber(None, &stderr));
        Self { stderr, caught, _guard: guard }
    }

    fn text(&self) -> String {
        self.caught.text(&self.stderr)
    }
}

async fn until(what: &str, is: impl Fn() -> bool) {
    let waited = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.unwrap_or_else(|_| panic!("{what}"));
}

/// The stream, its process, and the folder with its program.
struct Joined {
    link: Link,
    child: Child,
    _folder: tempfile::TempDir,
}

/// The container's side, as a process.
fn container(inside: u16, published: u16) -> (Child, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("keeper");
    crate::regular::tests::program(&program, keeper::KEEPER);
    let mut command = Command::new(&program);
    command.args(["ports", "--listen", &inside.to_string(), "--connect", &published.to_string()]);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn();
    (child.unwrap(), folder)
}

/// Joins `inside`, which the process listens at, with `outside`; and `published`.
async fn join(inside: u16, outside: u16, published: u16) -> Joined {
    let (mut child, folder) = container(inside, published);
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let services = BTreeMap::from([(inside, outside)]);
    let side = Side { server: "s".to_owned(), services, trace: Trace::off() };
    let (link, listens) = begin(ReaderStream::new(stdout), stdin, side);
    listens.await.unwrap();
    Joined { link, child, _folder: folder }
}

/// Random enough for a byte in another place to be seen.
fn noise(seed: u8) -> Vec<u8> {
    let mut state = u64::from(seed) + 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..MANY).map(|_| next()).collect()
}

/// A client within the container, which says something, and what it hears to the end.
async fn said_and_heard(port: u16, said: Vec<u8>) -> Vec<u8> {
    let client = move || {
        let mut socket = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        // Only a defect waits so long.
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut writer = socket.try_clone().unwrap();
        let writing = std::thread::spawn(move || {
            writer.write_all(&said).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut heard = Vec::new();
        socket.read_to_end(&mut heard).unwrap();
        writing.join().unwrap();
        heard
    };
    tokio::task::spawn_blocking(client).await.unwrap()
}

/// Says back what it hears, and ends after the end.
async fn echo(listener: TcpListener) {
    while let Ok((mut socket, _)) = listener.accept().await {
        tokio::spawn(async move {
            let (mut read, mut write) = socket.split();
            // Some clients of these tests never read.
            let _ = tokio::io::copy(&mut read, &mut write).await;
            let _ = write.shutdown().await;
        });
    }
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[tokio::test]
async fn bytes_pass_whole_both_ways_and_each_way_has_an_end_of_its_own() {
    let (service, outside) = listener().await;
    tokio::spawn(echo(service));
    let joined = join(22481, outside, 1).await;
    let said = noise(1);
    assert!(said_and_heard(22481, said.clone()).await == said, "20 MB came back as they went");
    let other = noise(2);
    let (one, two) = tokio::join!(said_and_heard(22481, said.clone()), said_and_heard(22481, other.clone()));
    assert!(one == said && two == other, "two at once");
    drop(joined.link);
}

#[tokio::test]
async fn a_connection_that_nobody_reads_holds_up_no_other() {
    let (service, outside) = listener().await;
    tokio::spawn(echo(service));
    let joined = join(22482, outside, 1).await;
    // Each says more than all buffers on the way can hold, and never reads what comes back.
    let stall = || {
        let mut socket = std::net::TcpStream::connect(("127.0.0.1", 22482)).unwrap();
        socket.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        let much = vec![7; 1 << 16];
        while socket.write_all(&much).is_ok() {}
        socket
    };
    let stalled = futures::future::join_all((0..3).map(|_| tokio::task::spawn_blocking(stall))).await;
    let said: Vec<u8> = noise(3)[..200_000].to_vec();
    let all = futures::future::join_all((0..50).map(|_| said_and_heard(22482, said.clone()))).await;
    assert!(all.iter().all(|heard| *heard == said));
    let waiting: Vec<usize> = {
        let connections = joined.link.shared.connections();
        connections.values().map(|connection| connection.waits()).collect()
    };
    assert!(waiting.len() >= 3 && waiting.iter().all(|bytes| *bytes <= frames::WINDOW), "{waiting:?}");
    drop(stalled);
}

#[tokio::test]
async fn where_nobody_listens_the_connection_is_reset() {
    let (service, outside) = listener().await;
    drop(service);
    let joined = join(22483, outside, 1).await;
    let client = || {
        let mut socket = std::net::TcpStream::connect(("127.0.0.1", 22483)).unwrap();
        socket.read(&mut [0; 1]).unwrap_err().kind()
    };
    assert_eq!(tokio::task::spawn_blocking(client).await.unwrap(), io::ErrorKind::ConnectionReset);
    let told = joined.link.shared.told.lock().unwrap().clone();
    assert_eq!(told, BTreeSet::from([Which::Service(outside)]));
    assert!(joined.link.shared.connections().is_empty());
}

#[tokio::test]
async fn what_this_machine_accepts_leads_to_the_containers_port_and_to_no_other() {
    let (server, published) = listener().await;
    tokio::spawn(echo(server));
    let joined = join(22484, 1, published).await;
    let caller = joined.link.caller();
    let (front, port) = listener().await;
    let (closed, closed_port) = listener().await;
    tokio::spawn({
        let caller = caller.clone();
        async move {
            while let Ok((socket, _)) = front.accept().await {
                let caller = caller.clone();
                tokio::spawn(async move { caller.call(published, socket).await });
            }
        }
    });
    tokio::spawn(async move {
        // A port that the process was not told of.
        let (socket, _) = closed.accept().await.unwrap();
        caller.call(22484, socket).await;
    });
    let said = noise(4);
    assert!(said_and_heard(port, said.clone()).await == said);
    let refused = move || {
        let mut socket = std::net::TcpStream::connect(("127.0.0.1", closed_port)).unwrap();
        socket.read(&mut [0; 1]).unwrap_err().kind()
    };
    assert_eq!(tokio::task::spawn_blocking(refused).await.unwrap(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn the_streams_end_is_the_end_of_all_on_both_sides() {
    let (service, outside) = listener().await;
    tokio::spawn(echo(service));
    let mut joined = join(22485, outside, 1).await;
    let mut client = tokio::net::TcpStream::connect("127.0.0.1:22485").await.unwrap();
    client.write_all(b"x").await.unwrap();
    tokio::io::AsyncReadExt::read_exact(&mut client, &mut [0; 1]).await.unwrap();
    let caller = joined.link.caller();
    drop(joined.link);
    caller.over().await;
    assert!(joined.child.wait().await.unwrap().success(), "the process ends with its input");
    assert!(tokio::net::TcpStream::connect("127.0.0.1:22485").await.is_err());
}

#[tokio::test]
async fn what_the_containers_side_may_not_say_ends_the_stream() {
    let refuse = |number: u32, frame: Frame<'static>| async move {
        let mut said = Vec::new();
        frames::encode(&mut said, number, &frame);
        let services = BTreeMap::from([(5432, 1)]);
        let side = Side { server: "s".to_owned(), services, trace: Trace::off() };
        let stream = futures::stream::iter([Ok(Bytes::from(said))]).chain(futures::stream::pending());
        let (link, _listens) = begin(stream, tokio::io::sink(), side);
        tokio::time::timeout(Duration::from_secs(5), link.caller().over()).await.is_ok()
    };
    assert!(refuse(1, Frame::Open { port: 22 }).await, "a port that the settings don't name");
    assert!(refuse(2, Frame::Open { port: 5432 }).await, "a number of ours");
}

/// A stream whose container's side says what the test says.
fn told(services: &[(u16, u16)]) -> (mpsc::Sender<Vec<u8>>, tokio::io::DuplexStream, Link) {
    let (container, mut said) = mpsc::channel::<Vec<u8>>(1024);
    let (to_container, heard) = tokio::io::duplex(1 << 20);
    let side =
        Side { server: "s".to_owned(), services: services.iter().copied().collect(), trace: Trace::off() };
    let stream = futures::stream::poll_fn(move |context| said.poll_recv(context));
    let (link, _listens) = begin(stream.map(|said| Ok(Bytes::from(said))), to_container, side);
    (container, heard, link)
}

fn frame(number: u32, frame: &Frame<'_>) -> Vec<u8> {
    let mut said = Vec::new();
    frames::encode(&mut said, number, frame);
    said
}

#[tokio::test]
async fn more_connections_than_there_is_room_for_are_reset_and_the_stream_goes_on() {
    let (service, outside) = listener().await;
    let warnings = Warnings::begin();
    let (container, mut heard, link) = told(&[(5432, outside)]);
    for at in 0..300 {
        container.send(frame(2 * at + 1, &Frame::Open { port: 5432 })).await.unwrap();
    }
    let mut accepted = Vec::new();
    for _ in 0..CONNECTIONS {
        accepted.push(service.accept().await.unwrap().0);
    }
    let (mut bytes, mut sent_away) = (vec![0; 44 * (frames::HEADER + 1)], BTreeSet::new());
    let read = tokio::io::AsyncReadExt::read_exact(&mut heard, &mut bytes);
    tokio::time::timeout(PATIENCE, read).await.expect("44 are told").unwrap();
    let mut rest = &bytes[..];
    while let Some((length, number, frame)) = frames::decode(rest).unwrap() {
        assert_eq!(frame, Frame::Reset { refused: false });
        sent_away.insert(number);
        rest = &rest[length..];
    }
    let most = u32::try_from(CONNECTIONS).unwrap();
    assert_eq!(sent_away, (most..300).map(|at| 2 * at + 1).collect());
    assert!(!link.caller().is_over());
    let said = warnings.text();
    assert_eq!(said.matches("has 256 connections").count(), 1, "{said}");
    assert!(!said.contains("nothing listens"), "{said}");
    // One that ends makes room.
    drop(accepted.pop());
    container.send(frame(2 * (most - 1) + 1, &Frame::Reset { refused: false })).await.unwrap();
    until("there is room", || link.shared.connections().len() < CONNECTIONS).await;
    container.send(frame(1001, &Frame::Open { port: 5432 })).await.unwrap();
    tokio::time::timeout(PATIENCE, service.accept()).await.unwrap().unwrap();
    // A number in use is what it must not say.
    container.send(frame(1, &Frame::Open { port: 5432 })).await.unwrap();
    tokio::time::timeout(PATIENCE, link.caller().over()).await.unwrap();
}

#[tokio::test]
async fn three_hundred_clients_in_a_container_are_served_or_reset_and_those_after_them_served() {
    let (service, outside) = listener().await;
    tokio::spawn(echo(service));
    let joined = join(22442, outside, 1).await;
    let mut clients = Vec::new();
    for _ in 0..300 {
        let mut client = tokio::net::TcpStream::connect("127.0.0.1:22442").await.unwrap();
        client.write_all(b"x").await.unwrap();
        clients.push(client);
    }
    for client in &mut clients[..200] {
        tokio::io::AsyncReadExt::read_exact(client, &mut [0; 1]).await.unwrap();
    }
    until("all places are taken", || joined.link.shared.connections().len() == CONNECTIONS).await;
    drop(clients);
    until("all have ended", || joined.link.shared.connections().is_empty()).await;
    assert!(said_and_heard(22442, b"after them".to_vec()).await == b"after them");
}

#[tokio::test]
async fn a_client_that_has_said_all_and_goes_leaves_its_place() {
    let (service, outside) = listener().await;
    let joined = join(22445, outside, 1).await;
    let mut client = tokio::net::TcpStream::connect("127.0.0.1:22445").await.unwrap();
    client.shutdown().await.unwrap();
    let (mut silent, _) = service.accept().await.unwrap();
    assert_eq!(tokio::io::AsyncReadExt::read(&mut silent, &mut [0; 1]).await.unwrap(), 0);
    abort(&client);
    drop(client);
    until("its place is free", || joined.link.shared.connections().is_empty()).await;
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn the_streams_end_is_told_unless_it_is_the_sessions() {
    for is_left in [false, true] {
        let warnings = Warnings::begin();
        let (container, _heard, link) = told(&[]);
        drop(container);
        link.caller().over().await;
        let link = if is_left {
            drop(link);
            None
        } else {
            Some(link)
        };
        tokio::time::sleep(2 * SESSION_ENDS_WITHIN).await;
        let said = warnings.text();
        let expected = "server `s` has lost its `host_services` and `publish`: the forwarder in its container ended: its \
                        process is gone";
        assert_eq!(said.matches(expected).count(), usize::from(!is_left), "{said}");
        drop(link);
    }
}
