//! Names: a laptop changes its network while its daemon and its sessions live.
//!
//! The network is two nameservers of the test, on two addresses that it adds to this machine's loopback; each knows one
//! name. `/etc/resolv.conf` changes only in the mount namespace in which berth runs.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::dind::own::{OwnDaemon, host};
use crate::harness::{Berth, GONE_WITHIN, Session, eventually};

/// A session looks every two seconds, and the daemon's container every second.
const SECONDS: Duration = Duration::from_secs(10);
const PORT: u16 = 53;
/// Of a range that no network uses (RFC 2544).
const OLD: Ipv4Addr = Ipv4Addr::new(198, 18, 53, 101);
const NEW: Ipv4Addr = Ipv4Addr::new(198, 18, 53, 102);

/// Addresses that this machine has for as long as this lives.
struct Lent([Ipv4Addr; 2]);

impl Lent {
    fn new(addresses: [Ipv4Addr; 2]) -> Self {
        for address in addresses {
            // One may be there still, of a test that was killed.
            ip("add", address);
        }
        Self(addresses)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        for address in self.0 {
            ip("del", address);
        }
    }
}

fn ip(what: &str, address: Ipv4Addr) {
    let mut command = Command::new("ip");
    command.args(["address", what, &format!("{address}/32"), "dev", "lo"]).stderr(Stdio::null());
    command.status().expect("this test needs `ip` (the package iproute2)");
}

/// A nameserver that knows one name, whose address is its own. It can be connected to where the name leads.
fn nameserver(address: Ipv4Addr, name: &'static str) {
    let socket = UdpSocket::bind((address, PORT))
        .unwrap_or_else(|error| panic!("this test needs root, to listen at {address}:{PORT}: {error}"));
    let listener = TcpListener::bind((address, PORT)).expect("the same for connections");
    thread::spawn(move || listener.incoming().for_each(drop));
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let answer = answer(&buffer[..length], name, address);
            socket.send_to(&answer, client).expect("the daemon's container is there");
        }
    });
}

/// Of a label, which is short.
fn length(label: &str) -> u8 {
    label.len().try_into().expect("at most 63 characters")
}

fn answer(question: &[u8], name: &str, address: Ipv4Addr) -> Vec<u8> {
    let wanted: Vec<u8> =
        name.split('.').flat_map(|label| [&[length(label)][..], label.as_bytes()].concat()).collect();
    let wanted = [&wanted[..], &[0]].concat();
    let end = 12 + question[12..].iter().position(|byte| *byte == 0).expect("a name") + 5;
    let is_known = question[12..end - 4] == wanted;
    let is_for_an_address = question[end - 4..end] == [0, 1, 0, 1];
    let (code, answers) = if is_known { (0, u8::from(is_for_an_address)) } else { (3, 0) };
    let header = [&question[..2], &[0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0]].concat();
    // Its name is the question's; for no time at all, 4 bytes.
    let record = [&[0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4], &address.octets()[..]].concat();
    [&header[..], &question[12..end], if answers == 1 { &record[..] } else { &[] }].concat()
}

