//! Many TCP connections on one pair of pipes: what berth and `keeper ports` say to each other. A part of both programs;
//! std only.
//!
//! A frame is a kind, a zero, the length of its text (two bytes), the connection's number (four bytes), and the text.
//! Whoever accepts a connection chooses its number: the keeper odd ones, berth even ones. Neither side sends more of a
//! connection than the other has room for, so a connection that nobody reads holds up no other.

/// Before each text (bytes).
pub(crate) const HEADER: usize = 8;
/// The longest text (bytes).
pub(crate) const LONGEST: usize = 16 << 10;
/// What of a connection may be under way in one direction, and wait for whoever reads it (bytes).
pub(crate) const WINDOW: usize = 64 << 10;
/// Connections at once, of both directions together.
pub(crate) const CONNECTIONS: usize = 256;

const READY: u8 = 1;
const TAKEN: u8 = 2;
const OPEN: u8 = 3;
const DATA: u8 = 4;
const ROOM: u8 = 5;
const FINISH: u8 = 6;
const RESET: u8 = 7;

/// What is said of a connection, or of none where its number is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// The keeper listens.
    Ready,
    /// It cannot listen at this port, for this number of the system's reason.
    Taken {
        port: u16,
        errno: u32,
    },
    /// A connection to this port has been accepted.
    Open {
        port: u16,
    },
    Data(&'a [u8]),
    /// So many bytes more have been read.
    Room(u32),
    /// The sender says no more, and listens.
    Finish,
    /// It is over in both directions; `refused` where there never was anybody at the other end.
    Reset {
        refused: bool,
    },
}

/// The other side does not keep to this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken;

/// Appends a frame.
pub(crate) fn encode(out: &mut Vec<u8>, number: u32, frame: &Frame<'_>) {
    let mut head = |kind: u8, length: usize| {
        // No text is longer than `LONGEST`, which fits.
        let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
        out.extend_from_slice(&[kind, 0, high, low]);
        out.extend_from_slice(&number.to_be_bytes());
    };
    match *frame {
        Frame::Ready => head(READY, 0),
        Frame::Taken { port, errno } => {
            head(TAKEN, 6);
            out.extend_from_slice(&port.to_be_bytes());
            out.extend_from_slice(&errno.to_be_bytes());
        }
        Frame::Open { port } => {
            head(OPEN, 2);
            out.extend_from_slice(&port.to_be_bytes());
        }
        Frame::Data(data) => {
            head(DATA, data.len());
            out.extend_from_slice(data);
        }
        Frame::Room(bytes) => {
            head(ROOM, 4);
            out.extend_from_slice(&bytes.to_be_bytes());
        }
        Frame::Finish => head(FINISH, 0),
        Frame::Reset { refused } => {
            head(RESET, 1);
            out.push(u8::from(refused));
        }
    }
}

/// The first frame of `input`, its connection's number, and its length; `None` until all of it is there.
pub(crate) fn decode(input: &[u8]) -> Result<Option<(usize, u32, Frame<'_>)>, Broken> {
    let Some((&[kind, zero, high, low], rest)) = input.split_first_chunk() else { return Ok(None) };
    let Some((number, rest)) = rest.split_first_chunk() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if zero != 0 || length > LONGEST {
        return Err(Broken);
    }
    let Some(text) = rest.get(..length) else { return Ok(None) };
    let frame = match (kind, text) {
        (READY, []) => Frame::Ready,
        (TAKEN, text) => {
            let (port, errno) = text.split_first_chunk().ok_or(Broken)?;
            let errno = <[u8; 4]>::try_from(errno).map_err(|_| Broken)?;
            Frame::Taken { port: u16::from_be_bytes(*port), errno: u32::from_be_bytes(errno) }
        }
        (OPEN, &[high, low]) => Frame::Open { port: u16::from_be_bytes([high, low]) },
        (DATA, data) => Frame::Data(data),
        (ROOM, text) => Frame::Room(u32::from_be_bytes(text.try_into().map_err(|_| Broken)?)),
        (FINISH, []) => Frame::Finish,
        (RESET, &[refused]) => Frame::Reset { refused: refused != 0 },
        _ => return Err(Broken),
    };
    Ok(Some((HEADER + length, u32::from_be_bytes(*number), frame)))
}

/// One connection's account of bytes, on one of the two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    /// We may send so much.
    credit: usize,
    /// The other side may send so much.
    open: usize,
    /// Read, and not told yet.
    untold: usize,
}

impl Account {
    pub(crate) const fn new() -> Self {
        Self { credit: WINDOW, open: WINDOW, untold: 0 }
    }

    /// How much we may send now, in one frame.
    pub(crate) fn may_send(&self) -> usize {
        self.credit.min(LONGEST)
    }

    pub(crate) fn sent(&mut self, bytes: usize) {
        self.credit = self.credit.saturating_sub(bytes);
    }

    /// The other side has told that it has read so much.
    pub(crate) fn granted(&mut self, bytes: u32) -> Result<(), Broken> {
        let credit = usize::try_from(bytes).map_err(|_| Broken)?.saturating_add(self.credit);
        if credit > WINDOW {
            return Err(Broken);
        }
        self.credit = credit;
        Ok(())
    }

    pub(crate) fn received(&mut self, bytes: usize) -> Result<(), Broken> {
        self.open = self.open.checked_sub(bytes).ok_or(Broken)?;
        Ok(())
    }

    /// So much has been passed on; what to tell of it, if it is enough.
    pub(crate) fn passed_on(&mut self, bytes: usize) -> Option<u32> {
        self.untold += bytes;
        if self.untold < WINDOW / 2 {
            return None;
        }
        let told = std::mem::take(&mut self.untold);
        self.open += told;
        u32::try_from(told).ok()
    }
}
