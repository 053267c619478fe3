//! Messages of a server that are no JSON for a few bytes: ill-formed UTF-8, and the numbers that JSON does not have.
//!
//! Exactly those bytes are replaced, as a lenient client reads them: a maximal ill-formed part by U+FFFD (Unicode 3.9,
//! WHATWG Encoding), a bare `NaN`, `Infinity` or `-Infinity` by `null`. What is no message even then is not touched.

use bytes::Bytes;
use memchr::{memchr2, memchr3};

use super::Edit;
use crate::config::Settings;
use crate::human::count;
use crate::rpc::{Envelope, Frame, Look, look, salvage};
use crate::values::BrokenAnswers;

/// The numbers of JavaScript and Python that are none in JSON.
const NUMBERS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// That broken messages are repaired.
#[derive(Debug, Clone, Copy)]
pub struct Repairs {
    /// Bytes; a message that grows over it is not repaired.
    longest: usize,
}

/// A message that could be read after all.
#[derive(Debug)]
pub(in crate::session) struct Repaired {
    pub(in crate::session) frame: Frame,
    /// What was replaced.
    pub(in crate::session) what: String,
}

impl Repairs {
    /// `None` where broken messages are refused.
    pub fn of(settings: &Settings) -> Option<Self> {
        match settings.broken_answers {
            BrokenAnswers::Repair => Some(Self { longest: settings.max_line }),
            BrokenAnswers::Refuse => None,
        }
    }

    /// Repairs a line that is no JSON; `None` unless it is then what `is_message` takes.
    pub(in crate::session) fn repair(
        self,
        broken: &Frame,
        is_message: impl FnOnce(&Look<'_>) -> bool,
    ) -> Option<Repaired> {
        let message = broken.message();
        // A print, most often.
        if !matches!(message.trim_ascii_start().first(), Some(b'{' | b'[')) {
            return None;
        }
        let (text, parts) = self.well_formed(message)?;
        let terminator = &broken.wire()[message.len()..];
        let (line, numbers) = without_numbers(&text, terminator);
        if parts + numbers == 0 {
            return None;
        }
        let frame = Frame::new(line);
        if frame.message().len() > self.longest
            || !look(frame.message()).is_ok_and(|look| is_message(&look) && has_ids_of(&look, message))
        {
            return None;
        }
        let told = [(parts, "ill-formed UTF-8 sequence"), (numbers, "non-JSON number")];
        let told = told.into_iter().filter(|(number, _)| *number > 0);
        let what = told.map(|(number, what)| count(number, what)).collect::<Vec<_>>().join(", ");
        Some(Repaired { frame, what })
    }

    /// The message in UTF-8, and how many parts of it were not.
    fn well_formed(self, message: &[u8]) -> Option<(String, usize)> {
        let (mut text, mut parts) = (String::with_capacity(message.len()), 0);
        for chunk in message.utf8_chunks() {
            text.push_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
                parts += 1;
            }
            if text.len() > self.longest {
                return None;
            }
        }
        Some((text, parts))
    }
}

/// Whether all ids are as the server has spelt them: by another one it would answer another request.
fn has_ids_of(look: &Look<'_>, broken: &[u8]) -> bool {
    let repaired = look.envelopes().iter().filter_map(Envelope::raw_id);
    repaired.eq(salvage::messages(broken).map(|(id, _)| id))
}

/// The line with `null` in the places of such numbers, and how many they were. What else stands there can only be no JSON.
fn without_numbers(text: &str, terminator: &[u8]) -> (Bytes, usize) {
    let bytes = text.as_bytes();
    let (mut edit, mut numbers, mut at) = (Edit::new(text), 0, 0);
    while let Some(found) = memchr3(b'"', b'I', b'N', &bytes[at..]) {
        at += found;
        if bytes[at] == b'"' {
            at = behind_string(bytes, at);
            continue;
        }
        let start = at - usize::from(at > edit.done && bytes[at - 1] == b'-');
        let number = NUMBERS.iter().find(|number| bytes[start..].starts_with(number.as_bytes()));
        match number {
            Some(number) => {
                edit.replace(start..start + number.len(), b"null");
                numbers += 1;
                at = edit.done;
            }
            None => at += 1,
        }
    }
    let line = edit.finish(terminator).unwrap_or_else(|| [bytes, terminator].concat().into());
    (line, numbers)
}

