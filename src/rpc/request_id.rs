//! JSON-RPC ids: when two ids are equal (`RequestId`), and how an id was spelt (`RawId`).
//!
//! A server may answer `1` with `1.0` and `"a"` with `"\u0061"`. JSON has many spellings of one value, and any of them
//! answers the request. berth's own answers use the client's spelling.
use std::fmt;

use serde::de::IgnoredAny;

use super::inline_bytes::InlineBytes;
use super::raw::{self, Raw};

/// An id as a value, to compare and to look up by. A string never equals a number.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Canonical);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Canonical {
    Integer(i64),
    /// Any other number, exactly: `-digits e exponent`, no zero at either end of the digits.
    Number(InlineBytes),
    /// The string's characters; UTF-8 but for lone surrogates.
    Text(InlineBytes),
}

impl RequestId {
    /// `None` for what can't be matched to an answer: `null`, and what is neither string nor number.
    pub fn from_raw(id: Raw<'_>) -> Option<Self> {
        Self::from_json(id.get())
    }

    fn from_json(json: &str) -> Option<Self> {
        match json.as_bytes().first()? {
            b'"' => {
                let text = raw::unescape(json.as_bytes())?;
                Some(Self(Canonical::Text(InlineBytes::from(text.as_ref()))))
            }
            b'-' | b'0'..=b'9' => Some(Self(number(json))),
            _ => None,
        }
    }
}

fn number(json: &str) -> Canonical {
    if let Ok(integer) = json.parse() {
        return Canonical::Integer(integer);
    }
    let (sign, unsigned) = match json.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", json),
    };
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = [whole, fraction].concat();
    let digits = all.trim_matches('0');
    if digits.is_empty() {
        return Canonical::Integer(0);
    }
    let Ok(exponent) = exponent.parse::<i64>() else {
        // Its exponent alone has twenty digits: such a number is equal to its own spelling only.
        return Canonical::Number(InlineBytes::from(json.as_bytes()));
    };
    let trailing = all.len() - all.trim_end_matches('0').len();
    let exponent = i128::from(exponent) - fraction.len() as i128 + trailing as i128;
    // i64 has at most nineteen digits.
    if let Ok(zeros) = usize::try_from(exponent)
        && zeros < 19
        && let Ok(integer) = format!("{sign}{digits}{:0<zeros$}", "").parse()
    {
        return Canonical::Integer(integer);
    }
    Canonical::Number(InlineBytes::from(format!("{sign}{digits}e{exponent}").as_bytes()))
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Canonical::Integer(integer) => integer.fmt(f),
            Canonical::Number(number) => String::from_utf8_lossy(number.as_slice()).fmt(f),
            Canonical::Text(text) => write!(f, "{:?}", String::from_utf8_lossy(text.as_slice())),
        }
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

/// An id just as it was written: a JSON string, number or `null`, never anything else. Equal if spelt the same.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RawId(InlineBytes);

impl RawId {
    /// `None` unless `id` is a string, a number or `null`.
    pub fn from_raw(id: Raw<'_>) -> Option<Self> {
        let json = id.get().as_bytes();
        matches!(json.first(), Some(b'"' | b'-' | b'0'..=b'9' | b'n')).then(|| Self(InlineBytes::from(json)))
    }

    /// The same from bytes that nobody has checked yet.
    pub(super) fn from_unchecked(json: &[u8]) -> Option<Self> {
        let scalar = matches!(json.first(), Some(b'"' | b'-' | b'0'..=b'9' | b'n'));
        let valid =
            std::str::from_utf8(json).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
        (scalar && valid).then(|| Self(InlineBytes::from(json)))
    }

    /// JSON text, UTF-8, without a line break.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// The id as a value; `None` for `null`.
    pub fn request_id(&self) -> Option<RequestId> {
        RequestId::from_json(std::str::from_utf8(self.as_bytes()).ok()?)
    }
}

impl fmt::Display for RawId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(self.as_bytes()).fmt(f)
    }
}

impl fmt::Debug for RawId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(json: &str) -> RequestId {
        RequestId::from_raw(Raw::parse(json).unwrap()).unwrap()
    }

    #[test]
    fn one_value_in_many_spellings_is_one_id() {
        for same in [
            &["1", "1.0", "1e0", "10e-1", "0.1e1", "1.000E+0"][..],
            &["0", "-0", "0.0", "-0e7", "0e99999999999999999999"],
            &["-9223372036854775808", "-9223372036854775808.0", "-922337203685477580.8e1"],
            &["12300", "1.23e4", "123e2"],
            &["1000000000000000000", "1e18"],
            &["1e999999", "10e999998", "0.1e1000000"],
            &["1.5", "15e-1", "1.50"],
            &[
                "123456789012345678901234567890",
                "123456789012345678901234567890.0",
                "1.2345678901234567890123456789e29",
            ],
            &[r#""a""#, r#""\u0061""#],
            &[r#""/""#, r#""\/""#],
            &[r#""😀""#, r#""\ud83d\ude00""#],
            &[r#""\ud800""#, r#""\uD800""#],
        ] {
            for spelling in same {
                assert_eq!(id(spelling), id(same[0]), "{spelling}");
            }
        }
    }

    #[test]
    fn different_values_are_different_ids() {
        let all = [
            "1",
            "-1",
            "10",
            "1.5",
            "-1.5",
            "1e999999",
            "1e999998",
            "9007199254740992",
            "9007199254740993",
            "9223372036854775807",
            "9223372036854775808",
            "1e19",
            "1e18",
            "0",
            r#""1""#,
            r#""1.0""#,
            r#""""#,
            r#""a""#,
            r#""A""#,
            r#""\ud800""#,
            r#""\ud801""#,
            r#""\ufffd""#,
            r#""a\u0000""#,
            r#""a string that is longer than what fits in place""#,
            r#""a string that is longer than what fits in place.""#,
        ];
        for (i, a) in all.iter().enumerate() {
            for b in &all[i + 1..] {
                assert_ne!(id(a), id(b), "{a} and {b}");
            }
        }
    }

    #[test]
    fn what_no_answer_can_be_matched_to_is_no_request_id() {
        for json in ["null", "true", "[1]", "{}"] {
            assert_eq!(RequestId::from_raw(Raw::parse(json).unwrap()), None);
        }
        assert!(RawId::from_raw(Raw::parse("null").unwrap()).unwrap().request_id().is_none());
    }

    #[test]
    fn a_raw_id_keeps_the_spelling_and_is_always_json() {
        let raw = RawId::from_raw(Raw::parse("1.50E+3").unwrap()).unwrap();
        assert_eq!(raw.as_bytes(), b"1.50E+3");
        assert_eq!(raw.request_id(), Some(id("1500")));
        for json in ["true", "[]", "{}"] {
            assert_eq!(RawId::from_raw(Raw::parse(json).unwrap()), None);
        }
        for broken in [&b"01"[..], b"1a", b"\"\xff\"", b"\"a\nb\"", b"\"\\x\"", b"nul", b"", b"true", b"\"a"]
        {
            assert_eq!(RawId::from_unchecked(broken), None);
        }
    }
}
