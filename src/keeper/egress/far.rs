//! `keeper forward FOLDER`: the forwarder of a namespace, the only way out for pods with a list of names.
//!
//! Each pod is known by its address. Its list is a file of that name in the folder, which another container of this pod
//! writes (`kubernetes/lists.rs`): so who reads hostile bytes has no account in the cluster. A pod that has no list there is
//! refused, and so are all while nobody has said for a while that the lists are those of now.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::forward::{self, ESTABLISHED, PROXY, Refused, Said, Trouble};
use super::list::Allowed;
use super::names::{Names, OWN_IN_POD};
use super::near::{ENTRY, WHY};
use super::told::Told;
use super::{CONNECTIONS, LOOKUPS, PAUSE, STACK, Session, Way};
use crate::allow::Entry;
use crate::resolve::slots::Slots;
use crate::{Failure, Words, sys};

/// What its program is called with.
pub(in super::super) const NAME: &str = "forward";
/// Of all pods at once: each has two threads, and 32 KiB of buffers.
const ALL_CONNECTIONS: usize = 1024;
/// Names of all pods that are looked up at once.
const ALL_LOOKUPS: usize = 32;
/// Written again and again by who writes the lists.
const FRESH: &str = ".fresh";
/// So old that may be. Meanwhile no pod gets another's address: who cannot reach the API server makes no pod either.
const FRESH_FOR: Duration = Duration::from_mins(1);
/// The cluster says a pod's address a moment after its server may have started.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);

/// What it is told.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Far {
    lists: PathBuf,
}

impl Far {
    pub(in super::super) fn parse(
        words: &mut Words<impl Iterator<Item = OsString>>,
    ) -> Result<Self, Failure> {
        Ok(Self { lists: words.next("the folder of the lists")?.into() })
    }

    pub(in super::super) fn execute(self) -> Result<(), Failure> {
        sys::forbid_dumping()?;
        // Where there is no way to the lists, there is none through here: nobody takes it for ready before.
        while !is_fresh(&self.lists) {
            thread::sleep(PAUSE);
        }
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, PROXY))
            .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, PROXY)))?;
        let (slots, lookups) = (Slots::new(ALL_CONNECTIONS, CONNECTIONS), Slots::new(ALL_LOOKUPS, LOOKUPS));
        let lists = Arc::new(self.lists);
        loop {
            let Ok((connection, client)) = listener.accept() else {
                thread::sleep(PAUSE);
                continue;
            };
            let client = forward::canonical(client).ip();
            // One pod's are not in another's way, but for all together.
            let Some(slot) = slots.take(client) else { continue };
            let (lists, lookups) = (Arc::clone(&lists), Arc::clone(&lookups));
            let serving = thread::Builder::new().stack_size(STACK).spawn(move || {
                let _slot = slot;
                serve(connection, client, &lists, lookups);
            });
            drop(serving);
        }
    }
}

/// One connection, to its end. Who asks is told why not.
fn serve(mut client: TcpStream, address: IpAddr, lists: &Path, lookups: Arc<Slots>) {
    let Some((host, port, said)) = forward::asked_for(&mut client) else { return };
    let allowed = match list_of(lists, address, KNOWN_WITHIN) {
        Ok(allowed) => allowed,
        Err(why) => return refuse(&mut client, &Refused::because(why)),
    };
    let way = Way::Direct { lookups, whose: address, asker: None };
    let names = Names::new(Allowed::default(), OWN_IN_POD);
    let session = Session { names, allowed, told: Told::new(None), way };
    let made = forward::check(&host, port, &session)
        .map_err(Trouble::Refused)
        .and_then(|()| forward::connect(&host, port, &session));
    let server = match made {
        Ok(server) => server,
        Err(Trouble::Refused(refused)) => return refuse(&mut client, &refused),
        Err(Trouble::Over) => return,
    };
    if client.write_all(ESTABLISHED).is_err() {
        return;
    }
    let mut said = Said::from(said);
    // Who asks has looked at this himself and told it; here it only ends.
    if let Ok(begun) = forward::first_words(&mut client, &mut said, &host, port) {
        let _ = forward::carry(&client, server, (begun, said), &host, port);
    }
}

fn refuse(client: &mut TcpStream, refused: &Refused) {
    let mut head = format!("HTTP/1.1 403 Forbidden\r\n{WHY}{}\r\n", refused.why);
    if let Some(entry) = &refused.entry {
        head = format!("{head}{ENTRY}{entry}\r\n");
    }
    let _ = write!(client, "{head}Connection: close\r\nContent-Length: 0\r\n\r\n");
}

/// The list of the pod with this address, which may become known in a moment.
pub(in super::super) fn list_of(
    lists: &Path,
    address: IpAddr,
    within: Duration,
) -> Result<Allowed, &'static str> {
    let until = Instant::now() + within;
    loop {
        if !is_fresh(lists) {
            return Err("berth's forwarder cannot tell whose list is which: look at its container `lists`");
        }
        match fs::read_to_string(lists.join(address.to_string())) {
            // An entry that is not understood allows nothing.
            Ok(text) => return Ok(Allowed(text.lines().filter_map(Entry::parse).collect())),
            Err(error) if error.kind() == io::ErrorKind::NotFound && Instant::now() < until => {
                thread::sleep(PAUSE);
            }
            Err(_) => return Err("berth's forwarder knows no list of this pod"),
        }
    }
}

/// Whether somebody has just said that the lists are those of now.
fn is_fresh(lists: &Path) -> bool {
    let said = fs::metadata(lists.join(FRESH)).and_then(|file| file.modified());
    said.is_ok_and(|at| SystemTime::now().duration_since(at).unwrap_or_default() < FRESH_FOR)
}
