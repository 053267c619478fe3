//! A daemon's address, and the source that names it.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

/// Who says where a daemon is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `berth.toml`.
    Configured,
    DockerHost,
    /// A docker context; `DOCKER_CONTEXT` names it (`by_variable`), or the docker CLI's file.
    Context {
        name: String,
        by_variable: bool,
    },
    /// Nobody. The sockets that were looked for, up to the one that is there; if none is, `is_there` is false.
    Socket {
        looked_for: Vec<PathBuf>,
        is_there: bool,
    },
}

/// Completes «the Docker engine at `ADDRESS`, …».
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => f.write_str("named in [dind]"),
            Self::DockerHost => f.write_str("from DOCKER_HOST"),
            Self::Context { name, by_variable: true } => {
                write!(f, "the docker context `{name}`, from DOCKER_CONTEXT")
            }
            Self::Context { name, .. } => write!(f, "the current docker context `{name}`"),
            Self::Socket { looked_for, is_there: true } if looked_for.len() == 1 => {
                f.write_str("the default socket")
            }
            Self::Socket { looked_for, is_there } => {
                let missing = looked_for.len() - usize::from(*is_there);
                let paths: Vec<_> =
                    looked_for.iter().take(missing).map(|path| format!("`{}`", path.display())).collect();
                write!(f, "no socket at {}", paths.join(", "))
            }
        }
    }
}

/// A daemon's address and the folder of the certificates for it; without one, no TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    pub address: String,
    pub certs: Option<PathBuf>,
    pub origin: Origin,
}

impl Daemon {
    /// A daemon that the file or berth itself names.
    pub(crate) fn configured(address: impl Into<String>, certs: Option<PathBuf>) -> Self {
        Self { address: address.into(), certs, origin: Origin::Configured }
    }
}

impl Daemon {
    /// What a person types to have an engine that does not answer, or another.
    pub fn start(&self) -> String {
        let command = START.iter().find(|(part, _)| self.address.contains(part)).map(|(_, command)| *command);
        let start = command.map_or("start it".to_owned(), |command| format!("start it (`{command}`)"));
        let another = match &self.origin {
            Origin::Configured => "correct `engine` in [dind]",
            Origin::DockerHost => "correct DOCKER_HOST",
            Origin::Context { by_variable, .. } => leave(*by_variable),
            Origin::Socket { .. } => "name another engine with DOCKER_HOST or `docker context use`",
        };
        format!("{start}, or {another}")
    }
}

/// What starts an engine, by a part of its address.
const START: [(&str, &str); 6] = [
    ("/.docker/desktop/", "systemctl --user start docker-desktop"),
    ("/.colima/", "colima start"),
    ("/.rd/", "rdctl start"),
    ("unix:///run/user/", "systemctl --user start docker"),
    ("unix:///var/run/docker.sock", "sudo systemctl start docker"),
    ("unix:///run/docker.sock", "sudo systemctl start docker"),
];

/// How a person comes by another engine.
pub(super) fn leave(by_variable: bool) -> &'static str {
    if by_variable { "unset DOCKER_CONTEXT" } else { "type `docker context use default`" }
}

/// The host of a TCP address on another machine, as it stands there: with brackets where it is IPv6.
pub(super) fn remote_host(address: &str) -> Option<&str> {
    let (host, _) = address.strip_prefix("tcp://")?.rsplit_once(':')?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let local = match bare.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => bare.eq_ignore_ascii_case("localhost"),
    };
    (!local).then_some(host)
}
