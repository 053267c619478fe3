//! The forwarder, as sessions meet it: it passes and drops the right messages, and nothing stops it.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::{AT_ONCE, KEEPER};
use crate::names;
use crate::resolv_conf::Resolver;
use crate::resolve::slots::Slots;
use crate::resolve::upstreams::{Current, Upstreams};
use crate::resolve::{message, tcp, udp};

/// Nobody is there who could answer later.
const SILENCE: Duration = Duration::from_millis(300);

fn here() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(AT_ONCE)).unwrap();
    socket
}

fn question(name: &str) -> Vec<u8> {
    message::question(name, *b"id").unwrap()
}

/// The question, as an answer with that code.
fn answer(question: &[u8], code: u8) -> Vec<u8> {
    let mut answer = question.to_vec();
    answer[2] |= 0x80;
    answer[3] = code;
    answer
}

/// A nameserver that gives each question the answers that `answers` makes of it.
fn server(answers: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            for answer in answers(&buffer[..length]) {
                socket.send_to(&answer, client).unwrap();
            }
        }
    });
    address
}

fn with_code(code: u8) -> SocketAddr {
    server(move |question| vec![answer(question, code)])
}

/// A forwarder to these; gives where it listens.
fn forwarder(servers: Vec<SocketAddr>, slots: &Arc<Slots>) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let (current, slots) = (Arc::new(Current::new(Upstreams::new(servers))), Arc::clone(slots));
    thread::spawn(move || udp::serve(socket, &current, &slots));
    address
}

fn to(servers: &[SocketAddr]) -> SocketAddr {
    forwarder(servers.to_vec(), &Slots::new(16, 8))
}

/// What comes of a question.
fn asked(forwarder: SocketAddr, question: &[u8]) -> Vec<u8> {
    let client = here();
    client.send_to(question, forwarder).unwrap();
    let mut buffer = vec![0; 16_384];
    let (length, from) = client.recv_from(&mut buffer).unwrap();
    assert_eq!(from, forwarder);
    buffer.truncate(length);
    buffer
}

#[test]
fn a_question_and_its_answer_pass_unchanged() {
    let question = [question("one.test"), vec![0; 400]].concat();
    let long = vec![0xAB; 3000];
    let rest = long.clone();
    let server = server(move |question| vec![[answer(question, 0), rest.clone()].concat()]);
    assert_eq!(asked(to(&[server]), &question), [answer(&question, 0), long].concat());
    assert_eq!(names::ask(&question, to(&[with_code(3)])).unwrap(), 3);
}

#[test]
fn one_sessions_questions_are_in_no_other_ones_way() {
    let slots = Slots::new(16, 1);
    let silent = here();
    let forwarder = forwarder(vec![silent.local_addr().unwrap()], &slots);
    let ask = move |own: [u8; 4], name: &str| {
        let (question, upstreams) = (question(name), Upstreams::new(vec![forwarder]));
        thread::spawn(move || udp::ask_from(Some(own.into()), &question, &upstreams))
    };
    let mut buffer = [0; 512];
    let mut next = || silent.recv(&mut buffer).map(|length| buffer[..length].to_vec()).unwrap();
    ask([127, 64, 0, 1], "one.test");
    assert_eq!(next(), question("one.test"));
    // It has as many open as it may; another session asks all the same.
    ask([127, 64, 0, 1], "two.test");
    ask([127, 64, 0, 2], "three.test");
    assert_eq!(next(), question("three.test"));
    // A server that is not on this machine is asked from wherever that can be done.
    let far = Upstreams::new(vec!["192.0.2.1:53".parse().unwrap()]);
    assert!(udp::ask_from(Some(Ipv4Addr::new(127, 64, 0, 3)), &question("x.test"), &far).is_some());
}

#[test]
fn the_next_one_is_asked_when_one_is_silent_or_refuses_or_cannot_be_reached() {
    let question = question("one.test");
    let silent = here();
    let began = Instant::now();
    let forwarder = to(&[silent.local_addr().unwrap(), with_code(0)]);
    assert_eq!(asked(forwarder, &question), answer(&question, 0));
    assert!(began.elapsed() > Duration::from_millis(1400), "the first one had its time");
    // From then on the one that answered is the first.
    let mut buffer = [0; 512];
    silent.recv(&mut buffer).unwrap();
    assert_eq!(asked(forwarder, &question), answer(&question, 0));
    silent.set_nonblocking(true).unwrap();
    assert!(silent.recv(&mut buffer).is_err(), "the silent one is asked again");

    // Who refuses is not waited for: what is asked later, here, is answered sooner.
    silent.set_nonblocking(false).unwrap();
    let client = here();
    client.send_to(&question, to(&[silent.local_addr().unwrap(), with_code(3)])).unwrap();
    silent.recv(&mut buffer).unwrap();
    for refusal in [2, 4, 5] {
        client.send_to(&question, to(&[with_code(refusal), with_code(0)])).unwrap();
    }
    for code in [0, 0, 0, 3] {
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..length], answer(&question, code));
    }
    assert_eq!(asked(to(&[with_code(5), with_code(5)]), &question), answer(&question, 5), "they all refuse");
    // A broadcast address may not be sent to.
    let unreachable = SocketAddr::from((Ipv4Addr::BROADCAST, 53));
    assert_eq!(asked(to(&[unreachable, with_code(3)]), &question), answer(&question, 3));
}

