//! Streams of a pod's container: `attach` and `exec` by the websocket protocol `v5.channel.k8s.io`.
//!
//! Both halves are apart, so that neither waits for the other: a reader that stalls holds up neither input nor pings.
//! Neither half keeps more than a message, beside what the socket has room for.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{Sink, SinkExt, Stream, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Client;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// The channels of remotecommand, the first byte of each message. Standard error is not asked for.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STATUS: u8 = 3;
/// The longest message that is taken (bytes); a kubelet's have 32 KiB.
const LONGEST: usize = 1 << 20;
/// What is read of the socket at once (bytes): a kubelet's message. All of it is filled with zeros before each read, and the
/// library's own 128 KiB would cost more than the read.
const AT_ONCE: usize = 33 << 10;

/// Which stream.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What<'a> {
    /// The standard input of the container's first process.
    Attach,
    /// A process beside it.
    Exec(&'a [&'a str]),
}

/// A pod's container.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) container: String,
}

impl Place {
    fn request(&self, what: What<'_>) -> http::Result<http::Request<Vec<u8>>> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("container", &self.container);
        query.append_pair("stdin", "true");
        let path = match what {
            // The keeper writes nothing there.
            What::Attach => "attach",
            What::Exec(command) => {
                query.append_pair("stdout", "true");
                for word in command {
                    query.append_pair("command", word);
                }
                "exec"
            }
        };
        let Self { namespace, pod, .. } = self;
        let uri = format!("/api/v1/namespaces/{namespace}/pods/{pod}/{path}?{}", query.finish());
        http::Request::get(uri).body(Vec::new())
    }

    /// Asks for a stream. That it was upgraded says nothing yet: the kubelet is asked afterwards, and its refusal comes as
    /// the stream's end.
    pub(crate) async fn open(&self, client: &Client, what: What<'_>) -> Result<(To, From), kube::Error> {
        let request = self.request(what).map_err(kube::Error::HttpError)?;
        // Nothing was read of it yet that would be lost.
        let socket = client.connect(request).await?.into_stream().into_inner();
        let config = WebSocketConfig::default().read_buffer_size(AT_ONCE);
        Ok(halves(WebSocketStream::from_raw_socket(socket, Role::Client, Some(config)).await))
    }
}

/// A stream's two halves.
pub(crate) fn halves<S: AsyncRead + AsyncWrite + Unpin>(socket: WebSocketStream<S>) -> (To<S>, From<S>) {
    let (to, from) = socket.split();
    (To(to), From(from))
}

/// The container's input.
#[derive(Debug)]
pub(crate) struct To<S = TokioIo<Upgraded>>(SplitSink<WebSocketStream<S>, Message>);

/// What comes of it.
#[derive(Debug)]
pub(crate) struct From<S = TokioIo<Upgraded>>(SplitStream<WebSocketStream<S>>);

fn failed(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> To<S> {
    /// Asks whoever is at the socket's other end, which is an API server, for a sign of life with these bytes.
    pub(crate) async fn ping(&mut self, bytes: Bytes) -> io::Result<()> {
        self.0.send(Message::Ping(bytes)).await.map_err(failed)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Bytes> for To<S> {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_ready_unpin(context).map_err(failed)
    }

    fn start_send(mut self: Pin<&mut Self>, bytes: Bytes) -> io::Result<()> {
        let mut message = BytesMut::with_capacity(bytes.len() + 1);
        message.put_u8(STDIN);
        message.put(bytes);
        self.0.start_send_unpin(Message::Binary(message.freeze())).map_err(failed)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush_unpin(context).map_err(failed)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_close_unpin(context).map_err(failed)
    }
}

/// A stream's end, as its API server tells it.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message.as_deref().unwrap_or("the process has ended"))]
pub(crate) struct Ended(pub(crate) Box<Status>);

impl Ended {
    /// Of the exec's process, where that is what the status is about.
    pub(crate) fn exit_code(&self) -> Option<i32> {
        if self.0.status.as_deref() == Some("Success") {
            return Some(0);
        }
        let causes = self.0.details.as_ref()?.causes.as_ref()?;
        let code = causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"))?;
        code.message.as_ref()?.parse().ok()
    }
}

/// What has come of a container.
#[derive(Debug)]
pub(crate) enum Came {
    Output(Bytes),
    /// The answer to a ping with these bytes.
    Pong(Bytes),
}

impl<S: AsyncRead + AsyncWrite + Unpin> From<S> {
    /// `None` and an error are the stream's end; an error has the status if one came. Cancel safe.
    pub(crate) fn poll_came(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Came>>> {
        loop {
            let mut message = match ready!(self.0.poll_next_unpin(context)) {
                None | Some(Ok(Message::Close(_))) => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(failed(error)))),
                Some(Ok(Message::Pong(bytes))) => return Poll::Ready(Some(Ok(Came::Pong(bytes)))),
                Some(Ok(Message::Binary(message))) => message,
                Some(Ok(_)) => continue,
            };
            if message.len() > LONGEST {
                let error =
                    io::Error::new(io::ErrorKind::InvalidData, "the API server sends too long a message");
                return Poll::Ready(Some(Err(error)));
            }
            // The first ones are empty, and only show the channels.
            if message.len() < 2 {
                continue;
            }
            match message.split_to(1)[0] {
                STDOUT => return Poll::Ready(Some(Ok(Came::Output(message)))),
                STATUS => {
                    let error = match serde_json::from_slice(&message) {
                        Ok(status) => io::Error::other(Ended(Box::new(status))),
                        Err(error) => error.into(),
                    };
                    return Poll::Ready(Some(Err(error)));
                }
                _ => {}
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for From<S> {
    /// Standard output; the end is told as an error that has the status.
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            return Poll::Ready(match ready!(self.poll_came(context)) {
                None => None,
                Some(Ok(Came::Output(bytes))) => Some(Ok(bytes)),
                Some(Ok(Came::Pong(_))) => continue,
                Some(Err(error)) => Some(Err(error)),
            });
        }
    }
}

#[cfg(test)]
mod tests;
