//! A server as a test plays it: small lists over several pages, tools that answer who they are.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::super::LanePipe;
use crate::failure::{Code, Failure};
use crate::session::lane::outcome::Over;

/// What it is, and how it misbehaves. Copies share what was changed.
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
#[derive(Debug, Clone)]
pub(super) struct Played {
    pub(super) name: &'static str,
    pub(super) tools: Arc<Mutex<Vec<String>>>,
    /// Items on a page.
    pub(super) page: usize,
    pub(super) speaks_modern: bool,
    pub(super) speaks_legacy: bool,
    /// Before its first answer.
    pub(super) delay: Duration,
    /// It cannot be started.
    pub(super) fails: bool,
    pub(super) instructions: Option<String>,
    /// So often it cannot say what tools it has.
    pub(super) refuses_lists: Arc<AtomicU32>,
    /// It asks for the roots as soon as it may.
    pub(super) asks_roots: bool,
    /// Each line that it was sent.
    pub(super) heard: Arc<Mutex<Vec<Value>>>,
}

impl Played {
    pub(super) fn new(name: &'static str, tools: &[&str]) -> Self {
        Self {
            name,
            tools: Arc::new(Mutex::new(tools.iter().map(|&tool| tool.to_owned()).collect())),
            page: 2,
            speaks_modern: false,
            speaks_legacy: true,
            delay: Duration::ZERO,
            fails: false,
            instructions: None,
            refuses_lists: Arc::default(),
            asks_roots: false,
            heard: Arc::default(),
        }
    }

    pub(super) fn initialized(&self, asked: &str) -> Value {
        let mut result = json!({
            "protocolVersion": asked, "serverInfo": { "name": self.name, "version": "1" },
            "capabilities": {
                "tools": { "listChanged": true }, "prompts": {}, "resources": { "subscribe": true }, "logging": {}, "tasks": {},
            },
        });
        if let Some(instructions) = &self.instructions {
            result["instructions"] = instructions.clone().into();
        }
        result
    }

    fn discovered(&self) -> Value {
        let mut result = self.initialized("2026-07-28");
        result["supportedVersions"] = json!(["2026-07-28"]);
        result
    }

    pub(super) fn items(&self, kind: &str) -> Vec<Value> {
        let name = self.name;
        match kind {
            "tools" => {
                let tool = |tool: &String| json!({ "name": tool, "inputSchema": { "type": "object" }, "x-own": name });
                self.tools.lock().unwrap().iter().map(tool).collect()
            }
            "prompts" => vec![json!({ "name": "ask", "description": name })],
            "resources" => vec![
                json!({ "uri": format!("{name}://one"), "name": "one" }),
                json!({ "uri": "shared://", "name": name }),
            ],
            _ => vec![json!({ "uriTemplate": format!("{name}://{{id}}/x"), "name": "template" })],
        }
    }

    fn page_of(&self, kind: &str, params: &Value) -> Value {
        let items = self.items(kind);
        let from: usize = params["cursor"].as_str().and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
        let to = (from + self.page).min(items.len());
        let mut result = json!({ kind: &items[from..to] });
        if to < items.len() {
            result["nextCursor"] = to.to_string().into();
        }
        result
    }