#[test]
fn who_is_asked_in_vain_is_told_so() {
    let question = question("one.test");
    let failure = asked(to(&[]), &question);
    assert_eq!(failure, [&b"id"[..], &[0x81, 0x82, 0, 1, 0, 0, 0, 0, 0, 0], &question[12..]].concat());
    assert_eq!(
        message::failure(&[&question[..], &[1; 40]].concat()),
        Some(failure),
        "what follows is left out"
    );
}

#[test]
fn only_the_answer_of_who_was_asked_counts() {
    let question = question("one.test");
    let forged = server(|question| {
        let mut other = answer(question, 0);
        other[0] ^= 1;
        // Another question's, none, half of one; then the true one.
        vec![other, question.to_vec(), answer(question, 0)[..11].to_vec(), answer(question, 3)]
    });
    assert_eq!(asked(to(&[forged]), &question), answer(&question, 3));
    // Somebody who knows the question and its port, and is faster, but is not the one that was asked.
    let (honest, stranger) = (here(), here());
    let forwarder = to(&[honest.local_addr().unwrap()]);
    thread::spawn(move || {
        let mut buffer = [0; 512];
        let (length, asking) = honest.recv_from(&mut buffer).unwrap();
        stranger.send_to(&answer(&buffer[..length], 0), asking).unwrap();
        honest.send_to(&answer(&buffer[..length], 3), asking).unwrap();
    });
    assert_eq!(asked(forwarder, &question), answer(&question, 3));
}

#[test]
fn garbage_is_passed_to_nobody_and_stops_nothing() {
    let upstream = here();
    let forwarder = to(&[upstream.local_addr().unwrap()]);
    let client = here();
    let true_one = question("one.test");
    for garbage in [vec![], vec![0], vec![0xFF; 12], answer(&true_one, 0), vec![0; 4097], vec![0; 60_000]] {
        client.send_to(&garbage, forwarder).unwrap();
    }
    client.send_to(&true_one, forwarder).unwrap();
    let mut buffer = [0; 512];
    let length = upstream.recv(&mut buffer).unwrap();
    assert_eq!(buffer[..length], true_one, "the first that comes through");

    // Nothing that can be sent breaks what reads it.
    let mut state = 1_u64;
    for length in 0..2000_usize {
        let bytes: Vec<u8> = (0..length % 300)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Many small numbers: lengths that fit.
                u8::try_from(state >> if state >> 63 == 0 { 56 } else { 61 }).unwrap()
            })
            .collect();
        let bytes = [&[0, 0, 1, 0, 0, 1], &bytes[..]].concat();
        if let Some(failure) = message::failure(&bytes) {
            assert!(failure.len() <= bytes.len() && message::answers(&failure, &bytes), "{bytes:?}");
        }
        message::is_refusal(&bytes[..length.min(bytes.len())]);
    }
    for cut in 0..true_one.len() {
        assert_eq!(message::failure(&true_one[..cut]), None, "{cut}");
    }
}

#[test]
fn one_address_cannot_take_what_is_for_all() {
    let silent = here();
    let slots = Slots::new(3, 2);
    let forwarder = forwarder(vec![silent.local_addr().unwrap()], &slots);
    let client = here();
    for _ in 0..20 {
        client.send_to(&question("one.test"), forwarder).unwrap();
    }
    let mut buffer = [0; 512];
    silent.recv(&mut buffer).unwrap();
    silent.recv(&mut buffer).unwrap();
    silent.set_read_timeout(Some(SILENCE)).unwrap();
    assert!(silent.recv(&mut buffer).is_err(), "a third question of one address");
    let other = IpAddr::from([127, 0, 0, 2]);
    let taken = slots.take(other).expect("there is room for others");
    assert!(slots.take(other).is_none(), "it would be the fourth in all");
    drop(taken);
    assert!(slots.take(other).is_some());
}

