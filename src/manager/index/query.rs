//! What the index says: each answer is bounded, and has a place where the next one goes on.

pub(crate) mod calls;
pub(crate) mod events;
pub(crate) mod sessions;
pub(crate) mod starts;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::types::{FromSqlError, Type, Value};
use rusqlite::{Row, RowIndex};

/// No answer has more entries.
pub(crate) const MOST: u32 = 1000;

/// A part of a long answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page<T, C> {
    pub(crate) entries: Vec<T>,
    /// Where the next part goes on, if there is one.
    pub(crate) next: Option<C>,
}

impl<T, C> Page<T, C> {
    /// `found` has one entry more than are wanted if there are more.
    fn of(mut found: Vec<T>, limit: u32, place: impl Fn(&T) -> C) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let is_more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| is_more).map(place);
        Self { entries: found, next }
    }
}

/// Behind which entry an answer goes on: what it is sorted by, and its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place<I> {
    pub(crate) by: i64,
    pub(crate) id: I,
}

impl<I: fmt::Display> fmt::Display for Place<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.by, self.id)
    }
}

impl<I: FromStr> FromStr for Place<I> {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (by, id) = text.split_once('-').ok_or(())?;
        Ok(Self { by: by.parse().map_err(drop)?, id: id.parse().map_err(|_| ())? })
    }
}

/// Conditions of a question, with their values.
#[derive(Debug, Default)]
struct Conditions {
    text: String,
    values: Vec<Value>,
}

impl Conditions {
    /// `condition` has a `?` for each value.
    fn and(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        self.text += if self.text.is_empty() { "WHERE " } else { " AND " };
        self.text += condition;
        self.values.extend(values);
    }

    /// Where the value is known.
    fn and_if(&mut self, condition: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.and(condition, [value.into()]);
        }
    }
}

fn time(row: &Row<'_>, index: impl RowIndex) -> rusqlite::Result<Timestamp> {
    as_time(row.get(index)?)
}

fn as_time(micros: i64) -> rusqlite::Result<Timestamp> {
    Timestamp::from_microsecond(micros).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(
            0,
            Type::Integer,
            Box::new(FromSqlError::Other(error.into())),
        )
    })
}

/// Milliseconds, of the index's microseconds.
fn milliseconds(micros: i64) -> f64 {
    let time = Duration::from_micros(u64::try_from(micros).unwrap_or(0));
    // As the journal has it: 2.345 is told as 2.345.
    (time.as_secs_f64() * 1e6).round() / 1e3
}
