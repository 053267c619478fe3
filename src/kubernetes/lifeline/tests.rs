//! A heart over streams that are refused, end, or are dead and do not tell.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Mutex;

use mcp_berth::failure::Code;
use tokio::time::sleep;

use super::*;

/// What becomes of a try to attach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Good,
    /// It takes all, and answers nothing.
    Silent,
    /// It takes nothing.
    Blocked,
    /// It ends behind so many beats.
    Ends(u32),
    Refused,
    /// By the cluster's rules.
    Denied,
    Hangs,
}

#[derive(Default)]
struct Log {
    tries: Vec<Duration>,
    /// When, on which stream, and what.
    beats: Vec<(Duration, usize, char)>,
}

#[derive(Clone)]
struct World {
    began: Instant,
    ways: Arc<Mutex<VecDeque<Way>>>,
    log: Arc<Mutex<Log>>,
    doubts: Arc<Notify>,
}

struct Stream {
    world: World,
    number: usize,
    way: Way,
    beats: u32,
    owed: VecDeque<u8>,
    is_over: bool,
}

impl World {
    /// Those behind the last are good.
    fn new(ways: impl IntoIterator<Item = Way>) -> Self {
        let ways = Arc::new(Mutex::new(ways.into_iter().collect()));
        Self { began: Instant::now(), ways, log: Arc::default(), doubts: Arc::default() }
    }

    fn lifeline(&self) -> Lifeline {
        Lifeline::by(self.clone(), Arc::clone(&self.doubts))
    }

    fn tries(&self) -> Vec<Duration> {
        self.log.lock().unwrap().tries.clone()
    }

    fn beats(&self) -> Vec<(Duration, usize, char)> {
        self.log.lock().unwrap().beats.clone()
    }

    /// What was said on a stream.
    fn said(&self, stream: usize) -> String {
        self.beats().iter().filter(|beat| beat.1 == stream).map(|beat| beat.2).collect()
    }
}

impl Attach for World {
    type Attached = Stream;

    async fn attach(&mut self) -> Result<Stream, NotAttached> {
        let number = {
            let tries = &mut self.log.lock().unwrap().tries;
            tries.push(self.began.elapsed());
            tries.len()
        };
        let way = self.ways.lock().unwrap().pop_front().unwrap_or(Way::Good);
        match way {
            Way::Refused => Err(NotAttached::Passing("refused".to_owned())),
            Way::Denied => Err(NotAttached::Denied(denied())),
            Way::Hangs => pending().await,
            way => Ok(Stream {
                world: self.clone(),
                number,
                way,
                beats: 0,
                owed: VecDeque::new(),
                is_over: way == Way::Ends(0),
            }),
        }
    }
}

impl Attached for Stream {
    async fn beat(&mut self, byte: u8) -> io::Result<()> {
        if self.way == Way::Blocked {
            return pending().await;
        }
        let beat = (self.world.began.elapsed(), self.number, char::from(byte));
        self.world.log.lock().unwrap().beats.push(beat);
        self.beats += 1;
        self.owed.extend((self.way != Way::Silent).then_some(byte));
        self.is_over |= self.way == Way::Ends(self.beats);
        Ok(())
    }

    async fn answer(&mut self) -> io::Result<u8> {
        match self.owed.pop_front() {
            Some(byte) => Ok(byte),
            None if self.is_over => Err(io::ErrorKind::UnexpectedEof.into()),
            None => pending().await,
        }
    }
}

