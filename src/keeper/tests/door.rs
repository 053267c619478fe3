//! A server's pipes come to its session through the door, or it has the streams that it would have had.

use std::fs::{self, File};
use std::io::{ErrorKind, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::hold::{Berth, CLAIM, MINUTE};
use super::{AT_ONCE, KEEPER};
use crate::protocol::door::{FOLDER, SOCKET, TAKEN};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const REFUSED: &str = "its session does not take the pipes";

/// A keeper's folder with a door, as a container has it.
struct Door {
    folder: tempfile::TempDir,
}

impl Door {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(FOLDER)).unwrap();
        // A copy could be busy: whoever is forked meanwhile has it open for writing.
        symlink(KEEPER, folder.path().join("keeper")).unwrap();
        Self { folder }
    }

    fn program(&self) -> String {
        self.folder.path().join("keeper").to_str().unwrap().to_owned()
    }

    fn listen(&self) -> Listener {
        let listener = UnixListener::bind(self.folder.path().join(FOLDER).join(SOCKET)).unwrap();
        listener.set_nonblocking(true).unwrap();
        Listener(listener)
    }

    /// `exec` with these words behind the option, and `input` on its stream.
    fn exec(&self, words: &[&str], input: &str) -> Child {
        let mut child = Command::new(self.program())
            .args(["exec", "--session", "s1", "--door"])
            .args(words)
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.as_mut().unwrap().write_all(input.as_bytes()).unwrap();
        child
    }

    /// A server that was started ahead.
    fn ahead(&self, grace: u32, script: &str) -> Berth {
        Berth::at(&self.program(), grace, &["--door", "1:2", "--", "sh", "-c", script])
    }
}

/// A session's side.
struct Listener(UnixListener);

impl Listener {
    fn accept(&self) -> UnixStream {
        let began = Instant::now();
        loop {
            match self.0.accept() {
                Ok((keeper, _)) => {
                    keeper.set_nonblocking(false).unwrap();
                    return keeper;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
            assert!(began.elapsed() < AT_ONCE, "nobody comes");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What is handed over, before anything is answered: the writing end of the server's input, the reading end of its output.
    fn offered(&self) -> (UnixStream, [File; 2]) {
        let keeper = self.accept();
        let (mut said, mut space) = ([0; 64], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))]);
        let mut rights = RecvAncillaryBuffer::new(&mut space);
        let received =
            recvmsg(&keeper, &mut [IoSliceMut::new(&mut said)], &mut rights, RecvFlags::CMSG_CLOEXEC);
        let length = received.unwrap().bytes;
        assert_eq!(String::from_utf8_lossy(&said[..length]), TOKEN);
        let files = rights.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => Some(files),
            _ => None,
        });
        let files: Vec<OwnedFd> = files.flatten().collect();
        let Ok(files) = <[OwnedFd; 2]>::try_from(files) else { panic!("two files") };
        (keeper, files.map(File::from))
    }

    fn take(&self) -> [File; 2] {
        let (mut keeper, ends) = self.offered();
        keeper.write_all(&[TAKEN]).unwrap();
        ends
    }

    fn is_left_alone(&self) -> bool {
        self.0.accept().is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

fn line(from: &mut File) -> String {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while from.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

fn rest(mut from: impl Read) -> String {
    let mut rest = String::new();
    from.read_to_string(&mut rest).unwrap();
    rest
}

/// Exit code, standard output and standard error of the stream, whose input is let go.
fn end(mut child: Child) -> (Option<i32>, String, String) {
    drop(child.stdin.take());
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let err = thread::spawn(move || rest(err));
    let out = rest(out);
    (child.wait().unwrap().code(), out, err.join().unwrap())
}

fn opening() -> Vec<u8> {
    format!("d{TOKEN}\n").into_bytes()
}

#[test]
fn an_exec_becomes_the_server_once_its_session_has_the_pipes() {
    let door = Door::new();
    let listener = door.listen();
    // All that it has open is what anybody has that is started here.
    let files = "ls /proc/self/fd";
    let plain = Command::new("sh").args(["-c", files]).output().unwrap();
    let script = format!("echo began >&2; cat; {files}; echo over >&2; exit 3");
    let child = door.exec(&["--", "sh", "-c", &script], &format!("{TOKEN}\nof the stream\n"));
    let (mut keeper, [mut input, mut output]) = listener.offered();
    // Whatever comes meanwhile, it is nobody's server yet.
    for _ in 0..30 {
        let command = fs::read_to_string(format!("/proc/{}/cmdline", child.id())).unwrap();
        assert!(command.contains("--session"), "{command}");
        thread::sleep(Duration::from_millis(10));
    }
    keeper.write_all(&[TAKEN]).unwrap();
    input.write_all(b"asked\n").unwrap();
    assert_eq!(line(&mut output), "asked");
    drop(input);
    assert_eq!(rest(output).into_bytes(), plain.stdout);
    let (code, out, err) = end(child);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(3), "", "began\nover\n"));
}

#[test]
fn a_server_whose_pipes_nobody_takes_has_the_stream_behind_the_reason() {
    let script = ["--", "sh", "-c", "echo began >&2; cat; echo over"];
    let served = |child: Child, why: &str| {
        let (code, out, err) = end(child);
        let (reason, said) = out.split_once('\n').unwrap();
        assert!(reason.starts_with(why), "{reason}: {why}");
        assert_eq!((code, said, err.as_str()), (Some(0), "asked\nover\n", "began\n"), "{why}");
    };
    let input = format!("{TOKEN}\nasked\n");
    let door = Door::new();
    served(door.exec(&script, &input), "cannot connect to its door: No such file or directory");
    let listener = door.listen();
    // It leaves without a word: before it has looked, after it has, or with another word.
    let child = door.exec(&script, &input);
    drop(listener.accept());
    served(child, REFUSED);
    let child = door.exec(&script, &input);
    drop(listener.offered().0);
    served(child, REFUSED);
    let child = door.exec(&script, &input);
    let (mut keeper, ends) = listener.offered();
    keeper.write_all(b"x").unwrap();
    served(child, REFUSED);
    let [_, output] = ends;
    assert_eq!(rest(output), "", "nobody writes there");
}

