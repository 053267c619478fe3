//! A typed walk through a TOML table that remembers lines. It takes the known keys; any other key is unknown. The only
//! file of the configuration that knows `toml`.

use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Place, nearest};
use crate::values::Value;

/// A configuration's text, and the name of its file.
pub(super) struct Source<'a> {
    file: Arc<Path>,
    text: &'a str,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &Path, text: &'a str) -> Self {
        Self { file: file.into(), text }
    }

    /// The table of everything.
    pub(super) fn root(&'a self) -> Result<Section<'a>, ConfigError> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let at = error.span().map_or(self.text.len(), |span| span.start);
            ConfigError::new(format!("invalid TOML: {}", error.message())).at(Some(self.place(at)))
        })?;
        Ok(Section { source: self, title: None, at: 0, table: table.into_inner(), known: Vec::new() })
    }

    fn place(&self, offset: usize) -> Place {
        let before = self.text.as_bytes().iter().take(offset);
        Place { file: Arc::clone(&self.file), line: 1 + before.filter(|byte| **byte == b'\n').count() }
    }
}

/// A table of the file.
pub(super) struct Section<'a> {
    source: &'a Source<'a>,
    /// As it is written, brackets included; none for the whole file.
    title: Option<String>,
    at: usize,
    table: DeTable<'a>,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The value of `key`, if it is there.
    pub(super) fn take<T: Value>(&mut self, key: &'static str) -> Result<Option<T>, ConfigError> {
        self.take_item(key).map(|item| item.read()).transpose()
    }

    /// The same for what may hold credentials: the error does not show what else is there.
    pub(super) fn take_quietly<T: Value>(&mut self, key: &'static str) -> Result<Option<T>, ConfigError> {
        self.take_item(key).map(|item| item.read_quietly()).transpose()
    }

    pub(super) fn take_list<T: Value>(&mut self, key: &'static str) -> Result<Option<Vec<T>>, ConfigError> {
        self.take_item(key).map(|item| item.list()).transpose()
    }

    pub(super) fn take_section(&mut self, key: &'static str) -> Result<Option<Section<'a>>, ConfigError> {
        self.take_item(key).map(|item| item.section(format!("[{key}]"))).transpose()
    }

    pub(super) fn take_item(&mut self, key: &'static str) -> Option<Item<'a>> {
        self.known.push(key);
        self.remove(key)
    }

    /// Like `take_item`, but for a key that does not belong here.
    pub(super) fn remove(&mut self, key: &str) -> Option<Item<'a>> {
        let (key, value) = self.table.remove_entry(key)?;
        Some(Item { source: self.source, at: key.span().start, name: key.into_inner().into_owned(), value })
    }

    /// All entries, for a table whose keys the person chooses, in the order of their lines.
    pub(super) fn entries(self) -> Vec<Item<'a>> {
        let source = self.source;
        let mut items: Vec<_> = self
            .table
            .into_iter()
            .map(|(key, value)| Item {
                source,
                at: key.span().start,
                name: key.into_inner().into_owned(),
                value,
            })
            .collect();
        items.sort_by_key(|item| item.at);
        items
    }

    /// Nothing may be left that was not asked for.
    pub(super) fn finish(&self) -> Result<(), ConfigError> {
        let Some(key) = self.table.keys().min_by_key(|key| key.span().start) else { return Ok(()) };
        let name = key.get_ref();
        let error = ConfigError::new(format!("unknown key `{name}`{}", self.place_in_words()))
            .at(Some(self.source.place(key.span().start)));
        Err(match nearest(name, self.known.iter().copied()) {
            Some(near) => error.with_hint(format!("did you mean `{near}`?")),
            None => error.with_hint(format!("known keys are {}", self.known.join(", "))),
        })
    }

    /// An error at the line where the table starts.
    pub(super) fn error(&self, message: impl Into<String>) -> ConfigError {
        ConfigError::new(message.into() + &self.place_in_words()).at(Some(self.source.place(self.at)))
    }

    fn place_in_words(&self) -> String {
        self.title.as_ref().map(|title| format!(" in {title}")).unwrap_or_default()
    }
}

