//! A link over streams that are cut, by word or in silence, and over those of the keeper as it is.

mod far;
mod keeper;

use std::time::Duration;

use bytes::Bytes;
use mcp_berth::dock::numbered::WINDOW;
use mcp_berth::dock::records::{Ending, Record, Start, encode};
use mcp_berth::failure::Code;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use far::{Next, World};

const START_WITHIN: Duration = Duration::from_secs(30);
const RECONNECT: Duration = Duration::from_secs(15);

/// A session's side of a link.
struct Session {
    to: Sender<ToServer>,
    from: Receiver<Said>,
    over: JoinHandle<Over>,
}

impl Session {
    fn begin(streams: impl Streams + 'static, start: &Start) -> Self {
        let mut record = Vec::new();
        start.encode(&mut record).unwrap();
        let (to, input) = mpsc::channel(4);
        let (output, from) = mpsc::channel(4);
        let over =
            tokio::spawn(
                async move { run(streams, &record, input, output, (START_WITHIN, RECONNECT)).await },
            );
        Self { to, from, over }
    }

    async fn say(&self, input: &str) {
        self.to.send(ToServer::Input(Bytes::copy_from_slice(input.as_bytes()))).await.unwrap();
    }

    /// All that comes: standard output, standard error, and how it ended.
    async fn rest(&mut self) -> (Vec<u8>, Vec<u8>, Option<Said>) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        while let Some(said) = self.from.recv().await {
            match said {
                Said::Output(bytes) => out.extend_from_slice(&bytes),
                Said::Errors(bytes) => err.extend_from_slice(&bytes),
                last => return (out, err, Some(last)),
            }
        }
        (out, err, None)
    }

    /// The next line of output, and what was behind it.
    async fn line(&mut self, out: &mut Vec<u8>) -> String {
        while !out.contains(&b'\n') {
            match self.from.recv().await {
                Some(Said::Output(bytes)) => out.extend_from_slice(&bytes),
                Some(Said::Errors(_)) => {}
                last => panic!("{last:?}"),
            }
        }
        let at = out.iter().position(|byte| *byte == b'\n').unwrap();
        let line: Vec<u8> = out.drain(..=at).collect();
        String::from_utf8_lossy(&line[..at]).into_owned()
    }
}

/// A whole conversation over these streams; gives how many bytes the last one carried in each direction, and which were
/// opened.
async fn converse(next: impl IntoIterator<Item = Next>) -> (usize, usize, Vec<u64>) {
    let world = World::new(next);
    let mut session = Session::begin(world.streams(), &Start::default());
    let said = ["one\n", "two, which is longer\n", "three\n"];
    for words in said {
        session.say(words).await;
    }
    session.to.send(ToServer::InputEnd).await.unwrap();
    let (out, err, last) = session.rest().await;
    let heard = said.concat();
    assert_eq!(
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap()),
        (heard.clone(), heard.clone())
    );
    assert_eq!(last, Some(Said::Ended(Ending::Exited(3))));
    assert_eq!(session.over.await.unwrap(), Over::Told);
    assert_eq!(world.heard(), heard.as_bytes(), "the server has heard each word once");
    (world.carried().0, world.carried().1, world.epochs())
}

