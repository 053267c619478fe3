//! Makes untrusted standard error safe to print on a terminal.
//!
//! Colours pass (`ESC [ … m`). Any other possible command to the terminal is shown as text. So a server cannot move the
//! cursor over berth's own lines, name the window, or fill the clipboard. Files and pipes get the bytes unchanged.

use std::borrow::Cow;
use std::io::Write;

use crate::human::moves_text;

const ESCAPE: char = '\u{1b}';
const RESET: &[u8] = b"\x1b[0m";
/// A longer one is no colour.
const LONGEST_COLOUR: usize = 64;

/// The text with commands made visible. A line that has colours ends without them: none is hidden in the next one's.
pub(super) fn shown(bytes: &[u8]) -> Cow<'_, [u8]> {
    let plain = |byte: &u8| matches!(byte, b'\n' | b'\t' | b' '..=b'~');
    if bytes.iter().all(plain) {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len() + 16);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        put_line(&mut out, line);
    }
    Cow::Owned(out)
}

fn put_line(out: &mut Vec<u8>, line: &[u8]) {
    let (text, end) = match line {
        [text @ .., b'\r', b'\n'] => (text, &b"\r\n"[..]),
        [text @ .., b'\n'] => (text, &b"\n"[..]),
        text => (text, &b""[..]),
    };
    let mut is_coloured = false;
    for chunk in text.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(first) = rest.chars().next() {
            let length = colour(rest).unwrap_or(first.len_utf8());
            let (head, tail) = rest.split_at(length);
            rest = tail;
            if head.len() > 1 && first == ESCAPE {
                is_coloured = true;
                out.extend_from_slice(head.as_bytes());
            } else if moves_text(first) && first != '\t' {
                out.extend(first.escape_default().map(|c| c as u8));
            } else {
                out.extend_from_slice(head.as_bytes());
            }
        }
        for byte in chunk.invalid() {
            // Writing to memory does not fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    if is_coloured {
        out.extend_from_slice(RESET);
    }
    out.extend_from_slice(end);
}

/// The length of the colour that the text begins with, if it does.
fn colour(text: &str) -> Option<usize> {
    let inner = text.strip_prefix("\u{1b}[")?;
    let length =
        inner.bytes().take(LONGEST_COLOUR).position(|byte| !matches!(byte, b'0'..=b'9' | b';' | b':'))?;
    (inner.as_bytes()[length] == b'm').then_some(2 + length + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(shown(bytes).into_owned()).unwrap()
    }

    #[test]
    fn text_and_colours_pass() {
        for same in ["", "plain\n", "a\tb\r\n", "grüße «日本» 😀\n", "no end"] {
            assert_eq!(text(same.as_bytes()), same);
        }
        assert!(matches!(shown(b"plain\n"), Cow::Borrowed(_)));
        let red = "\u{1b}[1;38:5:196mred\u{1b}[m and \u{1b}[0mnot";
        assert_eq!(text(red.as_bytes()), format!("{red}\u{1b}[0m"));
        assert_eq!(text(b"\x1b[8mhidden\nnext\n"), "\u{1b}[8mhidden\u{1b}[0m\nnext\n", "hides no other line");
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown_instead() {
        for (command, seen) in [
            (&b"\x1b[2J\x1b[H"[..], r"\u{1b}[2J\u{1b}[H"),
            (b"\x1b]0;title\x07", r"\u{1b}]0;title\u{7}"),
            (b"\x1b]52;c;aGk=\x1b\\", r"\u{1b}]52;c;aGk=\u{1b}\"),
            (b"\x1bPq\x1b\\", r"\u{1b}Pq\u{1b}\"),
            (b"\x1b[?1049h", r"\u{1b}[?1049h"),
            (b"\x1b[>4;2m", r"\u{1b}[>4;2m"),
            (b"\x1b[31", r"\u{1b}[31"),
            (b"\x1b", r"\u{1b}"),
            (b"\x1b[\x1b[31mx", "\\u{1b}[\u{1b}[31mx\u{1b}[0m"),
            (b"over\rwritten\n", "over\\rwritten\n"),
            (b"\x08\x7f\x00\x0e", r"\u{8}\u{7f}\u{0}\u{e}"),
            // The same commands in one character, and in one byte.
            ("\u{9b}2J".as_bytes(), r"\u{9b}2J"),
            // What turns the direction of the text behind it.
            ("a\u{202e}b".as_bytes(), r"a\u{202e}b"),
            (b"\x9b2J", r"\x9b2J"),
        ] {
            assert_eq!(text(command), seen, "{command:?}");
        }
        let endless = format!("\u{1b}[{}m", "1;".repeat(100));
        assert!(text(endless.as_bytes()).starts_with(r"\u{1b}["));
    }
}
