//! What a server tells an examining client of itself, for the catalogue: in the server's own bytes.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::client::{Client, ClientError, Greeting};
use crate::catalogue::pages::{Cut, Kind, Pages};
use crate::catalogue::{Hello, List, Told};
use crate::rpc::raw::{Raw, member};

/// What was told in one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    pub revision: &'static str,
    /// Its image is for the caller to say.
    pub told: Told,
}

/// Begins the session and follows all lists that the server promises. Also gives what of the lists is left out, a line each.
///
/// # Errors
/// Where some answer is missing: half of what a server has is not what it told.
pub async fn listen<R, W>(
    client: &mut Client<R, W>,
    within: Duration,
) -> Result<(Vec<Heard>, Vec<String>), ClientError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let deadline = Instant::now() + within;
    let mut notes = Vec::new();
    let mut heard: Vec<Heard> =
        client.begin(within).await?.into_iter().map(|greeting| Heard::of(&greeting)).collect();
    // The last greeting is the session's.
    if let Some(Heard { told, .. }) = heard.last_mut() {
        for kind in Kind::ALL {
            if promises(&told.hello, kind) {
                *list_of(told, kind) = follow(client, kind, deadline, &mut notes).await?;
            }
        }
    }
    Ok((heard, notes))
}

impl Heard {
    fn of(greeting: &Greeting) -> Self {
        let told = Told {
            image: String::new(),
            hello: greeting.hello.clone(),
            tools: None,
            prompts: None,
            resources: None,
            templates: None,
        };
        Self { revision: greeting.revision, told }
    }
}

fn list_of(told: &mut Told, kind: Kind) -> &mut Option<List> {
    match kind {
        Kind::Tools => &mut told.tools,
        Kind::Prompts => &mut told.prompts,
        Kind::Resources => &mut told.resources,
        Kind::Templates => &mut told.templates,
    }
}

fn promises(hello: &Hello, kind: Kind) -> bool {
    let (Hello::Initialize(result) | Hello::Discover(result)) = hello else { return false };
    let result = std::str::from_utf8(result).ok().and_then(Raw::parse);
    let capabilities = result.and_then(|result| member(result, "capabilities"));
    capabilities.and_then(|all| member(all, kind.capability())).is_some_and(|one| one.get() != "null")
}

