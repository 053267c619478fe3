//! A small MCP client that speaks as Claude Code or Codex would, over any two pipes. Knows no containers.
//!
//! It has one request open at a time. Examinations need all other lines, too, so it sorts and keeps them.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;
use tokio_util::codec::FramedRead;

use super::messages;
use crate::catalogue::Hello;
use crate::rpc::FrameCodec;
use crate::rpc::raw::{Raw, member};

/// No answer of the examination's is longer.
const MAX_LINE: usize = 32 << 20;
/// Of what doesn't belong on standard output, so much is kept.
const KEPT: usize = 16;
/// Claude Code waits so long for the answer to its probe, then begins with `initialize`.
const PROBE_PATIENCE: Duration = Duration::from_secs(3);

/// Whose ways of starting a session to imitate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    ClaudeCode,
    Codex,
}

impl Kind {
    /// What berth calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::Codex => "codex",
        }
    }

    /// What it calls itself.
    fn client_info(self) -> Value {
        match self {
            Self::ClaudeCode => json!({ "name": "claude-code", "version": "2.1.330" }),
            Self::Codex => json!({ "name": "codex-mcp-client", "title": "Codex", "version": "0.169.0" }),
        }
    }

    /// The revisions that it asks for, one after the other.
    pub fn revisions(self) -> (&'static str, &'static str) {
        match self {
            Self::ClaudeCode => (messages::MODERN, self.revision()),
            Self::Codex => (self.revision(), self.revision()),
        }
    }

    fn revision(self) -> &'static str {
        match self {
            Self::ClaudeCode => "2025-11-25",
            Self::Codex => "2025-06-18",
        }
    }
}

/// How a server answered the beginning of a session in a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    pub revision: &'static str,
    pub hello: Hello,
}

/// Why there is no proper answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no answer to `{method}` within {} s", within.as_secs())]
    TimedOut { method: String, within: Duration },
    #[error("the session ended before it answered `{0}`")]
    Ended(String),
    #[error("cannot write `{method}` to the session: {source}")]
    Write { method: String, source: std::io::Error },
    #[error("`{method}` is answered with the error «{message}»")]
    Refused { method: String, message: String },
}

