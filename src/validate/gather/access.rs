//! All clients call at once. Each calls its own server, with a marker of its own in each call.

use std::time::Instant;

use futures::future::join_all;
use serde_json::{Value, json};

use super::{Bench, Live};
use crate::validate::checks::access::{
    Access, Call, CallOutcome, ClientCalls, Later, MEAN_BELOW, STEADY_AFTER,
};
use crate::validate::session::Session;

/// What a client asks of its server, over and over.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Operation {
    /// The tool `echo`, whose argument of this name comes back.
    Echo(String),
    Method(&'static str),
}

impl Operation {
    /// The best that a server can do, by its answer to `tools/list`.
    fn choose(tools: Option<&Value>) -> Self {
        let Some(tools) = tools else { return Self::Method("ping") };
        let echo =
            tools["tools"].as_array().and_then(|tools| tools.iter().find(|tool| tool["name"] == "echo"));
        match echo.and_then(|echo| text_argument(&echo["inputSchema"])) {
            Some(argument) => Self::Echo(argument),
            None => Self::Method("tools/list"),
        }
    }

    fn title(&self) -> String {
        match self {
            Self::Echo(_) => "tools/call echo".to_owned(),
            Self::Method(method) => (*method).to_owned(),
        }
    }

    fn request(&self, marker: &str) -> (&'static str, Value) {
        match self {
            Self::Echo(argument) => {
                ("tools/call", json!({ "name": "echo", "arguments": { argument: marker } }))
            }
            Self::Method(method) => (method, json!({})),
        }
    }
}

/// The argument that an `echo` wants: the required ones must be one, and a text.
fn text_argument(schema: &Value) -> Option<String> {
    let properties = schema["properties"].as_object()?;
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let name = match required[..] {
        [] => properties.keys().next()?.as_str(),
        [name] => name,
        _ => return None,
    };
    (properties.get(name)?["type"] == "string").then(|| name.to_owned())
}

/// The calls. What a client does one after another, all clients do at once.
pub(super) async fn call(bench: &Bench<'_>, sessions: &mut [Live]) -> Access {
    let Some(first) = sessions.first_mut() else {
        return Access { calls: bench.plan.calls, ..Access::default() };
    };
    let id = json!(format!("berth-{}-tools", bench.nonce));
    let tools = first.session.request(&id, "tools/list", json!({})).await.ok();
    let operation = Operation::choose(tools.as_ref());
    let calling = sessions
        .iter_mut()
        .enumerate()
        .map(|(at, live)| call_in_turn(&bench.nonce, at, bench.plan.calls, &operation, &mut live.session));
    let clients = join_all(calling).await;
    Access {
        operation: operation.title(),
        calls: bench.plan.calls,
        clients,
        later: Vec::new(),
        mean_below: Some(MEAN_BELOW * bench.plan.patience),
    }
}

async fn call_in_turn(
    nonce: &str,
    at: usize,
    calls: usize,
    operation: &Operation,
    session: &mut Session,
) -> ClientCalls {
    let mut made = ClientCalls { title: session.title.clone(), ..ClientCalls::default() };
    let family = format!("berth-{nonce}-");
    for number in 1..=calls {
        // The point keeps 1 from being the beginning of 11.
        let marker = format!("{family}{at}-{number}.");
        let (method, params) = operation.request(&marker);
        let began = Instant::now();
        let answer = session.request(&json!(marker), method, params).await;
        let took = began.elapsed();
        let outcome = match answer {
            Ok(result) => outcome(operation, &result, &marker, &family),
            Err(error) => CallOutcome::Wrong(error.to_string()),
        };
        made.calls.push(Call { took, outcome });
    }
    (made.strange_answers, made.garbage) = session.client.take_strays();
    made
}

fn outcome(operation: &Operation, result: &Value, marker: &str, family: &str) -> CallOutcome {
    let text = result.to_string();
    let others = text.replace(marker, "");
    if let Some(from) = others.find(family) {
        let other: String = others[from..].chars().take_while(|c| *c != '.').collect();
        return CallOutcome::Crossed(format!("the marker {other} in the answer to {marker}"));
    }
    match operation {
        _ if result["isError"] == true => CallOutcome::Wrong(format!("the tool failed: {text:.200}")),
        Operation::Echo(_) if !text.contains(marker) => {
            CallOutcome::Wrong("its marker did not come back".to_owned())
        }
        _ => CallOutcome::Right,
    }
}

/// One more request to each, once the sessions are old enough for it to mean anything.
pub(super) async fn call_again(sessions: &mut [Live], access: &mut Access) {
    let youngest = sessions.iter().filter_map(|live| live.session.answered).max();
    if let Some(youngest) = youngest {
        tokio::time::sleep_until((youngest + STEADY_AFTER).into()).await;
    }
    access.later = join_all(sessions.iter_mut().enumerate().map(|(at, live)| async move {
        let session = &mut live.session;
        let answered = session.request(&json!(format!("later-{at}")), "tools/list", json!({})).await;
        let age = session.answered.map(|answered| answered.elapsed()).unwrap_or_default();
        Later {
            title: session.title.clone(),
            age,
            answered: answered.map(drop).map_err(|error| error.to_string()),
        }
    }))
    .await;
    for (live, client) in sessions.iter_mut().zip(&mut access.clients) {
        let (strange, garbage) = live.session.client.take_strays();
        client.strange_answers.extend(strange);
        client.garbage.extend(garbage);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_with_one_text_is_preferred() {
        let echo = |schema: Value| {
            Operation::choose(Some(&json!({ "tools": [{ "name": "echo", "inputSchema": schema }] })))
        };
        let text = json!({ "message": { "type": "string" } });
        assert_eq!(
            echo(json!({ "properties": text, "required": ["message"] })),
            Operation::Echo("message".to_owned())
        );
        assert_eq!(echo(json!({ "properties": text })), Operation::Echo("message".to_owned()));
        let number = json!({ "n": { "type": "integer" } });
        assert_eq!(echo(json!({ "properties": number, "required": ["n"] })), Operation::Method("tools/list"));
        assert_eq!(Operation::choose(Some(&json!({ "tools": [] }))), Operation::Method("tools/list"));
        assert_eq!(Operation::choose(None), Operation::Method("ping"));
    }

    #[test]
    fn an_answer_is_right_only_with_its_own_marker_and_no_other() {
        let echo = Operation::Echo("text".to_owned());
        let judge = |text: &str| {
            outcome(&echo, &json!({ "content": [{ "text": text }] }), "berth-7-1-1.", "berth-7-")
        };
        assert_eq!(judge("Echo: berth-7-1-1."), CallOutcome::Right);
        assert!(matches!(judge("Echo: "), CallOutcome::Wrong(_)));
        for other in ["berth-7-1-11.", "berth-7-2-1.", "berth-7-1-1. and berth-7-2-1."] {
            assert!(matches!(judge(other), CallOutcome::Crossed(_)), "{other}");
        }
        let failed = json!({ "isError": true, "content": [{ "text": "berth-7-1-1." }] });
        assert!(matches!(outcome(&echo, &failed, "berth-7-1-1.", "berth-7-"), CallOutcome::Wrong(_)));
        let listed =
            outcome(&Operation::Method("tools/list"), &json!({ "tools": [] }), "berth-7-1-1.", "berth-7-");
        assert_eq!(listed, CallOutcome::Right);
    }
}