/// The place behind the string that begins at `at`.
fn behind_string(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(found) = memchr2(b'"', b'\\', &bytes[at..]) {
        at += found;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at = (at + 2).min(bytes.len());
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::FrameCodec;

    const REPAIRS: Repairs = Repairs { longest: 200 };

    fn frame(line: &[u8]) -> Frame {
        FrameCodec::new(1000).next(&mut [line, b"\r\n"].concat().into()).unwrap().unwrap()
    }

    fn is_message(look: &Look<'_>) -> bool {
        look.is_message()
    }

    /// The repaired line without its terminator, and what is said of it.
    fn repaired(line: &[u8]) -> Option<(String, String)> {
        let Repaired { frame, what } = REPAIRS.repair(&frame(line), is_message)?;
        assert!(frame.wire().ends_with(b"\r\n"), "its terminator stays");
        Some((String::from_utf8(frame.message().to_vec()).unwrap(), what))
    }

    fn result(value: &[u8]) -> Vec<u8> {
        [br#"{"jsonrpc":"2.0","id":1,"result":"#, value, b"}"].concat()
    }

    #[test]
    fn an_id_is_never_another_one() {
        for broken in [
            &br#"{"jsonrpc":"2.0","id":NaN,"result":1}"#[..],
            b"{\"jsonrpc\":\"2.0\",\"id\":\"a\xff\",\"result\":1}",
            b"[{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":1},{\"jsonrpc\":\"2.0\",\"id\":\"\xff\",\"result\":1}]",
        ] {
            assert_eq!(repaired(broken), None, "{}", String::from_utf8_lossy(broken));
        }
        let (batch, _) = repaired(br#"[{"id":1,"result":NaN},{"method":"n"},{"id":2,"error":NaN}]"#).unwrap();
        assert_eq!(batch, r#"[{"id":1,"result":null},{"method":"n"},{"id":2,"error":null}]"#);
    }

    #[test]
    fn exactly_the_broken_bytes_are_replaced() {
        for (broken, mended, said) in [
            (&b"\"a\xffb\""[..], "\"a\u{fffd}b\"", "1 ill-formed UTF-8 sequence"),
            // A maximal part each: three of four bytes, then two that begin nothing, then a surrogate's three.
            (
                b"\"\xf0\x9f\x98x\xc0\xaf\xed\xa0\x80\"",
                "\"\u{fffd}x\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\"",
                "6 ill-formed UTF-8 sequences",
            ),
            (b"NaN", "null", "1 non-JSON number"),
            (
                b"[Infinity,-Infinity, NaN ,{\"a\":NaN}]",
                "[null,null, null ,{\"a\":null}]",
                "4 non-JSON numbers",
            ),
            (
                b"[ -Infinity, \"NaN \\\" Infinity \\\\\", 1.50e+3, \"\xc3\", \"\xc3\xa9\"]",
                "[ null, \"NaN \\\" Infinity \\\\\", 1.50e+3, \"\u{fffd}\", \"\u{e9}\"]",
                "1 ill-formed UTF-8 sequence, 1 non-JSON number",
            ),
        ] {
            let expected = String::from_utf8(result(mended.as_bytes())).unwrap();
            assert_eq!(repaired(&result(broken)), Some((expected, said.to_owned())));
        }
    }

    #[test]
    fn what_is_no_message_then_either_is_not_touched() {
        for value in [
            &b"nan"[..],
            b"-NaN",
            b"--Infinity",
            b"- Infinity",
            b"+Infinity",
            b"NaNs",
            b"1NaN",
            b"NaN0",
            b"InfinityInfinity",
            b"Infinity-Infinity",
            b"{NaN:1}",
            b"[NaN,]",
            b"\xff",
            b"[NaN,undefined]",
            b"\"NaN",
            b"\"\\",
            b"'\xff'",
        ] {
            assert_eq!(repaired(&result(value)), None, "{}", value.escape_ascii());
        }
        assert_eq!(repaired(b"{\"level\":30,\"load\":NaN}"), None, "a print");
    }

    #[test]
    fn what_grows_over_the_longest_line_is_not_repaired() {
        let text = |bytes: usize| result(&[b"\"", &b"\xff".repeat(bytes)[..], b"\""].concat());
        let most = (REPAIRS.longest - text(0).len()) / 3;
        assert!(repaired(&text(most)).is_some());
        assert_eq!(repaired(&text(most + 1)), None);
        let numbers = |numbers: usize| result(&[b"[", &b"NaN,".repeat(numbers)[..], b"0]"].concat());
        let most = (REPAIRS.longest - numbers(0).len()) / 5;
        assert!(repaired(&numbers(most)).is_some());
        assert_eq!(repaired(&numbers(most + 1)), None);
    }
}
