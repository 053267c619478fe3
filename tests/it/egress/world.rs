//! The internet of a test: a nameserver, web servers and others at addresses that this machine has for as long as the test
//! runs. It notes all that reaches it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

/// Of a range that stands in examples only (RFC 5737): the world's, to whoever looks at addresses.
pub(crate) const ALLOWED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
pub(crate) const OTHER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 20);
pub(crate) const NAMES: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 53);

/// The ports where somebody listens, TLS or not.
const PORTS: [(u16, bool); 5] = [(80, false), (443, true), (22, false), (8080, false), (8443, true)];
const DATAGRAMS: [u16; 2] = [443, 9999];

/// What has reached it, a line each.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn add(&self, note: String) {
        self.0.lock().unwrap().push(note);
    }

    /// All since the last look.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

pub(crate) struct World {
    pub(crate) notes: Notes,
    /// Where the name that is allowed leads to.
    leads_to: Arc<Mutex<Ipv4Addr>>,
    pub(crate) resolv_conf: tempfile::NamedTempFile,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut resolv_conf = tempfile::NamedTempFile::new().expect("a file");
        writeln!(resolv_conf, "nameserver {NAMES}").expect("it is written");
        let world = Self { notes: Notes::default(), leads_to: Arc::new(Mutex::new(ALLOWED)), resolv_conf };
        for address in [ALLOWED, OTHER, NAMES] {
            // One may be there still, of a test that was killed.
            ip("add", address);
        }
        let (notes, leads_to) = (world.notes.clone(), Arc::clone(&world.leads_to));
        let names = UdpSocket::bind((NAMES, 53)).expect("this test needs root, to be a nameserver");
        thread::spawn(move || answer_names(&names, &notes, &leads_to));
        let tls = tls();
        for address in [ALLOWED, OTHER] {
            for (port, is_tls) in PORTS {
                let listener = TcpListener::bind((address, port)).expect("an address of the test's");
                let (notes, tls) = (world.notes.clone(), is_tls.then(|| Arc::clone(&tls)));
                thread::spawn(move || {
                    for connection in listener.incoming().flatten() {
                        let (notes, tls) = (notes.clone(), tls.clone());
                        notes.add(format!("tcp {address}:{port}"));
                        thread::spawn(move || serve(connection, tls, &notes));
                    }
                });
            }
            for port in DATAGRAMS {
                let socket = UdpSocket::bind((address, port)).expect("an address of the test's");
                let notes = world.notes.clone();
                thread::spawn(move || {
                    let mut buffer = [0; 2048];
                    while let Ok((_, client)) = socket.recv_from(&mut buffer) {
                        notes.add(format!("udp {address}:{port}"));
                        let _ = socket.send_to(b"ok", client);
                    }
                });
            }
        }
        world
    }

    pub(crate) fn lead_to(&self, address: Ipv4Addr) {
        *self.leads_to.lock().unwrap() = address;
    }

    /// The same command where this world's nameserver is the machine's.
    pub(crate) fn around(&self, berth: &Command) -> Command {
        let mut command = Command::new("unshare");
        let script = "mount --make-rprivate / && mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
        command.args(["--mount", "sh", "-c", script]).arg(self.resolv_conf.path());
        command.arg(berth.get_program()).args(berth.get_args());
        for (name, value) in berth.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for address in [ALLOWED, OTHER, NAMES] {
            ip("del", address);
        }
    }
}

fn ip(what: &str, address: Ipv4Addr) {
    let mut command = Command::new("ip");
    command.args(["address", what, &format!("{address}/32"), "dev", "lo"]).stderr(Stdio::null());
    command.status().expect("this test needs `ip` (the package iproute2)");
}

fn answer_names(socket: &UdpSocket, notes: &Notes, leads_to: &Mutex<Ipv4Addr>) {
    let mut buffer = [0; 2048];
    while let Ok((length, client)) = socket.recv_from(&mut buffer) {
        let question = &buffer[..length];
        let (mut at, mut name) = (12, String::new());
        while let Some(label @ 1..) = question.get(at).map(|label| usize::from(*label)) {
            name += &String::from_utf8_lossy(&question[at + 1..at + 1 + label]);
            name.push('.');
            at += 1 + label;
        }
        notes.add(format!("dns {name}"));
        let is_for_an_address = question[at + 1..at + 3] == [0, 1];
        let address = match name.as_str() {
            "api.test.example." => Some(*leads_to.lock().unwrap()),
            "evil.example." => Some(OTHER),
            _ => None,
        };
        let (code, answers) =
            (if address.is_some() { 0 } else { 3 }, u8::from(is_for_an_address && address.is_some()));
        let mut answer =
            [&question[..2], &[0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0], &question[12..at + 5]]
                .concat();
        if let (1, Some(address)) = (answers, address) {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
            answer.extend(address.octets());
        }
        let _ = socket.send_to(&answer, client);
    }
}

fn tls() -> Arc<rustls::ServerConfig> {
    let names = ["api.test.example".to_owned(), "evil.example".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let builder =
        rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into());
    let builder = builder.with_safe_default_protocol_versions().expect("TLS").with_no_client_auth();
    Arc::new(builder.with_single_cert(vec![made.cert.der().clone()], key.into()).expect("a key"))
}

/// As lenient as any server can be: whatever comes is noted and answered.
fn serve(mut connection: TcpStream, tls: Option<Arc<rustls::ServerConfig>>, notes: &Notes) {
    let is_tls = |connection: &TcpStream| {
        matches!(connection.peek(&mut [0]), Ok(1)) && {
            let mut first = [0];
            connection.peek(&mut first).is_ok() && first == [22]
        }
    };
    match tls.filter(|_| is_tls(&connection)) {
        Some(config) => {
            let mut server = rustls::ServerConnection::new(config).expect("a server");
            while server.is_handshaking() {
                if server.complete_io(&mut connection).is_err() {
                    break;
                }
            }
            notes.add(format!("sni {}", server.server_name().unwrap_or("none")));
            converse(&mut rustls::StreamOwned::new(server, connection), notes);
        }
        None => converse(&mut connection, notes),
    }
}

fn converse(stream: &mut (impl Read + Write), notes: &Notes) {
    let mut piece = [0; 8192];
    while let Ok(length @ 1..) = stream.read(&mut piece) {
        let said = String::from_utf8_lossy(&piece[..length]).into_owned();
        let moved = "HTTP/1.1 302 Found\r\nLocation: http://evil.example/\r\nContent-Length: 0\r\n\r\n";
        let answer = if said.contains("GET /moved") {
            moved
        } else {
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nworld"
        };
        notes.add(format!("said {said:?}"));
        if stream.write_all(answer.as_bytes()).and_then(|()| stream.flush()).is_err() {
            break;
        }
    }
}