/// A key with its value.
pub(super) struct Item<'a> {
    source: &'a Source<'a>,
    at: usize,
    pub(super) name: String,
    value: Spanned<DeValue<'a>>,
}

impl<'a> Item<'a> {
    pub(super) fn place(&self) -> Place {
        self.source.place(self.value.span().start)
    }

    /// An error at the key.
    pub(super) fn key_error(&self, message: String) -> ConfigError {
        ConfigError::new(message).at(Some(self.source.place(self.at)))
    }

    /// An error at the value.
    pub(super) fn error(&self, message: String) -> ConfigError {
        ConfigError::new(message).at(Some(self.place()))
    }

    pub(super) fn is_list(&self) -> bool {
        self.value.get_ref().is_array()
    }

    pub(super) fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    pub(super) fn read<T: Value>(&self) -> Result<T, ConfigError> {
        read(&self.value).ok_or_else(|| {
            self.error(format!("`{}` must be {}, not {}", self.name, T::EXPECTED, shown(&self.value)))
        })
    }

    fn read_quietly<T: Value>(&self) -> Result<T, ConfigError> {
        read(&self.value).ok_or_else(|| self.error(format!("`{}` must be {}", self.name, T::EXPECTED)))
    }

    /// A text that may be a secret: the error does not show what else is there.
    pub(super) fn text(&self) -> Result<&str, ConfigError> {
        self.value.get_ref().as_str().ok_or_else(|| {
            self.error(format!(
                "`{}` must be a text in quotes, not {}",
                self.name,
                kind(self.value.get_ref())
            ))
        })
    }

    /// Words: a text of them as a shell would take it apart, or a list. The errors show none of them.
    pub(super) fn words(&self) -> Result<Vec<String>, ConfigError> {
        if self.is_list() {
            return self.list::<String>();
        }
        shlex::split(self.text()?).ok_or_else(|| {
            self.error(format!("`{}` has an unclosed quote", self.name))
                .with_hint("write the words as a list: [\"PACKAGE\", \"ARGUMENT\"]")
        })
    }

    pub(super) fn list<T: Value>(&self) -> Result<Vec<T>, ConfigError> {
        let Some(list) = self.value.get_ref().as_array() else {
            let given = kind(self.value.get_ref());
            return Err(self.error(format!("`{}` must be a list in brackets, not {given}", self.name)));
        };
        list.iter()
            .map(|value| {
                read(value).ok_or_else(|| {
                    let given = shown(value);
                    let message = format!("each of `{}` must be {}, not {given}", self.name, T::EXPECTED);
                    ConfigError::new(message).at(Some(self.source.place(value.span().start)))
                })
            })
            .collect()
    }

    pub(super) fn section(self, title: String) -> Result<Section<'a>, ConfigError> {
        let place = self.place();
        let table = match self.value.into_inner() {
            DeValue::Table(table) => table,
            other => {
                let message = format!("`{}` must be a table, not {}", self.name, kind(&other));
                return Err(ConfigError::new(message).at(Some(place)));
            }
        };
        Ok(Section { source: self.source, title: Some(title), at: self.at, table, known: Vec::new() })
    }
}

fn read<T: Value>(value: &Spanned<DeValue>) -> Option<T> {
    match value.get_ref() {
        DeValue::String(text) => T::from_text(text),
        DeValue::Integer(number) => {
            let number = i64::from_str_radix(number.as_str(), number.radix()).ok()?;
            T::from_number(&number.to_string())
        }
        DeValue::Float(number) => T::from_number(number.as_str()),
        DeValue::Boolean(value) => T::from_bool(*value),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// A value as a message shows it: short ones as they are, others by their kind.
fn shown(value: &Spanned<DeValue>) -> String {
    let text = match value.get_ref() {
        DeValue::String(text) => format!("\"{}\"", text.escape_debug()),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        other => return kind(other).to_owned(),
    };
    if text.chars().count() > 60 { kind(value.get_ref()).to_owned() } else { format!("`{text}`") }
}

fn kind(value: &DeValue) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
