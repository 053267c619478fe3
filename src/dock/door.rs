//! A container's door: the folder through which its keeper hands the ends of the server's pipes to the session.
//!
//! `berth up` shares one folder of berth's state with its daemon. Each container has a folder of its own in it, mounted
//! read-only below its keeper's. The session listens there before its server starts, takes one connection, looks at who it
//! is, at the token and at what was handed over, and removes the socket before the server's first instruction. What the
//! container has mounted then is an empty folder. It is there for as long as the container: the daemon looks for it again
//! whenever it is asked for a file of the container's.
//!
//! Nothing here is needed to be safe or to serve: where any of it fails, the daemon's stream carries the bytes.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fcntl_getfl, fstat, fstatfs};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use serde_json::{Value, json};
use tokio::io::Interest;
use tokio::net::unix::pipe;
use tokio::net::{UnixListener, UnixStream};

use super::docker::{DockerError, Engine};
use super::labels::{machine, managed_by_filter};
use super::place::{self, Place};
use super::protocol::door::{FOLDER, OPTION, SOCKET, TAKEN, TOKEN};
use crate::human::count;

/// In berth's state.
const DOORS: &str = "doors";
/// In there, once a daemon has the folder.
const SHARED: &str = "shared";
/// Where the daemon has it. The folder above is closed to all but root.
pub const IN_DAEMON: &str = "/berth/doors";

/// All may go through to the socket, whatever a server's user is; nobody but us can reach the folder from outside.
const PASSABLE: u32 = 0o711;
const CONNECTABLE: u32 = 0o666;

/// A keeper that cannot come says so; this is for one that does neither.
pub const WITHIN: Duration = Duration::from_secs(3);

/// `PIPEFS_MAGIC` (linux/magic.h): what no file system has, a named pipe among them.
const PIPE_FS: i64 = 0x5049_5045;

/// The folder above, of this machine and this daemon. Several machines may have one home, and no socket leads from one to
/// another. Of two daemons each clears away what only it knows to be left.
fn above(state: &Path, daemon: &str) -> PathBuf {
    let fit = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    state.join(DOORS).join(machine().chars().map(fit).collect::<String>()).join(daemon)
}

/// The folder of all doors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doors(PathBuf);

