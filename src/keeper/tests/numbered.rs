//! Numbered bytes arrive once and in order, wherever the streams that carry them are cut.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::numbered::{Broken, FIRST, Numbered, WINDOW};
use crate::records::{
    self, Ending, HEAD, LONGEST, LONGEST_START, Record, Start, TooLong, decode, encode, skim,
};

/// One side: what it has still to say, and what it has passed on.
struct Side {
    line: Numbered,
    to_say: Vec<u8>,
    passed_on: Vec<u8>,
    /// Frames that the stream has not carried yet.
    wire: Vec<u8>,
}

impl Side {
    fn new(to_say: Vec<u8>) -> Self {
        Self { line: Numbered::new(), to_say, passed_on: Vec::new(), wire: Vec::new() }
    }

    fn begin(&mut self, epoch: u64) {
        self.line.begin(epoch);
        self.wire.clear();
    }

    fn say(&mut self, most: usize) {
        let count = self.line.say(&self.to_say[..most.min(self.to_say.len())]);
        self.to_say.drain(..count);
        self.line.frames(&mut self.wire);
    }

    fn pass_on(&mut self, most: usize) -> usize {
        let heard = &self.line.heard()[..most.min(self.line.heard().len())];
        self.passed_on.extend_from_slice(heard);
        let count = heard.len();
        self.line.pass_on(count);
        count
    }
}

/// Carries `most` bytes.
fn carry(from: &mut Side, to: &mut Side, most: usize) -> usize {
    let count = most.min(from.wire.len());
    to.line.hear(&from.wire[..count]).unwrap();
    from.wire.drain(..count);
    count
}

/// Has both sides say all that they have, over streams of which each carries as many bytes as `cuts` says, and the last
/// all that is left. What is under way at a cut is lost. `step` is what is said, carried and passed on at once.
fn converse(one: &[u8], other: &[u8], cuts: &[usize], step: usize) {
    let (mut a, mut b) = (Side::new(one.to_vec()), Side::new(other.to_vec()));
    for (epoch, lasts) in (FIRST..).zip(cuts.iter().copied().chain([usize::MAX])) {
        a.begin(epoch);
        b.begin(epoch);
        let mut left = lasts;
        for round in 0.. {
            a.say(step);
            b.say(step);
            let carried = carry(&mut a, &mut b, step.min(left));
            left -= carried;
            let back = carry(&mut b, &mut a, step.min(left));
            left -= back;
            // Much is heard and not passed on when the cut comes.
            let is_idle = carried == 0 && back == 0;
            let passed_on = if is_idle || round % 5 == 4 { a.pass_on(step) + b.pass_on(step) } else { 0 };
            if left == 0 || (is_idle && passed_on == 0) {
                break;
            }
        }
    }
    assert!(b.passed_on == one && a.passed_on == other, "{cuts:?} {step}");
    for side in [&mut a, &mut b] {
        side.line.tell_now();
        side.line.frames(&mut side.wire);
    }
    carry(&mut a, &mut b, usize::MAX);
    carry(&mut b, &mut a, usize::MAX);
    assert!(a.line.is_all_passed_on() && b.line.is_all_passed_on(), "{cuts:?} {step}");
}

fn bytes(count: usize, seed: usize) -> Vec<u8> {
    (0..count).map(|n| u8::try_from((n * 31 + n / 256 + seed) % 251).unwrap()).collect()
}

