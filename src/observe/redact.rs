//! Removes from a trace what it must not show.
//!
//! Three things are replaced by [`MARK`]:
//! - the values of configured secrets, anywhere: as they are, with any of JSON's escapes (and JSON
//!   within JSON's strings, three levels deep), percent-encoded, and as part of base64;
//! - the values of keys that are secrets with them ([`is_secret`](crate::values::is_secret)), at any
//!   depth of a body; in text that is not JSON, anything that looks like such a key and its value;
//! - what looks like a credential by itself ([`spelt`]): logins in addresses, bearers, tokens.
//!
//! Everyday secrets (`true`, `8085`, `root`) are left alone: they would blacken every third line and hide nothing. Base64
//! is searched for secrets of eight bytes and more. All other text stays unchanged, byte for byte; nothing is written
//! anew. A body that is JSON stays JSON.
mod json;
mod layer;
mod lookalike;

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use memchr::memmem::Finder;

use layer::Layer;

pub use crate::values::MARK;
use crate::values::{is_everyday, spelt};

/// A base64 form is looked for from this length of the secret on (bytes).
const SHORTEST_ENCODED: usize = 8;
/// A line of a secret of several lines (a private key) is hidden by itself from this length on (bytes).
const SHORTEST_LINE: usize = 16;
/// How often JSON may be a string in JSON.
const NESTING: usize = 3;
/// The longest spelling of one byte of a secret: `\\\\u0061`.
const LONGEST_BYTE: usize = 10;

/// Hides secrets. Cheap to clone; its `Debug` shows none.
#[derive(Clone)]
pub struct Redactor {
    known: Forms,
    /// Of secrets that came after it was made: of each server of a session, and what is read when it starts. All clones have
    /// them.
    late: Arc<RwLock<Vec<Forms>>>,
}

/// All that is looked for.
#[derive(Clone)]
struct Forms {
    needles: Arc<[Finder<'static>]>,
    longest: usize,
}

/// A piece of the source that is not to be shown.
struct Hidden {
    range: Range<usize>,
    /// A JSON value that is no string: its mark needs quotes.
    quoted: bool,
}

impl Redactor {
    /// Of the values of configured secrets.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        Self { known: Forms::of(secrets), late: Arc::default() }
    }

    /// Learns secrets that could not be known before, before anybody else has them.
    pub fn learn(&self, secrets: impl IntoIterator<Item = String>) {
        let forms = Forms::of(secrets);
        if !forms.needles.is_empty() {
            self.late.write().unwrap_or_else(PoisonError::into_inner).push(forms);
        }
    }

    /// The same, which hides these as well.
    #[must_use]
    pub fn and(&self, secrets: impl IntoIterator<Item = String>) -> Self {
        let (known, more) = (&self.known, Forms::of(secrets));
        let needles = known.needles.iter().chain(more.needles.iter()).cloned().collect();
        let known = Forms { needles, longest: known.longest.max(more.longest) };
        Self { known, late: Arc::clone(&self.late) }
    }

    fn forms(&self) -> Vec<Forms> {
        let late = self.late.read().unwrap_or_else(PoisonError::into_inner);
        std::iter::once(&self.known).chain(&*late).cloned().collect()
    }

    /// For text that is no message: method names, ids, what a stray print says.
    pub fn text(&self, text: &str) -> String {
        self.hide(text, text.len(), false)
    }

    /// For a message, whole or cut, valid or not. A body that is valid JSON stays so.
    pub fn body(&self, body: &[u8]) -> String {
        self.hide(&String::from_utf8_lossy(body), usize::MAX, true)
    }

    /// How many bytes behind a cut must be known, so that a secret which the cut goes through is seen to be one.
    pub fn margin(&self) -> usize {
        let longest = self.forms().iter().map(|forms| forms.longest).max().unwrap_or_default();
        longest.saturating_mul(LONGEST_BYTE)
    }

