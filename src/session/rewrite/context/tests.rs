use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::rpc::look;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

/// A line with berth's contexts in it, and these.
fn written(line: &str) -> (Option<Bytes>, Vec<TraceContext>) {
    let seen = look(line.as_bytes()).unwrap();
    let mut edit = Edit::new(line);
    let rules = ContextRules(SystemRandom::new());
    let contexts = seen.envelopes().iter().filter_map(|request| rules.write(&mut edit, request)).collect();
    (edit.finish(b""), contexts)
}

#[test]
fn a_request_gets_one_member_and_keeps_every_other_byte() {
    for (params, expected) in [
        (r#"{"name":"t"}"#, r#"{"_meta":{"traceparent":"@"},"name":"t"}"#),
        ("{ }", r#"{"_meta":{"traceparent":"@"} }"#),
        ("{\n}", "{\"_meta\":{\"traceparent\":\"@\"}\n}"),
        (r#"{"a":1.0e0 , "_meta": { } }"#, r#"{"a":1.0e0 , "_meta": {"traceparent":"@" } }"#),
        (r#"{"_meta":{"progressToken":1}}"#, r#"{"_meta":{"traceparent":"@","progressToken":1}}"#),
        (
            r#"{"\u005fmeta":{"traceparent" : "X" },"b":"\ud800"}"#,
            r#"{"\u005fmeta":{"traceparent" : "@" },"b":"\ud800"}"#,
        ),
        (r#"{"_meta":{"traceparent":{"a":[1]}}}"#, r#"{"_meta":{"traceparent":"@"}}"#),
    ] {
        let line = |params: &str| format!("{{\"id\":1,  \"method\":\"ping\",\"params\":{params}}}\r\n");
        let (text, contexts) = written(&line(params));
        let [context] = contexts.as_slice() else { panic!("{params}: {contexts:?}") };
        assert_eq!(text.unwrap(), line(&expected.replace('@', context.traceparent())), "{params}");
        assert!(context.traceparent().ends_with("-01"), "a trace begins");
    }
}

#[test]
fn what_has_no_place_for_it_or_several_stays_as_it_is() {
    for params in [
        "[]",
        "1",
        "null",
        r#"{"_meta":null}"#,
        r#"{"_meta":[{"traceparent":"X"}]}"#,
        r#"{"_meta":{},"_meta":{}}"#,
        r#"{"_meta":{},"_META":{}}"#,
        r#"{"_meta":{"traceparent":"X","TraceParent":"Y"}}"#,
    ] {
        let line = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{params}}}"#);
        assert_eq!(written(&line), (None, Vec::new()), "{params}");
    }
    assert_eq!(written(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#), (None, Vec::new()));
}

#[test]
fn the_clients_trace_goes_on_in_a_span_of_each_request() {
    let asks = |id: u32| {
        format!(
            r#"{{"id":{id},"method":"a","params":{{"_meta":{{"traceparent":"{PARENT}","tracestate":"a=b"}}}}}}"#
        )
    };
    let (text, contexts) = written(&format!("[{} , {}]\n", asks(1), asks(2)));
    assert_ne!(contexts[0], contexts[1]);
    let text = String::from_utf8(text.unwrap().to_vec()).unwrap();
    for context in &contexts {
        assert_eq!((&context.traceparent()[..36], &context.traceparent()[52..]), (&PARENT[..36], "-00"));
    }
    let before = text.replace(contexts[0].traceparent(), PARENT).replace(contexts[1].traceparent(), PARENT);
    assert_eq!(before, format!("[{} , {}]\n", asks(1), asks(2)));
}

proptest! {
    #[test]
    fn the_message_means_the_same_but_for_that_member(
        name in "[a-z\"\\\\{}é]{0,6}", meta in prop::option::of(0..3_u8), blank in "[ \t]{0,2}",
    ) {
        let name = Value::from(name);
        let meta = meta.map(|meta| ["{}", r#"{"traceparent":"x"}"#, r#"{"a":{"_meta":1}}"#][usize::from(meta)]);
        let meta = meta.map(|meta| format!(",{blank}\"_meta\":{blank}{meta}")).unwrap_or_default();
        let line = format!("{{\"id\":1,\"method\":\"m\",\"params\":{blank}{{{blank}\"name\":{name}{meta}{blank}}}}}");
        let (text, contexts) = written(&line);
        let mut after: Value = serde_json::from_slice(&text.unwrap()).unwrap();
        let mut before: Value = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(&after["params"]["_meta"]["traceparent"], contexts[0].traceparent());
        for value in [&mut after, &mut before] {
            let params = value["params"].as_object_mut().unwrap();
            let meta = params.entry("_meta").or_insert_with(|| serde_json::json!({}));
            meta.as_object_mut().unwrap().remove("traceparent");
        }
        prop_assert_eq!(after, before);
    }
}
