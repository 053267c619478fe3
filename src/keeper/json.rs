//! As much JSON as the keeper needs: the probes' answers are written, a runtime's configuration is read and changed.

use std::fmt::{self, Write as _};
use std::iter::Peekable;
use std::str::Chars;

/// No configuration is deeper.
const DEPTH: usize = 32;

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Json {
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
    /// A number, or what is true, false or null, as it stood there.
    Word(String),
}

/// What stands where nothing is.
static NOTHING: Json = Json::Word(String::new());

impl Json {
    pub(super) fn number(number: u32) -> Self {
        Self::Word(number.to_string())
    }

    /// What stands at `key`; the first of it, as the daemon writes each once.
    pub(super) fn at(&self, key: &str) -> &Self {
        let Self::Object(members) = self else { return &NOTHING };
        members.iter().find(|(name, _)| name == key).map_or(&NOTHING, |(_, value)| value)
    }

    pub(super) fn at_mut(&mut self, key: &str) -> Option<&mut Self> {
        let Self::Object(members) = self else { return None };
        members.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Puts it at `key` of an object, in the place of what was there.
    pub(super) fn set(&mut self, key: &str, value: Self) {
        if let Some(found) = self.at_mut(key) {
            *found = value;
        } else if let Self::Object(members) = self {
            members.push((key.to_owned(), value));
        }
    }

    pub(super) fn items(&self) -> impl Iterator<Item = &Self> {
        let Self::List(items) = self else { return [].iter() };
        items.iter()
    }

    pub(super) fn items_mut(&mut self) -> impl Iterator<Item = &mut Self> {
        let Self::List(items) = self else { return [].iter_mut() };
        items.iter_mut()
    }

    pub(super) fn text(&self) -> Option<&str> {
        let Self::Text(text) = self else { return None };
        Some(text)
    }

    /// A whole number that is not negative.
    pub(super) fn as_number(&self) -> Option<u32> {
        let Self::Word(word) = self else { return None };
        word.parse().ok()
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Word(word) => f.write_str(word),
            Self::List(items) => {
                f.write_char('[')?;
                for (n, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if n == 0 { "" } else { "," })?;
                }
                f.write_char(']')
            }
            Self::Object(members) => {
                f.write_char('{')?;
                for (n, (name, value)) in members.iter().enumerate() {
                    write!(f, "{}{}:{value}", if n == 0 { "" } else { "," }, quoted(name))?;
                }
                f.write_char('}')
            }
        }
    }
}

pub(super) fn read(text: &str) -> Option<Json> {
    let mut reader = Reader(text.chars().peekable());
    let value = reader.value(DEPTH)?;
    reader.space();
    reader.0.next().is_none().then_some(value)
}

struct Reader<'a>(Peekable<Chars<'a>>);

impl Reader<'_> {
    fn space(&mut self) {
        while self.0.next_if(|c| matches!(c, ' ' | '\t' | '\r' | '\n')).is_some() {}
    }

    /// Takes this character, if it comes next.
    fn takes(&mut self, character: char) -> bool {
        self.space();
        self.0.next_if_eq(&character).is_some()
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        let below = depth.checked_sub(1)?;
        self.space();
        match self.0.peek()? {
            '"' => Some(Json::Text(self.text()?)),
            '[' => {
                let mut items = Vec::new();
                self.each('[', ']', |reader| {
                    items.push(reader.value(below)?);
                    Some(())
                })?;
                Some(Json::List(items))
            }
            '{' => {
                let mut members = Vec::new();
                self.each('{', '}', |reader| {
                    reader.space();
                    let name = reader.text()?;
                    reader.takes(':').then_some(())?;
                    members.push((name, reader.value(below)?));
                    Some(())
                })?;
                Some(Json::Object(members))
            }
            _ => {
                let mut word = String::new();
                while let Some(next) = self.0.next_if(|c| c.is_ascii_alphanumeric() || "+-.".contains(*c)) {
                    word.push(next);
                }
                (!word.is_empty()).then_some(Json::Word(word))
            }
        }
    }

    /// What stands between the two, with commas.
    fn each(&mut self, open: char, close: char, mut one: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.takes(open).then_some(())?;
        if self.takes(close) {
            return Some(());
        }
        loop {
            one(self)?;
            if self.takes(close) {
                return Some(());
            }
            self.takes(',').then_some(())?;
        }
    }

    fn text(&mut self) -> Option<String> {
        self.0.next_if_eq(&'"')?;
        let mut text = String::new();
        loop {
            text.push(match self.0.next()? {
                '"' => return Some(text),
                '\\' => match self.0.next()? {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'u' => match self.unit()? {
                        high @ 0xd800..=0xdbff => {
                            (self.0.next()? == '\\' && self.0.next()? == 'u').then_some(())?;
                            let low = self.unit()?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                            char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + low)?
                        }
                        unit => char::from_u32(unit)?,
                    },
                    plain @ ('"' | '\\' | '/') => plain,
                    _ => return None,
                },
                plain => plain,
            });
        }
    }

    fn unit(&mut self) -> Option<u32> {
        (0..4).try_fold(0, |unit, _| Some(unit << 4 | self.0.next()?.to_digit(16)?))
    }
}

/// `null` where there is no value; one that there is stands as it is.
pub(super) fn or_null(value: Option<impl fmt::Display>) -> String {
    value.map_or_else(|| "null".to_owned(), |value| value.to_string())
}

/// A JSON string.
pub(super) fn quoted(text: &str) -> String {
    let mut json = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            '\0'..' ' => {
                // Writing to a string cannot fail.
                let _ = write!(json, "\\u{:04x}", u32::from(character));
            }
            _ => json.push(character),
        }
    }
    json.push('"');
    json
}