#[tokio::test(start_paused = true)]
async fn a_cut_at_any_byte_loses_nothing_and_doubles_nothing() {
    let (to, from, epochs) = converse([]).await;
    assert!(to > 100 && from > 100 && epochs == [1], "{to} {from} {epochs:?}");
    for silent in [false, true] {
        for cut in 0..to {
            converse([Next::cut(cut, usize::MAX, silent)]).await;
            converse([Next::cut(cut, usize::MAX, silent), Next::cut(to - cut, cut, !silent)]).await;
        }
        for cut in 0..from {
            converse([Next::cut(usize::MAX, cut, silent)]).await;
            converse([Next::cut(usize::MAX, cut, silent), Next::cut(cut, from - cut, !silent)]).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_silence_is_found_and_ended_within_seconds() {
    // While something is owed, and while nothing is.
    for (idle, most) in [(false, 6), (true, 9)] {
        let world = World::new([]);
        let mut session = Session::begin(world.streams(), &Start::default());
        let mut out = Vec::new();
        session.say("one\n").await;
        session.line(&mut out).await;
        if idle {
            sleep(Duration::from_mins(10)).await;
            assert_eq!(world.epochs(), [1], "it answers though nobody speaks");
        }
        world.silence();
        let began = Instant::now();
        if !idle {
            session.say("two\n").await;
        }
        while world.epochs().len() == 1 {
            sleep(Duration::from_millis(100)).await;
        }
        assert!(began.elapsed() > Duration::from_secs(2), "{:?}", began.elapsed());
        assert!(began.elapsed() <= Duration::from_secs(most), "{:?}", began.elapsed());
        if idle {
            session.say("two\n").await;
        }
        assert_eq!(session.line(&mut out).await, "two");
        assert_eq!(world.epochs(), [1, 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_way_is_no_silence() {
    // 20 kB each second, as a bad network has it; a window takes most of a minute.
    let world = World::new([Next::slow(20)]);
    let mut session = Session::begin(world.streams(), &Start::default());
    let much = "0123456789abcdef".repeat(WINDOW / 16);
    session.to.send(ToServer::Input(much.clone().into())).await.unwrap();
    session.to.send(ToServer::InputEnd).await.unwrap();
    let (out, _, last) = session.rest().await;
    assert!(out == much.as_bytes() && last == Some(Said::Ended(Ending::Exited(3))));
    assert_eq!(world.epochs(), [1]);
}

#[tokio::test(start_paused = true)]
async fn both_ways_full_at_once_are_no_deadlock_and_no_cut() {
    let world = World::new([]);
    let flood = vec![b'x'; 32 << 10];
    let floods = 100;
    world.change(|far| {
        far.reads = false;
        for _ in 0..floods {
            encode(&mut far.says, &Record::Output(&flood)).unwrap();
        }
    });
    let mut session = Session::begin(world.streams(), &Start::default());
    // Nobody reads on either side.
    let mut given = 0;
    while let Ok(sent) =
        timeout(Duration::from_mins(1), session.to.send(ToServer::Input(flood.clone().into()))).await
    {
        sent.unwrap();
        given += 1;
    }
    // The channel's four, and one that waits for room, beside a window.
    assert!(given >= WINDOW / flood.len() && given <= WINDOW / flood.len() + 5, "{given}");
    let left = world.change(|far| (far.line.room(), far.says.len()));
    assert!(left.0 < 64 << 10 && left.1 > WINDOW, "it has said a window, and not more: {left:?}");
    assert_eq!(world.epochs(), [1], "it answers all the time");
    world.change(|far| far.reads = true);
    for _ in given..floods {
        let to = session.to.clone();
        let input = ToServer::Input(flood.clone().into());
        tokio::spawn(async move { to.send(input).await });
    }
    let mut out = 0;
    while out < 2 * floods * flood.len() {
        match session.from.recv().await {
            Some(Said::Output(bytes)) => out += bytes.len(),
            Some(Said::Errors(_)) => {}
            last => panic!("{last:?}"),
        }
    }
    assert_eq!((world.heard().len(), world.epochs()), (floods * flood.len(), vec![1]));
}

#[tokio::test(start_paused = true)]
async fn each_try_is_a_newer_stream_and_one_of_before_the_hello_begins_anew() {
    let refused = || Next::Fails(NotOpened::Passing("no".to_owned()));
    let first = [refused(), Next::cut(20, 20, false), refused()];
    let later = [Next::cut(60, 60, false), refused(), refused(), Next::cut(50, 50, false), refused()];
    let (.., epochs) = converse(first.into_iter().chain(later)).await;
    assert_eq!(epochs, [1, 1, 1, 1, 2, 3, 4, 5, 6]);
}

#[tokio::test(start_paused = true)]
async fn who_comes_to_nobody_for_too_long_is_told_why() {
    for (first, time) in [(vec![], START_WITHIN), (vec![Next::cut(300, 300, false)], RECONNECT)] {
        let world = World::new(first);
        world.change(|far| far.then = Some(NotOpened::Passing("the wire is cut".to_owned())));
        let session = Session::begin(world.streams(), &Start::default());
        session.say(&"x".repeat(300)).await;
        let began = Instant::now();
        let over = session.over.await.unwrap();
        assert_eq!(
            over,
            Over::Away(format!("no stream to the server for {} s: the wire is cut", time.as_secs()))
        );
        assert!(
            began.elapsed() >= time && began.elapsed() < time + Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
    }
    // Where nobody is there any more, nobody waits.
    let world = World::new([Next::cut(300, 300, false)]);
    world.change(|far| far.then = Some(NotOpened::Gone("it is gone".to_owned())));
    let session = Session::begin(world.streams(), &Start::default());
    session.say(&"x".repeat(300)).await;
    let began = Instant::now();
    assert_eq!(session.over.await.unwrap(), Over::Lost("it is gone".to_owned()));
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn who_may_not_go_on_is_refused_when_the_time_for_a_cut_is_over() {
    let failure = Failure { code: Code::Configuration, text: "no right".to_owned(), next: None };
    let denied = || Next::Fails(NotOpened::Denied(failure.clone()));
    // An API server that was away has not read its rules yet.
    let (.., epochs) = converse([Next::cut(60, 60, false), denied(), denied(), denied()]).await;
    assert_eq!(epochs, [1, 2, 3, 4, 5]);
    for (first, time) in [(vec![], Duration::ZERO), (vec![Next::cut(300, 300, false)], RECONNECT)] {
        let world = World::new(first);
        world.change(|far| far.then = Some(NotOpened::Denied(failure.clone())));
        let session = Session::begin(world.streams(), &Start::default());
        session.say(&"x".repeat(300)).await;
        let began = Instant::now();
        assert_eq!(session.over.await.unwrap(), Over::Denied(failure.clone()));
        assert!(
            began.elapsed() >= time && began.elapsed() < time + Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_has_ended_is_waited_for_by_nobody() {
    let world = World::new([Next::cut(300, 300, false)]);
    world.change(|far| far.then = Some(NotOpened::Passing("no container".to_owned())));
    let session = Session::begin(world.streams(), &Start::default());
    session.say(&"x".repeat(300)).await;
    sleep(Duration::from_secs(2)).await;
    assert!(!session.over.is_finished(), "it may come back");
    world.change(|far| far.has_ended = true);
    let began = Instant::now();
    assert_eq!(session.over.await.unwrap(), Over::Lost("the server's container has ended".to_owned()));
    assert!(began.elapsed() <= Duration::from_millis(100), "{:?}", began.elapsed());
    // While there is a stream, the helper says so itself.
    let world = World::new([]);
    world.change(|far| far.has_ended = true);
    let mut session = Session::begin(world.streams(), &Start::default());
    session.say("one\n").await;
    assert_eq!(session.line(&mut Vec::new()).await, "one");
}

#[tokio::test(start_paused = true)]
async fn a_silence_counts_from_its_beginning() {
    let world = World::new([]);
    let mut session = Session::begin(world.streams(), &Start::default());
    session.say("one\n").await;
    session.line(&mut Vec::new()).await;
    // It is owed something, and nobody answers any more, another stream neither.
    world.silence();
    world.change(|far| far.then = Some(NotOpened::Passing("no".to_owned())));
    let began = Instant::now();
    session.say("two\n").await;
    assert!(matches!(session.over.await.unwrap(), Over::Away(_)));
    let took = began.elapsed();
    assert!(took >= RECONNECT && took <= RECONNECT + LAST_TRY, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_leaves_is_waited_for_by_nobody() {
    // On a stream, and while there is none.
    for then in [None, Some(NotOpened::Passing("no".to_owned()))] {
        let world = World::new([]);
        world.change(|far| far.then = then);
        let Session { from, over, .. } = Session::begin(world.streams(), &Start::default());
        sleep(Duration::from_secs(2)).await;
        drop(from);
        let began = Instant::now();
        assert_eq!(over.await.unwrap(), Over::Left);
        assert!(began.elapsed() < Duration::from_millis(1));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_given_before_the_session_let_go_is_said() {
    let world = World::new([]);
    let mut session = Session::begin(world.streams(), &Start::default());
    session.say("one\n").await;
    session.to.send(ToServer::InputEnd).await.unwrap();
    session.to = mpsc::channel(1).0;
    let (out, ..) = session.rest().await;
    assert_eq!(out, b"one\n");
}

#[tokio::test(start_paused = true)]
async fn whoever_makes_no_sense_is_believed_nothing() {
    let record = |kind: u8, text: &[u8]| {
        let mut record = vec![kind];
        record.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        record.extend_from_slice(text);
        record
    };
    for (said, why) in [
        (record(99, b""), "an unknown record"),
        (record(18, &[9, 9]), "an unknown end"),
        (record(16, &[])[..1].repeat(9), "more than a record holds"),
        (record(2, b"input"), "it says what berth says"),
        (record(1, &[0; 20]), "it says what berth says, and wrong"),
    ] {
        let world = World::new([]);
        world.change(|far| far.says = said);
        let session = Session::begin(world.streams(), &Start::default());
        let over = timeout(Duration::from_secs(1), session.over).await.unwrap().unwrap();
        assert!(
            matches!(&over, Over::Lost(why) if why.starts_with("the keeper does not keep")),
            "{why}: {over:?}"
        );
    }
    // Frames, too; and what is for a person is made safe for one.
    let world = World::new([Next::Garbage]);
    let session = Session::begin(world.streams(), &Start::default());
    let over = session.over.await.unwrap();
    assert!(matches!(&over, Over::Lost(why) if why.ends_with("frames make no sense")), "{over:?}");
    let world = World::new([]);
    let why = format!("\x1b[31m{}\n", "x".repeat(60_000));
    world.change(|far| encode(&mut far.says, &Record::NotStarted { code: 1, why: why.as_bytes() }).unwrap());
    let mut session = Session::begin(world.streams(), &Start::default());
    let (.., last) = session.rest().await;
    assert_eq!(last, Some(Said::NotStarted { code: 1, why: format!(" [31m{}", "x".repeat(495)) }));
    assert_eq!(session.over.await.unwrap(), Over::Told);
}
