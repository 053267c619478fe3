//! What a setting's text means: sizes, times, names, patterns, templates. Each kind is read in one way, from the file
//! and from a flag alike. Nothing here knows the setting that a value is for.

#[path = "keeper/allow.rs"]
mod allow;
mod days;
pub mod full_name;
mod lookup;
mod network;
mod pattern;
mod port;
mod quantity;
mod secret;
mod standby;
mod subnet;
mod template;
mod value;
mod word;

pub use days::{Ago, Days};
pub use lookup::Lookup;
pub use network::{AllowedName, Network};
pub use pattern::{ToolPattern, permits};
pub use port::{HostService, PublishedPort};
pub use quantity::{
    ByteSize, Cpus, LineLimit, Memory, Pids, Reconnect, SessionLimit, Span, StandbyLimit, Timeout,
};
pub(crate) use secret::words;
pub use secret::{
    Credential, MARK, SecretArgument, credentials, hidden, is_everyday, is_secret, looks_secret,
    may_be_secret, parts, secret_arguments, spelt, without_credentials,
};
pub use standby::Standby;
pub use subnet::{AddressPool, BridgeAddress};
pub(crate) use template::{PathTemplate, Template};
pub use value::ValueError;
pub(crate) use value::{Value, from_str};
pub use word::{
    AbsolutePath, Address, Alias, Backend, BrokenAnswers, Capability, ContainerName, Definitions, Image,
    Isolation, Journaling, OnFailure, OverLimit, Pull, Start, User, Way, is_server_name,
};

/// Where every server has memory to write to, and how much, unless its settings say otherwise.
pub const DEFAULT_TMPFS: [(&str, &str); 1] = [("/tmp", "256m")];

/// A folder in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tmpfs {
    pub bytes: u64,
    /// Whether programs in it can be run.
    pub exec: bool,
}

impl Tmpfs {
    /// As `docker run --tmpfs` takes them.
    pub fn options(self) -> String {
        let Self { bytes, exec } = self;
        let exec = if exec { "exec" } else { "noexec" };
        format!("rw,nosuid,nodev,{exec},mode=1777,size={bytes}")
    }
}