fn denied() -> Failure {
    Failure { code: Code::Configuration, text: "`jane` may not".to_owned(), next: None }
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn it_beats_each_second_on_one_stream() {
    let world = World::new([]);
    let _lifeline = world.lifeline();
    sleep(SECOND * 600).await;
    assert_eq!((world.tries().len(), world.said(1).trim_matches('.')), (1, ""));
    assert!((600..=602).contains(&world.beats().len()), "{}", world.beats().len());
    assert!(world.beats().windows(2).all(|pair| pair[1].0 <= pair[0].0 + SECOND * 11 / 10));
}

#[tokio::test(start_paused = true)]
async fn it_attaches_from_the_creation_on() {
    // The upgrade may be answered, and the kubelet refuse it.
    for refusal in [Way::Refused, Way::Ends(0), Way::Ends(1)] {
        let world = World::new([refusal; 24]);
        let _lifeline = world.lifeline();
        sleep(SECOND * 10).await;
        let tries = world.tries();
        assert_eq!(tries.len(), 25, "{refusal:?}");
        assert!(tries[1] <= Duration::from_millis(25) && tries[24] < SECOND * 3, "{refusal:?}: {tries:?}");
        let pauses = tries.windows(2).map(|pair| pair[1].abs_diff(pair[0]));
        assert!(pauses.clone().all(|pause| pause >= Duration::from_millis(20)), "{refusal:?}: {tries:?}");
        assert!(pauses.clone().max() > Some(Duration::from_millis(100)), "it lets them rest: {tries:?}");
        assert_eq!(world.said(25).trim_matches('.'), "");
        assert!(world.said(25).len() > 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_stream_that_does_not_tell_is_replaced_in_time() {
    for (way, within) in [(Way::Silent, 4), (Way::Blocked, 4), (Way::Hangs, 6)] {
        let world = World::new([way]);
        let _lifeline = world.lifeline();
        sleep(SECOND * 20).await;
        let tries = world.tries();
        assert_eq!(tries.len(), 2, "{way:?}");
        assert!(tries[1] >= SECOND * 2 && tries[1] <= SECOND * within, "{way:?}: {tries:?}");
        assert!(world.said(2).len() > 10);
    }
}

#[tokio::test(start_paused = true)]
async fn what_went_with_a_cut_is_said_again() {
    let world = World::new([Way::Silent, Way::Blocked, Way::Ends(2)]);
    let lifeline = world.lifeline();
    sleep(SECOND / 2).await;
    lifeline.leave();
    sleep(SECOND * 20).await;
    assert!(world.said(1).starts_with(".g"), "at once: {}", world.said(1));
    assert_eq!((world.said(2).as_str(), world.said(3).as_str()), ("", "gg"));
    assert!(world.said(4).starts_with("gg") && !world.said(4).contains('.'), "{}", world.said(4));
    // The goodbye stands above it, and takes nothing back.
    world.ways.lock().unwrap().extend([Way::Silent, Way::Good]);
    world.doubts.notify_one();
    sleep(SECOND / 2).await;
    assert!(lifeline.end(SECOND * 20).await);
    lifeline.leave();
    assert!(world.said(5).trim_start_matches('g').chars().all(|word| word == 't'), "{}", world.said(5));
    assert_eq!(world.said(6), "t");
    sleep(SECOND * 10).await;
    assert_eq!(world.tries().len(), 6, "nothing is said behind it");
}

#[tokio::test(start_paused = true)]
async fn the_goodbye_is_told_once_it_has_its_effect() {
    let world = World::new([]);
    let lifeline = world.lifeline();
    sleep(SECOND * 3 / 2).await;
    let began = Instant::now();
    assert!(lifeline.end(SECOND).await);
    assert!(
        began.elapsed() < Duration::from_millis(1) && world.said(1).starts_with("..t"),
        "{}",
        world.said(1)
    );
    // Where nobody hears it, nobody waits for ever.
    let world = World::new([Way::Refused; 1000]);
    let lifeline = world.lifeline();
    let began = Instant::now();
    assert!(!lifeline.end(SECOND * 2).await);
    assert_eq!(began.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_in_doubt_beats_on_until_another_does() {
    let world = World::new([Way::Good, Way::Refused, Way::Hangs, Way::Refused]);
    let _lifeline = world.lifeline();
    sleep(SECOND * 3).await;
    world.doubts.notify_one();
    sleep(SECOND * 12).await;
    assert_eq!(world.tries().len(), 5);
    assert!(world.said(1).len() >= 8 && world.said(5).len() >= 5, "{:?}", world.beats());
    assert!(
        world
            .beats()
            .windows(2)
            .all(|pair| pair[1].0 <= pair[0].0 + SECOND * 11 / 10 && pair[0].1 <= pair[1].1)
    );
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_whoever_holds_it() {
    let world = World::new([]);
    let lifeline = world.lifeline();
    sleep(SECOND * 2).await;
    drop(lifeline);
    let beats = world.beats().len();
    sleep(SECOND * 5).await;
    assert_eq!(world.beats().len(), beats);
    assert!(!world.said(1).contains('t'), "without a goodbye: the pod stays for as long as a cut may last");
}

#[tokio::test(start_paused = true)]
async fn a_right_that_lacks_is_told_and_a_bad_moment_is_not() {
    let world = World::new([Way::Refused, Way::Refused, Way::Denied]);
    assert_eq!(world.lifeline().held().await, Err(denied()));
    assert_eq!(world.tries().len(), 3);
    let world = World::new([Way::Refused; 9]);
    let lifeline = world.lifeline();
    assert_eq!(lifeline.held().await, Ok(()));
    assert_eq!(world.tries().len(), 10);
}