/// `None`: the server has no such list after all.
async fn follow<R, W>(
    client: &mut Client<R, W>,
    kind: Kind,
    deadline: Instant,
    notes: &mut Vec<String>,
) -> Result<Option<List>, ClientError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let method = kind.method();
    let mut pages = Pages::new(kind);
    let mut number = 0_u32;
    while let Some(cursor) = pages.next_request() {
        let params = match cursor.map(serde_json::from_str::<Value>) {
            None => json!({}),
            Some(Ok(cursor)) => json!({ "cursor": cursor }),
            Some(Err(_)) => {
                pages.stop(Cut::NoCursor);
                break;
            }
        };
        let is_first = cursor.is_none();
        let id = json!(format!("{method} {number}"));
        number += 1;
        let left = deadline.saturating_duration_since(Instant::now());
        match client.request_raw(&id, method, params, left).await {
            Ok(result) => match Raw::parse(&result) {
                Some(result) => _ = pages.page(result),
                None => _ = pages.stop(Cut::NoItems),
            },
            // Many servers with resources know no templates.
            Err(ClientError::Refused { .. }) if is_first => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let followed = pages.finish();
    notes.extend(followed.left_out.iter().map(|item| format!("{method}: {item}")));
    if followed.more_left_out > 0 {
        notes.push(format!("{method}: {} more are left out", followed.more_left_out));
    }
    notes.extend(followed.cut.map(|cut| format!("{method} is cut short: {cut}")));
    Ok(Some(followed.list))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, duplex, split};

    use super::super::client::Kind as Who;
    use super::*;

    /// Longer than Claude Code waits for the answer to its probe.
    const DELAY: Duration = Duration::from_secs(4);

    /// A server that answers each method by `answer`, until the client has gone.
    async fn heard(
        who: Who,
        answer: impl Fn(&str, &Value) -> String,
    ) -> Result<(Vec<Heard>, Vec<String>), ClientError> {
        let (ours, theirs) = duplex(1 << 16);
        let (from_server, to_server) = split(ours);
        let (from_client, mut out) = split(theirs);
        let serve = async {
            let mut lines = BufReader::new(from_client).lines();
            while let Some(line) = lines.next_line().await.unwrap() {
                let request: Value = serde_json::from_str(&line).unwrap();
                if request["id"].is_null() {
                    continue;
                }
                let answer = answer(request["method"].as_str().unwrap(), &request["params"]);
                tokio::time::sleep(DELAY).await;
                let line = format!("{{\"jsonrpc\":\"2.0\",\"id\":{},{answer}}}\n", request["id"]);
                out.write_all(line.as_bytes()).await.unwrap();
            }
        };
        let mut client = Client::new(who, from_server, to_server).patient();
        let listen = async {
            let heard = listen(&mut client, Duration::from_mins(1)).await;
            client.close().await;
            heard
        };
        tokio::join!(listen, serve).0
    }

    const REFUSED: &str = r#""error":{"code":-32601,"message":"no"}"#;
    const TOOL: &str = r#"{"name":"a", "inputSchema":{"type":"object","x":1.50}}"#;

    fn old_server(method: &str, params: &Value) -> String {
        match (method, params["cursor"].as_str()) {
            ("initialize", _) => {
                r#""result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}, "resources":{}}}"#
                    .to_owned()
            }
            ("tools/list", None) => format!(r#""result":{{"tools":[{TOOL}],"nextCursor":"2"}}"#),
            ("tools/list", Some("2")) => {
                format!(r#""result":{{"tools":[17,{}]}}"#, TOOL.replace("\"a\"", "\"b\""))
            }
            ("resources/list", _) => r#""result":{"resources":[]}"#.to_owned(),
            _ => REFUSED.to_owned(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_server_is_heard_in_both_revisions_of_claude_code() {
        let (heard, notes) = heard(Who::ClaudeCode, old_server).await.unwrap();
        let [probe, session] = &heard[..] else { panic!("{heard:?}") };
        assert_eq!((probe.revision, &probe.told.hello), ("2026-07-28", &Hello::NoDiscover));
        assert_eq!(session.revision, "2025-11-25");
        let Told { hello: Hello::Initialize(hello), tools: Some(tools), .. } = &session.told else {
            panic!()
        };
        assert!(hello.starts_with(b"{\"protocolVersion\"") && hello.ends_with(b", \"resources\":{}}}"));
        assert_eq!(tools.items, [TOOL, &TOOL.replace("\"a\"", "\"b\"")], "all pages, byte for byte");
        assert_eq!((&session.told.prompts, &session.told.templates), (&None, &None));
        assert_eq!(session.told.resources, Some(List::default()));
        assert_eq!(notes, ["tools/list: `#2` is left out: it is no object"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_server_is_heard_in_its_own_revision() {
        let server = |method: &str, params: &Value| match method {
            "server/discover" => r#""result":{"capabilities":{"prompts":{}}}"#.to_owned(),
            "prompts/list" if params["_meta"].is_object() => {
                r#""result":{"prompts":[],"ttlMs":5}"#.to_owned()
            }
            _ => REFUSED.to_owned(),
        };
        let (heard, _) = heard(Who::ClaudeCode, server).await.unwrap();
        let [only] = &heard[..] else { panic!("{heard:?}") };
        assert!(matches!(only.told.hello, Hello::Discover(_)) && only.revision == "2026-07-28");
        assert_eq!(only.told.prompts, Some(List { ttl_ms: Some(5), ..List::default() }));
        assert_eq!(only.told.tools, None);
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_list_is_an_error() {
        let server = |method: &str, params: &Value| match params["cursor"].as_str() {
            Some(_) => REFUSED.to_owned(),
            None => old_server(method, params),
        };
        let error = heard(Who::Codex, server).await.unwrap_err();
        assert_eq!(error.to_string(), "`tools/list` is answered with the error «no»");
    }
}