#[test]
fn questions_on_a_connection_pass_too() {
    let upstream = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let servers = vec![upstream.local_addr().unwrap()];
    thread::spawn(move || {
        for mut stream in upstream.incoming().flatten() {
            let question = framed(&mut stream).unwrap();
            send(&mut stream, &[answer(&question, 0), vec![7; 20_000]].concat());
        }
    });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let forwarder = listener.local_addr().unwrap();
    let current = Arc::new(Current::new(Upstreams::new(servers)));
    let slots = Slots::new(4, 2);
    thread::spawn({
        let slots = Arc::clone(&slots);
        move || tcp::serve(&listener, &current, &slots)
    });

    let mut client = TcpStream::connect(forwarder).unwrap();
    let question = question("one.test");
    for _ in 0..2 {
        send(&mut client, &question);
        let expected = [answer(&question, 0), vec![7; 20_000]].concat();
        assert_eq!(framed(&mut client).unwrap(), expected);
    }
    let second = TcpStream::connect(forwarder).unwrap();
    let mut third = TcpStream::connect(forwarder).unwrap();
    assert_eq!(third.read(&mut [0]).unwrap_or_default(), 0, "it is closed at once");
    // One that says what is no question ends its own connection.
    send(&mut client, &[0xFF; 40]);
    assert_eq!(client.read(&mut [0]).unwrap_or_default(), 0);
    drop(second);
    let ended = Instant::now();
    while slots.take(IpAddr::V4(Ipv4Addr::LOCALHOST)).is_none() {
        assert!(ended.elapsed() < AT_ONCE);
        thread::sleep(Duration::from_millis(5));
    }
}

fn send(stream: &mut TcpStream, message: &[u8]) {
    let length = u16::try_from(message.len()).unwrap();
    stream.write_all(&[&length.to_be_bytes()[..], message].concat()).unwrap();
}

fn framed(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    Ok(message)
}

#[test]
fn a_volumes_name_says_whom_to_ask() {
    // As berth writes it (`dock/resolver/tests.rs`).
    let name = "berth-dns_b441da679_n192.168.1.1_nfd00--1_ondots.2_orotate_shome.lan_scorp.example";
    let resolver = Resolver::of_volume(name, "441da679").unwrap();
    let text = "# Of berth: these are asked in turn: 192.168.1.1 fd00::1\nnameserver 172.30.0.1\n\
                search home.lan corp.example\noptions ndots:2 rotate\n";
    assert_eq!(resolver.text([172, 30, 0, 1].into()), text);
    assert_eq!(Resolver::of_volume(name, "0a0a0a0a"), None, "of another start or another machine");
    for other in [
        "berth-dns",
        "berth-dns_",
        "berth-dns_b441da679",
        "berth-dns_b441da679_shome.lan",
        "berth-dns_b441da679_n1.2.3",
        "berth-dns_b441da679_n1.2.3.4_",
        "berth-dns_b441da679_n1.2.3.4_x1",
        "berth-dns_b441da679_n1.2.3.4_é",
        "berth-keeper-441da679",
        "berth-data_memory",
    ] {
        assert_eq!(Resolver::of_volume(other, "441da679"), None, "{other}");
    }
    let given = "nameserver 10.0.0.1\nnameserver x\nnameserver fe80::1%eth0\n#nameserver 10.0.0.2\nsearch a\nsearch b\n";
    let given = Resolver::parse(given);
    assert_eq!((given.nameservers, given.search), (vec![[10, 0, 0, 1].into()], vec!["b".to_owned()]));
}

/// The program, ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_is_told_is_taken_up_and_the_file_follows() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    fs::create_dir(place("volumes")).unwrap();
    fs::write(place("given"), "nameserver 10.0.0.1\nsearch given.example\n").unwrap();
    fs::write(place("written"), "nameserver 10.9.9.9\n".repeat(50)).unwrap();
    // Nobody has this address, so it goes on trying for it, as before there is a bridge.
    let mut command = Command::new(KEEPER);
    command.args(["resolve", "203.0.113.77:53"]).args([place("volumes"), place("given"), place("written")]);
    let _running = Running(command.stderr(Stdio::null()).spawn().unwrap());
    let until = |servers: &str, search: &str| {
        let expected = format!(
            "# Of berth: these are asked in turn: {servers}\nnameserver 203.0.113.77\nsearch {search}\n"
        );
        let began = Instant::now();
        while fs::read_to_string(place("written")).unwrap() != expected {
            assert!(began.elapsed() < AT_ONCE, "{}", fs::read_to_string(place("written")).unwrap());
            thread::sleep(Duration::from_millis(20));
        }
    };
    until("10.0.0.1", "given.example");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let told = |rest: &str| place("volumes").join(format!("berth-dns_b{}_{rest}", &boot[..8]));
    fs::create_dir(place("volumes").join("berth-dns_b0a0a0a0a_n10.0.0.7_sother.example")).unwrap();
    fs::create_dir(told("n10.0.0.2_sa.example")).unwrap();
    until("10.0.0.2", "a.example");
    // The newest counts, also while the older one is there still; this waits for a folder's time to be another one.
    thread::sleep(Duration::from_millis(20));
    fs::create_dir(told("n10.0.0.3_sb.example")).unwrap();
    until("10.0.0.3", "b.example");
    fs::remove_dir(told("n10.0.0.3_sb.example")).unwrap();
    until("10.0.0.2", "a.example");
    fs::remove_dir(told("n10.0.0.2_sa.example")).unwrap();
    until("10.0.0.1", "given.example");
}
