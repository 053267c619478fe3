//! Finds the ids in a line that cannot be parsed: too long to keep, or invalid JSON.
//!
//! A structural scanner that takes the line chunk by chunk, keeps no more than [`LONGEST_ID`] bytes of it, and never
//! recurses. It is lenient (`{"a": nope, "id": 7,}` gives 7). It never takes an id inside a nested value or a string:
//! an error for a wrong id would end another request. A batch gives its messages one by one, so that however many there
//! are, only one is kept. On valid JSON it agrees with a parser.
use std::iter;

use memchr::memchr2;

use super::envelope::Kind;
use super::raw::{self, Key, LONGEST_KEY};
use super::request_id::RawId;

/// Raw bytes, quotes included; a longer id counts as none.
pub const LONGEST_ID: usize = 1024;

/// What has been seen of one line so far.
#[expect(clippy::struct_excessive_bools, reason = "each tells something else of the place in the line")]
#[derive(Debug, Clone, Default)]
pub struct Salvage {
    place: Place,
    /// How many `{` and `[` are open. Which of the two doesn't matter but for the first.
    depth: usize,
    /// The first of them is a `[`.
    is_batch: bool,
    /// The `{` of a message is open.
    in_message: bool,
    /// There was one in this batch.
    has_begun: bool,
    /// The start of the current or last token among a message's own members; never longer than `room`.
    token: Vec<u8>,
    room: usize,
    /// The last token is no string there. (One that was cut has no closing quote, and so spells no key.)
    no_key: bool,
    /// The next value there is the id.
    at_id: bool,
    /// Of the message at hand, as are `keys`.
    id: Option<RawId>,
    keys: Keys,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// Between tokens, or in something that isn't worth following.
    #[default]
    Between,
    String,
    /// Behind a backslash in a string.
    Escape,
    /// In a number or `null` that is to be the id.
    Literal,
    /// The top-level value has ended.
    Done,
}

/// The keys of a message that were seen, a bit each.
#[derive(Debug, Clone, Copy, Default)]
struct Keys(u8);

impl Keys {
    fn insert(&mut self, key: Key) {
        self.0 |= 1 << key as u8;
    }

    fn has(self, key: Key) -> bool {
        self.0 & (1 << key as u8) != 0
    }
}

/// What stands between strings and brackets where there are numbers and words of JSON alone.
fn may_be_json(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b',' | b':' | b'+' | b'-' | b'.' | b'0'..=b'9' | b'E')
        || b"falsenullrt".contains(&byte)
}

/// The messages of a whole line that have an id, in their order; more than one only in a batch.
pub fn messages(mut line: &[u8]) -> impl Iterator<Item = (RawId, Kind)> {
    let mut salvage = Salvage::default();
    iter::from_fn(move || {
        while !line.is_empty() {
            line = &line[salvage.feed(line)..];
            if let Some(message) = salvage.take() {
                return Some(message);
            }
        }
        salvage.take_last()
    })
}

impl Salvage {
    /// A look at a line that is there as a whole. A batch has no id and no kind of its own; see [`messages`].
    pub fn of(line: &[u8]) -> Self {
        let mut salvage = Self::default();
        salvage.feed(line);
        if salvage.is_batch {
            (salvage.id, salvage.keys) = (None, Keys::default());
        }
        salvage
    }

    /// The value of the `"id"` of the message at hand if it is a string, a number or `null`, and is complete: a number
    /// that the line's end cut off may be the start of a longer one.
    pub fn id(&self) -> Option<&RawId> {
        self.id.as_ref()
    }

    pub fn is_batch(&self) -> bool {
        self.is_batch
    }

    /// A guess from the keys of the message at hand so far; `Other` if they say nothing. `params` alone is taken for the
    /// start of a request or notification, as it is where it is what makes the line too long.
    pub fn kind(&self) -> Kind {
        let has = |key| self.keys.has(key);
        let named = self.id.as_ref().is_some_and(|id| id.as_bytes() != b"null");
        let answer = has(Key::Result) || has(Key::Error);
        if has(Key::Method) || (has(Key::Params) && !answer) {
            if named { Kind::Request } else { Kind::Notification }
        } else if has(Key::Result) {
            Kind::Response
        } else if answer {
            Kind::ErrorResponse
        } else {
            Kind::Other
        }
    }

    /// What is known by now of the message at hand, once, if it has an id. Of a batch that is a message that has ended;
    /// by then it is known whether it is one.
    pub fn take(&mut self) -> Option<(RawId, Kind)> {
        if self.is_batch && self.in_message {
            return None;
        }
        let kind = self.kind();
        self.id.take().filter(|_| !self.is_batch || kind != Kind::Other).map(|id| (id, kind))
    }

    /// The same behind the line's end, which may have cut a message of a batch off.
    pub fn take_last(&mut self) -> Option<(RawId, Kind)> {
        self.in_message = false;
        self.take()
    }

    /// Reads on, and stops behind each message of a batch. How many bytes were read.
    pub fn feed(&mut self, chunk: &[u8]) -> usize {
        self.scan(chunk, false)
    }

