//! Repeats a recorded session to a fresh server. The client's messages go out in their order, each after the answers
//! that the client had by then. The result is the differences between the old answers and the new.
//!
//! Knows only lines; their source and destination are handed in.
pub mod difference;
pub mod recording;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};

use difference::{Difference, Pointer, compare};
use recording::{Event, Recording};

/// JSON-RPC's «method not found», for what the client was never asked.
const NOT_FOUND: i64 = -32601;

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct Outcome {
    pub session: String,
    /// Sent again.
    pub requests: usize,
    /// Answers that were compared.
    pub compared: usize,
    /// Requests with a value that was redacted in the recording: what was sent is not what the client had sent.
    pub redacted: Vec<Value>,
    /// Answers that were cut in the recording, or that berth had given itself: not compared.
    pub not_compared: usize,
    pub differences: Vec<Changed>,
}

/// An answer that is another one now.
#[derive(Debug, Serialize)]
pub struct Changed {
    pub id: Value,
    pub method: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    pub differences: Vec<Difference>,
}

/// The server's side, as far as it has been heard.
struct Server<R, W> {
    lines: R,
    input: W,
    answers: HashMap<String, VecDeque<Value>>,
    /// What it asks, by method.
    asks: HashMap<String, VecDeque<Value>>,
    /// How many answers the recording still has to what it asks, by method.
    expected: HashMap<String, usize>,
    ended: bool,
    /// What is still to be written, and what of the next line has been read.
    outgoing: BytesMut,
    line: Vec<u8>,
}

/// Replays `recording`; each answer may take `within`.
///
/// # Errors
/// Where the server can't be written to or read from.
pub async fn replay(
    recording: Recording,
    server: (impl AsyncBufRead + Unpin, impl AsyncWrite + Unpin),
    ignored: &[Pointer],
    within: Duration,
) -> io::Result<Outcome> {
    let mut outcome = Outcome {
        session: recording.session,
        redacted: recording.redacted,
        not_compared: recording.not_compared,
        ..Outcome::default()
    };
    let mut server = Server {
        lines: server.0,
        input: server.1,
        answers: HashMap::new(),
        asks: HashMap::new(),
        expected: recording.expected,
        ended: false,
        outgoing: BytesMut::new(),
        line: Vec::new(),
    };
    for event in recording.events {
        match event {
            Event::Send { body, is_request } => {
                outcome.requests += usize::from(is_request);
                server.send(&body, Instant::now() + within).await?;
            }
            Event::Reply { method, mut body } => {
                let asked = server.asked(&method, Instant::now() + within).await?;
                // Only now: it is waited for until then.
                if let Some(expected) = server.expected.get_mut(&method) {
                    *expected = expected.saturating_sub(1);
                }
                if let Some(asked) = asked {
                    body["id"] = asked;
                    server.send(&body.to_string(), Instant::now() + within).await?;
                } else {
                    outcome.differences.push(Changed {
                        id: body["id"].clone(),
                        method,
                        tool: None,
                        differences: vec![Difference::missing("the server no longer asks this")],
                    });
                }
            }
            Event::Await { id } => _ = server.answer(&id, Instant::now() + within).await?,
            Event::Answer { id, method, tool, body } => {
                let answer = server.answer(&id, Instant::now() + within).await?;
                outcome.compared += 1;
                let differences = match &answer {
                    Some(answer) => compare(&body, answer, ignored),
                    None if server.ended => {
                        vec![Difference::missing("the session has ended without this answer")]
                    }
                    None => vec![Difference::missing(&format!("no answer within {within:?}"))],
                };
                if !differences.is_empty() {
                    outcome.differences.push(Changed { id, method, tool, differences });
                }
            }
        }
    }
    Ok(outcome)
}

impl<R: AsyncBufRead + Unpin, W: AsyncWrite + Unpin> Server<R, W> {
    /// Reads while it writes, for the server may do one thing at a time. What is not taken in time waits for the next turn.
    async fn send(&mut self, body: &str, until: Instant) -> io::Result<()> {
        self.queue(body);
        while !self.outgoing.is_empty() && self.step(until).await? {}
        Ok(())
    }

    fn queue(&mut self, body: &str) {
        self.outgoing.extend_from_slice(body.as_bytes());
        self.outgoing.extend_from_slice(b"\n");
    }

    async fn answer(&mut self, id: &Value, until: Instant) -> io::Result<Option<Value>> {
        let key = id.to_string();
        loop {
            if let Some(answer) = self.answers.get_mut(&key).and_then(VecDeque::pop_front) {
                return Ok(Some(answer));
            }
            if !self.step(until).await? {
                return Ok(None);
            }
        }
    }

    /// The id of the next request of this method.
    async fn asked(&mut self, method: &str, until: Instant) -> io::Result<Option<Value>> {
        loop {
            if let Some(id) = self.asks.get_mut(method).and_then(VecDeque::pop_front) {
                return Ok(Some(id));
            }
            if !self.step(until).await? {
                return Ok(None);
            }
        }
    }

    /// Writes something or takes the next line; false if neither is done in time.
    async fn step(&mut self, until: Instant) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        let (input, outgoing) = (&mut self.input, &mut self.outgoing);
        let waiting = !outgoing.is_empty();
        let write = async {
            input.write_buf(outgoing).await?;
            input.flush().await
        };
        tokio::select! {
            read = self.lines.read_until(b'\n', &mut self.line) => {
                if read? == 0 && self.line.is_empty() {
                    self.ended = true;
                    return Ok(false);
                }
                let line = std::mem::take(&mut self.line);
                self.take(&line);
            }
            written = write, if waiting => match written {
                // What it has said before is still to be read.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.outgoing.clear(),
                written => written?,
            },
            () = sleep_until(until) => return Ok(false),
        }
        Ok(true)
    }

    fn take(&mut self, line: &[u8]) {
        let message: Value = serde_json::from_slice(line).unwrap_or_default();
        let messages = if let Value::Array(batch) = message { batch } else { vec![message] };
        for message in messages {
            let id = message["id"].clone();
            match message["method"].as_str() {
                None => self.answers.entry(id.to_string()).or_default().push_back(message),
                Some(_) if id.is_null() => {}
                Some(method) => {
                    let asked = self.asks.get(method).map_or(0, VecDeque::len);
                    if self.expected.get(method).is_some_and(|expected| *expected > asked) {
                        self.asks.entry(method.to_owned()).or_default().push_back(id);
                    } else {
                        // It would wait for ever.
                        let error = json!({ "code": NOT_FOUND, "message": "berth: the recording has no such request" });
                        let refusal = json!({ "jsonrpc": "2.0", "id": id, "error": error });
                        self.queue(&refusal.to_string());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
