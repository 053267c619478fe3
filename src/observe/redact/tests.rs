use std::fmt::Write;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

const SECRET: &str = "s3cr\"t/päss\\wörd😀";

fn redactor(secrets: &[&str]) -> Redactor {
    Redactor::new(secrets.iter().map(|secret| (*secret).to_owned()))
}

fn none() -> Redactor {
    redactor(&[])
}

#[track_caller]
fn body(redactor: &Redactor, from: &str, to: &str) {
    assert_eq!(redactor.body(from.as_bytes()), to);
}

#[test]
fn what_holds_no_secret_stays_as_it_is() {
    let spaced =
        r#" { "a" : [1.0e999, "\u00e9\ud800", {"author":"x","progressToken":7,"monkey":"y"}] , "a":null}"#;
    body(&redactor(&["hunter22"]), spaced, spaced);
    assert_eq!(redactor(&["hunter22"]).text("tools/call"), "tools/call");
}

#[test]
fn a_secret_is_found_in_every_spelling_it_may_have() {
    let secret = redactor(&[SECRET]);
    let json = serde_json::to_string(SECRET).unwrap();
    let twice = serde_json::to_string(&json).unwrap();
    let thrice = serde_json::to_string(&twice).unwrap();
    body(&secret, &format!("prefix {SECRET} suffix"), "prefix [redacted] suffix");
    body(&secret, &format!(r#"{{"x":{json},"y":1}}"#), r#"{"x":"[redacted]","y":1}"#);
    body(&secret, &format!(r#"{{"x":{twice}}}"#), r#"{"x":"\"[redacted]\""}"#);
    body(&secret, &format!(r#"{{"x":{thrice}}}"#), r#"{"x":"\"\\\"[redacted]\\\"\""}"#);
    let units = SECRET.encode_utf16().fold(String::new(), |text, unit| format!("{text}\\u{unit:04X}"));
    body(&secret, &format!(r#"{{"{units}":0}}"#), r#"{"[redacted]":0}"#);
    let percent = SECRET.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02x}"));
    body(&secret, &format!(r#"["http://x/?q={percent}&r=1"]"#), r#"["http://x/?q=[redacted]&r=1"]"#);
}

#[test]
fn base64_is_found_wherever_the_secret_begins_in_it() {
    let secret = redactor(&["correct horse battery"]);
    for before in ["", "u", "us", "user:"] {
        for engine in [&base64::engine::general_purpose::STANDARD, &base64::engine::general_purpose::URL_SAFE]
        {
            let encoded = engine.encode(format!("{before}correct horse battery~?>"));
            let shown = secret.text(&encoded);
            // Of the secret itself at most one character's bits are left on each side.
            let left = shown.replace(MARK, "");
            assert!(shown.contains(MARK) && left.len() <= before.len() * 4 / 3 + 8, "{encoded}: {shown}");
        }
    }
}

#[test]
fn secrets_that_overlap_are_hidden_whole() {
    body(&redactor(&["a1a1"]), "x a1a1a1 y", "x [redacted] y");
    body(&redactor(&["secretly", "lyric7"]), "x secretlyric7 y", "x [redacted] y");
    body(&redactor(&["pass", "password1"]), "x password1 y", "x [redacted] y");
    body(&redactor(&["abc1"]), "abc1abc1", "[redacted][redacted]");
}

#[test]
fn short_secrets_are_left_alone_and_padding_does_not_count() {
    body(&redactor(&["abc", ""]), "abc", "abc");
    body(&redactor(&["  \n "]), "a      b", "a      b");
    body(&redactor(&["hunter22\n"]), "is hunter22.", "is [redacted].");
}

#[test]
fn lines_of_a_key_are_secrets_too() {
    let key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\nMIIEvQIBADANBgkqhkiH\n-----END KEY-----\n";
    body(&redactor(&[key]), "at MIIEvQIBADANBgkqhkiH there", "at [redacted] there");
    let json = serde_json::to_string(key).unwrap();
    body(&redactor(&[key]), &json, r#""[redacted]\n""#);
}

#[test]
fn values_of_credentials_keys_are_hidden_at_any_depth() {
    body(&none(), r#"{"a":[{"apiKey":"x\"y","b":1}]}"#, r#"{"a":[{"apiKey":"[redacted]","b":1}]}"#);
    body(&none(), r#"{"token" : 17, "b":1}"#, r#"{"token" : "[redacted]", "b":1}"#);
    body(&redactor(&["1234"]), r#"{"token":12345678}"#, r#"{"token":"[redacted]"}"#);
    body(&none(), &format!(r#"{{"token":{}}}"#, "7".repeat(600)), r#"{"token":"[redacted]"}"#);
    body(&none(), r#"{"token":-1.5e3}"#, r#"{"token":"[redacted]"}"#);
    body(&none(), r#"{"auth":{"a":[1,"}\"]"],"token":2},"b":1}"#, r#"{"auth":"[redacted]","b":1}"#);
    body(&none(), r#"{"auth":{"a":"\""},"b":"x","c":"y"}"#, r#"{"auth":"[redacted]","b":"x","c":"y"}"#);
    body(&none(), r#"{"cookies":["a","b"],"b":1}"#, r#"{"cookies":"[redacted]","b":1}"#);
    body(&none(), r#"{"\u0074oken":"x","b":1}"#, r#"{"\u0074oken":"[redacted]","b":1}"#);
    body(&none(), r#"{"a \"b\" token\\":"x","b":1}"#, r#"{"a \"b\" token\\":"[redacted]","b":1}"#);
    body(&none(), r#"{"token":"","b":1}"#, r#"{"token":"","b":1}"#);
    body(&none(), "{\"password\":\n\t\"x\"}", "{\"password\":\n\t\"[redacted]\"}");
}

#[test]
fn everyday_secrets_blacken_nothing() {
    let everyday = redactor(&["true", "8085", "root", "none"]);
    for text in [r#"{"a":true,"port":8085,"path":"/root/x","roots":["none"]}"#, "root is true at 8085"] {
        body(&everyday, text, text);
    }
    body(&everyday, r#"{"password":"root","PORT":8085}"#, r#"{"password":"[redacted]","PORT":8085}"#);
}

#[test]
fn a_key_is_judged_with_its_value() {
    let shown = r#"{"authentication":"azcli","max_tokens":5000,"tokenFile":"/run/x","auth":"none","token_path":"~/x/y"}"#;
    body(&none(), shown, shown);
    body(
        &none(),
        r#"{"REDIS_PWD":"a","x":"--auth-mode=none"}"#,
        r#"{"REDIS_PWD":"[redacted]","x":"--auth-mode=none"}"#,
    );
    body(&none(), "passed: 3, pass: 2 of 3", "passed: 3, pass: 2 of 3");
    body(&none(), "MYSQL_PASS=a MODE=b", "MYSQL_PASS=[redacted] MODE=b");
}

#[test]
fn what_looks_like_a_credential_is_hidden_without_a_key() {
    body(&none(), "cannot reach postgres://me:sesame@db/x", "cannot reach postgres://me:[redacted]@db/x");
    body(
        &none(),
        r#"{"a":["Bearer abc.def1","x ghp_FAKEFAKE0000 y"]}"#,
        r#"{"a":["Bearer [redacted]","x [redacted] y"]}"#,
    );
    body(&none(), r#"{"a":"{\"h\":\"Bearer abc\"}"}"#, r#"{"a":"{\"h\":\"Bearer [redacted]\"}"}"#);
}

#[test]
fn a_body_that_is_json_stays_json() {
    body(
        &redactor(&["123456"]),
        r#"{"id":91234567,"a":[123456]}"#,
        r#"{"id":"[redacted]","a":["[redacted]"]}"#,
    );
    body(&redactor(&[r#"b","c"#]), r#"{"a":["ab","cd"]}"#, r#"{"a":["a[redacted]","[redacted]d"]}"#);
    body(&redactor(&["nabc1"]), r#"{"a":"x\nabc1"}"#, r#"{"a":"x[redacted]"}"#);
    body(&redactor(&[r#"{"k": "v"}"#]), r#"{"a":{"k": "v"}}"#, r#"{"a":{"[redacted]": "[redacted]"}}"#);
    body(
        &none(),
        r#"{"a":"'token': {x","b":"}"}"#,
        r#"{"a":"'token': [redacted]","[redacted]":"[redacted]"}"#,
    );
}

#[test]
fn json_in_a_string_and_free_text_in_it_are_read_too() {
    body(
        &none(),
        r#"{"text":"{\"token\":\"a\\\"b\",\"n\":{\"secret\":5}}","n":1}"#,
        r#"{"text":"{\"token\":\"[redacted]\",\"n\":{\"secret\":[redacted]}}","n":1}"#,
    );
    body(
        &none(),
        r#"{"text":"GET /\r\nAuthorization: Bearer abc.def\r\nAccept: x","n":1}"#,
        r#"{"text":"GET /\r\nAuthorization: [redacted]\r\nAccept: x","n":1}"#,
    );
    body(
        &none(),
        r#"{"text":"Authorization: Bearer abc","n":1}"#,
        r#"{"text":"Authorization: [redacted]","n":1}"#,
    );
    body(
        &none(),
        r#"{"cmd":"curl -H \"Authorization: Bearer abc\" http://x","n":1}"#,
        r#"{"cmd":"curl -H \"Authorization: [redacted]\" http://x","n":1}"#,
    );
}

#[test]
fn what_merely_resembles_json_is_masked_leniently() {
    let cases = [
        (r#"{"token":"abc"#, r#"{"token":"[redacted]"#),
        (r#"nonsense "} " {"token":"abc","b":1"#, r#"nonsense "} " {"token":"[redacted]","b":1"#),
        (r#"{"token":{"a":1"#, r#"{"token":"[redacted]""#),
        (r#""Authorization": Basic dXNlcjpw"#, r#""Authorization": "[redacted]""#),
        ("API key: abc def\nnext", "API key: [redacted]\nnext"),
        ("Cookie: a=b; c=d", "Cookie: [redacted]"),
        ("GITHUB_TOKEN=ghp_x PATH=/bin", "GITHUB_TOKEN=[redacted] PATH=/bin"),
        ("/cb?access_token=abc&state=1", "/cb?access_token=[redacted]&state=1"),
        ("{'password': 'it', 'b': 1}", "{'password': '[redacted]', 'b': 1}"),
        (r#"export TOKEN="a b" X=1"#, r#"export TOKEN="[redacted]" X=1"#),
        (r#"'token' => "a b", token := "c d""#, r#"'token' => "[redacted]", token := "[redacted]""#),
        (r#"-H \"Authorization: Bearer abc\" x"#, r#"-H \"Authorization: [redacted]\" x"#),
        (r#"\"token\":\"a\\\"b\","#, r#"\"token\":\"[redacted]\","#),
    ];
    for (from, to) in cases {
        body(&none(), from, to);
    }
    for harmless in
        ["Token::new(x)", "cannot read the token file: gone", "a: b", "token", "token:", "=", "\":", ":"]
    {
        body(&none(), harmless, harmless);
    }
}

/// The processor time of this thread, in hundredths of a second, whatever else the machine does.
fn own_time() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

#[test]
fn a_deep_nest_takes_no_longer_than_a_flat_text() {
    let before = own_time();
    let nest = r#"{"token":"#.repeat(40_000);
    let string = format!(r#"{{"a":"{}"}}"#, nest.replace('"', "\\\""));
    assert_eq!(none().body(nest.as_bytes()), r#"{"token":"[redacted]""#);
    assert!(none().body(string.as_bytes()).len() < 100);
    none().text(&"token= x ".repeat(40_000));
    none().body(r#""token"= x "#.repeat(40_000).as_bytes());
    // A walk from each key to the end would be billions of steps.
    let took = own_time() - before;
    assert!(took < 10 * 100, "{took} hundredths of a second");
}

#[test]
fn a_cut_shows_no_half_of_a_secret() {
    let secret = redactor(&["correct horse battery"]);
    for before in 0..40 {
        let text = format!("{}correct horse battery{}", "-".repeat(before), "=".repeat(300));
        let copied = &text[..20 + secret.margin().min(text.len() - 20)];
        let shown = secret.hide(copied, 20, true);
        assert!(!shown.contains("cor"), "{shown}");
        assert_eq!(shown.contains(MARK), before < 20, "{shown}");
    }
}

#[test]
fn secrets_that_come_later_are_hidden_by_all_clones() {
    let early = redactor(&["early-secret"]);
    let clone = early.clone();
    let margin = clone.margin();
    early.learn(["a-much-longer-late-secret".to_owned()]);
    assert_eq!(clone.text("early-secret a-much-longer-late-secret"), "[redacted] [redacted]");
    assert!(clone.margin() > margin, "a cut must not show a part of it");
}

#[test]
fn each_server_of_a_session_may_bring_secrets_of_its_own() {
    let all = redactor(&[]);
    let clone = all.clone();
    for secrets in [&[][..], &["of-the-first"], &["of-the-second", "of-the-second-too"]] {
        all.learn(secrets.iter().map(|&secret| secret.to_owned()));
    }
    let shown = clone.text("of-the-first of-the-second of-the-second-too");
    assert_eq!(shown, "[redacted] [redacted] [redacted]");
}

#[test]
fn its_debug_output_has_no_secret() {
    let shown = format!("{:?}", redactor(&["hunter22", "abc"]));
    assert!(!shown.contains("hunter22") && !shown.contains("abc"), "{shown}");
}

/// A JSON text, any character of its strings escaped or not, and what it means.
fn spelt(text: String) -> impl Strategy<Value = String> {
    let length = text.chars().count();
    prop::collection::vec(any::<bool>(), length).prop_map(move |escape| {
        let mut spelt = String::from("\"");
        for (char, escape) in text.chars().zip(escape) {
            if escape {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    write!(spelt, "\\u{unit:04x}").unwrap();
                }
            } else {
                let quoted = serde_json::to_string(&char).unwrap();
                spelt += &quoted[1..quoted.len() - 1];
            }
        }
        spelt + "\""
    })
}

fn string(secret: &'static str) -> impl Strategy<Value = String> {
    let text = prop_oneof![
        "[a-z\"\\\\ :{}\u{e9}\n]{0,6}",
        ("[a-z\"\\\\:/\u{e9}]{0,4}", "[a-z\"\\\\,}]{0,4}").prop_map(move |(a, b)| format!("{a}{secret}{b}")),
        Just(serde_json::to_string(&serde_json::json!({ "x": secret })).unwrap()),
        Just("token".to_owned()),
    ];
    text.prop_flat_map(spelt)
}

fn document(secret: &'static str) -> impl Strategy<Value = String> {
    let leaf = prop_oneof![string(secret), "[1-9][0-9]{1,9}", Just("null".to_owned())];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        let list = prop::collection::vec(inner.clone(), 0..4).prop_map(|all| format!("[{}]", all.join(",")));
        let member = (string(secret), inner).prop_map(|(key, value)| format!("{key}: {value}"));
        prop_oneof![
            list,
            prop::collection::vec(member, 0..4).prop_map(|all| format!("{{{}}}", all.join(",")))
        ]
    })
}

/// Everything that a reader of `text` could see, however often it unescapes.
fn readings(text: &str) -> Vec<String> {
    let mut layer = Layer::of(text.as_bytes());
    let mut readings = vec![text.to_owned()];
    for _ in 0..4 {
        layer = layer.unescaped();
        readings.push(String::from_utf8_lossy(&layer.bytes).into_owned());
    }
    readings
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_reading_of_a_body_shows_the_secret(json in document(SECRET), broken in any::<prop::sample::Index>()) {
        prop_assert!(serde_json::from_str::<Value>(&json).is_ok(), "{}", json);
        let redactor = redactor(&[SECRET]);
        let shown = redactor.body(json.as_bytes());
        prop_assert!(serde_json::from_str::<Value>(&shown).is_ok(), "{} -> {}", json, shown);
        for reading in readings(&shown) {
            prop_assert!(!reading.contains(SECRET), "{} -> {}", json, shown);
        }
        // Without its beginning it is no JSON, and its quotes are the wrong way round.
        let from = (0..=broken.index(json.len() + 1)).rev().find(|at| json.is_char_boundary(*at)).unwrap();
        for reading in readings(&redactor.body(&json.as_bytes()[from..])) {
            prop_assert!(!reading.contains(SECRET), "{} from {}", json, from);
        }
    }

    #[test]
    fn what_was_json_is_json_whatever_is_secret(
        json in document("s3cr\"t-99"),
        from in any::<prop::sample::Index>(),
        length in 4usize..40,
    ) {
        // Any piece of it, syntax included.
        let from = (0..=from.index(json.len() + 1)).rev().find(|at| json.is_char_boundary(*at)).unwrap();
        let piece: String = json[from..].chars().take(length).collect();
        let shown = redactor(&[&piece]).body(json.as_bytes());
        prop_assert!(serde_json::from_str::<Value>(&shown).is_ok(), "{} without {:?} -> {}", json, piece, shown);
    }

    #[test]
    fn no_cut_shows_a_part_of_the_secret(json in document("QQQQQQQQQQQQ"), cut in any::<prop::sample::Index>()) {
        let redactor = redactor(&["QQQQQQQQQQQQ"]);
        let shown = redactor.hide(&json, cut.index(json.len() + 1), true);
        for reading in readings(&shown) {
            prop_assert!(!reading.contains('Q'), "{} -> {}", json, shown);
        }
    }

    #[test]
    fn any_text_can_be_read(text in any::<String>(), noise in "[\"\\\\:={}\\[\\]a'u0 \n%token]{0,60}", limit in 0usize..80) {
        let redactor = redactor(&["token", "aaaa", "\\\"\\u"]);
        redactor.text(&text);
        redactor.hide(&noise, limit, true);
        redactor.body(noise.as_bytes());
    }
}
