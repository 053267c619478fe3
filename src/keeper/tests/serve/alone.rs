//! A helper that nobody listens to any more, and what comes too late.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use super::super::AT_ONCE;
use super::session::{Last, Session, refused, start};
use crate::numbered::WINDOW;
use crate::records::resume::GONE;
use crate::records::{Ending, Record, Start};

const SHORT: Duration = Duration::from_millis(300);

fn fill(session: &mut Session) {
    while session.line.heard().len() < WINDOW - (64 << 10) {
        assert!(session.hear());
    }
}

#[test]
fn a_full_window_keeps_nobody_from_his_end() {
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    let flood = 4 * WINDOW;
    // One that has ended with more in its pipes than there is room for, and one that has much to say before it ends.
    for script in [
        format!("(head -c {flood} /dev/zero &) ; head -c {} /dev/zero; exit 0", WINDOW + (32 << 10)),
        format!("head -c {flood} /dev/zero; head -c {flood} /dev/zero >&2; echo all >{}", told.display()),
    ] {
        let mut session = Session::of(&Start { reconnect: SHORT, ..start(&script) });
        fill(&mut session);
        let began = Instant::now();
        session.cut();
        assert_eq!(session.over(), (Some(0), String::new()));
        assert!(began.elapsed() >= SHORT && began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    }
    assert_eq!(fs::read_to_string(told).unwrap(), "all\n", "it has ended in order");
}

#[test]
fn whoever_comes_after_the_server_was_given_up_is_sent_away() {
    let folder = tempfile::tempdir().unwrap();
    let [eof, go] = ["eof", "go"].map(|name| folder.path().join(name));
    for fifo in [&eof, &go] {
        assert!(Command::new("mkfifo").arg(fifo).status().unwrap().success());
    }
    let script = format!(
        "echo ready; while read -r line; do echo \"$line\"; done; echo >{}; read -r _ <{}",
        eof.display(),
        go.display()
    );
    let mut session = Session::of(&Start { reconnect: SHORT, ..start(&script) });
    assert_eq!(session.line(), "ready");
    session.cut();
    assert_eq!(fs::read_to_string(eof).unwrap(), "\n", "its input has ended");
    let (code, why) = refused(2, &session.secret);
    assert_eq!(
        (code, why.as_str()),
        (Some(i32::from(GONE)), "berth: keeper: nobody came for too long, and the server was ended\n")
    );
    fs::write(go, "\n").unwrap();
    assert_eq!(session.over(), (Some(0), String::new()));
}

#[test]
fn a_question_is_answered_whatever_the_server_does() {
    let mut session = Session::run("echo ready; kill -STOP $$; cat");
    assert_eq!(session.line(), "ready");
    // More than its pipe holds, so some of it is passed on to nobody.
    for _ in 0..8 {
        session.tell(&Record::Input(&vec![b'x'; 60 << 10]));
    }
    let kept = |session: &Session| WINDOW - session.line.room();
    let before = kept(&session);
    session.line.ask();
    session.write();
    assert!(session.hear());
    assert!(kept(&session) > 8 * (60 << 10) - (320 << 10) && kept(&session) < before, "{}", kept(&session));
    session.line.ask();
    session.write();
    assert!(session.hear(), "the same again");
    session.tell(&Record::Terminate);
    let group = session.helper.as_ref().unwrap().child.id();
    // The end of one that was stopped comes when it goes on.
    assert!(Command::new("pkill").args(["-CONT", "-P", &group.to_string()]).status().unwrap().success());
    assert_eq!(session.last(), Last::Ended(Ending::Killed(15)));
}

/// PID 1 sends it to all, while the last words are under way.
#[test]
fn a_stream_outlives_sigterm() {
    let mut session = Session::run("trap '' TERM; while read -r line; do echo \"$line\"; done; exit 6");
    session.tell(&Record::Input(b"one\n"));
    assert_eq!(session.line(), "one");
    session.resume(2);
    let resume = session.stream.as_ref().unwrap().child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &resume]).status().unwrap().success());
    session.tell(&Record::Input(b"two\n"));
    assert_eq!(session.line(), "two");
    session.tell(&Record::InputEnd);
    assert_eq!(session.last(), Last::Ended(Ending::Exited(6)));
    let stream = session.stream.take().unwrap();
    assert_eq!(session.over(), (Some(0), String::new()));
    assert_eq!(stream.end(), (Some(0), String::new()));
}
