//! Who may hand over what, and what is left of a door.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// The daemon's.
const NAME: &str = "berth-dind";

/// A door, and the folder of all doors.
fn door() -> (tempfile::TempDir, Doors, Door) {
    let state = tempfile::tempdir().unwrap();
    let doors = Doors::make(state.path(), NAME).unwrap();
    let door = doors.door(&Place::new().unwrap()).unwrap();
    (state, doors, door)
}

pub(in crate::dock) fn own_groups() -> String {
    // Any part of what the kernel says of this process stands for a container's id.
    fs::read_to_string("/proc/self/cgroup").unwrap().lines().next().unwrap_or_default().to_owned()
}

/// Comes to a door as a keeper does, with these words and files.
pub(in crate::dock) fn come(
    socket: &Path,
    words: &[u8],
    files: &[&OwnedFd],
) -> std::os::unix::net::UnixStream {
    let stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let files: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
    if !files.is_empty() {
        assert!(rights.push(SendAncillaryMessage::ScmRights(&files)));
    }
    sendmsg(&stream, &[std::io::IoSlice::new(words)], &mut rights, SendFlags::empty()).unwrap();
    stream
}

/// What becomes of a keeper that says `words` (`None`: the token) and hands over `files`.
async fn after(words: Option<&[u8]>, files: &[&OwnedFd]) -> io::Result<Ends> {
    let (_state, doors, door) = door();
    let socket = door.path.clone().unwrap().join(SOCKET);
    let listening = door.listen().unwrap();
    let token = listening.token.clone();
    let _keeper = come(&socket, words.unwrap_or(token.as_bytes()), files);
    let ends = listening.take(&own_groups()).await;
    assert!(is_empty(&door), "nobody listens any more, whoever came");
    drop(door);
    assert_eq!(fs::read_dir(doors.folder()).unwrap().count(), 0);
    ends
}

fn is_empty(door: &Door) -> bool {
    fs::read_dir(door.path.as_ref().unwrap()).unwrap().next().is_none()
}

pub(in crate::dock) fn pipe_ends() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = io::pipe().unwrap();
    (reader.into(), writer.into())
}

#[tokio::test]
async fn the_ends_of_two_pipes_are_taken_and_the_keeper_hears_it() {
    let (state, _doors, door) = door();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let path = door.path.clone().unwrap();
    assert_eq!((mode(&above(state.path(), NAME)), mode(&path)), (0o700, PASSABLE));
    let socket = path.join(SOCKET);
    let listening = door.listen().unwrap();
    assert_eq!(mode(&socket), CONNECTABLE);
    let ((from_session, input), (output, mut to_session)) =
        (pipe_ends(), (io::pipe().map(|(reader, writer)| (OwnedFd::from(reader), writer)).unwrap()));
    let mut keeper = come(&socket, listening.token.as_bytes(), &[&input, &output]);
    drop((input, output));
    let mut ends = listening.take(&own_groups()).await.unwrap();
    let mut answer = [0];
    io::Read::read_exact(&mut keeper, &mut answer).unwrap();
    assert_eq!(answer, [TAKEN]);
    assert!(is_empty(&door), "the server finds nobody");
    ends.input.write_all(b"asked\n").await.unwrap();
    drop(ends.input);
    let mut heard = String::new();
    io::Read::read_to_string(&mut File::from(from_session), &mut heard).unwrap();
    assert_eq!(heard, "asked\n");
    to_session.write_all(b"said\n").unwrap();
    drop(to_session);
    let mut said = String::new();
    ends.output.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "said\n");
}

#[tokio::test]
async fn whoever_does_not_know_the_token_hands_over_nothing() {
    let (reader, writer) = pipe_ends();
    for words in [&b"x"[..], b"0123456789abcdef0123456789abcdef", b"0123456789abcdef0123456789abcdef0"] {
        let refused = after(Some(words), &[&writer, &reader]).await.unwrap_err();
        assert_eq!(refused.to_string(), "who came to its door does not know the token");
    }
}

