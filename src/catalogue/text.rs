//! What a server told, as the text of a file: lines of JSON, the server's own bytes among them as they came.
//!
//! The first line has the version and the hash of all that follows, so that half a file is none.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Hello, LeftOut, List, Told};
use crate::human;

/// Another version's files are as if they were not there.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Top {
    catalogue: u32,
    sha256: String,
}

/// What is known beside the server's own words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    pub(super) server: String,
    pub(super) client: String,
    pub(super) revision: String,
    pub(super) image: String,
    /// When: seconds since 1970.
    pub(super) at: u64,
    /// Of this image: what its definitions were before, as hashes; the latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) states: Vec<String>,
    /// How often they were again what they had been before.
    #[serde(default)]
    pub(super) returns: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Second {
    #[serde(flatten)]
    meta: Meta,
    hello: Greeting,
    tools: Option<Shape>,
    prompts: Option<Shape>,
    resources: Option<Shape>,
    templates: Option<Shape>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Greeting {
    Initialize,
    Discover,
    NoDiscover,
}

/// A list without its items.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Shape {
    items: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
    #[serde(default)]
    is_private: bool,
    #[serde(default)]
    pages: usize,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<LeftOut>,
}

/// # Errors
/// Where the server's bytes have a line break: it can't have sent them.
pub(super) fn write(meta: &Meta, told: &Told) -> io::Result<Vec<u8>> {
    let shape = |list: &Option<List>| {
        let list = list.as_ref()?;
        let List { items, ttl_ms, is_private, pages, left_out } = list;
        let left_out = left_out.clone();
        Some(Shape { items: items.len(), ttl_ms: *ttl_ms, is_private: *is_private, pages: *pages, left_out })
    };
    let (hello, first) = match &told.hello {
        Hello::Initialize(result) => (Greeting::Initialize, Some(result)),
        Hello::Discover(result) => (Greeting::Discover, Some(result)),
        Hello::NoDiscover => (Greeting::NoDiscover, None),
    };
    let second = Second {
        meta: Meta { image: told.image.clone(), ..meta.clone() },
        hello,
        tools: shape(&told.tools),
        prompts: shape(&told.prompts),
        resources: shape(&told.resources),
        templates: shape(&told.templates),
    };
    let mut body = serde_json::to_vec(&second)?;
    body.push(b'\n');
    let lists = [&told.tools, &told.prompts, &told.resources, &told.templates];
    let items = lists.into_iter().flatten().flat_map(|list| &list.items);
    for line in first.into_iter().chain(items) {
        if memchr::memchr(b'\n', line).is_some() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a server's message has a line break"));
        }
        body.extend_from_slice(line);
        body.push(b'\n');
    }
    let top = Top { catalogue: VERSION, sha256: human::hex(&Sha256::digest(&body)) };
    let mut text = serde_json::to_vec(&top)?;
    text.push(b'\n');
    text.append(&mut body);
    Ok(text)
}

/// `None`: it is no such text, or only a part.
pub(super) fn read(text: Vec<u8>) -> Option<(Meta, Told)> {
    let text = Bytes::from(text);
    let mut lines = Lines { text: &text, at: 0 };
    let top: Top = serde_json::from_slice(&text[lines.next()?]).ok()?;
    if top.catalogue != VERSION || top.sha256 != human::hex(&Sha256::digest(&text[lines.at..])) {
        return None;
    }
    let second: Second = serde_json::from_slice(&text[lines.next()?]).ok()?;
    let hello = match second.hello {
        Greeting::Initialize => Hello::Initialize(text.slice(lines.next()?)),
        Greeting::Discover => Hello::Discover(text.slice(lines.next()?)),
        Greeting::NoDiscover => Hello::NoDiscover,
    };
    let mut list = |shape: Option<Shape>| -> Option<Option<List>> {
        let Some(Shape { items, ttl_ms, is_private, pages, left_out }) = shape else { return Some(None) };
        let items = (0..items).map(|_| lines.next().map(|line| text.slice(line))).collect::<Option<_>>()?;
        Some(Some(List { items, ttl_ms, is_private, pages, left_out }))
    };
    let told = Told {
        image: second.meta.image.clone(),
        hello,
        tools: list(second.tools)?,
        prompts: list(second.prompts)?,
        resources: list(second.resources)?,
        templates: list(second.templates)?,
    };
    (lines.at == text.len()).then_some((second.meta, told))
}

/// Where each line stands, without its end.
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
}

impl Lines<'_> {
    fn next(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        let end = start + memchr::memchr(b'\n', self.text.get(start..)?)?;
        self.at = end + 1;
        Some(start..end)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn told(image: &str, tools: &[&str]) -> Told {
        let items =
            |items: &[&str]| items.iter().map(|item| Bytes::copy_from_slice(item.as_bytes())).collect();
        Told {
            image: image.to_owned(),
            hello: Hello::Initialize(Bytes::from_static(br#"{"protocolVersion":"2025-11-25", "x":1e400}"#)),
            tools: Some(List {
                items: items(tools),
                ttl_ms: Some(7),
                is_private: true,
                pages: 2,
                left_out: vec![LeftOut { name: "#3".to_owned(), why: "it is no object".to_owned() }],
            }),
            prompts: None,
            resources: Some(List::default()),
            templates: Some(List { items: items(&[r#"{"uriTemplate":"a:{b}"}"#]), ..List::default() }),
        }
    }

    fn meta() -> Meta {
        let text = |text: &str| text.to_owned();
        Meta {
            server: text("git"),
            client: text("codex"),
            revision: text("2025-06-18"),
            image: text("sha256:1"),
            at: 1_800_000_000,
            states: vec![text("0a")],
            returns: 2,
        }
    }

    #[test]
    fn what_is_written_is_read_byte_for_byte() {
        let mut told = told("sha256:1", &[r#"{ "name":"a\u0062","n":1e400 }"#, "{}\r"]);
        for hello in [told.hello.clone(), Hello::Discover(Bytes::from_static(b"{}")), Hello::NoDiscover] {
            told.hello = hello;
            let text = write(&meta(), &told).unwrap();
            assert_eq!(read(text), Some((meta(), told.clone())));
        }
    }

    #[test]
    fn a_part_of_a_file_is_none_and_neither_is_one_that_was_changed() {
        let text = write(&meta(), &told("sha256:1", &[r#"{"name":"a"}"#])).unwrap();
        for end in 0..text.len() {
            assert_eq!(read(text[..end].to_vec()), None, "{end}");
        }
        for at in [0, text.len() / 2, text.len() - 2] {
            let mut changed = text.clone();
            changed[at] ^= 1;
            assert_eq!(read(changed), None, "{at}");
        }
        assert_eq!(read([&text[..], b"{}\n"].concat()), None);
        let other = String::from_utf8(text).unwrap().replacen("\"catalogue\":1", "\"catalogue\":2", 1);
        assert_eq!(read(other.into_bytes()), None);
        assert_eq!(read(b"{\"some\":\"json\"}\n".to_vec()), None);
    }

    #[test]
    fn what_has_a_line_break_was_never_a_message() {
        let error = write(&meta(), &told("sha256:1", &["{\n}"])).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
