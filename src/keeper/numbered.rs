//! Bytes that outlive the stream that carries them: what berth and `keeper serve` say to each other where a cut is no
//! end. A part of both programs; std only, and no input or output of its own.
//!
//! Each side says one sequence of bytes, numbered by their count. On each new stream both begin with a hello: which
//! stream it is (its epoch), how much has been heard of the other side, and how much of that passed on. The other side
//! then goes on where the first has stopped hearing. Before it has that hello it says nothing: whoever was never met has
//! heard nothing, and may be begun with anew. What is said is kept until the other side has passed it on, and never
//! more than a window. So nobody ever waits for reading a stream: there is always room for what may come.
//!
//! A silence may be a cut that nobody tells of. Either side may ask whether the other is there, and has an answer at once,
//! whatever waits there to be passed on.
//!
//! A frame is a kind, the length of its text (four bytes), and the text.
#![allow(unreachable_pub, reason = "the library hands it on, and the keeper has nobody to hand it to")]

/// What of one direction may be kept, and wait for whoever passes it on (bytes).
pub const WINDOW: usize = 1 << 20;
/// The epoch of the stream that begins it all.
pub const FIRST: u64 = 1;
/// The longest text of a frame with data (bytes).
const LONGEST: usize = 64 << 10;
/// As much is put into frames at once, heads and all (bytes): a whole number of a kubelet's messages, which have 32 KiB.
pub const AT_ONCE: usize = 64 << 10;
/// Before each text (bytes).
pub const HEAD: usize = 5;
/// After so much an acknowledgement has a write of its own (bytes). It must be less than a window: else both could wait.
const TELL_AFTER: u64 = 512 << 10;
/// After so much it rides behind data that goes anyhow (bytes).
const RIDES_AFTER: u64 = 4 << 10;
/// Another one changes whenever the frames or the records do.
const VERSION: u8 = 2;

const HELLO: u8 = 1;
const DATA: u8 = 2;
const PASSED_ON: u8 = 3;
/// Has no text. The answer is what was passed on, were it no news.
const ASK: u8 = 4;
/// How long a hello and an acknowledgement are, without their heads (bytes).
const HELLO_TEXT: usize = 1 + 3 * 8;
const PASSED_ON_TEXT: usize = 8;

/// The other side does not keep to this, or is not who it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

/// One side's account of both directions.
#[derive(Debug, Default)]
pub struct Numbered {
    epoch: u64,
    hellos: Hellos,
    /// What we have said, from the first byte that the other side has not passed on.
    kept: Queue,
    /// The number of that byte, of the next one for this stream, and of the first that no stream has had.
    first_kept: u64,
    next: u64,
    furthest: u64,
    /// What we have heard, from the first byte that was not passed on; its number; as much was told of it.
    heard: Queue,
    passed_on: u64,
    told: u64,
    /// An acknowledgement waits for nothing.
    tell_now: bool,
    /// The other side is to be asked.
    ask: bool,
    /// As much as has come of a frame that is not data, or of a head.
    head: Vec<u8>,
    /// What is to come of the text of a frame with data.
    left: usize,
}

/// What a stream has had so far.
#[derive(Debug, Default)]
struct Hellos {
    ours: bool,
    /// The other side's, which tells where to go on.
    theirs: bool,
}

impl Numbered {
    pub fn new() -> Self {
        Self::default()
    }

    /// A new stream begins. Whatever was under way on another is of no account any more.
    pub fn begin(&mut self, epoch: u64) {
        self.epoch = epoch;
        (self.hellos, self.ask) = (Hellos::default(), false);
        self.head.clear();
        self.left = 0;
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The other side's hello has come on this stream.
    pub fn is_met(&self) -> bool {
        self.hellos.theirs
    }

    /// How much can be said now.
    pub fn room(&self) -> usize {
        WINDOW - self.kept.bytes().len()
    }

    /// Says `bytes`, as far as there is room; gives how many.
    pub fn say(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room());
        self.kept.push(&bytes[..count]);
        count
    }

    /// The other side has passed on all that we have said.
    pub fn is_all_passed_on(&self) -> bool {
        self.kept.bytes().is_empty()
    }

    /// All that we have said is in frames of this stream.
    pub fn is_all_framed(&self) -> bool {
        self.hellos.theirs && self.next == self.end()
    }

    /// Has what was passed on be told with the next frames, however little it is.
    pub fn tell_now(&mut self) {
        self.tell_now = self.told != self.passed_on;
    }

    /// Asks whether the other side is there, with the next frames. Once asked it is not asked again before those.
    pub fn ask(&mut self) {
        self.ask = true;
    }

