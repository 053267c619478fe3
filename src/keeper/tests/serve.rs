//! A server behind `keeper serve`, and streams that are cut: processes as in a pod, with pipes for the streams.

#[path = "serve/alone.rs"]
mod alone;
#[path = "serve/session.rs"]
mod session;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::process::Command;
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::{Duration, Instant};

use super::AT_ONCE;
use crate::numbered::{FIRST, WINDOW};
use crate::records::{self, Ending, Record, Start};
use session::{Last, Session, refused};
pub(super) use session::{opening, start};

/// Answers each line with its own pid, the line, and a note on its standard error.
const ECHO: &str = "while read -r line; do echo \"$line\" >&2; echo \"$$ $line\"; done; exit 5";

#[test]
fn a_server_goes_on_where_its_stream_was_cut() {
    let mut session = Session::run(ECHO);
    session.tell(&Record::Input(b"first\n"));
    let first = session.line();
    let pid = first.split(' ').next().unwrap().to_owned();
    for epoch in 2..8 {
        // One is under way when the cut comes, or comes after it; one way or the other, it is answered once.
        let said = format!("before {epoch}\n");
        if epoch % 2 == 0 {
            session.tell(&Record::Input(said.as_bytes()));
            session.cut();
        } else {
            session.cut();
            session.tell(&Record::Input(said.as_bytes()));
        }
        session.resume(epoch);
        session.tell(&Record::Input(format!("after {epoch}\n").as_bytes()));
        assert_eq!(session.line(), format!("{pid} before {epoch}"));
        assert_eq!(session.line(), format!("{pid} after {epoch}"));
    }
    session.tell(&Record::InputEnd);
    assert_eq!(session.last(), Last::Ended(Ending::Exited(5)));
    let lines = (2..8).map(|epoch| format!("before {epoch}\nafter {epoch}\n")).collect::<Vec<_>>().concat();
    assert_eq!(String::from_utf8_lossy(&session.err), format!("first\n{lines}"));
    assert_eq!(session.out, b"", "nothing came twice");
    let stream = session.stream.take().unwrap();
    assert_eq!(session.over(), (Some(0), String::new()));
    assert_eq!(stream.end(), (Some(0), String::new()), "the exec ends with its stream");
}

#[test]
fn much_arrives_whole_across_cuts() {
    // 16 MB of numbers; a window is 1 MiB.
    let mut session = Session::run("seq 1000000 1999999; seq 2000000 2999999 >&2");
    let mut epoch = FIRST;
    let mut heard = 0;
    while session.last.is_none() {
        assert!(session.hear(), "the stream is over");
        heard += 1;
        session.take();
        if heard % 40 == 39 {
            epoch += 1;
            session.cut();
            session.resume(epoch);
        }
    }
    assert!(epoch > 3, "{epoch}");
    let numbers = |from: u32| (from..from + 1_000_000).map(|n| format!("{n}\n")).collect::<Vec<_>>().concat();
    assert!(session.out == numbers(1_000_000).as_bytes() && session.err == numbers(2_000_000).as_bytes());
    assert_eq!(session.over().0, Some(0));
}

#[test]
fn whoever_does_not_read_stops_that_direction_alone() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("in");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let flood = 4 * WINDOW;
    // `sh` gives a process in the background an empty input, so the server's own is duplicated.
    let script = format!("exec 3<&0; cat <&3 >{} & head -c {flood} /dev/zero; exit 3", fifo.display());
    let mut session = Session::run(&script);
    // Nothing is passed on, so no more than a window comes.
    while session.line.heard().len() < WINDOW - (64 << 10) {
        assert!(session.hear());
    }
    while let Some(is_there) = session.hear_for(Duration::from_millis(300)) {
        assert!(is_there);
    }
    assert!(session.line.heard().len() <= WINDOW);
    session.tell(&Record::Input(b"asked\n"));
    let mut asked = [0; 6];
    File::open(&fifo).unwrap().read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"asked\n", "the other way is free");
    assert_eq!(session.last(), Last::Ended(Ending::Exited(3)));
    assert_eq!(session.out.len(), flood);
}

