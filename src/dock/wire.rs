//! A connection to a daemon on which berth speaks HTTP/1.1 itself.
//!
//! Two things need it, and no HTTP client offers them. Several requests go out in one write, so that the daemon gets
//! all of them or none (`lease`). A hijacked stream's sending half can be closed alone (`exec`).

use std::io;

use bytes::{Buf, BytesMut};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::dial::{Endpoint, Stream};
use super::docker::{DockerError, Listed, digests};
use super::keeper;
use super::place::Place;
use crate::values::Isolation;

/// Daemons answer these requests with a few hundred bytes, lists with a few hundred for each row; more than this is no
/// such answer.
const MAX_ANSWER: usize = 16 << 20;

/// One request, not sent yet.
#[derive(Debug)]
pub struct Request {
    method: &'static str,
    op: &'static str,
    object: String,
    path: String,
    body: Option<Value>,
    upgrade: bool,
}

impl Request {
    /// A `POST` of `path`; `op` and `object` are for errors («cannot `op` `object`»).
    pub fn post(op: &'static str, object: &str, path: String, body: Option<Value>) -> Self {
        Self { method: "POST", op, object: object.to_owned(), path, body, upgrade: false }
    }

    /// A `GET` of `path`.
    pub fn get(op: &'static str, object: &str, path: String) -> Self {
        Self { method: "GET", ..Self::post(op, object, path, None) }
    }

    /// Asks the daemon to turn the connection into a raw stream after its answer.
    #[must_use]
    pub fn upgrading(mut self) -> Self {
        self.upgrade = true;
        self
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let body = self.body.as_ref().map(Value::to_string).unwrap_or_default();
        let upgrade = if self.upgrade { "Connection: Upgrade\r\nUpgrade: tcp\r\n" } else { "" };
        let head = format!(
            "{} {} HTTP/1.1\r\nHost: berth\r\nContent-Type: application/json\r\n{upgrade}Content-Length: {}\r\n\r\n",
            self.method,
            self.path,
            body.len()
        );
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(body.as_bytes());
    }

    fn broken(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> DockerError {
        DockerError::broken(self.op, &self.object, source)
    }
}

/// What an image says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub id: String,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    /// Its `VOLUME`s.
    pub volumes: Vec<String>,
    /// What the label says that was asked for.
    pub label: String,
    /// All digests that it is known by.
    pub digests: Vec<String>,
    /// `NAME@DIGEST`, where it came from a registry.
    pub repo_digests: Vec<String>,
}

/// A connection between requests.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    unread: BytesMut,
}

impl Wire {
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, DockerError> {
        Ok(Self { stream: endpoint.dial().await?, unread: BytesMut::with_capacity(4096) })
    }

    /// Sends all of `requests` in one write; the answers come in the same order.
    pub async fn send(&mut self, requests: &[&Request]) -> Result<(), DockerError> {
        let mut out = Vec::with_capacity(2048);
        for request in requests {
            request.encode(&mut out);
        }
        let sent = async {
            self.stream.write_all(&out).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| requests[0].broken(error))
    }

