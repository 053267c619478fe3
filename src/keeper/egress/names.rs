//! The names that a session knows: each has an address in its own namespace, where the forwarder listens.
//!
//! A name's address is told without asking anybody: what a session asks for goes nowhere. Other names do not exist.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};

use super::super::allow::is_name;
use super::list::Allowed;

/// The forwarder's own address, in every session: names are asked of it, and it is an HTTP proxy.
pub(in super::super) const OWN: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The same in a pod, where nobody may set routes: all of the loopback is there.
pub(in super::super) const OWN_IN_POD: Ipv4Addr = Ipv4Addr::new(127, 18, 0, 1);
/// From there to the first name's.
const BEFORE_NAMES: u32 = 0xff;
/// So many names one session may ask for.
const MOST: usize = 1024;
/// The addresses stay as they are.
const TTL: [u8; 4] = [0, 0, 1, 0];

const HEADER: usize = 12;
const A: u16 = 1;
const AAAA: u16 = 28;
const PTR: u16 = 12;
const REFUSED: u8 = 5;
const NO_SUCH_NAME: u8 = 3;
const NOT_UNDERSTOOD: u8 = 4;
const FAILED: u8 = 2;

/// The addresses that have been told.
#[derive(Debug)]
pub(in super::super) struct Names {
    pub(in super::super) own: Ipv4Addr,
    allowed: Allowed,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Told {
    fn number(&mut self, name: &str) -> Option<u32> {
        if let Some(number) = self.numbers.get(name) {
            return Some(*number);
        }
        let number = u32::try_from(self.names.len()).ok().filter(|_| self.names.len() < MOST)?;
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        Some(number)
    }
}

impl Names {
    pub(in super::super) fn new(allowed: Allowed, own: Ipv4Addr) -> Self {
        let mut told = Told::default();
        // First, so that no flood of names below another can take their places.
        for name in allowed.names() {
            told.number(name);
        }
        Self { own, allowed, told: Mutex::new(told) }
    }

    /// Where a name that is allowed is to be found; `None` where there were too many.
    fn address(&self, name: &str) -> Option<Ipv4Addr> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.number(name).map(|number| Ipv4Addr::from(self.first() + number))
    }

    fn first(&self) -> u32 {
        u32::from(self.own) + BEFORE_NAMES
    }

    /// Whose address it is.
    pub(in super::super) fn name_at(&self, address: Ipv4Addr) -> Option<String> {
        let number = usize::try_from(u32::from(address).checked_sub(self.first())?).ok()?;
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.names.get(number).cloned()
    }

    /// The answer to a question, and what was refused with it. `None`: it is no question.
    pub(in super::super) fn answer(&self, question: &[u8]) -> Option<(Vec<u8>, Option<Refused>)> {
        let header = question.first_chunk::<HEADER>()?;
        // An answer, or something about it.
        if header[2] & 0x80 != 0 {
            return None;
        }
        let asked = Asked::read(question).filter(|_| header[2] & 0x78 == 0 && header[4..6] == [0, 1]);
        let Some(asked) = asked else { return Some((message(header, &[], NOT_UNDERSTOOD, None), None)) };
        let section = &question[HEADER..asked.end];
        let (code, address, refused) = self.judge(&asked);
        Some((message(header, section, code, address), refused))
    }

    fn judge(&self, asked: &Asked) -> (u8, Option<Ipv4Addr>, Option<Refused>) {
        let Some(name) = &asked.name else { return (NO_SUCH_NAME, None, None) };
        if asked.kind == PTR {
            return (REFUSED, None, None);
        }
        if !self.allowed.knows(name) {
            let refused = Refused { name: name.clone(), is_attempt: asked.kind == A };
            return (NO_SUCH_NAME, None, Some(refused).filter(|_| matches!(asked.kind, A | AAAA)));
        }
        // Of all other kinds it has none: no other way is told, and no key for an encrypted name.
        if asked.kind != A {
            return (0, None, None);
        }
        match self.address(name) {
            Some(address) => (0, Some(address), None),
            None => (FAILED, None, Some(Refused { name: name.clone(), is_attempt: true })),
        }
    }
}

/// A name that a session does not get.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Refused {
    pub(in super::super) name: String,
    /// Most programs ask for an address of each kind: these two questions are one attempt.
    pub(in super::super) is_attempt: bool,
}

/// What a question asks for.
struct Asked {
    /// In lower case; `None` for what is no host's name.
    name: Option<String>,
    kind: u16,
    /// Where its section ends.
    end: usize,
}

impl Asked {
    fn read(message: &[u8]) -> Option<Self> {
        let (mut name, mut at, mut is_plain) = (String::new(), HEADER, true);
        loop {
            let length = usize::from(*message.get(at)?);
            // The end; longer ones would be references, which no question needs.
            if length == 0 {
                break;
            }
            if length > 63 || at - HEADER > 255 {
                return None;
            }
            let label = message.get(at + 1..at + 1 + length)?;
            if !name.is_empty() {
                name.push('.');
            }
            is_plain &= label.is_ascii();
            name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
            at += 1 + length;
        }
        let end = at + 5;
        let kind = message.get(at + 1..at + 3)?;
        // Of the internet (class IN).
        let class = message.get(at + 3..end)?;
        (class == [0, 1]).then_some(())?;
        Some(Self {
            name: Some(name).filter(|name| is_plain && is_name(name)),
            kind: u16::from_be_bytes([kind[0], kind[1]]),
            end,
        })
    }
}

fn message(header: &[u8; HEADER], section: &[u8], code: u8, address: Option<Ipv4Addr>) -> Vec<u8> {
    let questions = u8::from(!section.is_empty());
    // An answer; whether others may be asked is repeated, and said to be so (`RD`, `RA`).
    let mut message = vec![header[0], header[1], 0x80 | header[2] & 1, 0x80 | code, 0, questions];
    message.extend([0, u8::from(address.is_some()), 0, 0, 0, 0]);
    message.extend_from_slice(section);
    if let Some(address) = address {
        // The question's name; type A, class IN; four bytes.
        message.extend([0xc0, 12, 0, 1, 0, 1]);
        message.extend(TTL);
        message.extend([0, 4]);
        message.extend(address.octets());
    }
    message
}
