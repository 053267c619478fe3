//! Random JSON text and random cuts, for the property tests of the modules beside it.
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Keys that matter, in several spellings, and strings that look as if they did.
pub(super) const KEYS: &[&str] = &[
    r#""id""#,
    r#""id""#,
    r#""\u0069d""#,
    r#""method""#,
    r#""m\u0065thod""#,
    r#""result""#,
    r#""error""#,
    r#""params""#,
    r#""jsonrpc""#,
    r#""x""#,
    r#""""#,
    r#""a key that is longer than any that berth looks at""#,
    r#""\"id\":9""#,
    r#""{\"id\":9}""#,
    r#""\\""#,
    r#""ID""#,
];

const SCALARS: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "7",
    "1.50e+3",
    "123456789012345678901234567890",
    "-12",
    "1e5",
    r#""""#,
    r#""a""#,
    r#""\u0061\n""#,
    r#""\\\"id\":5,""#,
    r#""]}""#,
    r#""tools/call""#,
    r#""\ud83d\ude00""#,
    "\"\u{a0}\u{200d}é\"",
];

/// Valid JSON of any kind, oddly spaced, with duplicate keys.
pub(super) fn json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![4 => select(SCALARS).prop_map(str::to_owned), 1 => plain_string()];
    scalar.prop_recursive(4, 48, 6, |inner| prop_oneof![1 => array(inner.clone()), 2 => object_of(inner)])
}

/// A valid JSON object.
pub(super) fn object() -> impl Strategy<Value = String> {
    object_of(json())
}

fn plain_string() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|text| serde_json::Value::String(text).to_string())
}

fn blank() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => Just(""), 1 => select(&[" ", "\t", "\r", "  \n "][..])]
}

fn array(element: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (vec(element, 0..5), blank()).prop_map(|(elements, blank)| {
        format!("{blank}[{blank}{}{blank}]{blank}", elements.join(&format!("{blank},{blank}")))
    })
}

fn object_of(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (vec((select(KEYS), blank(), blank(), value), 0..7), blank()).prop_map(|(members, blank)| {
        let members: Vec<String> =
            members.iter().map(|(key, a, b, value)| format!("{a}{key}{b}:{a}{value}{b}")).collect();
        format!("{blank}{{{blank}{}}}{blank}", members.join(","))
    })
}

/// Where to cut; see [`cut`].
pub(super) fn cuts() -> impl Strategy<Value = Vec<usize>> {
    vec(1..12usize, 1..8)
}

/// `bytes` in pieces of these lengths, over and over.
pub(super) fn cut<'b>(bytes: &'b [u8], lengths: &[usize]) -> Vec<&'b [u8]> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    for &length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, behind) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}