/// What `berth` would do on a machine with that `/etc/resolv.conf`.
fn on_laptop(own: &OwnDaemon, resolv_conf: &Path) -> Command {
    let berth = own.command();
    let mut command = Command::new("unshare");
    let script = "mount --make-rprivate / && mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script]).arg(resolv_conf).arg(berth.get_program());
    for (name, value) in berth.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

struct Laptop {
    own: OwnDaemon,
    resolv_conf: tempfile::NamedTempFile,
}

impl Laptop {
    fn moves_to(&self, nameserver: Ipv4Addr) {
        let text = format!("nameserver {nameserver}\nsearch home.test\n");
        std::fs::write(self.resolv_conf.path(), text).expect("a file");
    }

    fn says(&self, args: &[&str]) -> Output {
        on_laptop(&self.own, self.resolv_conf.path()).args(args).output().expect("unshare runs")
    }

    fn succeeds(&self, args: &[&str]) -> (String, String) {
        let output = self.says(args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (said, told) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{args:?}: {said}{told}");
        (said, told)
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.succeeds(&["status", "--json"]).0).expect("JSON")
    }

    fn session(&self, client: &str) -> Session {
        let mut command = on_laptop(&self.own, self.resolv_conf.path());
        command.args(["run", "online", "--client", client]);
        let mut session = Berth::instead(command).start_without_daemon();
        session.initialize();
        session
    }
}

/// What comes of connecting to a name.
fn connect(session: &mut Session, name: &str, port: u16) -> String {
    let result = session.call("connect", json!({ "addr": name, "port": port }));
    result["content"][0]["text"].as_str().expect("a text").to_owned()
}

fn knows(session: &mut Session, name: &str) -> bool {
    let said = connect(session, name, PORT);
    assert!(said == "connected" || said.contains("failed to lookup"), "{said}");
    said == "connected"
}

#[test]
fn names_follow_the_machine_from_network_to_network() {
    let _lent = Lent::new([OLD, NEW]);
    nameserver(OLD, "old.test");
    nameserver(NEW, "new.test");
    let own = OwnDaemon::new("berth-test-dind-dns", 22432);
    own.configure("port = 22432\nimage = \"berth-dind\"\n[servers.online]\nimage = \"berth-fixture\"\nnetwork = \"egress\"");
    let resolv_conf = tempfile::NamedTempFile::new().expect("a file");
    let laptop = Laptop { own, resolv_conf };
    laptop.moves_to(OLD);
    let (_, told) = laptop.succeeds(&["up"]);
    assert!(told.contains("the daemon now asks the nameservers 198.18.53.101"), "{told}");
    assert!(!laptop.succeeds(&["up"]).1.contains("names"), "it is no news any more");

    let mut session = laptop.session("dns-before");
    eventually("an answer of the first network's", SECONDS, || knows(&mut session, "old.test").then_some(()));
    assert!(!knows(&mut session, "new.test"));
    let container = host(&["inspect", "--format", "{{.State.StartedAt}}", &laptop.own.name]).stdout;
    laptop.moves_to(NEW);
    eventually("an answer of the new network's", SECONDS, || knows(&mut session, "new.test").then_some(()));
    assert!(!knows(&mut session, "old.test"));
    let mut second = laptop.session("dns-after");
    assert!(knows(&mut second, "new.test") && !knows(&mut second, "old.test"));
    let after = host(&["inspect", "--format", "{{.State.StartedAt}}", &laptop.own.name]).stdout;
    assert_eq!(after, container, "the daemon went on all the time");

    only_names_are_answered(&laptop, &mut session);
    comes_back(&laptop, &mut session);
    drop((session, second));
    eventually("the end of the sessions", GONE_WITHIN, || {
        (laptop.succeeds(&["ps", "--json"]).0.trim() == "[]").then_some(())
    });
    is_said_when_nobody_tells(&laptop);
}

/// The address that answers for names is the daemon's own, which must answer nothing else.
fn only_names_are_answered(laptop: &Laptop, session: &mut Session) {
    let rules = host(&["exec", &laptop.own.name, "sh", "-c", "echo ${BERTH_BIP%/*}"]);
    let resolver = String::from_utf8_lossy(&rules.stdout).trim().to_owned();
    assert_eq!(connect(session, &resolver, PORT), "connected");
    for port in [2376, 2375, 54] {
        let blocked = connect(session, &resolver, port);
        assert!(blocked.contains("timed out"), "port {port}: {blocked}");
    }
    // A neighbour on the engine's network may know the way there.
    let address = host(&["inspect", "--format", "{{.NetworkSettings.IPAddress}}", &laptop.own.name]);
    let address = String::from_utf8_lossy(&address.stdout).trim().to_owned();
    let rules = host(&["exec", &laptop.own.name, "iptables", "-S", "BERTH"]);
    let rules = String::from_utf8_lossy(&rules.stdout).into_owned();
    let at = |rule: &str| rules.find(rule).unwrap_or_else(|| panic!("no {rule:?} for {address} in\n{rules}"));
    for protocol in ["udp", "tcp"] {
        let barred = format!("-A BERTH -d {resolver}/32 -p {protocol} -m {protocol} --dport 53 -j DROP");
        assert!(at(&barred) < at("-A BERTH -i eth+ -j RETURN"), "{rules}");
    }
}

fn comes_back(laptop: &Laptop, session: &mut Session) {
    // The sessions' keepers, which are seen there, too, are of another file.
    let script = "for p in /proc/[0-9]*; do \
                      if [ \"$(readlink $p/exe)\" = /berth/keeper ]; then kill -9 ${p#/proc/}; killed=1; fi; \
                  done; [ -n \"$killed\" ]";
    assert!(host(&["exec", &laptop.own.name, "sh", "-c", script]).status.success());
    eventually("an answer after the end of who gives them", SECONDS, || {
        knows(session, "new.test").then_some(())
    });
}

fn is_said_when_nobody_tells(laptop: &Laptop) {
    let status = laptop.status();
    assert_eq!(status["nameservers"], json!({ "daemon": [NEW], "this_machine": [NEW] }));
    assert_eq!((&status["warnings"], &status["next"]), (&json!([]), &Value::Null));
    laptop.moves_to(OLD);
    let status = laptop.status();
    let warning = "the daemon asks other nameservers (198.18.53.102) than this machine (198.18.53.101)";
    assert_eq!((&status["warnings"], &status["next"]), (&json!([warning]), &json!("berth up")));
    assert_eq!(status["healthy"], true);
    let line = names(laptop);
    assert_eq!((&line["state"], &line["next"]), (&json!("warning"), &json!("berth up")), "{line}");

    laptop.succeeds(&["up"]);
    assert_eq!(laptop.status()["warnings"], json!([]));
    let line = names(laptop);
    assert_eq!(line["state"], "ok", "{line}");
    let fact = line["fact"].as_str().expect("a text");
    assert!(
        fact.contains("no such name") && fact.contains("asks 198.18.53.101, as this machine does"),
        "{fact}"
    );

    // Its packets are dropped on their way, as a firewall of this machine's may do.
    let bar = |what| {
        let rule = ["iptables", what, "OUTPUT", "-d", "198.18.53.101", "-p", "udp", "-j", "DROP"];
        assert!(host(&[&["exec", laptop.own.name.as_str()][..], &rule].concat()).status.success());
    };
    bar("-I");
    let line = names(laptop);
    bar("-D");
    assert_eq!(line["state"], "failed", "{line}");
    assert!(
        line["fact"]
            .as_str()
            .is_some_and(|fact| fact.contains("SERVFAIL") && fact.contains("this machine gets an answer")),
        "{line}"
    );
    assert!(line["next"].as_str().is_some_and(|next| next.contains("198.18.53.101 at port 53")), "{line}");
}

/// What the doctor says of names.
fn names(laptop: &Laptop) -> Value {
    let report: Value = serde_json::from_slice(&laptop.says(&["doctor", "--json"]).stdout).expect("JSON");
    let lines = report["lines"].as_array().expect("lines");
    lines.iter().find(|line| line["name"] == "names").expect("a line").clone()
}
