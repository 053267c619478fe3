//! Streams of a pod's container: `attach` and `exec` by the websocket protocol `v5.channel.k8s.io`.
//!
//! Both halves are apart, so that neither waits for the other: a reader that stalls holds up neither input nor pings.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{Sink, SinkExt, Stream, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Client;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// The channels of remotecommand, the first byte of each message.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;

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

    pub(crate) async fn open(&self, client: &Client, what: What<'_>) -> Result<(To, From), kube::Error> {
        let request = self.request(what).map_err(kube::Error::HttpError)?;
        let socket = client.connect(request).await?.into_stream();
        let (to, from) = socket.split();
        Ok((To(to), From(from)))
    }
}

/// The container's input.
pub(crate) struct To(SplitSink<Socket, Message>);

/// What comes of it.
pub(crate) struct From(SplitStream<Socket>);

fn failed(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

impl Sink<Bytes> for To {
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

/// An exec's end, as its API server tells it.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message.as_deref().unwrap_or("the stream was refused"))]
pub(crate) struct Ended(pub(crate) Box<Status>);

impl Ended {
    /// Of the exec's process, where that is what the status is about.
    pub(crate) fn exit_code(&self) -> Option<i32> {
        let causes = self.0.details.as_ref()?.causes.as_ref()?;
        let code = causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"))?;
        code.message.as_ref()?.parse().ok()
    }
}

impl Stream for From {
    /// Standard output; the end is told as an error that has the status.
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let message = match std::task::ready!(self.0.poll_next_unpin(context)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(failed(error)))),
                Some(Ok(Message::Binary(message))) => message,
                Some(Ok(_)) => continue,
            };
            let mut message = message;
            if message.len() < 2 {
                continue;
            }
            match message.split_to(1)[0] {
                STDOUT => return Poll::Ready(Some(Ok(message))),
                STDERR => tracing::debug!("the keeper: {}", String::from_utf8_lossy(&message)),
                STATUS => {
                    if let Ok(status) = serde_json::from_slice::<Status>(&message) {
                        return Poll::Ready(Some(Err(io::Error::other(Ended(Box::new(status))))));
                    }
                }
                _ => {}
            }
        }
    }
}