/// The client's end of a session.
#[derive(Debug)]
pub struct Client<R, W> {
    lines: FramedRead<R, FrameCodec>,
    to_server: W,
    kind: Kind,
    /// How long the answer to the probe is waited for.
    probe: Duration,
    /// The server speaks the revision without `initialize`.
    modern: bool,
    /// Requests that were given up on; their answers may still come.
    abandoned: Vec<Value>,
    strange_answers: Vec<String>,
    garbage: Vec<String>,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Client<R, W> {
    pub fn new(kind: Kind, from_server: R, to_server: W) -> Self {
        let lines = FramedRead::new(from_server, FrameCodec::new(MAX_LINE));
        Self {
            lines,
            to_server,
            kind,
            probe: PROBE_PATIENCE,
            modern: false,
            abandoned: Vec::new(),
            strange_answers: Vec::new(),
            garbage: Vec::new(),
        }
    }

    /// Waits for the answer to its probe as long as for all others, as the real client does not.
    #[must_use]
    pub fn patient(mut self) -> Self {
        self.probe = Duration::MAX;
        self
    }

    /// Begins the session as the real client does. When it returns, the server has answered; its last greeting is of the
    /// session's revision.
    pub async fn begin(&mut self, within: Duration) -> Result<Vec<Greeting>, ClientError> {
        let deadline = Instant::now() + within;
        let mut greetings = Vec::new();
        if self.kind == Kind::ClaudeCode {
            self.modern = true;
            let id = json!("server-discover-probe-1");
            let revision = messages::MODERN;
            match self.request_raw(&id, "server/discover", json!({}), within.min(self.probe)).await {
                Ok(result) => return Ok(vec![Greeting { revision, hello: Hello::Discover(result.into()) }]),
                Err(ClientError::Refused { .. }) => {
                    greetings.push(Greeting { revision, hello: Hello::NoDiscover });
                }
                Err(ClientError::TimedOut { .. }) => {}
                Err(error) => return Err(error),
            }
            self.modern = false;
        }
        let params = messages::initialize(self.kind.revision(), &self.kind.client_info());
        let left = deadline.saturating_duration_since(Instant::now());
        let result = self.request_raw(&json!(0), "initialize", params, left).await?;
        greetings
            .push(Greeting { revision: self.kind.revision(), hello: Hello::Initialize(Bytes::from(result)) });
        self.send(
            "notifications/initialized",
            &json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        )
        .await?;
        Ok(greetings)
    }

    /// The `result` of a request.
    pub async fn request(
        &mut self,
        id: &Value,
        method: &str,
        params: Value,
        within: Duration,
    ) -> Result<Value, ClientError> {
        let (_, mut answer) = self.exchange(id, method, params, within).await?;
        answer.remove("result").ok_or_else(|| refused(method, &answer))
    }

    /// The same in the server's own bytes.
    pub async fn request_raw(
        &mut self,
        id: &Value,
        method: &str,
        params: Value,
        within: Duration,
    ) -> Result<String, ClientError> {
        let (line, answer) = self.exchange(id, method, params, within).await?;
        let result = Raw::parse(&line).and_then(|message| member(message, "result"));
        result.map(|result| result.get().to_owned()).ok_or_else(|| refused(method, &answer))
    }

    /// The line that answers, and what it says.
    async fn exchange(
        &mut self,
        id: &Value,
        method: &str,
        mut params: Value,
        within: Duration,
    ) -> Result<(String, Map<String, Value>), ClientError> {
        if self.modern {
            messages::make_modern(&mut params, &self.kind.client_info());
        }
        let request = messages::request(id, method, &params);
        let exchange = async {
            self.send(method, &request).await?;
            self.answer(id, method).await
        };
        let Ok(answer) = tokio::time::timeout(within, exchange).await else {
            self.abandoned.push(id.clone());
            return Err(ClientError::TimedOut { method: method.to_owned(), within });
        };
        answer
    }

    /// Whether it has not waited for some answer to its end.
    pub fn has_given_up(&self) -> bool {
        !self.abandoned.is_empty()
    }

    /// Answers to requests that were never made, and lines that are no messages; both in their first
    /// words.
    pub fn take_strays(&mut self) -> (Vec<String>, Vec<String>) {
        (std::mem::take(&mut self.strange_answers), std::mem::take(&mut self.garbage))
    }

    /// Lets go of the session's standard input.
    pub async fn close(mut self) {
        // Gone already is as good.
        let _ = self.to_server.shutdown().await;
    }

    async fn send(&mut self, method: &str, message: &Value) -> Result<(), ClientError> {
        let line = format!("{message}\n");
        let sent = async {
            self.to_server.write_all(line.as_bytes()).await?;
            self.to_server.flush().await
        };
        sent.await.map_err(|source| ClientError::Write { method: method.to_owned(), source })
    }

    async fn answer(
        &mut self,
        id: &Value,
        method: &str,
    ) -> Result<(String, Map<String, Value>), ClientError> {
        loop {
            let Some(Ok(item)) = self.lines.next().await else {
                return Err(ClientError::Ended(method.to_owned()));
            };
            let line = match item {
                Ok(frame) => String::from_utf8_lossy(frame.message()).into_owned(),
                Err(too_long) => too_long.to_string(),
            };
            let Ok(Value::Object(message)) = serde_json::from_str(&line) else {
                keep(&mut self.garbage, &line);
                continue;
            };
            match (message.contains_key("method"), message.get("id")) {
                (true, Some(theirs)) => {
                    let answer = messages::reply(theirs, &message["method"]);
                    self.send("an answer", &answer).await?;
                }
                (true, None) => {}
                (false, Some(theirs)) if theirs == id => return Ok((line, message)),
                (false, Some(theirs)) if self.abandoned.contains(theirs) => {}
                (false, _) => keep(&mut self.strange_answers, &line),
            }
        }
    }
}

fn refused(method: &str, answer: &Map<String, Value>) -> ClientError {
    let error = answer.get("error").unwrap_or(&Value::Null);
    let message = error["message"].as_str().map_or_else(|| error.to_string(), str::to_owned);
    ClientError::Refused { method: method.to_owned(), message }
}

fn keep(kept: &mut Vec<String>, line: &str) {
    if kept.len() < KEPT {
        kept.push(line.chars().take(120).collect());
    }
}

#[cfg(test)]
mod tests;