    /// Appends what the stream is to have next, if anything; more is appended once that has gone.
    pub fn frames(&mut self, out: &mut Vec<u8>) {
        if !self.hellos.ours {
            self.hellos.ours = true;
            let heard = self.passed_on + count(self.heard.bytes());
            head(out, HELLO, HELLO_TEXT);
            out.push(VERSION);
            for number in [self.epoch, heard, self.passed_on] {
                out.extend_from_slice(&number.to_be_bytes());
            }
            self.is_told();
        }
        let has_data = self.hellos.theirs && self.next < self.end();
        let untold = self.passed_on - self.told;
        if self.tell_now || untold >= TELL_AFTER || (has_data && untold >= RIDES_AFTER) {
            head(out, PASSED_ON, PASSED_ON_TEXT);
            out.extend_from_slice(&self.passed_on.to_be_bytes());
            self.is_told();
        }
        if self.ask && self.hellos.theirs {
            self.ask = false;
            head(out, ASK, 0);
        }
        let room = AT_ONCE.saturating_sub(out.len() + HEAD);
        if has_data && room > 0 {
            let data = &self.kept.bytes()[index(self.next - self.first_kept)..];
            let data = &data[..data.len().min(room)];
            head(out, DATA, data.len());
            out.extend_from_slice(data);
            self.next += count(data);
            self.furthest = self.furthest.max(self.next);
        }
    }

    /// Takes what has come of the stream, cut anywhere.
    pub fn hear(&mut self, mut wire: &[u8]) -> Result<(), Broken> {
        while !wire.is_empty() {
            if self.left > 0 {
                let (data, rest) = wire.split_at(wire.len().min(self.left));
                self.heard.push(data);
                self.left -= data.len();
                wire = rest;
                continue;
            }
            let (byte, rest) = wire.split_at(1);
            self.head.extend_from_slice(byte);
            wire = rest;
            let Some((&[kind, a, b, c, d], text)) = self.head.split_first_chunk() else { continue };
            let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).map_err(|_| Broken)?;
            match (kind, length) {
                (DATA, 1..=LONGEST) if self.hellos.theirs => {
                    // Whoever keeps no more than a window has no more under way.
                    if length > WINDOW - self.heard.bytes().len() {
                        return Err(Broken);
                    }
                    self.left = length;
                }
                (HELLO, HELLO_TEXT) if !self.hellos.theirs => {
                    let Some((version, text)) = text.split_first() else { continue };
                    if *version != VERSION {
                        return Err(Broken);
                    }
                    let Some([epoch, heard, passed_on]) = numbers(text) else { continue };
                    self.greeted(epoch, heard, passed_on)?;
                }
                (PASSED_ON, PASSED_ON_TEXT) if self.hellos.theirs => {
                    let Some([passed_on]) = numbers(text) else { continue };
                    self.acknowledged(passed_on)?;
                }
                (ASK, 0) if self.hellos.theirs => self.tell_now = true,
                _ => return Err(Broken),
            }
            self.head.clear();
        }
        Ok(())
    }

    /// What was heard and not passed on.
    pub fn heard(&self) -> &[u8] {
        self.heard.bytes()
    }

    /// So much of it is passed on.
    pub fn pass_on(&mut self, bytes: usize) {
        let bytes = bytes.min(self.heard.bytes().len());
        self.heard.drop_first(bytes);
        self.passed_on += wide(bytes);
    }

    fn greeted(&mut self, epoch: u64, heard: u64, passed_on: u64) -> Result<(), Broken> {
        if epoch != self.epoch || heard < passed_on || heard > self.furthest {
            return Err(Broken);
        }
        self.acknowledged(passed_on)?;
        self.next = heard;
        self.hellos.theirs = true;
        Ok(())
    }

    fn acknowledged(&mut self, passed_on: u64) -> Result<(), Broken> {
        if passed_on < self.first_kept || passed_on > self.furthest {
            return Err(Broken);
        }
        self.kept.drop_first(index(passed_on - self.first_kept));
        self.first_kept = passed_on;
        Ok(())
    }

    /// The number of the next byte that is said.
    fn end(&self) -> u64 {
        self.first_kept + count(self.kept.bytes())
    }

    fn is_told(&mut self) {
        (self.told, self.tell_now) = (self.passed_on, false);
    }
}

fn head(out: &mut Vec<u8>, kind: u8, length: usize) {
    out.push(kind);
    // No text is longer than `LONGEST`, which fits.
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

/// So many numbers, if all of them are there.
fn numbers<const N: usize>(text: &[u8]) -> Option<[u64; N]> {
    let (numbers, _) = text.as_chunks::<8>();
    Some(numbers.first_chunk::<N>()?.map(u64::from_be_bytes))
}

fn count(bytes: &[u8]) -> u64 {
    wide(bytes.len())
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// A difference of two numbers within what is kept.
fn index(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Bytes in one piece, of which the first go and others come behind.
#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    from: usize,
}

impl Queue {
    fn bytes(&self) -> &[u8] {
        &self.bytes[self.from..]
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn drop_first(&mut self, count: usize) {
        self.from += count;
        if self.from >= self.bytes.len() {
            self.from = 0;
            self.bytes.clear();
            // A burst is no reason to hold its room for ever.
            self.bytes.shrink_to(LONGEST);
        } else if self.from >= self.bytes.len() / 2 {
            self.bytes.drain(..self.from);
            self.from = 0;
        }
    }
}
