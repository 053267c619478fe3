//! What berth and the keeper say to each other: a part of both programs. std only.
//!
//! The owner of a lifeline writes to the keeper's standard input: what opens the door, if the server runs already and its
//! pipes are to be the owner's (`d…\n`), a claim (`c…\n`), and after that commands of one byte. The keeper answers on its standard output, in lines.
#![allow(unreachable_pub, reason = "the library hands it on, and the keeper has nobody to hand it to")]

/// What follows the program in its command line once somebody has claimed; whom it is held for follows that.
pub const HELD_FOR: &str = " hold for ";

/// Begins a claim: the line of the owner follows.
pub const CLAIM: u8 = b'c';

/// Begins a line with more that is known of the owner.
pub const INTRODUCE: u8 = b'n';

/// Asks for the volumes again.
pub const AGAIN: u8 = b'l';

/// The client has left, and its server's input is closed: the time begins that the server has for an end of its own.
pub const LEAVE: u8 = b'g';

/// Ends the container.
pub const TERMINATE: u8 = b't';

/// The keeper's line when somebody else than the owner has ended the session.
pub const ENDED_LINE: &str = "ended\n";

/// The container's exit code then, where the keeper's output is the server's own.
pub const ENDED: u8 = 251;

/// The container's exit code where its server was killed by SIGKILL, and the container was not.
pub const SERVER_KILLED: u8 = 252;

/// The container's exit code where its server used more memory than its limit.
pub const OUT_OF_MEMORY: u8 = 250;

/// Begins the reason why a container was not let run.
pub const REFUSED: &str = "berth let it not run: ";

/// The keeper's line when a mount that protected something is gone; then it ends the server.
pub const UNPROTECTED_LINE: &str = "unprotected\n";

/// How the volumes are, the first word of a line.
pub(crate) mod volumes {
    pub(crate) const READY: &str = "ready";
    pub(crate) const HELD: &str = "held";
    pub(crate) const FOREIGN: &str = "foreign";
    pub(crate) const UNUSABLE: &str = "unusable";
    /// `berth restore` is at it, or was cut off.
    pub(crate) const UNFINISHED: &str = "unfinished";

    /// The option of a volume that one session at a time may write, and of one that several may.
    pub(crate) const LOCK: &str = "--lock";
    pub(crate) const LOCK_TOGETHER: &str = "--lock-together";
    /// The same of `berth restore` alone, which has to do with unfinished content.
    pub(crate) const LOCK_TO_RESTORE: &str = "--lock-to-restore";
}

/// What a restoration has done within a volume (`keeper/content.rs`).
pub(crate) mod content {
    pub(crate) const NAME: &str = "content";
    pub(crate) const MEASURE: &str = "measure";
    pub(crate) const EMPTY: &str = "empty";
    pub(crate) const OPEN: &str = "open";
    /// The first word of the answer, if it was done.
    pub(crate) const DONE: &str = "done";

    /// The mode of the folder of a volume whose content is on its way. Nobody has any right to it, and
    /// `S_ISUID`, which means nothing for a folder, tells that it is berth's. With `S_ISVTX` nobody could remove what the
    /// daemon has not yet given to a user of containers.
    pub(crate) const UNFINISHED: u32 = 0o4000;
}

/// How a server's pipes come to its session (`keeper/door.rs`).
pub(crate) mod door {
    /// Below the keeper's folder.
    pub(crate) const FOLDER: &str = "door";
    /// In it, while somebody listens.
    pub(crate) const SOCKET: &str = "s";

    /// The option that says so: with device and inode of the folder for PID 1, alone for a server that an exec becomes.
    pub(crate) const OPTION: &str = "--door";

    /// Begins the line with the token, before a claim; an exec gets the token alone.
    pub(crate) const OPEN: u8 = b'd';

    /// How long the token is, in hexadecimal digits.
    pub(crate) const TOKEN: usize = 32;

    /// The session's answer: the pipes are its own.
    pub(crate) const TAKEN: u8 = b'd';
}
