//! The differences between two JSON values, in any order of their keys.
use std::convert::Infallible;
use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;

use crate::observe::redact::MARK;

/// Of one answer, so many differences are told,
const TOLD: usize = 8;
/// and so many characters of a value.
const SHOWN: usize = 120;

/// One place where two answers differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// A JSON pointer into the answer.
    pub pointer: String,
    pub recorded: String,
    pub now: String,
}

impl Difference {
    /// There is nothing to compare with.
    pub(super) fn missing(why: &str) -> Self {
        Self { pointer: String::new(), recorded: "an answer".to_owned(), now: why.to_owned() }
    }
}

/// A place that may differ: a JSON pointer, in which `*` stands for any one key or index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer(Vec<String>);

impl FromStr for Pointer {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.split('/').skip(1).map(str::to_owned).collect()))
    }
}

/// Where `now` is not what was recorded. What was redacted is not compared.
pub fn compare(recorded: &Value, now: &Value, ignored: &[Pointer]) -> Vec<Difference> {
    let mut found = Vec::new();
    walk(&mut Vec::new(), Some(recorded), Some(now), ignored, &mut found);
    found
}

fn walk(
    path: &mut Vec<String>,
    recorded: Option<&Value>,
    now: Option<&Value>,
    ignored: &[Pointer],
    found: &mut Vec<Difference>,
) {
    let is_ignored = |pointer: &Pointer| {
        pointer.0.len() == path.len()
            && pointer.0.iter().zip(path.iter()).all(|(wanted, key)| wanted == "*" || wanted == key)
    };
    if found.len() == TOLD || recorded == now || ignored.iter().any(is_ignored) {
        return;
    }
    match (recorded, now) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            let added = other.keys().filter(|key| !one.contains_key(*key));
            for key in one.keys().chain(added) {
                path.push(key.replace('~', "~0").replace('/', "~1"));
                walk(path, one.get(key), other.get(key), ignored, found);
                path.pop();
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            for at in 0..one.len().max(other.len()) {
                path.push(at.to_string());
                walk(path, one.get(at), other.get(at), ignored, found);
                path.pop();
            }
        }
        (Some(Value::String(text)), Some(_)) if text.contains(MARK) => {}
        _ => {
            let pointer = path.iter().flat_map(|key| ["/", key]).collect();
            found.push(Difference { pointer, recorded: shown(recorded), now: shown(now) });
        }
    }
}

fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else { return "nothing".to_owned() };
    let text = value.to_string();
    let short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}
