//! The client against a server at the other end of a pipe.

use super::*;
use tokio::io::{AsyncBufReadExt, BufReader, DuplexStream, ReadHalf, WriteHalf, duplex, split};

const SOON: Duration = Duration::from_secs(5);

struct Server {
    lines: tokio::io::Lines<BufReader<ReadHalf<DuplexStream>>>,
    out: WriteHalf<DuplexStream>,
}

impl Server {
    async fn read(&mut self) -> Value {
        serde_json::from_str(&self.lines.next_line().await.unwrap().unwrap()).unwrap()
    }

    async fn say(&mut self, line: &str) {
        self.out.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }
}

fn pair(kind: Kind) -> (Client<ReadHalf<DuplexStream>, WriteHalf<DuplexStream>>, Server) {
    let (ours, theirs) = duplex(1 << 16);
    let (from_server, to_server) = split(ours);
    let (from_client, out) = split(theirs);
    (Client::new(kind, from_server, to_server), Server { lines: BufReader::new(from_client).lines(), out })
}

#[tokio::test]
async fn claude_code_probes_first_and_then_initializes() {
    let (mut client, mut server) = pair(Kind::ClaudeCode);
    let serve = async {
        let probe = server.read().await;
        assert_eq!(
            (&probe["method"], &probe["id"]),
            (&json!("server/discover"), &json!("server-discover-probe-1"))
        );
        assert_eq!(probe["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"], messages::MODERN);
        server
            .say(r#"{"jsonrpc":"2.0","id":"server-discover-probe-1","error":{"code":-32601,"message":"no"}}"#)
            .await;
        let initialize = server.read().await;
        assert_eq!((&initialize["method"], &initialize["id"]), (&json!("initialize"), &json!(0)));
        assert_eq!(initialize["params"]["protocolVersion"], "2025-11-25");
        assert_eq!(initialize["params"]["_meta"], Value::Null);
        server.say(r#"{"jsonrpc":"2.0","id":0,"result":{}}"#).await;
        assert_eq!(server.read().await["method"], "notifications/initialized");
    };
    let (began, ()) = tokio::join!(client.begin(SOON), serve);
    began.unwrap();
}

#[tokio::test]
async fn codex_initializes_at_once() {
    let (mut client, mut server) = pair(Kind::Codex);
    let serve = async {
        let initialize = server.read().await;
        assert_eq!(initialize["params"]["protocolVersion"], "2025-06-18");
        assert_eq!(initialize["params"]["clientInfo"]["name"], "codex-mcp-client");
        server.say(r#"{"jsonrpc":"2.0","id":0,"error":{"code":69,"message":"berth: no daemon"}}"#).await;
    };
    let (began, ()) = tokio::join!(client.begin(SOON), serve);
    assert_eq!(began.unwrap_err().to_string(), "`initialize` is answered with the error «berth: no daemon»");
}

#[tokio::test]
async fn what_is_no_answer_is_sorted_and_the_answer_still_found() {
    let (mut client, mut server) = pair(Kind::Codex);
    let serve = async {
        server.read().await;
        for line in [
            "a stray print",
            r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#,
            r#"{"jsonrpc":"2.0","id":9,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":"theirs","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":"ours","result":{"n":1}}"#,
        ] {
            server.say(line).await;
        }
        assert_eq!(server.read().await, json!({ "jsonrpc": "2.0", "id": 9, "result": {} }));
    };
    let id = json!("ours");
    let (answer, ()) = tokio::join!(client.request(&id, "tools/list", json!({}), SOON), serve);
    assert_eq!(answer.unwrap(), json!({ "n": 1 }));
    let (strange, garbage) = client.take_strays();
    assert_eq!(garbage, ["a stray print"]);
    assert_eq!(strange, [r#"{"jsonrpc":"2.0","id":"theirs","result":{}}"#]);
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_to_the_probe_is_nothing_strange() {
    let (mut client, mut server) = pair(Kind::ClaudeCode);
    let serve = async {
        server.read().await;
        tokio::time::sleep(PROBE_PATIENCE * 2).await;
        assert_eq!(server.read().await["method"], "initialize");
        server.say(r#"{"jsonrpc":"2.0","id":"server-discover-probe-1","result":{}}"#).await;
        server.say(r#"{"jsonrpc":"2.0","id":0,"result":{}}"#).await;
    };
    let (began, ()) = tokio::join!(client.begin(SOON * 2), serve);
    began.unwrap();
    assert_eq!(client.take_strays(), (Vec::new(), Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_or_leaves_is_no_hang() {
    let (mut client, server) = pair(Kind::Codex);
    let error = client.request(&json!(1), "ping", json!({}), SOON).await.unwrap_err();
    assert_eq!(error.to_string(), "no answer to `ping` within 5 s");
    drop(server);
    assert!(client.request(&json!(2), "ping", json!({}), SOON).await.is_err());
    // One that reads nothing must not hold us up in writing either.
    let (mut client, _server) = pair(Kind::Codex);
    let params = json!({ "text": "x".repeat(1 << 20) });
    assert!(matches!(
        client.request(&json!(1), "tools/call", params, SOON).await,
        Err(ClientError::TimedOut { .. })
    ));
}
