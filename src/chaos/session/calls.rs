//! What the client of a session asks, and what the answers mean.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::{Session, Waiting};
use crate::chaos::answer::{Answer, Meaning};
use crate::chaos::plan::Call;
use crate::exam::messages;

impl Session<'_> {
    fn info(&self) -> Value {
        json!({ "name": self.slot.client, "version": "1" })
    }

    pub(super) async fn initialize(&mut self) {
        let params = messages::initialize("2025-06-18", &self.info());
        self.request("initialize", params, None).await;
    }

    pub(super) async fn call(&mut self, call: &Call, then: Option<&str>) {
        self.calls += 1;
        let arguments = json!({
            "ms": call.work.as_millis(),
            "bytes": call.bytes,
            "pad": "x".repeat(call.pad),
            "then": then,
        });
        self.call_tool("tally", arguments).await;
    }

    pub(super) async fn ask_for_ledger(&mut self) {
        self.call_tool("tallied", json!({})).await;
    }

    async fn call_tool(&mut self, tool: &str, mut arguments: Value) {
        if tool == "tally" {
            arguments["token"] = self.token().into();
        }
        let (lane, name) = self.slot.tool(self.next_id, tool);
        self.request("tools/call", json!({ "name": name, "arguments": arguments }), Some(lane)).await;
    }

    /// Of the next request.
    fn token(&self) -> String {
        format!("{}.{}", self.name, self.next_id)
    }

    /// `lane`: who is to answer a call.
    async fn request(&mut self, method: &str, mut params: Value, lane: Option<&'static str>) {
        let (id, token) = (self.next_id, self.token());
        self.next_id += 1;
        if self.slot.is_modern {
            messages::make_modern(&mut params, &self.info());
        }
        let sent = self.site.tally().sent(&self.name, &token);
        let (is_initialize, lane) = (lane.is_none(), lane.unwrap_or_default());
        self.waiting.insert(id, Waiting { token, sent, since: Instant::now(), is_initialize, lane });
        self.send(&messages::request(&id.into(), method, &params)).await;
    }

    async fn send(&mut self, message: &Value) {
        let Some(input) = &mut self.input else { return };
        let line = format!("{message}\n");
        // A proxy that has ended is seen at its other end.
        let _ = input.write_all(line.as_bytes()).await;
        let _ = input.flush().await;
    }

    pub(super) async fn hear(&mut self, line: &str) {
        match Meaning::of(line) {
            Meaning::Garbage => {
                self.broke(&format!("its standard output has a line that is not a message: {line:.120}"));
            }
            Meaning::Notification => {}
            Meaning::Request(id) => {
                self.send(&messages::reply(&id, &Value::Null)).await;
            }
            Meaning::Answer(id, answer) => {
                let Some(waiting) = id.as_u64().and_then(|id| self.waiting.remove(&id)) else {
                    let what = format!("an answer with the id {id} belongs to no open call");
                    self.site.tally().cross(&self.name, what);
                    return;
                };
                self.answered(&waiting, answer).await;
            }
        }
    }

    async fn answered(&mut self, waiting: &Waiting, answer: Answer) {
        let token = &waiting.token;
        match answer {
            Answer::Error(text) => {
                self.site.tally().failed(&self.name, token);
                self.site.note_error(&text);
                self.errors += 1;
                if waiting.is_initialize && self.slot.has_lanes {
                    // A client begins a new session; with one server it is at its end by itself.
                    self.input = None;
                }
                return;
            }
            Answer::Executed { token: said, process, times } => {
                let mut tally = self.site.tally();
                tally.executed(&process, &said, times);
                tally.answered(&self.name, token, &said, &process);
            }
            Answer::Ledger { process, times } => {
                let mut tally = self.site.tally();
                for (token, times) in times {
                    tally.executed(&process, &token, times);
                }
                tally.answered(&self.name, token, token, &process);
            }
            Answer::Other(text) => {
                self.site.tally().answered(&self.name, token, token, "");
                if !waiting.is_initialize {
                    self.broke(&format!("the call {token} got an answer of the wrong kind: {text:.120}"));
                }
            }
        }
        self.began = true;
        self.errors = 0;
        if waiting.is_initialize {
            let method = "notifications/initialized";
            self.send(&json!({ "jsonrpc": "2.0", "method": method })).await;
        } else {
            self.slot.well(waiting.sent);
        }
    }
}
