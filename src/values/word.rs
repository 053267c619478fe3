//! Values that are words: names, addresses, paths. Each type holds only what Docker could accept.

use super::value::{Value, ValueError, from_str};

from_str!(
    AbsolutePath,
    Address,
    Alias,
    BrokenAnswers,
    Capability,
    ContainerName,
    Definitions,
    Image,
    Isolation,
    Journaling,
    OnFailure,
    OverLimit,
    Pull,
    Start,
    User,
    Way
);

/// Bytes; a full name has to hold the tool's name as well.
const LONGEST_ALIAS: usize = 32;

/// Where a server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    /// A container of a Docker daemon.
    #[default]
    Docker,
    /// A pod of a cluster.
    Kubernetes,
}

impl Value for Backend {
    const EXPECTED: &'static str = "\"docker\" or \"kubernetes\"";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "docker" => Some(Self::Docker),
            "kubernetes" => Some(Self::Kubernetes),
            _ => None,
        }
    }
}

/// What stands between a server and the daemon's kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Namespaces and filters of that kernel.
    #[default]
    Container,
    /// A kernel of the server's own: gVisor.
    Gvisor,
}

impl Isolation {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Gvisor => "gvisor",
        }
    }
}

impl Value for Isolation {
    const EXPECTED: &'static str = "\"container\" or \"gvisor\"";

    fn from_text(text: &str) -> Option<Self> {
        [Self::Container, Self::Gvisor].into_iter().find(|isolation| isolation.as_str() == text)
    }
}

/// What becomes of a session beyond a ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OverLimit {
    #[default]
    Refuse,
    Wait,
}

impl Value for OverLimit {
    const EXPECTED: &'static str = "\"refuse\" or \"wait\"";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "refuse" => Some(Self::Refuse),
            "wait" => Some(Self::Wait),
            _ => None,
        }
    }
}

/// What a session's history holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Journaling {
    /// There is none.
    Off,
    /// The session's start and end, and what went wrong.
    Events,
    /// The same, and a line for each request.
    #[default]
    Calls,
}

impl Value for Journaling {
    const EXPECTED: &'static str = "false, true or \"calls\"";

    fn from_text(text: &str) -> Option<Self> {
        (text == "calls").then_some(Self::Calls)
    }

    fn from_bool(value: bool) -> Option<Self> {
        Some(if value { Self::Events } else { Self::Off })
    }
}

/// What becomes of a session whose server is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// Another container takes its place.
    #[default]
    Restart,
    /// The session ends.
    Exit,
}

impl Value for OnFailure {
    const EXPECTED: &'static str = "\"restart\" or \"exit\"";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "restart" => Some(Self::Restart),
            "exit" => Some(Self::Exit),
            _ => None,
        }
    }
}

/// What becomes of a server's message that a few bytes make no JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BrokenAnswers {
    /// These bytes are replaced.
    #[default]
    Repair,
    /// Who waits for it gets an error.
    Refuse,
}

impl Value for BrokenAnswers {
    const EXPECTED: &'static str = "\"repair\" or \"refuse\"";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "repair" => Some(Self::Repair),
            "refuse" => Some(Self::Refuse),
            _ => None,
        }
    }
}

/// The way of a server's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    /// By pipes where the daemon is berth's own and shares this machine's kernel, else through the daemon.
    #[default]
    Auto,
    /// By pipes, or not at all.
    Direct,
    /// Through the daemon.
    Exec,
}

impl Way {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Direct => "direct",
            Self::Exec => "exec",
        }
    }
}

impl Value for Way {
    const EXPECTED: &'static str = "\"auto\", \"direct\" or \"exec\"";

    fn from_text(text: &str) -> Option<Self> {
        [Self::Auto, Self::Direct, Self::Exec].into_iter().find(|way| way.as_str() == text)
    }
}

/// When a registry is asked for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pull {
    /// Where neither the daemon nor the host's engine has it.
    #[default]
    Missing,
    /// At each `berth up`, and when a container is put on standby.
    Always,
}

impl Value for Pull {
    const EXPECTED: &'static str = "\"missing\" or \"always\"";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "missing" => Some(Self::Missing),
            "always" => Some(Self::Always),
            _ => None,
        }
    }
}

/// When a session's server starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the first call that needs it.
    FirstCall,
    /// As its session does.
    Session,
}

impl Value for Start {
    const EXPECTED: &'static str = "\"first-call\" or \"session\"";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "first-call" => Some(Self::FirstCall),
            "session" => Some(Self::Session),
            _ => None,
        }
    }
}

