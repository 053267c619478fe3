use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio_util::codec::Decoder;

use super::*;
use crate::config::Overrides;
use crate::rpc::FrameCodec;

fn rules(tools: Option<&[&str]>, denied: &[&str]) -> ToolRules {
    let overrides = Overrides::default().with("deny_tools", denied);
    let overrides = match tools {
        Some(tools) => overrides.with("tools", tools),
        None => overrides,
    };
    let server = crate::config::Server::from_image("i".parse().unwrap(), Vec::new(), &Settings::default());
    ToolRules::of("files", &server.with_overrides(&overrides).settings).unwrap()
}

/// Reading is allowed, but for secrets.
fn reading() -> ToolRules {
    rules(Some(&["read_*"]), &["*_secret"])
}

fn frame(line: &str) -> Frame {
    let mut bytes = BytesMut::from(format!("{line}\n").as_bytes());
    FrameCodec::new(1 << 20).decode(&mut bytes).unwrap().unwrap().unwrap()
}

fn screened(rules: &ToolRules, line: &str) -> Screened {
    let frame = frame(line);
    rules.screen(&frame, &look(frame.message()).unwrap())
}

fn passes(rules: &ToolRules, line: &str) -> bool {
    let Screened { refused, passes } = screened(rules, line);
    assert_eq!(refused.is_empty(), passes == Passes::AsItIs, "{line}");
    refused.is_empty()
}

fn call(name: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":{name}}}}}"#)
}

fn why(rules: &ToolRules, line: &str) -> (i64, String) {
    let refused = screened(rules, line).refused;
    assert_eq!(refused.len(), 1, "{line}");
    (refused[0].why.code(), refused[0].why.to_string())
}