#[test]
fn a_cut_at_any_byte_loses_nothing_and_doubles_nothing() {
    let (one, other) = (bytes(90, 1), bytes(70, 2));
    // Two hellos of 30 bytes, the data, and its heads.
    for cut in 0..300 {
        for step in [1, 7, 1000] {
            converse(&one, &other, &[cut], step);
            converse(&one, &other, &[cut, cut / 2, 300 - cut], step);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn many_cuts_lose_nothing_either(
        one in 0..5_000usize, other in 0..5_000usize, cuts in vec(0..4_000usize, 0..12), step in 1..700usize,
    ) {
        converse(&bytes(one, 3), &bytes(other, 4), &cuts, step);
    }

    #[test]
    fn whatever_comes_no_more_than_a_window_is_kept(
        frames in vec(prop_oneof![
            8 => (1..=64_usize << 10).prop_map(data),
            2 => (0..400_000_u64).prop_map(passed_on),
            1 => Just(vec![4, 0, 0, 0, 0]),
            1 => vec(any::<u8>(), 1..9),
        ], 0..60),
        cut in 1..200_000usize,
    ) {
        // As much as a side may hear that says nothing: data within a window, and questions.
        let mut line = Numbered::new();
        line.begin(FIRST);
        line.hear(&hello(2, [FIRST, 0, 0])).unwrap();
        let (mut whole, mut is_good) = (0, true);
        for frame in &frames {
            is_good &= match (frame[0], frame.len()) {
                (2, 6..) => frame[..5] == data(frame.len() - 5)[..5] && whole + frame.len() - 5 <= WINDOW,
                (3, 13) => frame[5..] == [0; 8],
                (4, 5) => frame[1..] == [0; 4],
                _ => false,
            };
            if !is_good {
                break;
            }
            whole += if frame[0] == 2 { frame.len() - 5 } else { 0 };
        }
        let heard = frames.concat().chunks(cut).try_for_each(|piece| line.hear(piece));
        prop_assert!(line.heard().len() <= WINDOW);
        prop_assert!(line.heard().len() >= whole);
        if is_good {
            prop_assert_eq!((heard, line.heard().len()), (Ok(()), whole));
        }
    }

    #[test]
    fn whatever_comes_is_taken_apart_or_refused(said in vec(prop_oneof![0..4u8, 16..20u8, any::<u8>()], 0..200)) {
        let mut rest = &said[..];
        while let Ok(Some((length, _))) = decode(rest) {
            prop_assert!(length >= HEAD && length <= rest.len());
            rest = &rest[length..];
        }
    }
}

#[test]
fn more_than_windows_go_both_ways_with_cuts_in_between() {
    let (one, other) = (bytes(3 * WINDOW + 5, 5), bytes(2 * WINDOW + 9, 6));
    converse(&one, &other, &[70_000, WINDOW, 3, WINDOW + WINDOW / 2], 50_000);
    converse(&one, &other, &[], WINDOW);
}

/// Two sides that have greeted each other.
fn pair(to_say: Vec<u8>) -> (Side, Side) {
    let (mut a, mut b) = (Side::new(to_say), Side::new(Vec::new()));
    for side in [&mut a, &mut b] {
        side.begin(FIRST);
        side.line.frames(&mut side.wire);
    }
    carry(&mut a, &mut b, usize::MAX);
    carry(&mut b, &mut a, usize::MAX);
    (a, b)
}

#[test]
fn whoever_is_not_read_says_a_window_and_then_no_more() {
    let (mut a, mut b) = pair(bytes(3 * WINDOW, 7));
    for _ in 0..100 {
        a.say(WINDOW / 3);
        carry(&mut a, &mut b, usize::MAX);
        // A cut changes nothing of it.
        a.begin(a.line.epoch() + 1);
        b.begin(b.line.epoch() + 1);
        a.say(0);
        b.say(0);
        carry(&mut b, &mut a, usize::MAX);
        carry(&mut a, &mut b, usize::MAX);
    }
    assert_eq!((a.line.room(), a.to_say.len(), b.line.heard().len()), (0, 2 * WINDOW, WINDOW));
    // What was passed on is told at once, for the other side waits for it.
    b.pass_on(WINDOW);
    b.say(0);
    carry(&mut b, &mut a, usize::MAX);
    assert_eq!(a.line.room(), WINDOW);
}

#[test]
fn small_messages_cost_no_acknowledgement_of_their_own() {
    let (mut a, mut b) = pair(Vec::new());
    let mut frames = 0;
    for _ in 0..1000 {
        for back in [false, true] {
            let (from, to) = if back { (&mut b, &mut a) } else { (&mut a, &mut b) };
            from.to_say.extend_from_slice(&[b'x'; 100]);
            from.say(100);
            frames += usize::from(from.wire.len() > 105);
            carry(from, to, usize::MAX);
            to.pass_on(100);
            // Nobody says anything just to acknowledge.
            to.line.frames(&mut to.wire);
            assert!(to.wire.is_empty());
        }
    }
    assert!((1..2000 / 40).contains(&frames), "they ride behind others: {frames}");
    assert!(WINDOW - a.line.room() < 5000 && WINDOW - b.line.room() < 5000, "and little is kept");
}

#[test]
fn a_question_is_answered_at_once_though_there_is_no_news() {
    let (mut a, mut b) = pair(bytes(9, 9));
    a.say(9);
    carry(&mut a, &mut b, usize::MAX);
    for passed_on in [0, 4, 0] {
        b.pass_on(passed_on);
        // However often it is asked, one answer says it all.
        a.line.ask();
        a.line.ask();
        a.say(0);
        assert_eq!(a.wire, [4, 0, 0, 0, 0]);
        a.wire.extend_from_within(..);
        carry(&mut a, &mut b, usize::MAX);
        b.say(0);
        assert_eq!(b.wire.len(), 13);
        carry(&mut b, &mut a, usize::MAX);
        a.say(0);
        assert!(a.wire.is_empty(), "an answer is no question");
    }
    assert_eq!(WINDOW - a.line.room(), 5);
    // A question goes with its stream.
    a.line.ask();
    a.begin(2);
    a.say(0);
    assert_eq!(a.wire.len(), 30, "{:?}", a.wire);
}

#[test]
fn nothing_is_said_to_whom_nobody_has_met() {
    let mut line = Numbered::new();
    line.begin(FIRST);
    line.say(b"start");
    let mut wire = Vec::new();
    line.frames(&mut wire);
    assert_eq!((wire.len(), line.is_met()), (30, false));
    // Another one may be begun with instead.
    line.begin(FIRST);
    wire.clear();
    line.frames(&mut wire);
    line.hear(&hello(2, [FIRST, 0, 0])).unwrap();
    line.frames(&mut wire);
    assert_eq!((wire.len(), line.is_met()), (30 + 10, true));
}

fn data(length: usize) -> Vec<u8> {
    let mut data = vec![2];
    data.extend(u32::try_from(length).unwrap().to_be_bytes());
    data.resize(5 + length, b'x');
    data
}

fn hello(version: u8, numbers: [u64; 3]) -> Vec<u8> {
    let mut hello = vec![1, 0, 0, 0, 25, version];
    hello.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
    hello
}

fn passed_on(count: u64) -> Vec<u8> {
    [&[3, 0, 0, 0, 8][..], &count.to_be_bytes()].concat()
}

#[test]
fn a_side_that_claims_what_was_never_said_is_broken() {
    // It has said a hundred bytes, of which forty were passed on, on its second stream.
    let side = || {
        let (mut a, mut b) = pair(bytes(100, 8));
        a.say(100);
        carry(&mut a, &mut b, usize::MAX);
        b.pass_on(40);
        b.line.tell_now();
        b.say(0);
        carry(&mut b, &mut a, usize::MAX);
        a.begin(2);
        a.line
    };
    let said = |words: &[&[u8]]| side().hear(&words.concat());
    let good = hello(2, [2, 70, 50]);
    assert_eq!(said(&[&good, &passed_on(50), &passed_on(70), &[2, 0, 0, 0, 1]]), Ok(()));
    for (words, why) in [
        (&[&hello(1, [2, 70, 50])[..]][..], "another version"),
        (&[&hello(2, [1, 70, 50])], "another epoch"),
        (&[&hello(2, [2, 101, 50])], "it has heard what was never said"),
        (&[&hello(2, [2, 50, 51])], "it has passed on what it has not heard"),
        (&[&hello(2, [2, 70, 39])], "it has forgotten what it had"),
        (&[&good, &passed_on(101)], "it has passed on what was never said"),
        (&[&good, &passed_on(49)], "it takes back a word"),
        (&[&good, &good], "two hellos"),
        (&[&passed_on(50)], "no hello"),
        (&[&[2, 0, 0, 0, 1, b'x']], "no hello"),
        (&[&good, &[2, 0, 0, 0, 0]], "no data"),
        (&[&good, &[2, 0, 1, 0, 1]], "too much data"),
        (&[&good, &[3, 0, 0, 0, 9]], "a long number"),
        (&[&good, &[4, 0, 0, 0, 1]], "a question with a text"),
        (&[&[4, 0, 0, 0, 0]], "no hello"),
        (&[&good, &[5, 0, 0, 0, 0]], "an unknown word"),
    ] {
        assert_eq!(said(words), Err(Broken), "{why}");
    }
    let flood = [&[2, 0, 1, 0, 0][..], &vec![0; 64 << 10]].concat();
    let floods = [&good[..]].into_iter().chain([&flood[..]; 16]).collect::<Vec<_>>();
    assert_eq!(said(&floods), Ok(()));
    assert_eq!(said(&[&floods[..], &[&[2, 0, 0, 0, 1]]].concat()), Err(Broken), "more than a window");
}

#[test]
fn records_come_back_as_they_were() {
    let words = |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
    let start = Start {
        reconnect: Duration::from_secs(15),
        grace: Duration::from_millis(1),
        folder: b"/w".to_vec(),
        options: words(&["--plain-modes"]),
        argv: words(&["npx", "", "a b"]),
        env: words(&["A=1", "B="]),
    };
    let all = || {
        [
            Record::Start(start.clone()),
            Record::Input(b"in"),
            Record::InputEnd,
            Record::Terminate,
            Record::Output(b""),
            Record::Errors(b"err"),
            Record::Ended(Ending::Exited(3)),
            Record::Ended(Ending::Killed(9)),
            Record::Ended(Ending::OutOfMemory),
            Record::NotStarted { code: 127, why: b"why" },
        ]
    };
    let mut said = Vec::new();
    for record in all() {
        encode(&mut said, &record).unwrap();
    }
    let mut rest = &said[..];
    for record in all() {
        let (length, heard) = decode(rest).unwrap().unwrap();
        assert_eq!(heard, record);
        assert_eq!(skim(rest), Some((length, record == Record::Terminate)));
        for cut in 0..length {
            assert_eq!((decode(&rest[..cut]), skim(&rest[..cut])), (Ok(None), None), "{record:?} {cut}");
        }
        rest = &rest[length..];
    }
    assert!(rest.is_empty());
}

#[test]
fn records_that_nobody_says_are_broken_before_memory_is_taken() {
    for said in [
        &[2, 0, 1, 0, 1][..],
        &[1, 0, 8, 0, 1],
        &[3, 0, 0, 0, 1, 0],
        &[18, 0, 0, 0, 2, 3, 0],
        &[19, 0, 0, 0, 0],
        &[9, 0, 0, 0, 0],
        // A start with more words than it has bytes, and one with something behind.
        &[&[1, 0, 0, 0, 16][..], &[0; 12], &[0xff; 4]].concat(),
        &[&[1, 0, 0, 0, 25][..], &[0; 25]].concat(),
    ] {
        assert_eq!(decode(said), Err(Broken), "{said:?}");
    }
    let mut out = Vec::new();
    assert_eq!(encode(&mut out, &Record::Input(&vec![0; LONGEST + 1])), Err(TooLong));
    let start = Start { folder: vec![b'x'; LONGEST_START], ..Start::default() };
    assert_eq!(records::encode(&mut out, &Record::Start(start)), Err(TooLong));
    assert!(out.is_empty());
    encode(&mut out, &Record::NotStarted { code: 1, why: &vec![b'x'; LONGEST + 9] }).unwrap();
    assert!(decode(&out).is_ok_and(|said| said.is_some()), "a long reason is cut");
}