    /// The answer to `request`, whose turn it is; its body as JSON, `Null` where it is empty.
    pub async fn answer(&mut self, request: &Request) -> Result<Value, DockerError> {
        let (status, body) =
            self.read_answer(request.upgrade).await.map_err(|error| request.broken(error))?;
        let body = serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).trim().to_owned()));
        if status < 400 {
            return Ok(body);
        }
        let message = body.get("message").unwrap_or(&body).as_str().unwrap_or_default().trim().to_owned();
        Err(DockerError::Refused { op: request.op, object: request.object.clone(), status, message })
    }

    /// Sends one request and reads its answer.
    pub async fn call(&mut self, request: &Request) -> Result<Value, DockerError> {
        self.send(&[request]).await?;
        self.answer(request).await
    }

    /// All containers, running or not, that carry each of `labels` (`key=value`).
    pub async fn list(&mut self, labels: &[String]) -> Result<Vec<Listed>, DockerError> {
        let filters = json!({ "label": labels }).to_string();
        let filters = utf8_percent_encode(&filters, NON_ALPHANUMERIC);
        let path = format!("/containers/json?all=1&filters={filters}");
        let rows = self.call(&Request::get("list the containers of", &labels.join(", "), path)).await?;
        Ok(rows.as_array().map(Vec::as_slice).unwrap_or_default().iter().map(Listed::read).collect())
    }

    /// What an image says of itself, and what its label `label` says; `None` if the daemon doesn't have it.
    pub async fn image(&mut self, name: &str, label: &str) -> Result<Option<Image>, DockerError> {
        let found = self.call(&Request::get("inspect the image", name, format!("/images/{name}/json"))).await;
        let found = match found {
            Err(error) if error.is_not_found() => return Ok(None),
            found => found?,
        };
        let words = |key: &str| {
            let words = found["Config"][key].as_array().map(Vec::as_slice).unwrap_or_default();
            words.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        let volumes = found["Config"]["Volumes"].as_object();
        let names = found["RepoDigests"].as_array().map(Vec::as_slice).unwrap_or_default();
        let digests =
            digests(found["Id"].as_str().unwrap_or_default(), names.iter().filter_map(Value::as_str));
        Ok(Some(Image {
            digests,
            repo_digests: names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect(),
            id: found["Id"].as_str().unwrap_or_default().to_owned(),
            entrypoint: words("Entrypoint"),
            cmd: words("Cmd"),
            volumes: volumes.into_iter().flat_map(|volumes| volumes.keys().cloned()).collect(),
            label: found["Config"]["Labels"][label].as_str().unwrap_or_default().to_owned(),
        }))
    }

    /// Where a container has its keeper.
    pub async fn keeper(&mut self, container: &str) -> Result<Place, DockerError> {
        let inspect =
            Request::get("inspect the container", container, format!("/containers/{container}/json"));
        let found = self.call(&inspect).await?;
        let mounts = found["Mounts"].as_array().map(Vec::as_slice).unwrap_or_default();
        let volume = mounts.iter().find(|mount| {
            let keepers = [Isolation::Container, Isolation::Gvisor].map(keeper::volume);
            keepers.iter().any(|keeper| mount["Name"] == **keeper)
        });
        let place = volume.and_then(|mount| mount["Destination"].as_str()).map(Place::at);
        place.ok_or_else(|| inspect.broken("it has no keeper of this berth's"))
    }

    /// The raw stream after an accepted upgrade, and what of it was read already.
    pub fn into_stream(self) -> (Stream, BytesMut) {
        (self.stream, self.unread)
    }

    async fn read_answer(&mut self, upgrade: bool) -> io::Result<(u16, BytesMut)> {
        let head = loop {
            if let Some(head) = parse_head(&self.unread)? {
                break head;
            }
            self.fill().await?;
        };
        self.unread.advance(head.length);
        // A daemon answers an upgrade with 101, older ones with 200 and no length: the rest is the stream.
        if head.status == 101 || head.status == 204 || head.status == 304 || (upgrade && head.status == 200) {
            return Ok((head.status, BytesMut::new()));
        }
        let mut body = BytesMut::new();
        match head.body {
            BodyLength::Known(length) => self.take(length, &mut body).await?,
            BodyLength::Chunked => loop {
                let size = self.line().await?;
                let size = size.split(';').next().unwrap_or_default().trim();
                let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
                self.take(size, &mut body).await?;
                self.line().await?;
                if size == 0 {
                    break;
                }
            },
        }
        Ok((head.status, body))
    }

    async fn fill(&mut self) -> io::Result<()> {
        if self.unread.len() > MAX_ANSWER {
            return Err(io::Error::other("the answer is too long"));
        }
        if self.stream.read_buf(&mut self.unread).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the daemon closed the connection"));
        }
        Ok(())
    }

    async fn take(&mut self, length: usize, into: &mut BytesMut) -> io::Result<()> {
        if length.saturating_add(into.len()) > MAX_ANSWER {
            return Err(io::Error::other("the answer is too long"));
        }
        while self.unread.len() < length {
            self.fill().await?;
        }
        into.extend_from_slice(&self.unread.split_to(length));
        Ok(())
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.unread) {
                let line = self.unread.split_to(end + 1);
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            self.fill().await?;
        }
    }
}

struct Head {
    length: usize,
    status: u16,
    body: BodyLength,
}

enum BodyLength {
    Known(usize),
    Chunked,
}

fn parse_head(bytes: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(bytes).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let mut body = BodyLength::Known(0);
    for header in response.headers.iter() {
        let value = String::from_utf8_lossy(header.value);
        if header.name.eq_ignore_ascii_case("content-length") {
            body = BodyLength::Known(value.trim().parse().map_err(io::Error::other)?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            body = BodyLength::Chunked;
            break;
        }
    }
    Ok(Some(Head { length, status: response.code.unwrap_or_default(), body }))
}
