//! Servers of one era in sessions of the other: what is mapped, asked and made again, and how each of it ends.

mod in_new;
mod in_old;

use super::*;

fn new(name: &'static str) -> Played {
    let mut played = Played::new(name, &["x"]);
    (played.speaks_modern, played.speaks_legacy) = (true, false);
    played
}

fn call(name: &str, arguments: &Value) -> Value {
    json!({ "name": name, "arguments": arguments })
}

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

fn failure(answer: &Value) -> &str {
    answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

fn heard(server: &Played, method: &str) -> Vec<Value> {
    let heard = server.heard.lock().unwrap();
    heard.iter().filter(|message| message["method"] == method).cloned().collect()
}

/// An old session with a new server and an old one.
async fn old_session() -> (Stage, Played) {
    let server = new("new");
    let mut stage = Set::of(vec![server.clone(), Played::new("old", &["x"])]).stage();
    stage.begins().await;
    stage.asks(90, "tools/list", json!({})).await;
    (stage, server)
}

/// A new one with an old server, whose client goes on after it was refused.
async fn new_session(server: Played) -> (Stage, Played) {
    let mut stage = Set::of(vec![server.clone(), new("new")]).stage();
    stage.says(modern(90, "server/discover", json!({}))).await;
    assert_eq!(stage.answer(90).await["error"]["code"], -32601);
    stage.says(modern(91, "tools/list", json!({}))).await;
    let tools = stage.answer(91).await;
    assert_eq!(tools["result"]["tools"].as_array().unwrap().len(), 2, "{tools}");
    (stage, server)
}

impl Stage {
    async fn asks_anew(&mut self, id: u32, method: &str, params: Value) -> Value {
        self.says(modern(id, method, params)).await;
        self.answer(id).await
    }

    /// Answers a question of a server's.
    async fn replies(&mut self, question: &Value, result: Value) {
        self.says(json!({ "jsonrpc": "2.0", "id": question["id"], "result": result })).await;
    }

    /// Comes again with the answers to what the call needs.
    async fn comes_again(&mut self, id: u32, params: &Value, needs: &Value, answer: &Value) -> Value {
        let mut params = params.clone();
        for key in needs["result"]["inputRequests"].as_object().unwrap().keys() {
            params["inputResponses"][key] = answer.clone();
        }
        params["requestState"] = needs["result"]["requestState"].clone();
        self.asks_anew(id, "tools/call", params).await
    }
}

const SAMPLING: &str = "sampling/createMessage";
