use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

#[derive(Debug, PartialEq)]
enum Seen {
    Entry(u32),
    Dropped(u64),
}

/// Writes one entry for each `()` that its gate lets through.
struct Gated {
    gate: Receiver<()>,
    seen: Sender<Seen>,
}

impl Drain<u32> for Gated {
    fn write(&mut self, entry: u32) {
        _ = self.gate.recv();
        _ = self.seen.send(Seen::Entry(entry));
    }

    fn dropped(&mut self, count: u64) {
        _ = self.seen.send(Seen::Dropped(count));
    }
}

fn gated(entries: usize, bytes: usize) -> (Queue<u32>, Sender<()>, Receiver<Seen>) {
    let (opener, gate) = channel();
    let (seen, written) = channel();
    (Queue::start("test", Limits { entries, bytes }, Gated { gate, seen }), opener, written)
}

/// Fills a queue whose writer is held at entry 0, so that the next offer must be dropped.
fn fill(queue: &Queue<u32>, entries: u32) {
    queue.offer(0, || 0);
    while queue.state.entries.load(Ordering::Relaxed) > 0 {
        std::thread::yield_now();
    }
    for entry in 1..=entries {
        queue.offer(0, || entry);
    }
}

#[test]
fn what_does_not_fit_is_counted_where_it_is_missing_and_not_even_made() {
    let (queue, gate, seen) = gated(2, 100);
    fill(&queue, 2);
    for _ in 0..5 {
        queue.offer(0, || panic!("made, though there is no room for it"));
    }
    // Room for one more: it must come after the count.
    gate.send(()).unwrap();
    assert_eq!(seen.recv().unwrap(), Seen::Entry(0));
    while queue.state.entries.load(Ordering::Relaxed) > 1 {
        std::thread::yield_now();
    }
    queue.offer(0, || 9);
    for _ in 0..3 {
        gate.send(()).unwrap();
    }
    let order: Vec<_> = (0..4).map(|_| seen.recv().unwrap()).collect();
    assert_eq!(order, [Seen::Entry(1), Seen::Entry(2), Seen::Dropped(5), Seen::Entry(9)]);
}

#[test]
fn the_bytes_that_wait_are_bounded_too() {
    let (queue, gate, seen) = gated(100, 10);
    fill(&queue, 0);
    queue.offer(6, || 1);
    queue.offer(6, || 2);
    queue.offer(4, || 3);
    for _ in 0..3 {
        gate.send(()).unwrap();
    }
    let order: Vec<_> = (0..4).map(|_| seen.recv().unwrap()).collect();
    assert_eq!(order, [Seen::Entry(0), Seen::Entry(1), Seen::Dropped(1), Seen::Entry(3)]);
    assert!(queue.flush(Duration::from_secs(5)));
    queue.offer(10, || 4);
    gate.send(()).unwrap();
    assert_eq!(seen.recv().unwrap(), Seen::Entry(4), "the room was not given back");
}

#[test]
fn flush_waits_for_the_writer_but_not_for_ever() {
    let (queue, gate, seen) = gated(2, 100);
    fill(&queue, 2);
    let began = Instant::now();
    assert!(!queue.flush(Duration::from_millis(50)));
    assert!(began.elapsed() < Duration::from_secs(5));
    for _ in 0..3 {
        gate.send(()).unwrap();
    }
    assert!(queue.flush(Duration::from_secs(5)));
    assert_eq!(seen.try_iter().count(), 3);
}

#[test]
fn flush_makes_an_idle_writer_tell_what_was_dropped() {
    let (queue, _gate, seen) = gated(2, 10);
    // Too large ever to be taken, so nothing wakes the writer.
    queue.offer(11, || 0);
    assert!(queue.flush(Duration::from_secs(5)));
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [Seen::Dropped(1)]);
}

#[test]
fn the_thread_ends_with_the_last_handle_and_writes_the_rest() {
    let (queue, gate, seen) = gated(8, 100);
    let other = queue.clone();
    queue.offer(0, || 1);
    other.offer(0, || 2);
    drop((queue, other));
    drop(gate);
    // The channel closes when the thread drops its writer.
    assert_eq!(seen.iter().collect::<Vec<_>>(), [Seen::Entry(1), Seen::Entry(2)]);
}

/// Takes two bytes at a time, and nothing at every other call.
struct Reluctant {
    taken: Vec<u8>,
    ready: bool,
}

impl Write for Reluctant {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.ready = !self.ready;
        if !self.ready {
            return Err(ErrorKind::WouldBlock.into());
        }
        let some = bytes.len().min(2);
        self.taken.extend_from_slice(&bytes[..some]);
        Ok(some)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_file_that_takes_nothing_at_the_moment_gets_everything_in_the_end() {
    let mut out = Reluctant { taken: Vec::new(), ready: true };
    write_all(&mut out, b"12345").unwrap();
    assert_eq!(out.taken, b"12345");
}
