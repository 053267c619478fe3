//! One record of a trace or a journal, read back; see [`observe::trace::record`](crate::observe::trace::record).
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// What a line says. Unknown members are passed over, for a later berth may have written them.
#[derive(Debug, Deserialize)]
pub struct Record {
    pub time: Timestamp,
    pub kind: String,
    /// Its number in the session's journal, from 1; traces and older journals have none.
    #[serde(default)]
    pub seq: Option<u64>,
    #[serde(default)]
    pub session: Option<String>,
    #[serde(default)]
    pub direction: Option<String>,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub method: Option<String>,
    #[serde(default)]
    pub tool: Option<String>,
    /// Of the client's own trace, where a request is a part of one.
    #[serde(default)]
    pub traceparent: Option<String>,
    /// berth's own span of the request, which its server heard of.
    #[serde(default)]
    pub span: Option<String>,
    /// The trace that begins with that span; the client's has none.
    #[serde(default)]
    pub trace: Option<String>,
    #[serde(default)]
    pub id: Option<Value>,
    #[serde(default)]
    pub bytes: Option<u64>,
    #[serde(default)]
    pub batch: Option<u64>,
    #[serde(default)]
    pub latency_ms: Option<f64>,
    /// What berth itself added to the latency.
    #[serde(default)]
    pub relay_us: Option<f64>,
    #[serde(default)]
    pub answer_bytes: Option<u64>,
    #[serde(default)]
    pub outcome: Option<String>,
    #[serde(default)]
    pub duration_ms: Option<f64>,
    #[serde(default)]
    pub code: Option<i64>,
    /// `server` where `code` is the server's own.
    #[serde(default)]
    pub count: Option<u64>,
    #[serde(default)]
    pub min: Option<u64>,
    #[serde(default)]
    pub max: Option<u64>,
    #[serde(default)]
    pub detail: Option<String>,
    #[serde(default)]
    pub body: Option<Box<RawValue>>,
    #[serde(default)]
    pub truncated: bool,
    #[serde(default)]
    pub how: Option<String>,
    #[serde(default)]
    pub server: Option<String>,
    #[serde(default)]
    pub client: Option<String>,
    #[serde(default)]
    pub client_session: Option<String>,
    #[serde(default)]
    pub project: Option<String>,
    /// Of a lane's start: what needed its server began it.
    #[serde(default)]
    pub lazy: bool,
    #[serde(default)]
    pub container: Option<String>,
    #[serde(default)]
    pub image: Option<String>,
    #[serde(default)]
    pub version: Option<String>,
    /// What the journal's records mean ([`journal::SCHEMA`](crate::observe::journal::SCHEMA)).
    #[serde(default)]
    pub schema: Option<u32>,
    /// Whose the exit code is: `server`, or berth's own.
    #[serde(default)]
    pub code_of: Option<String>,
    #[serde(default)]
    pub requests: Option<u64>,
    #[serde(default)]
    pub errors: Option<u64>,
    #[serde(default)]
    pub lost: Option<u64>,
    #[serde(default)]
    pub unanswered: Option<u64>,
}

impl Record {
    /// `None` for a line that is no record.
    pub fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    pub fn is_from_client(&self) -> bool {
        self.direction.as_deref() == Some("client->server")
    }

    pub fn is_from_server(&self) -> bool {
        self.direction.as_deref() == Some("server->client")
    }
}