    /// What is left to show of the first `limit` bytes of `text`. Some [`margin`](Self::margin) of the text should
    /// stand behind these.
    pub(super) fn hide(&self, text: &str, limit: usize, body: bool) -> String {
        let mut hidden = self.find(text, body);
        hidden.sort_by_key(|hidden| (hidden.range.start, !hidden.quoted));
        let limit = text.floor_char_boundary(limit);
        if body && limit == text.len() && !hidden.is_empty() && json::is_valid(text) {
            return json::shown(text, &hidden);
        }
        let mut shown = String::with_capacity(limit.min(text.len()));
        let mut at = 0;
        for Hidden { range, quoted } in hidden {
            if range.start >= limit {
                break;
            }
            // Inside of, or right behind, what is hidden already.
            if range.end <= at {
                continue;
            }
            if range.start >= at {
                shown.push_str(text.get(at..range.start).unwrap_or_default());
                let quote = if quoted { "\"" } else { "" };
                shown.extend([quote, MARK, quote]);
            }
            at = range.end;
        }
        shown.push_str(text.get(at..limit).unwrap_or_default());
        shown
    }

    fn find(&self, text: &str, body: bool) -> Vec<Hidden> {
        let mut hidden = Vec::new();
        // In JSON a line ends as `\n`, which only the next layer shows: there free text is looked at.
        let json = body && text.trim_ascii_start().starts_with(['{', '[']);
        let source = Layer::of(text.as_bytes());
        lookalike::find(&source, lookalike::Rules { free: !json, quoted: body, known: &[] }, &mut hidden);
        // What JSON's own syntax says of a value is not said again, and worse, where its quotes are decoded.
        let known: Vec<_> = hidden.iter().filter(|_| json).map(|hidden| hidden.range.clone()).collect();
        let rules = lookalike::Rules { free: true, quoted: false, known: &known };
        self.needles_in(&source, &mut hidden);
        spelt_in(&source, &mut hidden);
        if text.contains('%') {
            self.needles_in(&source.percent_decoded(), &mut hidden);
        }
        let mut layer = source;
        for nesting in 0..NESTING {
            let escaped = memchr::memchr(b'\\', &layer.bytes).is_some();
            if !escaped && (nesting > 0 || !json) {
                break;
            }
            layer = layer.unescaped();
            self.needles_in(&layer, &mut hidden);
            spelt_in(&layer, &mut hidden);
            lookalike::find(&layer, rules, &mut hidden);
        }
        hidden
    }

    fn needles_in(&self, layer: &Layer, hidden: &mut Vec<Hidden>) {
        let forms = self.forms();
        for needle in forms.iter().flat_map(|forms| forms.needles.iter()) {
            let length = needle.needle().len();
            let mut from = 0;
            while let Some(at) = layer.bytes.get(from..).and_then(|rest| needle.find(rest)) {
                let start = from + at;
                hidden.push(Hidden { range: layer.source(start..start + length), quoted: false });
                // One byte on only: in `ababab` the secret `abab` stands twice.
                from = start + 1;
            }
        }
    }
}

/// What is a credential by its look alone.
fn spelt_in(layer: &Layer, hidden: &mut Vec<Hidden>) {
    let Ok(text) = std::str::from_utf8(&layer.bytes) else { return };
    let found = spelt(text).into_iter().map(|found| found.range);
    hidden.extend(found.map(|range| Hidden { range: layer.source(range), quoted: false }));
}

impl Forms {
    fn of(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut forms: Vec<Vec<u8>> = Vec::new();
        for secret in secrets.into_iter().filter(|secret| !is_everyday(secret)) {
            forms.push(secret.trim().into());
            // Only where a line is a part of it: the whole is trimmed above.
            let lines = secret.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE);
            forms.extend(lines.map(Into::into));
            if secret.len() >= SHORTEST_ENCODED {
                forms.extend(base64_forms(secret.trim().as_bytes()));
            }
        }
        forms.sort();
        forms.dedup();
        let longest = forms.iter().map(Vec::len).max().unwrap_or(0);
        Self { needles: forms.iter().map(|form| Finder::new(form).into_owned()).collect(), longest }
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("forms", &self.known.needles.len()).finish_non_exhaustive()
    }
}

/// What base64 makes of `secret` at each of the three places where it can begin in a longer text, less the
/// characters that depend on its neighbours.
fn base64_forms(secret: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let engines = [&STANDARD, &URL_SAFE].map(|alphabet| GeneralPurpose::new(alphabet, NO_PAD));
    let places = (0..3).flat_map(move |before| engines.clone().map(|engine| (before, engine)));
    places.filter_map(move |(before, engine)| {
        let text = engine.encode([&[0; 3][..before], secret].concat());
        let (first, last) = ((before * 8).div_ceil(6), (before + secret.len()) * 8 / 6);
        text.get(first..last).map(|whole| whole.as_bytes().to_vec())
    })
}

#[cfg(test)]
mod tests;
