//! The health check of a daemon, in images without curl. It always ends, even if the daemon hangs.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::Failure;

/// Covers the connecting too: a daemon that accepts nobody blocks it once its backlog is full.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) fn ping(socket: OsString) -> Result<(), Failure> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let name = socket.display().to_string();
    thread::spawn(move || sender.send(status_line(&socket)));
    let reason = match receiver.recv_timeout(PATIENCE) {
        Ok(Ok(line)) if is_ok(&line) => return Ok(()),
        Ok(Ok(line)) => format!("it answered `{}`", line.trim_end()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer in {} s", PATIENCE.as_secs()),
    };
    Err(Failure::new(Failure::FAILED, format_args!("no healthy daemon at `{name}`: {reason}")))
}

fn status_line(socket: &OsStr) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(1024).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned())
}

pub(super) fn is_ok(status_line: &str) -> bool {
    let mut words = status_line.split(' ');
    words.next().is_some_and(|version| version.starts_with("HTTP/1.")) && words.next() == Some("200")
}
