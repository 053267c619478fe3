//! Which bytes are the server's, and when nothing more of it can come.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;

use tokio::io::AsyncWriteExt;

use super::*;
use crate::dock::dial::Stream;
use crate::dock::door::Doors;
use crate::dock::door::tests::{come, own_groups, pipe_ends};
use crate::dock::place::Place;
use crate::dock::protocol::door::{OPEN, SOCKET};

/// The daemon's end of a stream, with the keeper behind it.
struct Keeper {
    stream: BufReader<UnixStream>,
    socket: PathBuf,
}

impl Keeper {
    async fn says(&mut self, stream: u8, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        let frame = [&[stream, 0, 0, 0][..], &length, bytes].concat();
        self.stream.write_all(&frame).await.unwrap();
    }

    /// The line that it gets.
    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.unwrap();
        line
    }
}

const OUT: u8 = 1;
const ERR: u8 = 2;

/// What becomes of the streams of a server while its keeper does this.
async fn through<T>(
    opening: &[u8],
    keeper: impl AsyncFnOnce(&mut Keeper) -> T,
) -> (Result<Streams, DockerError>, Keeper, T) {
    let state = tempfile::tempdir().unwrap();
    let (doors, place) = (Doors::make(state.path(), "berth-dind").unwrap(), Place::new().unwrap());
    let door = doors.door(&place).unwrap();
    let listening = door.listen().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let socket = doors.folder().join(place.digits()).join(SOCKET);
    let mut behind = Keeper { stream: BufReader::new(theirs), socket };
    let (input, output) = exec::halves(Stream::Unix(ours), BytesMut::new());
    let container = own_groups();
    let (streams, done) =
        tokio::join!(Streams::through(listening, opening, &container, input, output), keeper(&mut behind));
    (streams, behind, done)
}

/// The streams of a server that has pipes, and the server's own ends.
async fn direct() -> (Streams, Keeper, File, File) {
    let (streams, keeper, (reader, writer, _keeper)) = through(&[], async |keeper| {
        let token = keeper.line().await;
        let (reader, input) = pipe_ends();
        let (output, writer) = pipe_ends();
        let keeper = come(&keeper.socket, token.trim_end().as_bytes(), &[&input, &output]);
        (reader, writer, keeper)
    })
    .await;
    let streams = streams.unwrap();
    assert!(streams.is_direct() && streams.beside.is_some() && streams.why_not.is_none());
    (streams, keeper, File::from(reader), File::from(writer))
}

fn stdout(text: &'static str) -> Chunk {
    Chunk::Stdout(Bytes::from_static(text.as_bytes()))
}

fn stderr(text: &'static str) -> Chunk {
    Chunk::Stderr(Bytes::from_static(text.as_bytes()))
}

async fn next(streams: &mut Streams) -> Option<Chunk> {
    streams.output.next().await.map(Result::unwrap)
}

#[tokio::test]
async fn the_keepers_word_is_no_output_and_what_stands_around_it_is_the_servers() {
    let (streams, mut keeper, token) = through(&[OPEN], async |keeper| {
        let token = keeper.line().await;
        keeper.says(ERR, b"early").await;
        keeper.says(OUT, b"cannot connect to").await;
        keeper.says(ERR, b"and later").await;
        keeper.says(OUT, b" its door\nfirst ").await;
        keeper.says(ERR, b"then").await;
        keeper.says(OUT, b"line\nsecond\n").await;
        token
    })
    .await;
    assert!(token.starts_with('d') && token.len() == 34, "{token}");
    let mut streams = streams.unwrap();
    assert!(!streams.is_direct() && streams.beside.is_none());
    assert_eq!(streams.why_not, Some(WhyNot::Refused("cannot connect to its door".to_owned())));
    for chunk in
        [stderr("early"), stderr("and later"), stdout("first "), stderr("then"), stdout("line\nsecond\n")]
    {
        assert_eq!(next(&mut streams).await, Some(chunk));
    }
    // The stream that asked is the server's input now.
    streams.input.write_all(b"asked\n").await.unwrap();
    assert_eq!(keeper.line().await, "asked\n");
    drop(keeper);
    assert_eq!(next(&mut streams).await, None);
    assert!(!streams.output.is_closed_early());
}

#[tokio::test]
async fn who_is_refused_serves_by_the_daemon_all_the_same() {
    let (streams, _keeper, ()) = through(&[], async |keeper| {
        keeper.line().await;
        let (reader, writer) = pipe_ends();
        come(&keeper.socket, b"no token", &[&writer, &reader]);
        keeper.says(OUT, b"its session does not take the pipes\nserved\n").await;
    })
    .await;
    let mut streams = streams.unwrap();
    let why = "who came to its door does not know the token".to_owned();
    assert_eq!(streams.why_not, Some(WhyNot::Refused(why)));
    assert_eq!(next(&mut streams).await, Some(stdout("served\n")));
}

