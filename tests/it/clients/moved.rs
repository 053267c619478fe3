//! A key among a server's arguments: `berth import --move-secrets` puts it into the client's entry, the server is started
//! with the very same words, and berth shows it nowhere.

use serde_json::{Value, json};

use super::import::{berth, newcomer, says};
use super::person::succeeds;
use crate::harness::{Berth, berth_says, expect_gone, home, inspect};

/// Answers with its own arguments, and prints them on its standard error. With `ENDS` it does not answer.
const SERVER: &str = r#"while read -r line; do case "$line" in *'"initialize"'*)
echo "started with $*" >&2
[ "$ENDS" ] && exit 3
printf '{"jsonrpc":"2.0","id":0,"result":{"argv":"%s"}}\n' "$*";;
*tools/list*) printf '{"jsonrpc":"2.0","id":"trial-tools","result":{"tools":[]}}\n';;
esac; done"#;

const KEY: &str = "sesame-of-the-key";
const LOGIN: &str = "sesame-of-the-login";

#[test]
fn a_key_among_the_arguments_moves_into_the_entry_and_reaches_the_server_alone() {
    let person = newcomer(Vec::new(), "");
    let entry = json!({ "mcpServers": { "keyed": { "command": "docker", "args": [
        "run", "-i", "--rm", "--network", "none", "--entrypoint", "/bin/sh", "berth-base", "-c", SERVER, "server",
        "--api-key", KEY, "--url", format!("postgres://me:{LOGIN}@db/x"), "--auth-mode", "none",
    ] } } });
    person.write("project/.mcp.json", &format!("{entry:#}\n"));
    let shows = |said: &str| said.contains(KEY) || said.contains(LOGIN);

    let (code, said) = says(berth(&person, &["import", "claude-code"]));
    assert_eq!(code, Some(78), "{said}");
    let command = "type `berth import claude-code keyed --move-secrets --config";
    assert!(
        said.contains("the value of `--api-key` looks like a credential") && said.contains(command),
        "{said}"
    );
    assert!(!shows(&said), "{said}");

    // What a server prints that does not start is said without them, too.
    let mut ends = entry.clone();
    let words = ends["mcpServers"]["keyed"]["args"].as_array_mut().unwrap();
    words.splice(1..1, [json!("-e"), json!("ENDS=1")]);
    person.write("project/.mcp.json", &format!("{ends:#}\n"));
    let (code, said) = says(berth(&person, &["import", "claude-code", "--move-secrets"]));
    assert_eq!(code, Some(78), "{said}");
    assert!(!shows(&said) && said.contains("started with --api-key [redacted]"), "{said}");
    person.write("project/.mcp.json", &format!("{entry:#}\n"));

    let said = succeeds(berth(&person, &["import", "claude-code", "--move-secrets"]));
    assert!(!shows(&said) && said.contains("\"MCP_BERTH_BASE_API_KEY\": \"[redacted]\""), "{said}");
    let config = person.read("berth.toml");
    assert!(!shows(&config) && config.contains("${MCP_BERTH_BASE_API_KEY}"), "{config}");
    let file: Value = serde_json::from_str(&person.read("project/.mcp.json")).unwrap();
    let env = &file["mcpServers"]["keyed"]["env"];
    assert_eq!(env, &json!({ "MCP_BERTH_BASE_API_KEY": KEY, "MCP_BERTH_BASE_PASSWORD": LOGIN }));

    let own = person.home().join("berth.toml");
    let own = own.to_str().unwrap();
    let mut dry = berth(&person, &["run", "--dry-run", "keyed"]);
    dry.envs([("MCP_BERTH_BASE_API_KEY", KEY), ("MCP_BERTH_BASE_PASSWORD", LOGIN)]);
    let preview = succeeds(dry);
    assert!(!shows(&preview) && preview.contains("postgres://me:[redacted]@db/x"), "{preview}");
    assert!(preview.contains("--api-key") && preview.contains("\"none\""), "{preview}");

    let trace = person.home().join("trace");
    let option = format!("--trace={}", trace.display());
    let mut session = Berth::run("keyed")
        .client("it-moved")
        .args(["--config", own, &option, "--trace-bodies"])
        .env("MCP_BERTH_BASE_API_KEY", KEY)
        .env("MCP_BERTH_BASE_PASSWORD", LOGIN)
        .start();
    session.send(&json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {} }));
    let argv = format!("--api-key {KEY} --url postgres://me:{LOGIN}@db/x --auth-mode none");
    assert_eq!(session.answer(0)["result"]["argv"], argv);
    let container = session.container();
    let configured = inspect(&container);
    assert!(!shows(&configured.to_string()), "the container's configuration shows it");
    assert!(!shows(&berth_says(&["ps", "--json"]).1));
    let id = configured["Config"]["Labels"]["io.mcp-berth.session"].as_str().unwrap().to_owned();
    session.close();
    expect_gone("it-moved");

    let traced = std::fs::read_to_string(&trace).unwrap();
    assert!(!shows(&traced), "{traced}");
    let records: Vec<Value> = traced.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let bodies: Vec<&Value> =
        records.iter().map(|record| &record["body"]).filter(|body| !body.is_null()).collect();
    assert!(!bodies.is_empty() && bodies.iter().all(|body| body.is_object()), "{traced}");
    let history = std::fs::read_to_string(home().join(format!("state/sessions/{id}.jsonl"))).unwrap();
    assert!(history.contains("started with") && !shows(&history), "{history}");
}