#[test]
fn a_call_needs_a_tool_that_is_allowed_and_not_forbidden() {
    let rules = reading();
    assert!(passes(&rules, &call(r#""read_file""#)));
    assert!(passes(&rules, &call(r#""\u0072ead_file""#)), "an escape is one spelling of many");
    assert!(!passes(&rules, &call(r#""delete_file""#)));
    assert!(!passes(&rules, &call(r#""\u0064elete_file""#)));
    assert!(!passes(&rules, &call(r#""read_secret""#)), "what is forbidden goes before what is allowed");
    let (code, text) = why(&rules, &call(r#""delete_file""#));
    assert_eq!(code, -32602);
    assert_eq!(
        text,
        "berth: the tool `delete_file` of the server `files` is not allowed by `tools` in its configuration"
    );
    let (code, text) = why(&rules, &call(r#""read_secret""#));
    assert_eq!(code, -32602);
    assert_eq!(
        text,
        "berth: the tool `read_secret` of the server `files` is forbidden by `deny_tools` (\"*_secret\") in its \
         configuration"
    );
}

#[test]
fn an_empty_list_allows_nothing_and_no_list_everything_else() {
    assert!(!passes(&rules(Some(&[]), &[]), &call(r#""a""#)));
    let denying = rules(None, &["delete_*"]);
    assert!(passes(&denying, &call(r#""a""#)) && !passes(&denying, &call(r#""delete_""#)));
    assert!(ToolRules::of("files", &Settings::default()).is_none());
}

#[test]
fn only_calls_are_looked_at() {
    let rules = rules(Some(&[]), &[]);
    for line in [
        r#"{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"x","name":"y","Name":"z"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"x"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/initialized","params":null}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"method":"tools/call","params":{"name":"x"}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"tools/call"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/calling","params":{}}"#,
    ] {
        assert!(passes(&rules, line), "{line}");
    }
}

#[test]
fn what_a_server_may_read_in_another_way_is_refused() {
    // Each of these calls `delete_file` for some parser.
    let evil = r#""params":{"name":"delete_file"}"#;
    for line in [
        format!(r#"{{"id":1,"method":"ping","method":"tools/call",{evil}}}"#),
        format!(r#"{{"id":1,"method":"tools/call","method":"ping",{evil}}}"#),
        format!(r#"{{"id":1,"method":"ping","Method":"tools/call",{evil}}}"#),
        format!(r#"{{"id":1,"METHOD":"tools/call",{evil}}}"#),
        format!(r#"{{"id":1,"method\u0000":"tools/call",{evil}}}"#),
        format!(r#"{{"id":1,"method":"Tools/Call",{evil}}}"#),
        format!(r#"{{"id":1,"method":"tools/call\u0000",{evil}}}"#),
        format!(r#"{{"id":1,"method":" tools/call",{evil}}}"#),
        format!(r#"{{"id":1,"method":"tooLs/caLL",{evil}}}"#),
        format!(r#"{{"id":1,"result":{{}},"Method":"tools/call",{evil}}}"#),
        format!(r#"{{"id":1,"method":"tools/call",{evil},"params":{{"name":"read_x"}}}}"#),
        format!(r#"{{"id":1,"method":"tools/call","params":{{"name":"read_x"}},{evil}}}"#),
        r#"{"id":1,"method":"tools/call","params":{"name":"read_x"},"paramſ":{"name":"d"}}"#.to_owned(),
        r#"{"id":1,"id":2,"method":"tools/list"}"#.to_owned(),
        r#"{"id":1,"method":"tools/call","params":{"name":"delete_file","name":"read_x"}}"#.to_owned(),
        r#"{"id":1,"method":"tools/call","params":{"name":"read_x","n\u0061me":"delete_file"}}"#.to_owned(),
        r#"{"id":1,"method":"tools/call","params":{"name":"read_x","Name":"delete_file"}}"#.to_owned(),
        r#"{"id":1,"method":"tools/call","params":["delete_file"]}"#.to_owned(),
        r#"{"id":1,"method":"tools/call","params":"delete_file"}"#.to_owned(),
        r#"{"id":1,"method":"tools/call"}"#.to_owned(),
        r#"{"id":1,"method":"tools/call","params":{"nam":"read_x"}}"#.to_owned(),
        call("7"),
        call(r#"["delete_file"]"#),
        r#""{\"method\":\"tools/call\"}""#.to_owned(),
        format!(r#"{{"method":"tools/call",{evil}}}"#),
        format!(r#"{{"id":null,"method":"tools/call",{evil}}}"#),
        format!(r#"{{"id":{{}},"method":"tools/call",{evil}}}"#),
        format!(r#"{{"id":1,"result":{{}},"method":"tools/call",{evil}}}"#),
        r#"{"id":1,"method":"tools/call","params":{"task":{"ttl":1},"name":"delete_file"}}"#.to_owned(),
    ] {
        assert!(!passes(&reading(), &line), "{line}");
    }
    for name in
        ["delete\\u0000x", "a\\ud800", "a\\ufffd", " a", "a ", "a\\n", "", &"a".repeat(LONGEST_NAME + 1)]
    {
        let denying = rules(None, &["delete"]);
        assert!(!passes(&denying, &call(&format!("\"{name}\""))), "{name}");
    }
}

#[test]
fn a_carriage_return_hides_no_line() {
    // Python's text streams end a line there; JSON has it for a blank.
    let hidden = call(r#""delete_file""#);
    let line = format!("{{\"method\":\"notifications/x\",\"params\":{{\"x\":[\r{hidden}\r]}}}}");
    assert!(!passes(&reading(), &line));
    assert!(!passes(&reading(), &format!("{}\r\r", call(r#""read_x""#))), "the second one of two at the end");
    assert!(passes(&reading(), r#"{"method":"notifications/x","params":"\r"}"#));
}

#[test]
fn of_a_batch_only_what_may_not_pass_stays_behind() {
    let (good, evil) = (call(r#""read_x""#), call(r#""delete_x""#).replace("\"id\":1", "\"id\":\"\\u0065\""));
    let notification = evil.replace(r#""id":"\u0065","#, "");
    let Screened { refused, passes } =
        screened(&reading(), &format!("[{evil}, {good} ,{notification} , 5, [{evil}]]"));
    assert_eq!(passes, Passes::Line(format!("[{good}]\n").into()));
    assert_eq!(refused[0].id.as_ref().unwrap().as_bytes(), br#""\u0065""#, "as the client spelt it");
    let kinds: Vec<_> = refused.iter().map(|refusal| refusal.kind).collect();
    assert_eq!(kinds, [Kind::Request, Kind::Notification, Kind::Other]);
    assert_eq!(screened(&reading(), &format!("[{evil}]")).passes, Passes::Nothing);
    assert_eq!(screened(&reading(), &format!("[ {good},{good} ]")).passes, Passes::AsItIs);
}

fn filtered(line: &str) -> Option<String> {
    let line = reading().filter(&frame(line), |id| id != Some(&id_of("7")))?.line;
    Some(String::from_utf8(line.to_vec()).unwrap())
}

fn id_of(json: &str) -> RequestId {
    RequestId::from_raw(Raw::parse(json).unwrap()).unwrap()
}

#[test]
fn lists_lose_what_cannot_be_called_and_no_other_byte() {
    let line = r#" {"jsonrpc":"2.0", "id":1.0,"result":{"tools":[{"name":"write"} , {"x":1e999, "name":"\u0072ead_a"},{"name":"read_secret"}],"nextCursor":"\u0061","ttlMs" : 5 } }"#;
    let expected = r#" {"jsonrpc":"2.0", "id":1.0,"result":{"tools":[{"x":1e999, "name":"\u0072ead_a"}],"nextCursor":"\u0061","ttlMs" : 5 } }"#;
    assert_eq!(filtered(line).unwrap(), format!("{expected}\n"));
    let nameless = r#"{"id":1,"result":{"tools":[{"title":"x"},5,{"name":5},{"name":"read_a","name":"write"},{"name":"read_a","Name":"write"}]}}"#;
    assert_eq!(filtered(nameless).unwrap(), "{\"id\":1,\"result\":{\"tools\":[]}}\n");
}

#[test]
fn what_needs_no_change_is_not_touched() {
    for line in [
        r#"{"id":1,"result":{"tools":[{"name":"read_a"},{"name":"read_b"}]}}"#,
        r#"{"id":1,"result":{"tools":[ ]}}"#,
        r#"{"id":1,"result":{"resources":[{"name":"write"}]}}"#,
        r#"{"id":1,"result":[{"name":"write"}]}"#,
        r#"{"id":1,"error":{"code":1,"message":"","data":{"tools":[{"name":"write"}]}}}"#,
        // A call's result, not a list.
        r#"{"id":7,"result":{"tools":[{"name":"write"}]}}"#,
        r#"{"method":"sampling/createMessage","id":1,"params":{"tools":[{"name":"write"}]}}"#,
    ] {
        assert_eq!(filtered(line), None, "{line}");
    }
}

#[test]
fn a_list_that_can_be_read_in_two_ways_becomes_an_error() {
    let evil = r#"[{"name":"write"}]"#;
    for line in [
        format!(r#"{{"id":1,"result":{{"tools":{evil}}},"result":{{}}}}"#),
        format!(r#"{{"id":1,"result":{{"tools":{evil},"tools":[]}}}}"#),
        format!(r#"{{"id":1,"result":{{"Tools":{evil}}}}}"#),
        format!(r#"{{"id":1,"Result":{{"tools":{evil}}}}}"#),
        format!(r#"{{"id":7,"id":1,"result":{{"tools":{evil}}}}}"#),
        format!(r#"{{"id":1,"id":7,"result":{{"tools":{evil}}}}}"#),
        format!(r#"{{"id":1,"result":{{"tools":{{"0":{evil}}}}}}}"#),
    ] {
        let answer: Value = serde_json::from_str(&filtered(&line).unwrap()).unwrap();
        assert_eq!(answer["error"]["code"], -32600, "{line}");
        assert!(!answer.to_string().contains("write"), "{line}");
    }
}

#[test]
fn each_list_of_a_batch_is_filtered() {
    let list = r#"{"id":1,"result":{"tools":[{"name":"write"}]}}"#;
    let other = r#"{"id":7,"result":{"tools":[{"name":"write"}]}}"#;
    let none = r#"{"id":1,"result":{"tools":[]}}"#;
    assert_eq!(
        filtered(&format!("[{list}, {other} ,{list}]")).unwrap(),
        format!("[{none}, {other} ,{none}]\n")
    );
    assert_eq!(filtered(&format!("[{other}]")), None);
}

proptest! {
    #[test]
    fn a_filtered_list_is_the_list_of_what_may_be_called(names in prop::collection::vec("(read|write)_(a|secret)", 0..8)) {
        let rules = reading();
        let tool = |name: &String| json!({ "name": name, "inputSchema": { "name": "write" } });
        let list = |names: Vec<&String>| {
            let tools: Vec<_> = names.into_iter().map(tool).collect();
            json!({ "jsonrpc": "2.0", "id": 1, "result": { "tools": tools, "nextCursor": "c" } }).to_string()
        };
        let before = list(names.iter().collect());
        let callable = |name: &&String| passes(&rules, &call(&format!("\"{name}\"")));
        let after = filtered(&before).unwrap_or_else(|| format!("{before}\n"));
        prop_assert_eq!(after, list(names.iter().filter(callable).collect()) + "\n");
    }

    #[test]
    fn no_message_that_passes_calls_what_is_forbidden(
        members in prop::collection::vec(
            (prop_oneof![Just("id"), Just("method"), Just("params"), Just("Method"), Just("m\\u0065thod"), Just("x")],
             prop_oneof![
                 Just("1"), Just("\"tools/call\""), Just("\"ping\""), Just("{\"name\":\"read_a\"}"),
                 Just("{\"name\":\"write\"}"), Just("{\"name\":\"read_a\",\"name\":\"write\"}"),
                 Just("{\"NAME\":\"write\",\"name\":\"read_a\"}"), Just("\"tools\\/call\""),
             ]),
            1..6,
        ),
    ) {
        let members: Vec<_> = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        let line = format!("{{{}}}", members.join(","));
        let passed = passes(&reading(), &line);
        // The first, the last, in any case: whoever could read a call of `write` in it.
        let unescaped = line.replace("\\u0065", "e").replace("\\/", "/").to_lowercase();
        let may_call = unescaped.contains(r#""method":"tools/call""#) && unescaped.contains(r#""name":"write""#)
            && unescaped.contains(r#""params":{"#);
        let params_evil = unescaped.split(r#""params":{"#).skip(1).any(|rest| {
            rest.split('}').next().is_some_and(|params| params.contains(r#""name":"write""#))
        });
        prop_assert!(!(passed && may_call && params_evil), "{}", line);
    }
}
