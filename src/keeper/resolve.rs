//! Answers sessions' questions for names: a forwarder on the address of the sessions' own bridge.
//!
//! Containers keep the nameservers of their first start, but a laptop changes its network. So sessions ask one address
//! that never changes. The keeper forwards to the nameservers that berth has told the daemon (`upstreams.rs`), else to
//! those that the engine gave this container. It looks them up again at each change.
//!
//! Every asker is hostile. The keeper reads no more of a message than forwarding needs. Number, duration and size of
//! open questions are bounded, in all and per address. An error that it cannot survive ends this process, and its
//! parent starts it again.

#[path = "resolve/message.rs"]
pub(super) mod message;
#[path = "resolve/slots.rs"]
pub(super) mod slots;
#[path = "resolve/tcp.rs"]
pub(super) mod tcp;
#[path = "resolve/udp.rs"]
pub(super) mod udp;
#[path = "resolve/upstreams.rs"]
pub(super) mod upstreams;

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddrV4, TcpListener, UdpSocket};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use super::{Failure, Words};
use slots::Slots;
use upstreams::{Current, Sources, Upstreams, Watch};

/// How often the sources are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The bridge is there as soon as the daemon is.
const BIND_EVERY: Duration = Duration::from_millis(100);
/// No message of a session's is longer.
const LONGEST_QUESTION: usize = 4096;
/// For threads that hold their buffers elsewhere.
const STACK: usize = 64 << 10;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Resolve {
    /// Where sessions ask.
    address: SocketAddrV4,
    sources: Sources,
}

impl Resolve {
    pub(super) fn parse(words: &mut Words<impl Iterator<Item = OsString>>) -> Result<Self, Failure> {
        let address: SocketAddrV4 = words.parsed("an address such as `172.30.0.1:53`")?;
        let sources = Sources {
            own: *address.ip(),
            volumes: words.next("the folder of the volumes")?.into(),
            given: words.next("the engine's resolv.conf")?.into(),
            written: words.next("the resolv.conf to write")?.into(),
        };
        Ok(Self { address, sources })
    }

    /// Ends only when something breaks.
    pub(super) fn execute(self) -> Result<(), Failure> {
        let Self { address, sources } = self;
        let current = Arc::new(Current::new(Upstreams::default()));
        let mut watch = Watch::new();
        // Before the first question, and before the daemon copies the file into a container.
        watch.look(&sources, &current);
        let (sockets, broken) = mpsc::sync_channel(2);
        let answering = Arc::clone(&current);
        let looking = thread::Builder::new().spawn(move || {
            loop {
                thread::sleep(LOOK_EVERY);
                watch.look(&sources, &current);
            }
        });
        looking?;
        let (datagrams, connections) = bind(address)?;
        say(format_args!("names are answered at {address}"));
        let (upstreams, ended) = (Arc::clone(&answering), sockets.clone());
        thread::Builder::new()
            .spawn(move || ended.send(udp::serve(datagrams, &upstreams, &Slots::new(256, 32))))?;
        thread::Builder::new()
            .spawn(move || sockets.send(tcp::serve(&connections, &answering, &Slots::new(64, 8))))?;
        Err(broken.recv().unwrap_or_else(|_| ErrorKind::BrokenPipe.into()).into())
    }
}

fn bind(address: SocketAddrV4) -> io::Result<(UdpSocket, TcpListener)> {
    loop {
        let bound = UdpSocket::bind(address).and_then(|udp| Ok((udp, TcpListener::bind(address)?)));
        match bound {
            // The bridge is not there yet, or whoever was here before is not gone yet.
            Err(error) if matches!(error.kind(), ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse) => {
                thread::sleep(BIND_EVERY);
            }
            bound => return bound,
        }
    }
}

/// For whoever reads the log of the daemon's container.
fn say(line: impl std::fmt::Display) {
    // Nobody is left to be told when this cannot be written.
    let _ = writeln!(io::stderr(), "berth: note: {line}");
}
