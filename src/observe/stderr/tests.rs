use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::*;

/// Where tests of several modules catch what was written.
#[derive(Clone, Default)]
pub(crate) struct Caught(Arc<Mutex<Vec<u8>>>);

impl Caught {
    pub(crate) fn sink() -> (StderrSink, Self) {
        let caught = Self::default();
        (StderrSink::to(caught.clone()), caught)
    }

    /// All that `sink` was given.
    pub(crate) fn text(&self, sink: &StderrSink) -> String {
        assert!(sink.flush(Duration::from_secs(10)));
        self.so_far()
    }

    pub(crate) fn so_far(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Caught {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn lines_and_raw_bytes_keep_their_order_and_lines_begin_at_the_margin() {
    let (sink, caught) = Caught::sink();
    sink.line("one");
    sink.raw(Bytes::from_static(b"raw\nhalf"));
    sink.raw(Bytes::new());
    sink.line(String::from("two"));
    sink.line("");
    sink.raw(Bytes::from_static(b"end\n"));
    sink.line("three");
    assert_eq!(caught.text(&sink), "one\nraw\nhalf\ntwo\n\nend\nthree\n");
}

#[test]
fn only_a_terminal_is_spared_commands() {
    const CLEAR: &str = "\u{1b}[2J\u{1b}[31mred";
    let (sink, caught) = Caught::sink();
    sink.line(CLEAR);
    sink.raw(Bytes::from_static(b"\x1b[2J\n"));
    assert_eq!(caught.text(&sink), format!("{CLEAR}\n\u{1b}[2J\n"));
    let caught = Caught::default();
    let sink = StderrSink::start(caught.clone(), true);
    sink.line(CLEAR);
    sink.raw(Bytes::from_static(b"\x1b[2J\n"));
    assert_eq!(caught.text(&sink), "\\u{1b}[2J\u{1b}[31mred\u{1b}[0m\n\\u{1b}[2J\n");
}

#[test]
fn a_pipe_that_nobody_reads_blocks_neither_the_caller_nor_the_end() {
    const LINES: usize = 20_000;
    let (mut reader, writer) = io::pipe().unwrap();
    let sink = StderrSink::to(writer);
    let began = Instant::now();
    for number in 0..LINES {
        sink.line(format!("line {number} {}", "x".repeat(100)));
    }
    assert!(!sink.flush(Duration::from_millis(50)), "the pipe can't have taken all of it");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());

    // Somebody reads after all: whole lines, and a count of what is missing.
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    });
    assert!(sink.flush(Duration::from_secs(10)));
    drop(sink);
    let text = reading.join().unwrap();
    let mut written = 0;
    let mut dropped = 0;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("berth: ") {
            dropped += rest.split(' ').next().unwrap().parse::<usize>().unwrap();
        } else {
            assert!(line.starts_with("line ") && line.ends_with(&"x".repeat(100)), "{line}");
            written += 1;
        }
    }
    assert!(dropped > 0);
    assert_eq!(written + dropped, LINES);
}

#[test]
fn a_closed_standard_error_is_no_reason_to_wait() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let sink = StderrSink::to(writer);
    for _ in 0..100 {
        sink.line("gone");
    }
    assert!(sink.flush(Duration::from_secs(10)));
}
