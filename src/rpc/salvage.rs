//! Finds the id in a line that cannot be parsed: too long to keep, or invalid JSON.
//!
//! A structural scanner that takes the line chunk by chunk, keeps no more than [`LONGEST_ID`] bytes of it, and never
//! recurses. It is lenient (`{"a": nope, "id": 7,}` gives 7). It never takes an id inside a nested value or a string:
//! an error for a wrong id would end another request. On valid JSON it agrees with a parser.
use memchr::memchr2;

use super::envelope::Kind;
use super::raw::{self, Key, LONGEST_KEY};
use super::request_id::RawId;

/// Raw bytes, quotes included; a longer id counts as none.
pub const LONGEST_ID: usize = 1024;

/// What has been seen of one line so far.
#[derive(Debug, Clone, Default)]
pub struct Salvage {
    place: Place,
    /// How many `{` and `[` are open. Which of the two doesn't matter but for the first.
    depth: usize,
    /// The start of the current or last token at depth 1; never longer than `room`.
    token: Vec<u8>,
    room: usize,
    /// The last token is no string at depth 1. (One that was cut has no closing quote, and so spells no key.)
    no_key: bool,
    /// The next value at depth 1 is the id.
    at_id: bool,
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
    /// The top-level value has ended, or is no object.
    Done,
}

/// The top-level keys that were seen, a bit each.
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

impl Salvage {
    /// A look at a line that is there as a whole.
    pub fn of(line: &[u8]) -> Self {
        let mut salvage = Self::default();
        salvage.feed(line);
        salvage
    }

    /// The value of the top-level `"id"` if it is a string, a number or `null`, and is complete: a number that
    /// the line's end cut off may be the start of a longer one.
    pub fn id(&self) -> Option<&RawId> {
        self.id.as_ref()
    }

    /// A guess from the top-level keys so far; `Other` if they say nothing. `params` alone is taken for the start
    /// of a request or notification, as it is where it is what makes the line too long.
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

    pub fn feed(&mut self, chunk: &[u8]) {
        self.scan(chunk, false);
    }

    /// Reads on until there is an id, and not a byte further: so what is known by then doesn't depend on how the
    /// line was cut into chunks.
    pub fn seek_id(&mut self, chunk: &[u8]) {
        self.scan(chunk, true);
    }

    fn scan(&mut self, mut chunk: &[u8], stop_at_id: bool) {
        while let Some(&first) = chunk.first() {
            if stop_at_id && self.id.is_some() {
                return;
            }
            let taken = match self.place {
                Place::Between => self.between(chunk),
                Place::String => self.string(chunk),
                Place::Escape => {
                    self.keep(&[first]);
                    self.place = Place::String;
                    1
                }
                Place::Literal => self.literal(chunk),
                Place::Done => return,
            };
            chunk = &chunk[taken..];
        }
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
                    self.depth += 1;
                    self.no_key = true;
                    self.at_id = false;
                    // An array may be a batch: it has many ids, and none that is its own.
                    if self.depth == 1 && byte == b'[' {
                        return self.done(at);
                    }
                }
                b'}' | b']' => {
                    self.no_key = true;
                    self.at_id = false;
                    // A closing bracket before any opening one is junk in front of the object.
                    if self.depth == 1 {
                        return self.done(at);
                    }
                    self.depth = self.depth.saturating_sub(1);
                }
                _ if self.depth != 1 => {}
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
        if self.depth == 1 {
            self.token.clear();
            // One more than the longest, so that a full token is a token that was cut.
            self.room = longest + 1;
            self.no_key = false;
        } else {
            self.no_key = true;
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.depth == 1 {
            let room = self.room.saturating_sub(self.token.len());
            self.token.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    fn done(&mut self, at: usize) -> usize {
        self.place = Place::Done;
        at + 1
    }
}

#[cfg(test)]
mod tests;