impl Doors {
    /// The folder for the daemon of that name, made if there is none: `berth up` shares it. Nobody guesses its own name.
    pub fn make(state: &Path, daemon: &str) -> io::Result<Self> {
        let above = above(state, daemon);
        if let Some(found) = Self::in_folder(&above) {
            return Ok(found);
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&above)?;
        let folder = above.join(place::random()?);
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self(folder))
    }

    /// The folder, if there is one, whether a daemon has it or not.
    pub fn known(state: &Path, daemon: &str) -> Option<Self> {
        Self::in_folder(&above(state, daemon))
    }

    /// The folder, if a daemon has it.
    pub fn find(state: &Path, daemon: &str) -> Option<Self> {
        let above = above(state, daemon);
        above.join(SHARED).exists().then(|| Self::in_folder(&above)).flatten()
    }

    fn in_folder(above: &Path) -> Option<Self> {
        let mut entries = fs::read_dir(above).ok()?.filter_map(Result::ok);
        entries
            .find(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| Self(entry.path()))
    }

    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// The names of all doors that are there.
    pub fn names(&self) -> Vec<String> {
        self.older(Duration::ZERO)
    }

    /// Notes whether the daemon has it.
    pub fn note(&self, is_shared: bool) -> io::Result<()> {
        let note = self.0.with_file_name(SHARED);
        if is_shared {
            return File::options().create(true).append(true).mode(0o600).open(note).map(drop);
        }
        match fs::remove_file(note) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Has the next sessions not try it: a daemon has refused it. The next daemon that `berth up` makes has it again.
    pub fn forget(&self) {
        if let Err(error) = self.note(false) {
            tracing::debug!("cannot note that the daemon refuses its doors: {error}");
        }
    }

    /// The door of a container that is to be, with its keeper at `place`.
    pub fn door(&self, place: &Place) -> io::Result<Door> {
        let path = self.0.join(place.digits());
        fs::DirBuilder::new().mode(PASSABLE).create(&path)?;
        let door = Self::opened(path)?;
        // Whatever the umask says.
        rustix::fs::fchmod(&door.folder, Mode::from_raw_mode(PASSABLE))?;
        Ok(door)
    }

    /// The door of a container that has one.
    pub fn door_of(&self, place: &Place) -> io::Result<Door> {
        Self::opened(self.0.join(place.digits()))
    }

    fn opened(path: PathBuf) -> io::Result<Door> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(&path, flags, Mode::empty());
        let folder = File::from(opened?);
        let found = folder.metadata()?;
        Ok(Door { path: Some(path), folder, device: found.dev(), inode: found.ino() })
    }

    /// Removes the doors that no container of the daemon has; gives their names. A younger one than `older_than` may be that
    /// of a container that is just being made.
    pub async fn sweep(&self, daemon: &Engine, older_than: Duration) -> Result<Vec<String>, DockerError> {
        let mut removed = Vec::new();
        for name in self.left(daemon, older_than).await? {
            let path = self.0.join(&name);
            let _ = fs::remove_file(path.join(SOCKET));
            if fs::remove_dir(&path).is_ok() {
                removed.push(name);
            }
        }
        Ok(removed)
    }

    /// The names of those.
    pub async fn left(&self, daemon: &Engine, older_than: Duration) -> Result<Vec<String>, DockerError> {
        // Before the containers are listed: one that is claimed meanwhile takes its door along.
        let old = self.older(older_than);
        if old.is_empty() {
            return Ok(old);
        }
        let rows = daemon.list(&managed_by_filter()).await?;
        let used: HashSet<String> = rows
            .iter()
            .filter_map(|row| Place::of(&row.command))
            .map(|place| place.digits().to_owned())
            .collect();
        Ok(old.into_iter().filter(|name| !used.contains(name)).collect())
    }

    fn older(&self, older_than: Duration) -> Vec<String> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let is_old = |entry: &fs::DirEntry| {
            let changed = entry.metadata().and_then(|found| found.modified());
            changed.is_ok_and(|changed| changed.elapsed().is_ok_and(|age| age >= older_than))
        };
        entries.filter(is_old).filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }
}

/// One container's door, to be held while the container is there. It is removed with this, unless it is [kept](Self::keep).
#[derive(Debug)]
pub struct Door {
    /// `None` once it is kept.
    path: Option<PathBuf>,
    folder: File,
    device: u64,
    inode: u64,
}

impl Door {
    /// Adds it to the body of a container with its keeper at `place`.
    pub fn add_to(&self, body: &mut Value, place: &Place) {
        let mount = json!({
            "Type": "bind", "Source": format!("{IN_DAEMON}/{}", place.digits()),
            "Target": format!("{}/{FOLDER}", place.folder()), "ReadOnly": true,
            "BindOptions": { "Propagation": "private", "NonRecursive": true },
        });
        if let Some(mounts) = body["HostConfig"]["Mounts"].as_array_mut() {
            mounts.push(mount);
        }
        if let Some(arguments) = body["Cmd"].as_array_mut() {
            // In front of a server's own words. The daemon's runtime sees to it that it is this folder.
            let option = [OPTION.to_owned(), format!("{}:{}", self.device, self.inode)];
            arguments.splice(0..0, option.map(Value::from));
        }
    }

    /// It is there for whoever takes the container.
    pub fn keep(mut self) {
        self.path = None;
    }

    /// Listens for the keeper.
    pub fn listen(&self) -> io::Result<Listening> {
        let token = place::random()?;
        // A path of any length; the kernel takes 107 bytes of one.
        let socket = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", self.folder.as_raw_fd()));
        let listener = UnixListener::bind(&socket)?;
        let listening = Listening { listener, folder: self.folder.try_clone()?, token };
        rustix::fs::chmodat(&self.folder, SOCKET, Mode::from_raw_mode(CONNECTABLE), AtFlags::empty())?;
        Ok(listening)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            let _ = fs::remove_dir(path);
        }
    }
}