#[test]
fn a_server_that_reads_nothing_can_still_be_heard_and_ended() {
    let mut session = Session::run("echo ready; exec sleep 60");
    assert_eq!(session.line(), "ready");
    for _ in 0..8 {
        session.tell(&Record::Input(&vec![b'x'; 60 << 10]));
    }
    session.tell(&Record::Terminate);
    assert_eq!(session.last(), Last::Ended(Ending::Killed(15)));
    assert_eq!(session.over().0, Some(0));
}

#[test]
fn the_newest_stream_wins_and_an_older_one_is_refused() {
    let mut session = Session::run(ECHO);
    session.tell(&Record::Input(b"one\n"));
    session.line();
    // The first one is not cut: it is closed.
    session.resume(5);
    session.tell(&Record::Input(b"two\n"));
    assert!(session.line().ends_with(" two"));
    let first = session.helper.as_mut().unwrap().from.take().unwrap();
    assert!(first.recv_timeout(AT_ONCE).is_err_and(|error| error == RecvTimeoutError::Disconnected));
    for epoch in [5, 4, 0] {
        let (code, why) = refused(epoch, &session.secret);
        assert_eq!(code, Some(i32::from(records::resume::REFUSED)), "{why}");
    }
    let fifth = session.stream.take().unwrap();
    session.resume(6);
    assert_eq!(fifth.end(), (Some(0), String::new()), "its exec ends, though nobody has cut its stream");
    session.tell(&Record::Input(b"three\n"));
    assert!(session.line().ends_with(" three"), "the ones that were refused changed nothing");
}

#[test]
fn a_secret_that_is_not_its_own_finds_nobody() {
    let mut session = Session::run(ECHO);
    session.tell(&Record::Input(b"one\n"));
    session.line();
    let mut wrong = session.secret;
    wrong[31] ^= 1;
    let (code, why) = refused(2, &wrong);
    assert_eq!(code, Some(i32::from(records::resume::GONE)), "{why}");
    let (code, why) = refused(2, &wrong[..31]);
    assert_eq!((code, why.as_str()), (Some(71), "berth: keeper: the secret of this session has not come\n"));
    // It listens to whatever comes there, and to none of it.
    let name = crate::serve::handover::name(&session.secret);
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::unbound().unwrap();
    socket.connect_addr(&address).unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let secret = session.secret;
    let right = [&9u64.to_be_bytes()[..], &secret].concat();
    for word in [&b""[..], b"x", &9u64.to_be_bytes(), &[0; 400], &right] {
        socket.send(word).unwrap();
    }
    let wrong = [&9u64.to_be_bytes()[..], &wrong].concat();
    let send = crate::sys::descriptors::send::<3>;
    send(socket.as_fd(), &wrong, [ours.as_fd(); 3]).unwrap();
    crate::sys::descriptors::send::<2>(socket.as_fd(), &right, [ours.as_fd(); 2]).unwrap();
    session.tell(&Record::Input(b"two\n"));
    assert!(session.line().ends_with(" two"));
}

#[test]
fn a_silence_ends_the_server_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    let script = format!("echo ready; cat >/dev/null; echo eof >{}; exit 4", told.display());
    let mut session = Session::of(&Start { reconnect: Duration::from_millis(700), ..start(&script) });
    assert_eq!(session.line(), "ready");
    let began = Instant::now();
    session.cut();
    assert_eq!(session.over(), (Some(0), String::new()));
    assert!(began.elapsed() >= Duration::from_millis(700) && began.elapsed() < AT_ONCE);
    assert_eq!(fs::read_to_string(told).unwrap(), "eof\n");
    // One that does not listen: SIGTERM, and then SIGKILL, for all that it has started.
    let (began, grace) = (Instant::now(), Duration::from_secs(1));
    let held = folder.path().join("held");
    assert!(Command::new("mkfifo").arg(&held).status().unwrap().success());
    let script = format!(
        "exec 9>{}; trap 'echo term >&9' TERM; echo ready
        (trap '' TERM; exec sleep 60) & while :; do sleep 0.05; done",
        held.display()
    );
    let reader = thread::spawn(move || fs::read_to_string(held).unwrap());
    let mut session = Session::of(&Start { reconnect: Duration::ZERO, grace, ..start(&script) });
    assert_eq!(session.line(), "ready");
    session.cut();
    assert_eq!(session.over().0, Some(0));
    assert_eq!(reader.join().unwrap(), "term\n", "and nobody has it open any more");
    assert!(began.elapsed() >= grace && began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
}