#[tokio::test]
async fn what_is_no_end_of_a_pipe_is_refused() {
    let (reader, writer) = pipe_ends();
    let file = OwnedFd::from(tempfile::tempfile().unwrap());
    let socket = OwnedFd::from(std::os::unix::net::UnixStream::pair().unwrap().0);
    let folder = tempfile::tempdir().unwrap();
    let named = folder.path().join("named");
    rustix::fs::mkfifoat(rustix::fs::CWD, &named, Mode::RUSR | Mode::WUSR).unwrap();
    let named = OwnedFd::from(File::options().read(true).write(true).open(named).unwrap());
    for junk in [&file, &socket, &named] {
        for files in [[junk, &reader], [&writer, junk]] {
            let refused = after(None, &files).await.unwrap_err();
            assert_eq!(refused.to_string(), "its keeper handed over what are no ends of pipes");
        }
    }
    // The wrong way round.
    let refused = after(None, &[&reader, &writer]).await.unwrap_err();
    assert_eq!(refused.to_string(), "its keeper handed over what are no ends of pipes");
}

#[tokio::test]
async fn two_files_are_taken_no_more_and_no_less() {
    let (reader, writer) = pipe_ends();
    let refused = after(None, &[]).await.unwrap_err();
    assert_eq!(refused.to_string(), "its keeper handed over 0 files");
    let refused = after(None, &[&writer]).await.unwrap_err();
    assert_eq!(refused.to_string(), "its keeper handed over 1 file");
    for more in [vec![&writer, &reader, &reader], vec![&writer, &reader, &reader, &writer, &writer]] {
        let refused = after(None, &more).await.unwrap_err().to_string();
        let expected = ["its keeper handed over 3 files", "its keeper handed over too many files"];
        assert!(expected.contains(&&*refused), "{refused}");
    }
}

#[tokio::test]
async fn a_process_that_is_not_the_containers_is_refused() {
    let (_state, _doors, door) = door();
    let socket = door.path.clone().unwrap().join(SOCKET);
    let listening = door.listen().unwrap();
    let (reader, writer) = pipe_ends();
    let _keeper = come(&socket, listening.token.as_bytes(), &[&writer, &reader]);
    let refused = listening.take("no container's id").await.unwrap_err();
    let expected = format!("process {} came to its door, which is not of the container", std::process::id());
    assert_eq!(refused.to_string(), expected);
    assert!(is_empty(&door));
}

#[tokio::test]
async fn only_the_first_to_come_is_heard() {
    let (_state, _doors, door) = door();
    let socket = door.path.clone().unwrap().join(SOCKET);
    let listening = door.listen().unwrap();
    let _first = come(&socket, b"not the token", &[]);
    let (reader, writer) = pipe_ends();
    let mut second = come(&socket, listening.token.as_bytes(), &[&writer, &reader]);
    assert!(listening.take(&own_groups()).await.is_err());
    let mut answer = Vec::new();
    let heard = io::Read::read_to_end(&mut second, &mut answer);
    assert!(heard.is_err() || answer.is_empty(), "it keeps the streams that it has");
    assert!(std::os::unix::net::UnixStream::connect(&socket).is_err(), "nobody listens any more");
}

#[test]
fn a_door_that_is_dropped_is_gone_and_one_that_is_kept_stays() {
    let (state, doors, door) = door();
    drop(door);
    assert_eq!(fs::read_dir(doors.folder()).unwrap().count(), 0);
    let place = Place::new().unwrap();
    doors.door(&place).unwrap().keep();
    assert_eq!(doors.older(Duration::ZERO), [place.digits()]);
    assert_eq!(doors.older(Duration::from_mins(1)), [""; 0], "its container may be on its way");
    let again = doors.door_of(&place).unwrap();
    drop(again);
    assert!(doors.door_of(&place).is_err());
    // A daemon that has not this machine's files.
    assert_eq!(Doors::find(state.path(), NAME), None);
    doors.note(true).unwrap();
    assert_eq!(Doors::find(state.path(), NAME), Some(doors.clone()));
    assert_eq!(Doors::make(state.path(), NAME).unwrap(), doors, "the name stays");
    let other = Doors::make(state.path(), "berth-dind.2").unwrap();
    assert_ne!(other.folder(), doors.folder(), "each daemon has doors of its own");
    assert_eq!(Doors::find(state.path(), "berth-dind.2"), None);
    doors.note(false).unwrap();
    doors.note(false).unwrap();
    assert_eq!(Doors::find(state.path(), NAME), None);
}

#[test]
fn a_command_line_tells_of_its_door() {
    let keeper = Place::new().unwrap().program();
    assert!(is_in(&format!("{keeper} hold --room --- --door 1:2 --claim-within 4 -- server")));
    assert!(!is_in(&format!("{keeper} hold --room --- --claim-within 4 -- server --door 1:2")));
    assert!(!is_in("/bin/server --door 1:2"));
}
