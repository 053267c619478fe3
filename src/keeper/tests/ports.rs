//! What `keeper ports` is told, and what it and berth say to each other.

use std::io::Read;
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use proptest::prelude::*;

use crate::Subcommand;
use crate::frames::{Account, Broken, Frame, LONGEST, WINDOW, decode, encode};

fn parse(line: &str) -> Result<Subcommand, u8> {
    Subcommand::parse(line.split_whitespace().map(Into::into)).map_err(|failure| failure.code)
}

#[test]
fn it_is_told_its_ports_and_nothing_else() {
    let parsed = parse("ports --listen 5432 --connect 8085 --listen 6379").unwrap();
    assert_eq!(
        format!("{parsed:?}"),
        "Ports(Ports { listen: [5432, 6379], connect: [8085], instead: false })"
    );
    for line in ["ports 5432", "ports --listen", "ports --listen x", "ports --listen 65536"] {
        assert_eq!(parse(line).unwrap_err(), 64, "{line}");
    }
}

/// Says that it listens, and does.
fn listening(options: &[&str]) -> Child {
    let mut command = Command::new(super::KEEPER);
    command.args(["ports", "--listen", "22461"]).args(options);
    let mut keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = Vec::new();
    encode(&mut ready, 0, &Frame::Ready);
    let mut said = vec![0; ready.len()];
    keeper.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    assert_eq!(said, ready, "{options:?}");
    TcpStream::connect(("127.0.0.1", 22461)).unwrap();
    keeper
}

#[test]
fn one_that_a_cut_has_left_gives_its_place_to_the_next() {
    let mut left = listening(&["--instead"]);
    let mut next = listening(&["--instead"]);
    assert_eq!(left.wait().unwrap().signal(), Some(9));
    drop(next.stdin.take());
    assert!(next.wait().unwrap().success());
}

fn frame() -> impl Strategy<Value = (u32, u8, Vec<u8>, u32)> {
    (any::<u32>(), 0..7u8, proptest::collection::vec(any::<u8>(), 0..300), any::<u32>())
}

fn made(kind: u8, data: &[u8], number: u32) -> Frame<'_> {
    let port = u16::try_from(number & 0xffff).unwrap();
    match kind {
        0 => Frame::Ready,
        1 => Frame::Taken { port, errno: number },
        2 => Frame::Open { port },
        3 => Frame::Data(data),
        4 => Frame::Room(number),
        5 => Frame::Finish,
        _ => Frame::Reset { refused: number % 2 == 1 },
    }
}

proptest! {
    #[test]
    fn frames_arrive_whole_however_the_bytes_are_cut(
        frames in proptest::collection::vec(frame(), 0..20),
        cuts in proptest::collection::vec(1..64usize, 1..16),
    ) {
        let mut said = Vec::new();
        for (connection, kind, data, number) in &frames {
            encode(&mut said, *connection, &made(*kind, data, *number));
        }
        let (mut heard, mut at, mut buffer) = (0, 0, Vec::new());
        for cut in cuts.iter().cycle() {
            if at == said.len() {
                break;
            }
            let end = (at + cut).min(said.len());
            buffer.extend_from_slice(&said[at..end]);
            at = end;
            while let Some((length, connection, frame)) = decode(&buffer).unwrap() {
                let (expected, kind, data, number) = &frames[heard];
                prop_assert_eq!((connection, frame), (*expected, made(*kind, data, *number)));
                buffer.drain(..length);
                heard += 1;
            }
        }
        prop_assert_eq!((heard, buffer.len()), (frames.len(), 0));
    }

    #[test]
    fn anything_else_is_refused_or_waited_for(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(Some((length, ..))) = decode(&bytes) {
            prop_assert!(length <= bytes.len());
        }
    }

    /// Two sides that keep the account never stand still, and never have more under way than the window.
    #[test]
    fn an_account_never_stalls_and_never_overflows(steps in proptest::collection::vec((1..LONGEST, 1..WINDOW), 1..300)) {
        let (mut sender, mut receiver) = (Account::new(), Account::new());
        let mut waiting = 0;
        for (send, pass_on) in steps {
            let length = send.min(sender.may_send());
            sender.sent(length);
            prop_assert_eq!(receiver.received(length), Ok(()));
            waiting += length;
            prop_assert!(waiting <= WINDOW);
            let passed = pass_on.min(waiting);
            waiting -= passed;
            if let Some(room) = receiver.passed_on(passed) {
                prop_assert_eq!(sender.granted(room), Ok(()));
            }
            prop_assert!(waiting > 0 || sender.may_send() > 0, "nothing is under way, and nothing may be sent");
        }
    }
}

#[test]
fn who_does_not_keep_the_account_is_refused() {
    let mut account = Account::new();
    assert_eq!(account.received(WINDOW), Ok(()));
    assert_eq!(account.received(1), Err(Broken));
    assert_eq!(account.granted(1), Err(Broken), "more room than there is");
    assert_eq!(decode(&[9, 0, 0, 0, 0, 0, 0, 1]), Err(Broken));
    assert_eq!(decode(&[4, 0, 0xff, 0xff, 0, 0, 0, 1]), Err(Broken), "too long");
}
