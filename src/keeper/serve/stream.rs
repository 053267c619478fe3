//! One stream between berth and the helper: two files that never have it wait, and the resume that brought them.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use crate::numbered::Numbered;
use crate::sys::descriptors::{never_wait, put, widen};

/// What is read of it at once (bytes).
const AT_ONCE: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Stream {
    input: File,
    output: File,
    /// Frames that have no room yet, and how much of them has gone.
    out: Vec<u8>,
    gone: usize,
    /// What was read of it.
    bytes: Box<[u8]>,
    /// Closed together with the stream: then `keeper resume` ends, and so does the exec whose stream it was.
    _resume: Option<UnixStream>,
}

impl Stream {
    /// The one that this process was started with. It is closed when this is.
    pub(super) fn own() -> io::Result<Self> {
        let nothing = File::options().read(true).write(true).open("/dev/null")?;
        let (stdin, stdout) = (io::stdin(), io::stdout());
        let own = Self::new(stdin.as_fd().try_clone_to_owned()?, stdout.as_fd().try_clone_to_owned()?, None)?;
        put(nothing.as_fd(), stdin.as_fd())?;
        put(nothing.as_fd(), stdout.as_fd())?;
        Ok(own)
    }

    pub(super) fn new(input: OwnedFd, output: OwnedFd, resume: Option<UnixStream>) -> io::Result<Self> {
        never_wait(input.as_fd())?;
        never_wait(output.as_fd())?;
        widen(output.as_fd());
        Ok(Self {
            input: input.into(),
            output: output.into(),
            out: Vec::new(),
            gone: 0,
            bytes: vec![0; AT_ONCE].into(),
            _resume: resume,
        })
    }

    pub(super) fn input(&self) -> &File {
        &self.input
    }

    pub(super) fn output(&self) -> &File {
        &self.output
    }

    /// What is to be written waits for room.
    pub(super) fn is_full(&self) -> bool {
        self.gone < self.out.len()
    }

    /// Passes on what has come. An end is an error, as is a word that does not belong there.
    pub(super) fn hear(&mut self, line: &mut Numbered) -> io::Result<()> {
        match self.input.read(&mut self.bytes) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => line.hear(&self.bytes[..count]).map_err(|_| ErrorKind::InvalidData.into()),
            Err(error) => unless_later(error),
        }
    }

    /// Writes what is to be said, as far as there is room.
    pub(super) fn say(&mut self, line: &mut Numbered) -> io::Result<()> {
        loop {
            if !self.is_full() {
                self.out.clear();
                self.gone = 0;
                line.frames(&mut self.out);
                if self.out.is_empty() {
                    return Ok(());
                }
            }
            match self.output.write(&self.out[self.gone..]) {
                Ok(count) => self.gone += count,
                Err(error) => return unless_later(error),
            }
        }
    }
}

fn unless_later(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(()),
        _ => Err(error),
    }
}
