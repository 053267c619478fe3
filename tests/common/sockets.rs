//! What joins ports: a server that runs what Python it is told to, and an echo of this machine's.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use serde_json::json;

use super::{PATIENCE, Session};

/// A server that runs what it is told to.
pub(crate) const SERVER: &str = r#"
import contextlib, io, json, sys
known = {}
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    result = {}
    if message["method"] == "initialize":
        result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}}
    elif message["method"] == "tools/call":
        out = io.StringIO()
        try:
            with contextlib.redirect_stdout(out):
                exec(message["params"]["arguments"]["code"], known)
        except BaseException as error:
            out.write(type(error).__name__)
        result = {"content": [{"type": "text", "text": out.getvalue().strip()}]}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"#;

/// Says 20 MB to an echo and hears them, with an end of its own in each direction.
pub(crate) const EXCHANGE: &str = r#"
import hashlib, os, socket, threading
def exchange(host, port, length):
    said = os.urandom(length)
    with socket.create_connection((host, port), 20) as peer:
        def say():
            peer.sendall(said)
            peer.shutdown(socket.SHUT_WR)
        threading.Thread(target=say).start()
        heard = bytearray()
        while part := peer.recv(1 << 16):
            heard += part
    print("same" if bytes(heard) == said else f"{len(heard)} of {length}")
"#;

/// An echo in the container, at an address of its.
pub(crate) const ECHO: &str = r#"
import socket, threading
def echo(listener):
    def one(peer):
        while part := peer.recv(1 << 16):
            peer.sendall(part)
        peer.close()
    while True:
        threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()
def begin(host, port):
    threading.Thread(target=echo, args=(socket.create_server((host, port)),), daemon=True).start()
    print("listens")
"#;

/// Whether something can be connected to, and if so what it says back to `on`.
pub(crate) const REACH: &str = r#"
import socket
def reach(host, port):
    try:
        with socket.create_connection((host, port), 2) as peer:
            peer.sendall(b"on")
            print(peer.recv(2).decode())
    except OSError as error:
        print(type(error).__name__)
"#;

pub(crate) fn python(session: &mut Session, code: &str) -> String {
    session.call_text("python", json!({ "code": code }))
}

pub(crate) fn exchange(session: &mut Session, host: &str, port: u16, length: usize) -> String {
    python(session, &format!("{EXCHANGE}\nexchange({host:?}, {port}, {length})"))
}

/// An echo on this machine's loopback, for as long as the tests run; its port.
pub(crate) fn service() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for peer in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut writer = peer.try_clone().unwrap();
                let _ = std::io::copy(&mut &peer, &mut writer);
                let _ = peer.shutdown(Shutdown::Write);
            });
        }
    });
    port
}

/// Whether an echo behind a port of this machine's says what it is told.
pub(crate) fn echoes(port: u16) -> bool {
    let exchange = || {
        let mut peer = TcpStream::connect(("127.0.0.1", port))?;
        peer.set_read_timeout(Some(PATIENCE))?;
        peer.write_all(b"on")?;
        let mut heard = [0; 2];
        peer.read_exact(&mut heard)?;
        std::io::Result::Ok(heard == *b"on")
    };
    exchange().unwrap_or(false)
}

/// Whether a server can connect to something: what that says back, or the error.
pub(crate) fn reach(session: &mut Session, host: &str, port: u16) -> String {
    python(session, &format!("{REACH}\nreach({host:?}, {port})"))
}
