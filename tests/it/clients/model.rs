//! A model without an account: both clients' model APIs on a loopback port, with one script per conversation. It makes
//! the client call the tools that the test names, one after the other, and then says «done».
//!
//! It knows no MCP: the client repeats a tool's answer in its next request.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

/// Before a call that the client has refused is asked for again.
const AGAIN_AFTER: Duration = Duration::from_millis(300);
const MOST_REFUSALS: usize = 100;

/// A tool's call that the model asks for.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) server: String,
    pub(crate) tool: String,
    pub(crate) arguments: Value,
}

pub(crate) fn call(server: &str, tool: &str, arguments: Value) -> Call {
    Call { server: server.to_owned(), tool: tool.to_owned(), arguments }
}

#[derive(Debug)]
pub(crate) struct Model {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Value>>>,
    /// Its end is the server's.
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Model {
    pub(crate) fn with(calls: Vec<Call>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address = listener.local_addr().expect("bound");
        listener.set_nonblocking(true).expect("a socket");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let heard = Arc::clone(&asked);
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, calls.into(), heard) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, asked, _stop: stop }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What the tools answered, as the client told the model.
    pub(crate) fn results(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(results).max_by_key(Vec::len).unwrap_or_default()
    }
}

async fn serve(listener: std::net::TcpListener, calls: Arc<[Call]>, asked: Arc<Mutex<Vec<Value>>>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
    while let Ok((stream, _)) = listener.accept().await {
        let (calls, asked) = (Arc::clone(&calls), Arc::clone(&asked));
        let service = service_fn(move |request| answer(request, Arc::clone(&calls), Arc::clone(&asked)));
        // A client that is killed breaks its connections; that is no matter of ours.
        tokio::spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
        );
    }
}

async fn answer(
    request: Request<Incoming>,
    calls: Arc<[Call]>,
    asked: Arc<Mutex<Vec<Value>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let events = match (request.method(), request.uri().path()) {
        (&Method::POST, "/v1/messages") => messages_api as fn(Option<(usize, &Call)>) -> Vec<Value>,
        (&Method::POST, "/v1/responses") => responses_api,
        _ => return Ok(response(StatusCode::NOT_FOUND, "application/json", "{}".to_owned())),
    };
    let body =
        request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return Ok(response(StatusCode::BAD_REQUEST, "application/json", "{}".to_owned()));
    };
    let refused = refusals(&body);
    let done = results(&body).len();
    // A server that never comes ends the conversation.
    let next = calls.get(done).filter(|_| refused < MOST_REFUSALS).map(|call| (done + refused, call));
    if refused > 0 {
        tokio::time::sleep(AGAIN_AFTER).await;
    }
    asked.lock().unwrap().push(body);
    let stream = events(next).iter().fold(String::new(), |text, event| {
        format!("{text}event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default())
    });
    Ok(response(StatusCode::OK, "text/event-stream", stream))
}

fn response(status: StatusCode, kind: &str, body: String) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header("content-type", kind);
    response.body(Full::new(Bytes::from(body))).expect("a response")
}

/// How often the client has refused a call: Codex asks the model before all of its servers are there.
fn refusals(body: &Value) -> usize {
    outputs(body).iter().filter(|output| is_refusal(output)).count()
}

fn is_refusal(output: &str) -> bool {
    output.contains("unsupported call")
}

/// The tools' answers that a request of either API holds.
fn results(body: &Value) -> Vec<String> {
    outputs(body).into_iter().filter(|output| !is_refusal(output)).collect()
}

fn outputs(body: &Value) -> Vec<String> {
    let items = |key: &str| body[key].as_array().cloned().unwrap_or_default();
    let blocks = items("messages").into_iter().flat_map(|message| match &message["content"] {
        Value::Array(blocks) => blocks.clone(),
        _ => Vec::new(),
    });
    let of_messages =
        blocks.filter(|block| block["type"] == "tool_result").map(|block| block["content"].to_string());
    let of_responses = items("input")
        .into_iter()
        .filter(|item| item["type"] == "function_call_output")
        .map(|item| item["output"].to_string());
    of_messages.chain(of_responses).collect()
}

/// Claude Code's.
fn messages_api(next: Option<(usize, &Call)>) -> Vec<Value> {
    let (block, delta, stop) = match next {
        Some((n, call)) => (
            json!({
                "type": "tool_use", "id": format!("toolu_{n}"),
                "name": format!("mcp__{}__{}", call.server, call.tool), "input": {},
            }),
            json!({ "type": "input_json_delta", "partial_json": call.arguments.to_string() }),
            "tool_use",
        ),
        None => (
            json!({ "type": "text", "text": "" }),
            json!({ "type": "text_delta", "text": "done" }),
            "end_turn",
        ),
    };
    vec![
        json!({ "type": "message_start", "message": {
            "id": "msg_1", "type": "message", "role": "assistant", "model": "mock", "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": { "input_tokens": 1, "output_tokens": 1 },
        } }),
        json!({ "type": "content_block_start", "index": 0, "content_block": block }),
        json!({ "type": "content_block_delta", "index": 0, "delta": delta }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({
            "type": "message_delta", "delta": { "stop_reason": stop, "stop_sequence": null },
            "usage": { "output_tokens": 1 },
        }),
        json!({ "type": "message_stop" }),
    ]
}

/// Codex's.
fn responses_api(next: Option<(usize, &Call)>) -> Vec<Value> {
    let item = match next {
        Some((n, call)) => json!({
            "type": "function_call", "id": format!("fc_{n}"), "call_id": format!("call_{n}"),
            "namespace": format!("mcp__{}", call.server), "name": call.tool,
            "arguments": call.arguments.to_string(),
        }),
        None => json!({
            "type": "message", "id": "msg_1", "role": "assistant",
            "content": [{ "type": "output_text", "text": "done" }],
        }),
    };
    vec![
        json!({ "type": "response.created", "response": { "id": "resp_1" } }),
        json!({ "type": "response.output_item.done", "output_index": 0, "item": item }),
        json!({ "type": "response.completed", "response": { "id": "resp_1", "usage": {
            "input_tokens": 1, "input_tokens_details": null,
            "output_tokens": 1, "output_tokens_details": null, "total_tokens": 2,
        } } }),
    ]
}
