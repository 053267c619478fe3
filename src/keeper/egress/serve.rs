//! Questions and connections of one session, which come to its own addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::thread;

use super::names::Refused;
use super::{CONNECTIONS, PAUSE, STACK, Session, forward};
use crate::allow::Entry;
use crate::resolve::slots::Slots;

/// No question of a session's is longer.
const LONGEST_QUESTION: usize = 1024;

pub(super) fn spawn(work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    thread::Builder::new().stack_size(STACK).spawn(work).map(drop)
}

/// Answers questions and takes connections from now on.
pub(super) fn serve(
    session: &Arc<Session>,
    questions: UdpSocket,
    listeners: Vec<TcpListener>,
) -> io::Result<()> {
    let slots = Slots::new(CONNECTIONS, CONNECTIONS);
    let answering = Arc::clone(session);
    spawn(Box::new(move || answer(&questions, &answering)))?;
    for listener in listeners {
        let (session, slots) = (Arc::clone(session), Arc::clone(&slots));
        spawn(Box::new(move || accept(&listener, &session, &slots)))?;
    }
    Ok(())
}

fn answer(socket: &UdpSocket, session: &Session) {
    let mut buffer = [0; LONGEST_QUESTION];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer) else {
            thread::sleep(PAUSE);
            continue;
        };
        if let Some((answer, refused)) = session.names.answer(&buffer[..length]) {
            let _ = socket.send_to(&answer, client);
            if let Some(Refused { name, is_attempt }) = refused {
                let is_known = session.allowed.knows(&name);
                let why = if is_known { "too many names" } else { "not in `allow`" };
                let entry = Some(name.as_str()).filter(|_| !is_known);
                session.told.count(
                    u64::from(is_attempt),
                    &name,
                    why,
                    entry.filter(|name| Entry::parse(name).is_some()),
                );
            }
        }
    }
}

fn accept(listener: &TcpListener, session: &Arc<Session>, slots: &Arc<Slots>) {
    loop {
        let Ok((connection, _)) = listener.accept() else {
            // All file descriptors are in use, or the client has left already.
            thread::sleep(PAUSE);
            continue;
        };
        // All are this session's, whatever address they have.
        let Some(slot) = slots.take(Ipv4Addr::LOCALHOST.into()) else {
            let to = connection.local_addr().map(|to| (to.ip().to_canonical(), to.port()));
            let Ok((IpAddr::V4(to), port)) = to else { continue };
            let name = session.names.name_at(to).unwrap_or_else(|| to.to_string());
            session.told.tell(&format!("{name}:{port}"), "too many connections at once", None);
            continue;
        };
        let session = Arc::clone(session);
        let serving = thread::Builder::new().stack_size(STACK).spawn(move || {
            let _slot = slot;
            forward::serve(connection, &session);
        });
        drop(serving);
    }
}