#[test]
fn what_cannot_run_ends_as_it_does_without_a_door() {
    let door = Door::new();
    let listener = door.listen();
    let (code, out, err) = end(door.exec(&["--mount", "1:2:/", "--", "true"], ""));
    assert_eq!((code, out.as_str()), (Some(78), ""));
    assert!(err.starts_with("berth: what is mounted at `/` is not what was to be"), "{err}");
    // Whoever is to say the token has left.
    let (code, out, _) = end(door.exec(&["--", "sh", "-c", "echo a server"], "0123"));
    assert_eq!((code, out.as_str()), (Some(71), ""));
    assert!(listener.is_left_alone());

    let child = door.exec(&["--", "no-such-command"], &format!("{TOKEN}\n"));
    let [_, output] = listener.take();
    let (code, out, err) = end(child);
    let why = "berth: cannot run `no-such-command`: No such file or directory\n";
    assert_eq!((code, out.as_str(), err.as_str()), (Some(127), "", why));
    assert_eq!(rest(output), "");
}

#[test]
fn the_lifeline_is_the_owners_where_the_server_has_pipes_of_its_own() {
    let door = Door::new();
    let listener = door.listen();
    let shown = "until tr '\\0' ' ' </proc/1/cmdline | grep -q 'hold for s1 more *$'; do sleep 0.05; done";
    let script =
        format!("echo ready; read -r asked; echo $asked; {shown}; echo shown; cat; echo over; exit 5");
    let berth = door.ahead(MINUTE, &script).send(&opening());
    let [mut input, mut output] = listener.take();
    let berth = berth.send(CLAIM);
    assert_eq!(line(&mut output), "ready");
    input.write_all(b"asked\n").unwrap();
    assert_eq!(line(&mut output), "asked");
    let berth = berth.send(b"ns1 more\n");
    assert_eq!(line(&mut output), "shown");
    drop(input);
    // No byte of the lifeline's is the server's, and its input ends by itself.
    assert_eq!(rest(output), "over\n");
    let (code, printed, time) = berth.exit();
    assert_eq!((code, printed.as_str()), (Some(5), ""));
    assert!(time < AT_ONCE, "{time:?}");

    let listener = Door::new();
    let (door, listener) = (&listener, listener.listen());
    let script = "trap 'echo term; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let berth = door.ahead(MINUTE, script).send(&opening());
    let [_input, mut output] = listener.take();
    assert_eq!(line(&mut output), "ready");
    let (code, ..) = berth.send(CLAIM).send(b"t").exit();
    assert_eq!((code, rest(output).as_str()), (Some(7), "term\n"));
}

#[test]
fn an_owner_that_dies_takes_the_container_along() {
    let script = "echo ready; cat >/dev/null; sleep 0.5; exit 5";
    for held in [false, true] {
        let door = Door::new();
        let listener = door.listen();
        let berth = door.ahead(4000, script).send(&opening());
        let [input, mut output] = listener.take();
        assert_eq!(line(&mut output), "ready");
        let berth = berth.send(CLAIM);
        // One whose pipes go with it, and one that has given them away.
        let input = held.then_some(input);
        let (code, _, time) = berth.let_go().exit();
        assert_eq!(code, Some(if held { 143 } else { 5 }));
        assert!(time < AT_ONCE && (!held || time >= Duration::from_secs(2)), "{time:?}");
        drop(input);
    }
    // Between the pipes and the claim: nobody waits for more than it was given.
    let door = Door::new();
    let listener = door.listen();
    let berth = door.ahead(4000, script).send(&opening());
    let [input, mut output] = listener.take();
    // It has said all that it says: nothing is left to be written to nobody.
    assert_eq!(line(&mut output), "ready");
    drop((input, output));
    let (code, _, time) = berth.let_go().exit();
    assert_eq!(code, Some(5));
    assert!(time < AT_ONCE, "{time:?}");
}

#[test]
fn pipes_that_nobody_takes_leave_the_container_to_its_lifeline() {
    let door = Door::new();
    let mut berth = door.ahead(MINUTE, "cat >/dev/null; exit 5").send(&opening());
    assert_eq!(berth.line(), "cannot connect to its door: No such file or directory");
    let listener = door.listen();
    let mut berth = berth.send(&opening());
    drop(listener.offered().0);
    assert_eq!(berth.line(), REFUSED);
    // Another one may be let have them.
    let berth = berth.send(&opening());
    let [input, _output] = listener.take();
    drop(input);
    assert_eq!(berth.exit().0, Some(5), "its input has ended");

    let berth = door.ahead(MINUTE, "cat >/dev/null; exit 5").send(&opening());
    drop(listener.offered().0);
    let (code, printed, time) = berth.send(CLAIM).let_go().exit();
    assert_eq!((code, printed), (Some(5), format!("{REFUSED}\n")));
    assert!(time < AT_ONCE, "{time:?}");

    let mut berth = Berth::at(&door.program(), MINUTE, &["--door", "1:2"]).send(&opening());
    assert_eq!(berth.line(), "no server runs");
}
