//! The messages of an examining client, as both clients write them.

use serde_json::{Value, json};

/// The revision without `initialize`.
pub(super) const MODERN: &str = "2026-07-28";

pub fn request(id: &Value, method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

/// The parameters of `initialize`.
pub fn initialize(revision: &str, client: &Value) -> Value {
    json!({ "protocolVersion": revision, "capabilities": {}, "clientInfo": client })
}

/// Gives a request's parameters what MCP 2026-07-28 wants in each.
pub fn make_modern(params: &mut Value, client: &Value) {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": client,
        "io.modelcontextprotocol/clientCapabilities": {},
    });
}

/// What we can answer a server: that we are there, and nothing else.
pub fn reply(id: &Value, method: &Value) -> Value {
    if method == "ping" {
        json!({ "jsonrpc": "2.0", "id": id, "result": {} })
    } else {
        json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32601, "message": "Method not found" } })
    }
}