/// Whether a container's first process was started with a door, by the command line that the daemon has of it.
pub(super) fn is_in(command_line: &str) -> bool {
    let options = place::arguments(command_line).and_then(|rest| rest.split(" -- ").next());
    options.is_some_and(|options| options.split(' ').any(|word| word == OPTION))
}

/// A door that somebody is behind. Its socket is removed with this.
#[derive(Debug)]
pub struct Listening {
    listener: UnixListener,
    folder: File,
    /// For whoever was told it over the daemon's stream.
    token: String,
}

/// The ends of a server's pipes.
#[derive(Debug)]
pub struct Ends {
    pub input: pipe::Sender,
    pub output: pipe::Receiver,
}

impl Listening {
    /// The line that the keeper gets.
    pub fn token(&self) -> String {
        format!("{}\n", self.token)
    }

    /// Waits for the keeper of `container`, which is the first to come, and takes what it hands over; nobody else can come then.
    pub async fn take(self, container: &str) -> io::Result<Ends> {
        let (keeper, _) = self.listener.accept().await?;
        is_of(&keeper, container)?;
        let ends = receive(&keeper, &self.token).await?;
        // Before the server is there.
        drop(self);
        keeper.writable().await?;
        keeper.try_write(&[TAKEN])?;
        Ok(ends)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = rustix::fs::unlinkat(&self.folder, SOCKET, AtFlags::empty());
    }
}

fn refused(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

/// Whether somebody who has come is a process of that container, as far as this machine shows it: by its control groups,
/// which are named after containers.
fn is_of(keeper: &UnixStream, container: &str) -> io::Result<()> {
    let peer = keeper.peer_cred()?;
    let Some(pid) = peer.pid().filter(|pid| *pid > 0) else {
        // In another namespace of processes than ours: the token has to do.
        return Ok(());
    };
    match fs::read_to_string(format!("/proc/{pid}/cgroup")) {
        Ok(groups) if !groups.contains(container) => {
            Err(refused(format!("process {pid} came to its door, which is not of the container")))
        }
        _ => Ok(()),
    }
}

/// Two ends of pipes, and no more, behind the token.
async fn receive(keeper: &UnixStream, token: &str) -> io::Result<Ends> {
    let mut said = [0; TOKEN + 1];
    let (length, files) = keeper.async_io(Interest::READABLE, || receive_now(keeper, &mut said)).await?;
    // As with any secret: no part of it is told by the time that a comparison takes; it is used once, too.
    let same =
        said[..length].iter().zip(token.bytes()).fold(0, |differs, (said, known)| differs | (said ^ known));
    if length != token.len() || same != 0 {
        return Err(refused("who came to its door does not know the token"));
    }
    let [input, output] = <[OwnedFd; 2]>::try_from(files)
        .map_err(|files| refused(format!("its keeper handed over {}", count(files.len(), "file"))))?;
    if !is_pipe(&input, OFlags::WRONLY)? || !is_pipe(&output, OFlags::RDONLY)? {
        return Err(refused("its keeper handed over what are no ends of pipes"));
    }
    Ok(Ends { input: pipe::Sender::from_owned_fd(input)?, output: pipe::Receiver::from_owned_fd(output)? })
}

/// All files that come are taken, and closed again where they are too many.
fn receive_now(keeper: &UnixStream, said: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    const MOST: usize = 2;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(keeper.as_fd(), &mut [IoSliceMut::new(said)], &mut rights, RecvFlags::CMSG_CLOEXEC)?;
    let files: Vec<OwnedFd> = rights
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => Some(files),
            _ => None,
        })
        .flatten()
        .collect();
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(refused("its keeper handed over too many files"));
    }
    Ok((received.bytes, files))
}

/// Whether it is an end of a pipe that has no name, open for this alone.
fn is_pipe(file: &OwnedFd, access: OFlags) -> io::Result<bool> {
    Ok(FileType::from_raw_mode(fstat(file)?.st_mode) == FileType::Fifo
        && fstatfs(file)?.f_type == PIPE_FS
        && fcntl_getfl(file)? & OFlags::RWMODE == access)
}

#[cfg(test)]
pub(super) mod tests;
