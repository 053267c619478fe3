//! berth's side of a session with `keeper serve`.

use std::io::{Read, Write};
use std::process::{self, Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use super::super::{AT_ONCE, KEEPER};
use crate::numbered::{FIRST, Numbered};
use crate::records::{self, Ending, Record, Start};
use crate::serve::handover::Secret;

const MINUTE: Duration = Duration::from_mins(1);

pub(in super::super) fn start(script: &str) -> Start {
    let word = |word: &str| word.as_bytes().to_vec();
    Start {
        reconnect: MINUTE,
        grace: MINUTE,
        argv: [word("sh"), word("-c"), word(script)].to_vec(),
        ..Start::default()
    }
}

/// All that berth says first, for a helper that is to start this, whose hello nobody waits for.
pub(in super::super) fn opening(start: &Start) -> Vec<u8> {
    let (mut line, mut helper) = (Numbered::new(), Numbered::new());
    let (mut record, mut hello, mut out) = (Vec::new(), Vec::new(), secret().to_vec());
    start.encode(&mut record).unwrap();
    line.begin(FIRST);
    helper.begin(FIRST);
    helper.frames(&mut hello);
    line.say(&record);
    line.hear(&hello).unwrap();
    line.frames(&mut out);
    out
}

/// One that no other session of these tests has.
fn secret() -> Secret {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let text = format!("{:016x}{next:016x}", process::id());
    text.into_bytes().try_into().unwrap()
}

/// An exec's process and its stream.
pub(super) struct Exec {
    pub(super) child: Child,
    pub(super) to: Option<ChildStdin>,
    pub(super) from: Option<Receiver<Vec<u8>>>,
}

impl Exec {
    pub(super) fn start(words: &[&str], secret: &[u8]) -> Self {
        let child = Command::new(KEEPER)
            .args(words)
            .env("PATH", "/usr/bin:/bin")
            .envs([("KUBERNETES_SERVICE_HOST", "10.0.0.1"), ("KUBERNETES_PORT_443_TCP", "tcp://10.0.0.1")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.unwrap();
        let from = child.stdout.take().map(chunks);
        let mut to = child.stdin.take().unwrap();
        to.write_all(secret).unwrap();
        Self { to: Some(to), from, child }
    }

    /// Exit code and standard error.
    pub(super) fn end(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.to = None;
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

/// What comes, for a test that waits only so long.
fn chunks(mut from: ChildStdout) -> Receiver<Vec<u8>> {
    let (sender, chunks) = sync_channel(1);
    thread::spawn(move || {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if sender.send(bytes[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    chunks
}

/// Exit code and standard error of a stream that is not taken.
pub(super) fn refused(epoch: u64, secret: &[u8]) -> (Option<i32>, String) {
    Exec::start(&["resume", &epoch.to_string()], secret).end()
}

/// berth's side of a session.
pub(super) struct Session {
    pub(super) secret: Secret,
    pub(super) line: Numbered,
    pub(super) helper: Option<Exec>,
    pub(super) stream: Option<Exec>,
    pub(super) out: Vec<u8>,
    pub(super) err: Vec<u8>,
    pub(super) last: Option<Last>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Last {
    Ended(Ending),
    NotStarted(u8, String),
}

impl Session {
    /// The helper's hello has come.
    pub(super) fn new() -> Self {
        let secret = secret();
        let helper = Some(Exec::start(&["serve"], &secret));
        let (mut line, out, err) = (Numbered::new(), Vec::new(), Vec::new());
        line.begin(FIRST);
        let mut session = Self { secret, line, helper, stream: None, out, err, last: None };
        session.meet();
        session
    }

    fn meet(&mut self) {
        self.write();
        while !self.line.is_met() {
            assert!(self.hear(), "the stream is over");
        }
        self.write();
    }

    pub(super) fn run(script: &str) -> Self {
        Self::of(&start(script))
    }

    pub(super) fn of(start: &Start) -> Self {
        let mut session = Self::new();
        session.tell(&Record::Start(start.clone()));
        session
    }

    pub(super) fn tell(&mut self, said: &Record<'_>) {
        let mut bytes = Vec::new();
        records::encode(&mut bytes, said).unwrap();
        assert_eq!(self.line.say(&bytes), bytes.len());
        self.write();
    }

    pub(super) fn write(&mut self) {
        let mut out = Vec::new();
        self.line.frames(&mut out);
        let to = self.stream.as_mut().or(self.helper.as_mut()).and_then(|exec| exec.to.as_mut());
        // Nobody reads behind a cut.
        let _ = to.map(|to| to.write_all(&out));
    }

    /// Waits for what comes next; `false` at the end of the stream.
    pub(super) fn hear_for(&mut self, time: Duration) -> Option<bool> {
        let exec = self.stream.as_ref().or(self.helper.as_ref()).unwrap();
        match exec.from.as_ref().unwrap().recv_timeout(time) {
            Ok(bytes) => {
                self.line.hear(&bytes).unwrap();
                Some(true)
            }
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(false),
        }
    }

    pub(super) fn hear(&mut self) -> bool {
        self.hear_for(AT_ONCE).expect("the helper says nothing")
    }

    /// Takes the records that have come, and acknowledges what it must.
    pub(super) fn take(&mut self) {
        while let Some((length, said)) = records::decode(self.line.heard()).unwrap() {
            match said {
                Record::Output(bytes) => self.out.extend_from_slice(bytes),
                Record::Errors(bytes) => self.err.extend_from_slice(bytes),
                Record::Ended(ending) => self.last = Some(Last::Ended(ending)),
                Record::NotStarted { code, why } => {
                    self.last = Some(Last::NotStarted(code, String::from_utf8_lossy(why).into_owned()));
                }
                said => panic!("{said:?}"),
            }
            self.line.pass_on(length);
        }
        if self.last.is_some() {
            self.line.tell_now();
        }
        self.write();
    }

    pub(super) fn until(&mut self, done: impl Fn(&Self) -> bool) {
        self.take();
        while !done(self) {
            assert!(self.hear(), "the stream is over: {}", String::from_utf8_lossy(&self.out));
            self.take();
        }
    }

    /// The next line of the server's output.
    pub(super) fn line(&mut self) -> String {
        self.until(|session| session.out.contains(&b'\n'));
        let at = self.out.iter().position(|byte| *byte == b'\n').unwrap();
        let line = self.out.drain(..=at).collect::<Vec<_>>();
        String::from_utf8_lossy(&line[..at]).into_owned()
    }

    pub(super) fn last(&mut self) -> Last {
        self.until(|session| session.last.is_some());
        self.last.take().unwrap()
    }

    /// Cuts the stream. What was under way is lost.
    pub(super) fn cut(&mut self) {
        for exec in self.stream.iter_mut().chain(&mut self.helper) {
            (exec.to, exec.from) = (None, None);
        }
    }

    pub(super) fn resume(&mut self, epoch: u64) {
        self.stream = Some(Exec::start(&["resume", &epoch.to_string()], &self.secret));
        self.line.begin(epoch);
        self.meet();
    }

    /// Waits until the helper has ended, and gives its exit code and its standard error.
    pub(super) fn over(mut self) -> (Option<i32>, String) {
        self.helper.take().unwrap().end()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for mut exec in self.helper.take().into_iter().chain(self.stream.take()) {
            let _ = exec.child.kill();
            let _ = exec.child.wait();
        }
    }
}
