//! Does the daemon refuse clients without a certificate of its authority?

use std::fmt;

use crate::exam::check::{Check, Question, UNEXAMINED};

/// What the daemon's port, and those beside it, said to us and to strangers.
#[derive(Debug, Clone, Default)]
pub enum Tls {
    #[default]
    Unexamined,
    /// `[dind] host` is a Unix socket: permissions of a file guard it, not certificates.
    Unix,
    Tcp(Box<Doors>),
}

#[derive(Debug, Clone)]
pub struct Doors {
    /// The control: with our own certificate.
    pub ours: Attempt,
    pub no_certificate: Attempt,
    pub foreign_certificate: Attempt,
    pub plain: Attempt,
    /// Where a plain port would be: each address, and whether something accepts connections there.
    pub plain_ports: Vec<(String, bool)>,
    /// The same at the DinD container's own address. `None`: it is not ours, or not reachable from here.
    pub container: Option<ContainerPorts>,
}

/// How a request went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// The HTTP status of the answer.
    Answered(u16),
    /// The connection was made, and then ended by an alert or a close.
    Refused(String),
    /// There was no connection, or no answer in time: nothing is known.
    Unknown(String),
}

#[derive(Debug, Clone)]
pub struct ContainerPorts {
    pub address: String,
    /// The control: the port of the daemon.
    pub tls_port: bool,
    pub plain_port: bool,
}

impl Attempt {
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            // Go's server answers plain HTTP on a TLS port with a 400 of its own.
            Self::Answered(status) => *status >= 400,
            Self::Refused(_) => true,
            Self::Unknown(_) => false,
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(status) => write!(f, "answered with HTTP {status}"),
            Self::Refused(how) => write!(f, "refused: {how}"),
            Self::Unknown(why) => write!(f, "could not be examined: {why}"),
        }
    }
}

const OURS: Question = Question::new("our own certificate is accepted", "berth up");
const NONE: Question = Question::new(
    "a client without a certificate is refused",
    "restart the daemon with --tlsverify: berth down, berth up",
);
const FOREIGN: Question = Question::new(
    "a foreign authority's certificate is refused",
    "restart the daemon with --tlsverify: berth down, berth up",
);
const PLAIN: Question = Question::new(
    "plain HTTP on the port is refused",
    "restart the daemon with --tlsverify: berth down, berth up",
);
const PORTS: Question = Question::new("no plain port on the host", "find what listens there: ss -ltnp");
const CONTAINER: Question = Question::new(
    "no plain port in the daemon's container",
    "restart the daemon with --tlsverify: berth down, berth up",
);

pub(super) fn judge(seen: &Tls) -> Vec<Check> {
    let questions = [OURS, NONE, FOREIGN, PLAIN, PORTS, CONTAINER];
    let doors = match seen {
        Tls::Tcp(doors) => doors,
        Tls::Unexamined => return questions.map(|question| question.failed(UNEXAMINED)).into(),
        Tls::Unix => {
            let why = "the daemon is reached by a Unix socket";
            return questions.map(|question| question.not_applicable(why)).into();
        }
    };
    let refused =
        |question: Question, attempt: &Attempt| question.holds(attempt.is_refusal(), attempt.to_string());
    let open = |(address, open): &(String, bool)| open.then(|| format!("something listens on {address}"));
    let addresses: Vec<&str> = doors.plain_ports.iter().map(|(address, _)| address.as_str()).collect();
    let container = match &doors.container {
        None => CONTAINER.not_applicable("its own address cannot be reached from here"),
        Some(ports) => judge_container(ports),
    };
    vec![
        OURS.holds(doors.ours == Attempt::Answered(200), doors.ours.to_string()),
        refused(NONE, &doors.no_certificate),
        refused(FOREIGN, &doors.foreign_certificate),
        refused(PLAIN, &doors.plain),
        PORTS.each(&doors.plain_ports, format!("{} is closed", addresses.join(", ")), open),
        container,
    ]
}

fn judge_container(ports: &ContainerPorts) -> Check {
    match (ports.tls_port, ports.plain_port) {
        (true, false) => CONTAINER.passed(format!("at {}, 2376 is open and 2375 is closed", ports.address)),
        (_, true) => CONTAINER.failed(format!("{}:2375 is open", ports.address)),
        (false, false) => CONTAINER.not_applicable("its own address cannot be reached from here"),
    }
}