#[test]
fn what_it_leaves_behind_goes_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let held = folder.path().join("held");
    assert!(Command::new("mkfifo").arg(&held).status().unwrap().success());
    let script = format!("exec 9>{}; sleep 60 & echo over; exit 0", held.display());
    let reader = thread::spawn(move || fs::read_to_string(held).unwrap());
    let began = Instant::now();
    let mut session = Session::run(&script);
    assert_eq!(session.last(), Last::Ended(Ending::Exited(0)));
    assert_eq!((&session.out[..], reader.join().unwrap().as_str()), (&b"over\n"[..], ""));
    assert!(began.elapsed() < AT_ONCE, "nobody has it open any more");
}

#[test]
fn how_it_ended_is_told_after_a_cut() {
    for (end, ending) in [
        ("exit 7", Ending::Exited(7)),
        ("kill -SEGV $$", Ending::Killed(11)),
        ("kill -TERM $$", Ending::Killed(15)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("go");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let script = format!("echo ready; read -r _ <{}; echo last; echo words >&2; {end}", fifo.display());
        let mut session = Session::run(&script);
        assert_eq!(session.line(), "ready");
        session.cut();
        OpenOptions::new().write(true).open(&fifo).unwrap().write_all(b"\n").unwrap();
        session.resume(2);
        assert_eq!(session.last(), Last::Ended(ending), "{end}");
        assert_eq!((&session.out[..], &session.err[..]), (&b"last\n"[..], &b"words\n"[..]));
        assert_eq!(session.over().0, Some(0));
    }
}

#[test]
fn a_helper_that_was_cut_before_the_start_is_started_by_the_next_stream() {
    let mut session = Session::new();
    session.cut();
    session.resume(2);
    session.tell(&Record::Start(start("echo begun; exit 1")));
    assert_eq!(session.last(), Last::Ended(Ending::Exited(1)));
    assert_eq!(session.out, b"begun\n");
}

#[test]
fn it_starts_what_it_is_told_and_says_why_not() {
    let word = |word: &str| word.as_bytes().to_vec();
    let plain = start(
        "pwd; echo $SECRET $HOME; env | grep -c KUBERNETES_; grep Seccomp: /proc/self/status; cat /proc/self/stat",
    );
    let mut session = Session::of(&Start {
        folder: word("/usr"),
        env: vec![word("SECRET=a=b"), word("HOME=/h"), word("KUBERNETES_PORT=mine")],
        ..plain.clone()
    });
    assert_eq!(session.last(), Last::Ended(Ending::Exited(0)));
    assert!(session.out.starts_with(b"/usr\na=b /h\n1\nSeccomp:\t"));
    let refused = |start: Start| Session::of(&start).last();
    let why = |code, why: &str| Last::NotStarted(code, why.to_owned());
    assert_eq!(
        refused(Start { argv: vec![word("no-such-command")], ..plain.clone() }),
        why(127, "cannot run `no-such-command`: No such file or directory")
    );
    assert_eq!(
        refused(Start { folder: word("/no"), ..plain.clone() }),
        why(126, "cannot enter `/no`: No such file or directory")
    );
    assert_eq!(refused(Start { argv: Vec::new(), ..plain.clone() }), why(64, "keeper: a command is missing"));
    assert_eq!(
        refused(Start { options: vec![word("--forever")], ..plain.clone() }),
        why(64, "keeper: unexpected `--forever`")
    );
    let mounted = Start { options: vec![word("--mount"), word("1:2:/")], ..plain };
    assert!(matches!(refused(mounted), Last::NotStarted(78, _)));
}

#[test]
fn whoever_speaks_otherwise_is_cut_off_and_the_server_goes_on() {
    let mut session = Session::run(ECHO);
    session.tell(&Record::Input(b"one\n"));
    session.line();
    let helper = session.helper.as_mut().unwrap();
    helper.to.as_mut().unwrap().write_all(&[0; 5]).unwrap();
    assert!(!session.hear(), "the stream is over");
    session.resume(2);
    session.tell(&Record::Input(b"two\n"));
    assert!(session.line().ends_with(" two"));
    // A record that makes no sense cannot be gone on from.
    session.line.say(&[9, 0, 0, 0, 0]);
    session.write();
    let (code, why) = session.over();
    assert_eq!(
        (code, why.as_str()),
        (Some(70), "berth: keeper: berth and its helper do not understand each other\n")
    );
}
