//! `keeper near`: a list's forwarder within a pod, beside the server and no better than it. It answers for names and takes
//! connections as everywhere, so that a server needs no setting of a proxy and the person is told what was refused.
//!
//! It decides nothing: all that it passes on goes to the forwarder of the namespace (`far.rs`), which is the only way out.
//! A server that does without it reaches nothing more.

use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, ErrorKind, PipeWriter, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::forward::{Host, Refused, Trouble, left};
use super::list::Allowed;
use super::names::{Names, OWN_IN_POD};
use super::told::Told;
use super::{READY, Session, Way};
use crate::{Failure, Words, sys};

/// What its program is called with.
pub(in super::super) const NAME: &str = "near";
/// It may be starting again, or know our pod in a moment.
const REACHED_WITHIN: Duration = Duration::from_secs(12);
const TRIED_FOR: Duration = Duration::from_secs(2);
const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// It looks the name up, and connects to up to four addresses.
const ANSWERED_WITHIN: Duration = Duration::from_secs(75);
/// Of an answer's head.
const LONGEST: usize = 4096;
/// Why, and what would allow it, in the forwarder's answer.
pub(super) const WHY: &str = "berth-why: ";
pub(super) const ENTRY: &str = "berth-entry: ";
const ABSENT: &str = "berth's forwarder does not answer: look at `kubectl get deployment berth-forwarder`";

/// What a server's helper is told of names; nothing where it has no list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Wanted {
    forwarder: Option<String>,
    allowed: Vec<String>,
}

impl Wanted {
    /// Takes an option with its value, if it is one of ours.
    pub(in super::super) fn takes<I>(&mut self, flag: &str, words: &mut Words<I>) -> Result<bool, Failure>
    where
        I: Iterator<Item = OsString>,
    {
        match flag {
            "--forwarder" => self.forwarder = Some(words.text("the forwarder's address")?),
            "--allow" => self.allowed.push(words.text("a name that is allowed")?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Starts it, and returns when it answers. What was refused is said where the server's errors are.
    pub(in super::super) fn start(&self, errors: &PipeWriter) -> Result<(), Failure> {
        let Some(forwarder) = &self.forwarder else { return Ok(()) };
        let mut near = Command::new(env::current_exe()?);
        near.arg(NAME).arg(forwarder).args(&self.allowed).env_clear().current_dir("/");
        // Of its own: it outlives the server, which is ended with its group.
        near.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors.try_clone()?);
        let mut near = near.spawn()?;
        let mut said = String::new();
        if let Some(output) = near.stdout.take() {
            BufReader::new(output).read_line(&mut said)?;
        }
        match said.trim_end() {
            READY => Ok(()),
            why => Err(Failure::new(
                Failure::SYSTEM,
                format_args!("the server's list of names cannot be served in its pod: {why}"),
            )),
        }
    }
}

/// What its program is told.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Near {
    forwarder: SocketAddr,
    allowed: Allowed,
    /// As the list has them.
    words: Vec<String>,
}

impl Near {
    pub(in super::super) fn parse(
        words: &mut Words<impl Iterator<Item = OsString>>,
    ) -> Result<Self, Failure> {
        let forwarder = words.parsed("an address with a port")?;
        let list: Vec<OsString> = words.0.by_ref().collect();
        let texts = list.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        Ok(Self { forwarder, allowed: super::entries(&mut Words(list.into_iter()))?, words: texts })
    }

    /// Until its container ends.
    pub(in super::super) fn execute(self) -> Result<(), Failure> {
        let mut output = io::stdout();
        let started = self.start();
        let said = started.as_ref().map_or_else(ToString::to_string, |()| READY.to_owned());
        let _ = writeln!(output, "{said}").and_then(|()| output.flush());
        started?;
        loop {
            thread::park();
        }
    }

    fn start(self) -> io::Result<()> {
        let Self { forwarder, allowed, words } = self;
        sys::forbid_dumping()?;
        let questions = UdpSocket::bind((OWN_IN_POD, 53))?;
        let listeners =
            super::ports(&allowed).into_iter().map(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)));
        let listeners = listeners.collect::<io::Result<_>>()?;
        let names = Names::new(allowed.clone(), OWN_IN_POD);
        let session = Session { names, allowed, told: Told::aloud(words), way: Way::Through(forwarder) };
        super::serve::serve(&Arc::new(session), questions, listeners)
    }
}

/// A connection that the namespace's forwarder has made.
pub(super) fn through(forwarder: SocketAddr, host: &Host, port: u16) -> Result<TcpStream, Trouble> {
    let until = Instant::now() + REACHED_WITHIN;
    let mut stream = loop {
        match TcpStream::connect_timeout(&forwarder, TRIED_FOR) {
            Ok(stream) => break stream,
            Err(_) if Instant::now() < until => thread::sleep(AGAIN_AFTER),
            Err(_) => return Err(Refused::because(ABSENT).into()),
        }
    };
    let target = match host {
        Host::Address(address) if address.is_ipv6() => format!("[{address}]:{port}"),
        host => format!("{host}:{port}"),
    };
    let head = write!(stream, "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")
        .and_then(|()| head(&mut stream))
        .map_err(|_| Refused::because(ABSENT))?;
    answered(&head).map_err(Trouble::Refused)?;
    stream.set_read_timeout(None)?;
    Ok(stream)
}

/// An answer's head, and no byte of what stands behind it.
fn head(stream: &mut TcpStream) -> io::Result<String> {
    let until = Instant::now() + ANSWERED_WITHIN;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.set_read_timeout(Some(left(until)?))?;
        if head.len() == LONGEST || stream.read(&mut byte)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// What a forwarder's answer says.
pub(super) fn answered(head: &str) -> Result<(), Refused> {
    let mut lines = head.split("\r\n");
    if lines.next().and_then(|line| line.split(' ').nth(1)) == Some("200") {
        return Ok(());
    }
    let mut refused = Refused::because("berth's forwarder refuses it");
    for line in lines {
        if let Some(why) = line.strip_prefix(WHY) {
            why.clone_into(&mut refused.why);
        } else if let Some(entry) = line.strip_prefix(ENTRY) {
            refused.entry = Some(entry.to_owned());
        }
    }
    Err(refused)
}

/// The same of a name, for tests; why it was refused, and what would allow it.
#[cfg(test)]
pub(in super::super) fn through_for_tests(
    forwarder: SocketAddr,
    name: &str,
    port: u16,
) -> Result<TcpStream, (String, Option<String>)> {
    through(forwarder, &Host::Name(name.to_owned()), port).map_err(|trouble| match trouble {
        Trouble::Refused(refused) => (refused.why, refused.entry),
        Trouble::Over => ("over".to_owned(), None),
    })
}