#[tokio::test]
async fn a_keeper_that_ends_without_a_word_leaves_its_last_ones() {
    let (streams, keeper, ()) = through(&[], async |keeper| {
        keeper.line().await;
        keeper.says(ERR, b"berth: it cannot run\n").await;
        keeper.stream.shutdown().await.unwrap();
    })
    .await;
    let mut streams = streams.unwrap();
    assert!(!streams.is_direct());
    assert_eq!(streams.why_not, Some(WhyNot::KeeperEnded));
    assert_eq!(next(&mut streams).await, Some(stderr("berth: it cannot run\n")));
    assert_eq!(next(&mut streams).await, None);
    drop(keeper);
}

#[tokio::test]
async fn a_keeper_that_says_too_much_is_not_heard_to_its_end() {
    for stream in [OUT, ERR] {
        let (streams, ..) = through(&[], async |keeper| {
            keeper.line().await;
            let much = [b'x'; 4 * WORD];
            // Nobody may read any more.
            for _ in 0..=MOST_UNREAD / much.len() {
                let header = [&[stream, 0, 0, 0][..], &4096_u32.to_be_bytes()].concat();
                if keeper.stream.write_all(&[&header[..], &much].concat()).await.is_err() {
                    break;
                }
            }
        })
        .await;
        let error = format!("{:?}", streams.unwrap_err());
        assert!(error.contains("the keeper's word has no end"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_its_output_waits_for_a_servers_last_words() {
    let (mut streams, mut keeper, _reader, mut writer) = direct().await;
    writer.write_all(b"answer\n").unwrap();
    assert_eq!(next(&mut streams).await, Some(stdout("answer\n")));
    keeper.says(ERR, b"first words").await;
    assert_eq!(next(&mut streams).await, Some(stderr("first words")));
    drop(writer);
    keeper.says(ERR, b"last words").await;
    keeper.says(OUT, b"a word of the keeper's that nobody waits for").await;
    keeper.says(ERR, b"very last words").await;
    assert_eq!(next(&mut streams).await, Some(stderr("last words")));
    assert_eq!(next(&mut streams).await, Some(stderr("very last words")));
    drop(keeper);
    let began = Instant::now();
    assert_eq!(next(&mut streams).await, None);
    assert!(!streams.output.is_closed_early(), "it has ended");
    assert_eq!(began.elapsed(), Duration::ZERO, "nothing more can come");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_on_without_an_output_is_told_from_one_that_ended() {
    let (mut streams, keeper, _reader, writer) = direct().await;
    drop(writer);
    let began = Instant::now();
    assert_eq!(next(&mut streams).await, None);
    assert_eq!(began.elapsed().as_secs(), LAST_WORDS_WITHIN.as_secs());
    assert!(streams.output.is_closed_early());
    drop(keeper);
}

#[tokio::test(start_paused = true)]
async fn who_has_the_pipe_beside_the_stream_is_heard_until_the_server_has_ended() {
    let (mut streams, keeper, _reader, mut writer) = direct().await;
    assert!(!streams.output.is_beside_the_stream());
    drop(keeper);
    assert_eq!(next(&mut streams).await, Some(stderr("")), "its reader hears of it");
    // A server without a standard error, or its child.
    let late = async {
        tokio::time::sleep(Duration::from_mins(1)).await;
        writer.write_all(b"late\n").unwrap();
    };
    let (chunk, ()) = tokio::join!(next(&mut streams), late);
    assert_eq!(chunk, Some(stdout("late\n")));
    assert!(streams.output.is_beside_the_stream() && !streams.output.is_closed_early());
    streams.output.end_soon();
    writer.write_all(b"later\n").unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(next(&mut streams).await, Some(stdout("later\n")));
    let began = Instant::now();
    assert_eq!(next(&mut streams).await, None);
    assert!(began.elapsed() <= CHILDREN_WITHIN, "{:?}", began.elapsed());
    // Nor is one heard that never pauses.
    writer.write_all(b"more\n").unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(next(&mut streams).await, None);
}

#[tokio::test]
async fn the_end_of_the_input_is_the_pipes_alone() {
    let (mut streams, mut keeper, reader, mut writer) = direct().await;
    streams.input.write_all(b"asked\n").await.unwrap();
    streams.input.shutdown().await.unwrap();
    assert!(streams.input.write_all(b"more").await.is_err());
    let mut heard = String::new();
    std::io::Read::read_to_string(&mut { reader }, &mut heard).unwrap();
    assert_eq!(heard, "asked\n");
    writer.write_all(b"answer\n").unwrap();
    assert_eq!(next(&mut streams).await, Some(stdout("answer\n")));
    // What holds the container is another stream, which goes on.
    streams.beside.as_mut().unwrap().write_all(b"t\n").await.unwrap();
    assert_eq!(keeper.line().await, "t\n");
}

#[tokio::test]
async fn a_cut_stream_of_the_daemons_is_said_once() {
    let (mut streams, mut keeper, _reader, mut writer) = direct().await;
    keeper.stream.write_all(b"no multiplexed stream").await.unwrap();
    assert!(streams.output.next().await.unwrap().is_err());
    writer.write_all(b"still\n").unwrap();
    assert_eq!(next(&mut streams).await, Some(stdout("still\n")));
    drop(OwnedFd::from(writer));
    assert_eq!(next(&mut streams).await, None);
}