    /// The same, and stops at the id of a message that is no batch, not a byte further: so what is known by then doesn't
    /// depend on how the line was cut into chunks.
    pub fn seek_id(&mut self, chunk: &[u8]) -> usize {
        self.scan(chunk, true)
    }

    fn scan(&mut self, chunk: &[u8], stop_at_id: bool) -> usize {
        let mut at = 0;
        while let Some(&first) = chunk.get(at) {
            if stop_at_id && self.id.is_some() && !self.is_batch {
                return at;
            }
            let was_in_message = self.in_message;
            at += match self.place {
                Place::Between => self.between(&chunk[at..]),
                Place::String => self.string(&chunk[at..]),
                Place::Escape => {
                    self.keep(&[first]);
                    self.place = Place::String;
                    1
                }
                Place::Literal => self.literal(&chunk[at..]),
                Place::Done => return chunk.len(),
            };
            if was_in_message && !self.in_message {
                return at;
            }
        }
        at
    }

    fn between(&mut self, chunk: &[u8]) -> usize {
        for (at, &byte) in chunk.iter().enumerate() {
            match byte {
                b'"' => {
                    self.start_token(if self.at_id { LONGEST_ID } else { LONGEST_KEY });
                    self.keep(b"\"");
                    self.place = Place::String;
                    return at + 1;
                }
                b'{' | b'[' => {
                    self.open(byte);
                    self.depth += 1;
                    self.no_key = true;
                    self.at_id = false;
                }
                b'}' | b']' => {
                    self.no_key = true;
                    self.at_id = false;
                    if self.depth == 1 {
                        self.place = Place::Done;
                        return at + 1;
                    }
                    // A closing bracket before any opening one is junk in front of the line's value.
                    self.depth = self.depth.saturating_sub(1);
                    if self.is_batch && self.depth == 1 && self.in_message {
                        self.in_message = false;
                        return at + 1;
                    }
                }
                _ if self.is_batch && !self.has_begun && !may_be_json(byte) => {
                    // A print with a bracket in front.
                    self.place = Place::Done;
                    return at + 1;
                }
                _ if !self.is_own() => {}
                b':' => self.colon(),
                b',' => {
                    self.no_key = true;
                    self.at_id = false;
                }
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ => {
                    if self.at_id {
                        self.start_token(LONGEST_ID);
                        self.place = Place::Literal;
                        return at;
                    }
                    self.no_key = true;
                }
            }
        }
        chunk.len()
    }

    /// A `{` or `[` that stands where a message may begin.
    fn open(&mut self, byte: u8) {
        match (self.depth, self.is_batch) {
            (0, _) => {
                self.is_batch = byte == b'[';
                self.in_message = byte == b'{';
            }
            (1, true) if byte == b'{' => {
                (self.in_message, self.has_begun) = (true, true);
                (self.id, self.keys) = (None, Keys::default());
            }
            _ => {}
        }
    }

    /// Among the members of a message itself.
    fn is_own(&self) -> bool {
        self.in_message && self.depth == 1 + usize::from(self.is_batch)
    }

    fn string(&mut self, chunk: &[u8]) -> usize {
        let Some(at) = memchr2(b'"', b'\\', chunk) else {
            self.keep(chunk);
            return chunk.len();
        };
        self.keep(&chunk[..=at]);
        if chunk[at] == b'\\' {
            self.place = Place::Escape;
        } else {
            self.place = Place::Between;
            self.end_value();
        }
        at + 1
    }

    fn literal(&mut self, chunk: &[u8]) -> usize {
        for (at, byte) in chunk.iter().enumerate() {
            match byte {
                b',' | b':' | b'{' | b'}' | b'[' | b']' | b'"' => {
                    self.place = Place::Between;
                    self.end_value();
                    self.no_key = true;
                    return at;
                }
                // Blanks don't end it, for the line's end is one; they show that `1 2` is not `12`.
                byte if byte.is_ascii_whitespace() => {
                    if !self.token.ends_with(b" ") {
                        self.keep(b" ");
                    }
                }
                byte => self.keep(&[*byte]),
            }
        }
        chunk.len()
    }

    /// A string with a colon behind it is a key, wherever it stands.
    fn colon(&mut self) {
        self.at_id = false;
        if self.no_key {
            return;
        }
        self.no_key = true;
        let key = raw::key(&self.token);
        self.keys.insert(key);
        if key == Key::Id {
            // Parsers take the last of duplicate keys.
            self.id = None;
            self.at_id = true;
        }
    }

    fn end_value(&mut self) {
        if self.at_id && self.token.len() < self.room {
            self.id = RawId::from_unchecked(self.token.trim_ascii_end());
        }
        self.at_id = false;
    }

    fn start_token(&mut self, longest: usize) {
        if self.is_own() {
            self.token.clear();
            // One more than the longest, so that a full token is a token that was cut.
            self.room = longest + 1;
            self.no_key = false;
        } else {
            self.no_key = true;
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.is_own() {
            let room = self.room.saturating_sub(self.token.len());
            self.token.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }
}

#[cfg(test)]
mod tests;
