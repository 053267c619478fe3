//! A connection's two directions, between its socket and the stream.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::connection::{Connection, abort};
use super::shared::Shared;
use crate::dock::frames::{self, Frame, HEADER, LONGEST};

/// Passes both directions on until both have ended, or one has failed.
pub(super) async fn carry(
    shared: Arc<Shared>,
    number: u32,
    connection: Arc<Connection>,
    mut socket: TcpStream,
) {
    let which = connection.which;
    shared.side.trace.note(None, "connection opened", &which.to_string(), 0);
    let ended = {
        let (read, write) = socket.split();
        let both = async {
            tokio::try_join!(
                to_container(&shared, number, &connection, read),
                from_container(&shared, number, &connection, write)
            )
        };
        tokio::select! {
            biased;
            () = shared.over.cancelled() => Err(None),
            () = connection.gone.cancelled() => Err(None),
            ended = both => ended.map(drop).map_err(Some),
        }
    };
    shared.forget(number);
    if let Err(failed) = ended {
        abort(&socket);
        drop(socket);
        if failed.is_some() {
            // The container's side doesn't know it yet.
            send(&shared, number, &Frame::Reset { refused: false }).await.unwrap_or_default();
        }
    }
    if connection.refused.is_cancelled() {
        shared.refused(which);
    }
    let (said, heard) = (connection.said.load(Ordering::Relaxed), connection.heard.load(Ordering::Relaxed));
    let detail = format!("{which}: {heard} bytes from the container, {said} bytes to it");
    shared.side.trace.note(None, "connection closed", &detail, said + heard);
}

async fn send(shared: &Shared, number: u32, frame: &Frame<'_>) -> io::Result<()> {
    let mut out = Vec::new();
    frames::encode(&mut out, number, frame);
    shared.to_container.send(out).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
}

async fn to_container(
    shared: &Shared,
    number: u32,
    connection: &Connection,
    mut socket: ReadHalf<'_>,
) -> io::Result<()> {
    let mut buffer = vec![0; LONGEST];
    loop {
        let most = connection.state().account.may_send();
        if most == 0 {
            connection.granted.notified().await;
            continue;
        }
        let length = socket.read(&mut buffer[..most]).await?;
        if length == 0 {
            return send(shared, number, &Frame::Finish).await;
        }
        connection.state().account.sent(length);
        connection.said.fetch_add(length as u64, Ordering::Relaxed);
        let mut out = Vec::with_capacity(HEADER + length);
        frames::encode(&mut out, number, &Frame::Data(&buffer[..length]));
        shared.to_container.send(out).await.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
    }
}

async fn from_container(
    shared: &Shared,
    number: u32,
    connection: &Connection,
    mut socket: WriteHalf<'_>,
) -> io::Result<()> {
    loop {
        let (waiting, heard_all) = {
            let mut state = connection.state();
            (state.waiting.split(), state.heard_all)
        };
        if waiting.is_empty() {
            if heard_all {
                return socket.shutdown().await;
            }
            connection.arrived.notified().await;
            continue;
        }
        socket.write_all(&waiting).await?;
        let room = connection.state().account.passed_on(waiting.len());
        if let Some(bytes) = room {
            send(shared, number, &Frame::Room(bytes)).await?;
        }
    }
}