/// What it means that a server describes its tools otherwise than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Definitions {
    /// The person is told.
    #[default]
    Warn,
    /// The changed tool is not called until the person accepts it.
    Hold,
    /// Nothing: this server does so. It is asked each time.
    Varying,
}

impl Value for Definitions {
    const EXPECTED: &'static str = "\"warn\", \"hold\" or \"varying\"";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "warn" => Some(Self::Warn),
            "hold" => Some(Self::Hold),
            "varying" => Some(Self::Varying),
            _ => None,
        }
    }
}

macro_rules! text {
    ($($(#[$doc:meta])* $kind:ident: $expected:literal, $valid:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $kind(String);

        impl $kind {
            pub fn as_str(&self) -> &str {
                &self.0
            }

            pub fn into_inner(self) -> String {
                self.0
            }
        }

        impl Value for $kind {
            const EXPECTED: &'static str = $expected;

            fn from_text(text: &str) -> Option<Self> {
                let valid: fn(&str) -> bool = $valid;
                valid(text).then(|| Self(text.to_owned()))
            }
        }
    )+};
}

text! {
    /// An image's name. Only what can be no name at all is refused: the daemon knows the rest.
    Image: "an image's name such as \"node:24\"",
        |text| text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(|c| c.is_ascii_graphic());

    /// A user and perhaps a group, as numbers or names that the image knows.
    User: "a user such as \"1000:1000\"",
        |text| text.split(':').count() <= 2 && text.split(':').all(is_server_name);

    /// A server's short name, before the names of its tools.
    Alias: "a name of at most 32 letters, digits, `_`, `.` and `-`, such as \"gh\"",
        |text| text.len() <= LONGEST_ALIAS && is_server_name(text);

    /// An absolute path in a container.
    AbsolutePath: "an absolute path such as \"/tmp\"",
        |text| text.starts_with('/') && !text.contains(['\0', ':', ',']);

    /// A Linux capability, with or without `CAP_`.
    Capability: "a capability such as \"NET_RAW\"",
        |text| {
            let name = text.strip_prefix("CAP_").unwrap_or(text);
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
        };

    /// The name of a container.
    ContainerName: "a name such as \"berth-dind\" (2 to 64 letters, digits, `_`, `.`, `-`)",
        |text| text.len() >= 2 && is_server_name(text);

    /// A daemon's address.
    Address: "an address such as \"tcp://10.0.0.5:2376\" or \"unix:///var/run/docker.sock\"",
        |text| match text.split_once("://") {
            Some(("unix", path)) => path.starts_with('/'),
            Some(("tcp", rest)) => rest
                .trim_end_matches('/')
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)),
            _ => false,
        };
}

/// Whether `text` may name a server or a container: it goes into labels and names, and nothing there needs
/// escaping.
pub fn is_server_name(text: &str) -> bool {
    let others = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_checked() {
        fn valid<T: Value>(good: &[&str], bad: &[&str]) {
            for text in good {
                assert!(T::from_text(text).is_some(), "{text}");
            }
            for text in bad {
                assert!(T::from_text(text).is_none(), "{text}");
            }
        }
        valid::<Isolation>(&["container", "gvisor"], &["", "gVisor", "runsc", "none"]);
        valid::<Image>(&["a", "node:24", "ghcr.io/a/b@sha256:00"], &["", " a", "a b", "-a", "/a", "ä"]);
        valid::<Start>(&["first-call", "session"], &["", "first_call", "lazy"]);
        valid::<Definitions>(&["warn", "hold", "varying"], &["", "accept"]);
        valid::<Alias>(&["gh", "a.b", &"a".repeat(32)], &["", "-a", "a b", &"a".repeat(33)]);
        valid::<User>(&["0", "1000:1000", "node", "a:b"], &["", ":", "a:", ":a", "a:b:c", "a b"]);
        valid::<AbsolutePath>(&["/", "/tmp/a b"], &["", "tmp", "/a:b", "/a,b"]);
        valid::<Capability>(&["NET_RAW", "CAP_NET_RAW", "ALL"], &["", "CAP_", "net_raw", "NET RAW"]);
        valid::<ContainerName>(&["ab", "berth-dind"], &["", "a", "-ab", "a/b", &"a".repeat(65)]);
        valid::<Address>(
            &["unix:///s", "tcp://h:1", "tcp://[::1]:2376", "tcp://h:1/"],
            &["", "unix://s", "tcp://h", "tcp://:1", "tcp://h:0", "tcp://h:99999", "ssh://h:1", "http://h:1"],
        );
    }
}
