//! One record of the trace, as it is taken in the data path and as it is shown.
//!
//! With `--trace=FILE` each record is a line of the file: a JSON object with these members. `time` and `kind` are
//! always there, the others where they apply.
//!
//! | member | type | meaning |
//! |---|---|---|
//! | `time` | string | RFC 3339, UTC, microseconds |
//! | `session` | string | berth's own name for the session, as `berth ps` shows it |
//! | `lane` | string | where several servers share the session: the server whose record it is |
//! | `direction` | string | `client->server` or `server->client` |
//! | `kind` | string | of a message `request`, `notification`, `response`, `error`, `other` (JSON, but no message that makes sense); `step`, `up`, `note`, `dropped` |
//! | `name` | string | of a step or a note: which |
//! | `method` | string | of a request or a notification |
//! | `tool` | string | of a `tools/call`: which |
//! | `id` | any | as it stood in the message; a string where it was cut or changed |
//! | `bytes` | integer | the line's length, its end included; a batch's records have the batch's |
//! | `batch` | integer | how many records the batch has, which follow one another |
//! | `latency_ms` | number | of an answer: since its request passed; microseconds after the point |
//! | `duration_ms` | number | of a step, which ended at `time`; of `up`: since the start of this server began |
//! | `how` | string | of `up`, which says that a server is there for the client: its container was made now (`cold`), was on `standby`, or had the server `prestarted` |
//! | `server`, `client`, `container` | string | of `up`: names, and the container's id |
//! | `code` | integer | of an `error` |
//! | `count` | integer | of `dropped`: so many records are missing here, the queue was full |
//! | `detail` | string | of a step or a note |
//! | `body` | any | with `--trace-bodies`: the line as it passed, but for what is redacted and spaces around it; a string where it is no JSON, or none after that; in the first of a batch's records |
//! | `truncated` | boolean | `true` where something of the above was cut: bodies to 64 KiB, other texts to 1 KiB |
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::observe::Redactor;
use crate::observe::event::Direction;

/// As taken in the data path: copies, nothing formatted, nothing redacted. Never to be shown itself.
pub(super) struct Record {
    pub(super) time: Timestamp,
    pub(super) session: Option<Arc<str>>,
    pub(super) lane: Option<Arc<str>>,
    pub(super) direction: Option<Direction>,
    pub(super) what: What,
}

pub(super) enum What {
    Message {
        kind: &'static str,
        method: Option<Copied>,
        tool: Option<Copied>,
        id: Option<Copied>,
        code: Option<i64>,
        bytes: usize,
        batch: Option<usize>,
        latency: Option<Duration>,
        body: Option<Copied>,
    },
    Step {
        name: &'static str,
        took: Duration,
        detail: Copied,
    },
    Up {
        how: &'static str,
        took: Duration,
        server: Copied,
        client: Copied,
        container: String,
    },
    Note {
        name: &'static str,
        detail: Copied,
        bytes: u64,
    },
}

/// The beginning of some text. The redactor sees all of `bytes`, `limit` of them are shown.
pub(super) struct Copied {
    pub(super) bytes: Vec<u8>,
    pub(super) limit: usize,
    pub(super) cut: bool,
}

/// Redacted, and in the form that is written.
#[derive(Serialize, Default)]
pub(super) struct Shown<'a> {
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lane: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) direction: Option<&'static str>,
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "milliseconds")]
    pub(super) latency_ms: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "milliseconds")]
    pub(super) duration_ms: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) how: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) truncated: bool,
}

impl<'a> Shown<'a> {
    pub(super) fn new(record: &'a Record, redactor: &Redactor) -> Self {
        let mut cut = false;
        let mut show = |copied: &Copied, body: bool| {
            cut |= copied.cut;
            redactor.hide(&String::from_utf8_lossy(&copied.bytes), copied.limit, body)
        };
        let mut shown = Self {
            time: format!("{:.6}", record.time),
            session: record.session.as_deref(),
            lane: record.lane.as_deref(),
            direction: record.direction.map(Direction::as_str),
            ..Self::default()
        };
        match &record.what {
            What::Message { kind, method, tool, id, code, bytes, batch, latency, body } => {
                shown.kind = kind;
                shown.method = method.as_ref().map(|method| show(method, false));
                shown.tool = tool.as_ref().map(|tool| show(tool, false));
                shown.id = id.as_ref().and_then(|id| json_or_string(&show(id, false)));
                shown.bytes = u64::try_from(*bytes).ok();
                shown.batch = *batch;
                shown.latency_ms = *latency;
                shown.code = *code;
                shown.body = body.as_ref().and_then(|body| json_or_string(&show(body, true)));
            }
            What::Step { name, took, detail } => {
                shown.kind = "step";
                shown.name = Some(name);
                shown.duration_ms = Some(*took);
                shown.detail = Some(show(detail, false)).filter(|detail| !detail.is_empty());
            }
            What::Up { how, took, server, client, container } => {
                shown.kind = "up";
                shown.how = Some(how);
                shown.duration_ms = Some(*took);
                shown.server = Some(show(server, false));
                shown.client = Some(show(client, false));
                shown.container = Some(container);
            }
            What::Note { name, detail, bytes } => {
                shown.kind = "note";
                shown.name = Some(name);
                shown.bytes = Some(*bytes);
                shown.detail = Some(show(detail, false)).filter(|detail| !detail.is_empty());
            }
        }
        shown.truncated = cut;
        shown
    }

    pub(super) fn dropped(time: Timestamp, count: u64) -> Self {
        Self { time: format!("{time:.6}"), kind: "dropped", count: Some(count), ..Self::default() }
    }
}

/// The line of the file, with its end.
pub(super) fn line(shown: &Shown<'_>) -> Vec<u8> {
    // Strings, numbers and JSON that was checked: there is nothing in it that could fail.
    let mut line = serde_json::to_vec(shown).unwrap_or_default();
    line.push(b'\n');
    line
}

/// `text` itself where it is JSON and stays on one line, or else as a string.
fn json_or_string(text: &str) -> Option<Box<RawValue>> {
    let text = text.trim();
    let one_line = (!text.contains(['\n', '\r'])).then_some(text);
    let json = one_line.and_then(|text| RawValue::from_string(text.to_owned()).ok());
    json.or_else(|| serde_json::value::to_raw_value(text).ok())
}

#[expect(clippy::ref_option, reason = "the signature that serde calls")]
fn milliseconds<S: serde::Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    let microseconds = duration.unwrap_or_default().as_secs_f64() * 1e6;
    serializer.serialize_f64(microseconds.round() / 1e3)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_false(flag: &bool) -> bool {
    !flag
}
