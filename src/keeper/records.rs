//! What berth and `keeper serve` tell each other of a server, within the numbered bytes of [`super::numbered`]. A part of
//! both programs; std only.
//!
//! A record is a kind, the length of its text (four bytes), and the text. Arguments, environment and secrets stand in the
//! first one of berth's, so no command line has them.
#![allow(unreachable_pub, reason = "the library hands it on, and the keeper has nobody to hand it to")]

use std::time::Duration;

use super::numbered::{Broken, WINDOW};

/// Before each text (bytes).
pub const HEAD: usize = 5;
/// The longest text with bytes of the server's (bytes).
pub const LONGEST: usize = 64 << 10;
/// The longest start (bytes). It is taken as a whole, so it has to fit into a window.
pub const LONGEST_START: usize = WINDOW / 2;

const START: u8 = 1;
const INPUT: u8 = 2;
const INPUT_END: u8 = 3;
const TERMINATE: u8 = 4;
const OUTPUT: u8 = 16;
const ERRORS: u8 = 17;
const ENDED: u8 = 18;
const NOT_STARTED: u8 = 19;

/// So many bytes come first on the input of `keeper serve` and `keeper resume`, before any frame: the secret by which the
/// helper knows who may hand it a stream. No command line has them, so no audit log has.
pub const SECRET: usize = 32;

/// How `keeper resume` ends where it handed nothing over.
pub mod resume {
    /// Nobody of this secret is there, or the server was given up.
    pub const GONE: u8 = 69;
    /// A newer stream is there, or the secret is another.
    pub const REFUSED: u8 = 77;
}