    pub(super) async fn serve(self, pipe: LanePipe) -> Over {
        let LanePipe { from_mux, mut to_mux, stop, .. } = pipe;
        let mut lines = BufReader::new(from_mux).lines();
        let mut is_first = true;
        // What it asks the client, and the call that waits for the answer.
        let mut asked: Vec<(Value, Value)> = Vec::new();
        let mut open: Vec<Value> = Vec::new();
        let mut listens: Vec<(Value, Value)> = Vec::new();
        let mut is_initialized = false;
        loop {
            let line = tokio::select! {
                line = lines.next_line() => line.unwrap(),
                () = stop.cancelled() => {
                    // As a lane does: what is open is answered.
                    for id in open {
                        let error = json!({ "code": 69, "message": "berth: stopped" });
                        let line = json!({ "jsonrpc": "2.0", "id": id, "error": error });
                        to_mux.write_all(format!("{line}\n").as_bytes()).await.unwrap();
                    }
                    return Over::Client;
                }
            };
            let Some(line) = line else { return Over::Client };
            let message: Value = serde_json::from_str(&line).unwrap();
            self.heard.lock().unwrap().push(message.clone());
            let id = &message["id"];
            if std::mem::take(&mut is_first) {
                tokio::time::sleep(self.delay).await;
            }
            if self.fails {
                let error = json!({ "jsonrpc": "2.0", "id": id, "error": { "code": 69, "message": "berth: no daemon" } });
                to_mux.write_all(format!("{error}\n").as_bytes()).await.unwrap();
                return Over::Failed(Failure {
                    code: Code::Unavailable,
                    text: "no daemon".to_owned(),
                    next: None,
                });
            }
            if message.get("method").is_none() {
                // It may have lost its patience.
                let Some(at) = asked.iter().position(|(asked, _)| asked == id) else { continue };
                let (_, call) = asked.remove(at);
                let said = if message["error"].is_null() { &message["result"] } else { &message["error"] };
                let text = said.to_string();
                let answer = json!({ "jsonrpc": "2.0", "id": call, "result": { "content": [{ "type": "text", "text": text }] } });
                to_mux.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
                continue;
            }
            if id.is_null() {
                if message["method"] == "notifications/initialized" && self.asks_roots {
                    let line = json!({ "jsonrpc": "2.0", "id": "roots", "method": "roots/list" });
                    to_mux.write_all(format!("{line}\n").as_bytes()).await.unwrap();
                }
                continue;
            }
            is_initialized |= message["method"] == "initialize";
            if let Some(refusal) = self.refusal(&message, is_initialized) {
                to_mux.write_all(format!("{refusal}\n").as_bytes()).await.unwrap();
                continue;
            }
            if message["method"] == "subscriptions/listen" {
                listens.push((id.clone(), message["params"]["notifications"].clone()));
            }
            if message["params"]["arguments"]["do"] == "hang" {
                open.push(id.clone());
            }
            let mut said = Vec::new();
            let mut raw = Vec::new();
            let ended = self.answer(&message, &mut said, &mut raw, &mut asked);
            for line in raw {
                to_mux.write_all(format!("{line}\n").as_bytes()).await.unwrap();
            }
            for mut line in said {
                // In the new era it tells those alone who listen.
                if self.is_modern(&message)
                    && line["id"].is_null()
                    && line["params"]["progressToken"].is_null()
                {
                    let Some((listen, _)) = listens.last() else { continue };
                    line["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] = listen.clone();
                }
                to_mux.write_all(format!("{line}\n").as_bytes()).await.unwrap();
            }
            if ended {
                // As the lane of a server that is not tried again: all that was open is answered first.
                let failure = Failure { code: Code::Unavailable, text: "it crashed".to_owned(), next: None };
                return Over::Failed(failure);
            }
        }
    }

    /// An old server does not look.
    fn is_modern(&self, message: &Value) -> bool {
        let meta = &message["params"]["_meta"];
        self.speaks_modern && meta.get("io.modelcontextprotocol/protocolVersion").is_some()
    }

    /// What a server of one era alone says to the other's requests.
    fn refusal(&self, message: &Value, is_initialized: bool) -> Option<Value> {
        let text = match (self.speaks_legacy, self.speaks_modern) {
            (false, true) if !self.is_modern(message) => "Invalid params: no protocol version",
            (true, false) if !is_initialized && message["method"] != "server/discover" => "Not initialized",
            _ => return None,
        };
        Some(json!({ "jsonrpc": "2.0", "id": message["id"], "error": { "code": -32602, "message": text } }))
    }

    fn tells(&self, what: &str) -> Value {
        let (method, params) = match what {
            "update" => ("resources/updated", json!({ "uri": format!("{}://one", self.name) })),
            _ => ("message", json!({ "level": "info", "data": 1 })),
        };
        json!({ "jsonrpc": "2.0", "method": format!("notifications/{method}"), "params": params })
    }

    /// What it says to a request; whether it ends then.
    fn answer(
        &self,
        message: &Value,
        said: &mut Vec<Value>,
        raw: &mut Vec<String>,
        asked: &mut Vec<(Value, Value)>,
    ) -> bool {
        let (id, params) = (&message["id"], &message["params"]);
        let method = message["method"].as_str().unwrap();
        let is_modern = self.is_modern(message);
        let error = |code: i64, text: &str| json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": text } });
        let result = match method {
            "initialize" if self.speaks_legacy => {
                self.initialized(params["protocolVersion"].as_str().unwrap())
            }
            "server/discover" if self.speaks_modern => self.discovered(),
            "tools/list"
                if self.refuses_lists.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() =>
            {
                said.push(error(-32603, "not yet"));
                return false;
            }
            "tools/list" => self.page_of("tools", params),
            "prompts/list" => self.page_of("prompts", params),
            "resources/list" => self.page_of("resources", params),
            "resources/templates/list" => self.page_of("resourceTemplates", params),
            "resources/subscribe" | "logging/setLevel" => json!({}),
            "subscriptions/listen" => return false,
            "tools/call" => {
                let arguments = &params["arguments"];
                match arguments["do"].as_str() {
                    Some("crash") => {
                        said.push(error(69, "berth: it crashed"));
                        return true;
                    }
                    Some("hang") => return false,
                    Some("forge") => {
                        let content = json!([{ "type": "text", "text": "forged" }]);
                        said.push(json!({ "jsonrpc": "2.0", "id": arguments["id"], "result": { "content": content } }));
                    }
                    Some("ask") if is_modern => {
                        said.push(json!({ "jsonrpc": "2.0", "id": id, "result": needs(params) }));
                        return false;
                    }
                    Some("ask") => {
                        let own = arguments.get("id").cloned().unwrap_or(json!(1));
                        let method = arguments["method"].as_str().unwrap();
                        said.push(json!({ "jsonrpc": "2.0", "id": own, "method": method, "params": arguments["params"] }));
                        if arguments["impatient"] != true {
                            asked.push((own, id.clone()));
                            return false;
                        }
                    }
                    Some(what @ ("update" | "log")) => said.push(self.tells(what)),
                    Some(what @ ("visit" | "no-resource")) => {
                        said.push(refuses(id, what));
                        return false;
                    }
                    Some("change") => {
                        self.tools.lock().unwrap().push(arguments["tool"].as_str().unwrap().to_owned());
                        said.push(json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" }));
                    }
                    Some("progress") => {
                        // As it is written there, whatever it means.
                        let token = arguments["raw"].as_str().unwrap();
                        let line = format!(
                            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":1}}}}"#
                        );
                        raw.push(line);
                    }
                    Some("task") => {
                        said.push(json!({ "jsonrpc": "2.0", "id": id, "result": { "task": { "taskId": "t1", "status": "working" } } }));
                        return false;
                    }
                    _ => {}
                }
                json!({ "content": [{ "type": "text", "text": format!("{}:{}", self.name, params["name"].as_str().unwrap()) }] })
            }
            "prompts/get" => {
                json!({ "description": format!("{}:{}", self.name, params["name"].as_str().unwrap()) })
            }
            "resources/read" | "tasks/get" => json!({ "by": self.name, "params": params }),
            _ => {
                said.push(error(-32601, "Method not found"));
                return false;
            }
        };
        let mut result = result;
        if is_modern {
            result["resultType"] = "complete".into();
        }
        said.push(json!({ "jsonrpc": "2.0", "id": id, "result": result }));
        false
    }
}

/// It needs more input so many times as it is told; then it says what it heard last.
fn needs(params: &Value) -> Value {
    let arguments = &params["arguments"];
    let round = params["requestState"].as_str().map_or(0, |state| state.parse::<u64>().unwrap());
    if round >= arguments["rounds"].as_u64().unwrap_or(1) {
        let text = params["inputResponses"].to_string();
        return json!({ "resultType": "complete", "content": [{ "type": "text", "text": text }] });
    }
    let mut result = json!({ "resultType": "input_required", "requestState": (round + 1).to_string() });
    let methods = match &arguments["method"] {
        Value::Array(methods) => methods.clone(),
        Value::Null => return result,
        method => vec![method.clone()],
    };
    for (n, method) in methods.iter().enumerate() {
        let request = json!({ "method": method, "params": arguments["params"] });
        result["inputRequests"][format!("q{round}.{n}")] = request;
    }
    result
}

/// An error that only the old era has.
fn refuses(id: &Value, what: &str) -> Value {
    let visit = json!({ "mode": "url", "elicitationId": "e", "url": "https://x", "message": "m" });
    let error = match what {
        "visit" => json!({ "code": -32042, "message": "visit first", "data": { "elicitations": [visit] } }),
        _ => json!({ "code": -32002, "message": "Resource not found" }),
    };
    json!({ "jsonrpc": "2.0", "id": id, "error": error })
}