/// What is said of the server.
#[derive(Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// To the keeper, once and first.
    Start(Start),
    /// For the server's standard input.
    Input(&'a [u8]),
    /// Its standard input ends.
    InputEnd,
    /// It is to end now. Behind a window that is full this cannot be said: the lifeline's goodbye can.
    Terminate,
    /// From the keeper: the server's standard output, and its standard error.
    Output(&'a [u8]),
    Errors(&'a [u8]),
    /// It has ended, and this is the last record.
    Ended(Ending),
    /// It could not be started, and this is the only record: the code as a shell has it, and a line for a person.
    NotStarted {
        code: u8,
        why: &'a [u8],
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Exited(u8),
    /// By this signal.
    Killed(u8),
    /// It used more memory than its limit.
    OutOfMemory,
}

/// What to start, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// For so long the server outlives its last stream.
    pub reconnect: Duration,
    /// For an end in order, half of it before SIGTERM and half after.
    pub grace: Duration,
    /// The container's own if it is empty.
    pub folder: Vec<u8>,
    /// What the keeper sees to first, as behind `keeper exec --session ID`.
    pub options: Vec<Vec<u8>>,
    pub argv: Vec<Vec<u8>>,
    /// `NAME=value`, beside what the container has.
    pub env: Vec<Vec<u8>>,
}

/// A start that is longer than the keeper takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

impl Start {
    /// Appends it as a record.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let mut text = Vec::new();
        for time in [self.reconnect, self.grace] {
            number(&mut text, time.as_millis());
        }
        word(&mut text, &self.folder);
        for list in [&self.options, &self.argv, &self.env] {
            number(&mut text, list.len());
            for item in list {
                word(&mut text, item);
            }
        }
        if text.len() > LONGEST_START {
            return Err(TooLong);
        }
        record(out, START, &text);
        Ok(())
    }

    fn decode(mut text: &[u8]) -> Option<Self> {
        let text = &mut text;
        let time = |text: &mut &[u8]| Some(Duration::from_millis(take_number(text)?.into()));
        let start = Self {
            reconnect: time(text)?,
            grace: time(text)?,
            folder: take_word(text)?,
            options: take_words(text)?,
            argv: take_words(text)?,
            env: take_words(text)?,
        };
        text.is_empty().then_some(start)
    }
}

/// Appends a record; of the server's bytes no more than [`LONGEST`] at once.
pub fn encode(out: &mut Vec<u8>, said: &Record<'_>) -> Result<(), TooLong> {
    let (kind, text) = match said {
        Record::Start(start) => return start.encode(out),
        Record::Input(bytes) => (INPUT, *bytes),
        Record::InputEnd => (INPUT_END, &[][..]),
        Record::Terminate => (TERMINATE, &[][..]),
        Record::Output(bytes) => (OUTPUT, *bytes),
        Record::Errors(bytes) => (ERRORS, *bytes),
        Record::Ended(Ending::Exited(code)) => (ENDED, &[0, *code][..]),
        Record::Ended(Ending::Killed(signal)) => (ENDED, &[1, *signal][..]),
        Record::Ended(Ending::OutOfMemory) => (ENDED, &[2, 0][..]),
        Record::NotStarted { code, why } => {
            let text = [&[*code], &why[..why.len().min(LONGEST - 1)]].concat();
            record(out, NOT_STARTED, &text);
            return Ok(());
        }
    };
    if text.len() > LONGEST {
        return Err(TooLong);
    }
    record(out, kind, text);
    Ok(())
}

/// The first record of `input` and its length; `None` until all of it is there.
pub fn decode(input: &[u8]) -> Result<Option<(usize, Record<'_>)>, Broken> {
    let Some((kind, length)) = first(input)? else { return Ok(None) };
    let Some(text) = input.get(HEAD..length) else { return Ok(None) };
    let said = match (kind, text) {
        (START, text) => Record::Start(Start::decode(text).ok_or(Broken)?),
        (INPUT, bytes) => Record::Input(bytes),
        (INPUT_END, []) => Record::InputEnd,
        (TERMINATE, []) => Record::Terminate,
        (OUTPUT, bytes) => Record::Output(bytes),
        (ERRORS, bytes) => Record::Errors(bytes),
        (ENDED, &[0, code]) => Record::Ended(Ending::Exited(code)),
        (ENDED, &[1, signal]) => Record::Ended(Ending::Killed(signal)),
        (ENDED, &[2, 0]) => Record::Ended(Ending::OutOfMemory),
        (NOT_STARTED, &[code, ref why @ ..]) => Record::NotStarted { code, why },
        _ => return Err(Broken),
    };
    Ok(Some((length, said)))
}

/// How long the first record of `input` is, and whether it asks for the end; `None` until all of it is there. Whatever else
/// it is, it is not looked at.
pub fn skim(input: &[u8]) -> Option<(usize, bool)> {
    let (kind, length) = first(input).ok()??;
    (input.len() >= length).then_some((length, kind == TERMINATE))
}

/// The kind of the first record, and how long it is with its head, as soon as that can be known.
fn first(input: &[u8]) -> Result<Option<(u8, usize)>, Broken> {
    let Some((&[kind, a, b, c, d], _)) = input.split_first_chunk() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).map_err(|_| Broken)?;
    let longest = if kind == START { LONGEST_START } else { LONGEST };
    if length > longest { Err(Broken) } else { Ok(Some((kind, HEAD + length))) }
}

fn record(out: &mut Vec<u8>, kind: u8, text: &[u8]) {
    out.push(kind);
    word(out, text);
}

fn number(out: &mut Vec<u8>, number: impl TryInto<u32>) {
    out.extend_from_slice(&number.try_into().unwrap_or(u32::MAX).to_be_bytes());
}

fn word(out: &mut Vec<u8>, word: &[u8]) {
    number(out, word.len());
    out.extend_from_slice(word);
}

fn take_number(text: &mut &[u8]) -> Option<u32> {
    let (number, rest) = text.split_first_chunk()?;
    *text = rest;
    Some(u32::from_be_bytes(*number))
}

fn take_word(text: &mut &[u8]) -> Option<Vec<u8>> {
    let length = take_number(text)?.try_into().ok()?;
    let (word, rest) = text.split_at_checked(length)?;
    *text = rest;
    Some(word.to_vec())
}

/// No memory is taken for more words than there are bytes.
fn take_words(text: &mut &[u8]) -> Option<Vec<Vec<u8>>> {
    (0..take_number(text)?).map(|_| take_word(text)).collect()
}
