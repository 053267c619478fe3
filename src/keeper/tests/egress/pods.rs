//! The two forwarders of pods: one beside the server, and the one that decides.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::egress::far;
use crate::egress::near::{self, Near};
use crate::{Subcommand, Words};

fn folder(name: &str) -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("berth-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

const POD: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

#[test]
fn a_pod_has_the_list_of_its_address_and_an_unknown_one_none() {
    let folder = folder("lists");
    let list = || far::list_of(&folder, POD, Duration::from_millis(100));
    fs::write(folder.join(POD.to_string()), "a.org\n*.b.org:443\nno entry").unwrap();
    assert!(list().unwrap_err().contains("cannot tell whose list"), "nobody has said that it is of now");
    let fresh = fs::File::create(folder.join(".fresh")).unwrap();
    let allowed = list().unwrap();
    assert!(allowed.has("a.org", 443) && allowed.has("x.b.org", 443) && !allowed.has("x.b.org", 80));
    let other: IpAddr = Ipv4Addr::new(10, 0, 0, 2).into();
    let unknown = far::list_of(&folder, other, Duration::from_millis(100));
    assert!(unknown.unwrap_err().contains("knows no list"));
    let late = thread::spawn({
        let folder = folder.clone();
        move || {
            thread::sleep(Duration::from_millis(50));
            fs::write(folder.join(other.to_string()), "c.org").unwrap();
        }
    });
    assert!(far::list_of(&folder, other, Duration::from_secs(10)).unwrap().has("c.org", 80));
    late.join().unwrap();
    fresh.set_modified(SystemTime::now() - Duration::from_secs(61)).unwrap();
    assert!(list().unwrap_err().contains("cannot tell whose list"));
    fs::remove_dir_all(folder).unwrap();
}

/// A forwarder that gives each connection this answer, and what it was asked.
fn answering(answer: &'static str) -> (SocketAddr, thread::JoinHandle<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let asked = thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            connection.read_exact(&mut byte).unwrap();
            asked.push(byte[0]);
        }
        connection.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(asked).unwrap()
    });
    (address, asked)
}

#[test]
fn a_connection_goes_through_the_forwarder_and_what_it_says_of_a_refusal_is_told() {
    let (address, asked) = answering("HTTP/1.1 200 Connection established\r\n\r\nhello");
    let mut stream: TcpStream = near::through_for_tests(address, "a.org", 443).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert_eq!(said, "hello", "no byte of the server's is lost");
    assert!(asked.join().unwrap().starts_with("CONNECT a.org:443 HTTP/1.1\r\n"));
    let (address, _) = answering(
        "HTTP/1.1 403 Forbidden\r\nberth-why: its address 10.0.0.1 is private\r\nberth-entry: 10.0.0.1\r\n\r\n",
    );
    let refused = near::through_for_tests(address, "a.org", 443).unwrap_err();
    assert_eq!(refused, ("its address 10.0.0.1 is private".to_owned(), Some("10.0.0.1".to_owned())));
}

#[test]
fn what_a_pods_forwarder_is_told_is_understood_or_named() {
    let parse = |line: &str| Subcommand::parse(line.split(' ').map(Into::into));
    assert!(matches!(parse("near 10.0.0.9:3128 a.org *.b.org:443"), Ok(Subcommand::Near(_))));
    assert!(matches!(parse("forward /lists"), Ok(Subcommand::Far(_))));
    let wrong = Near::parse(&mut Words(["10.0.0.9:3128", "a"].into_iter().map(Into::into)));
    assert!(wrong.unwrap_err().message.contains("`a` cannot be allowed"));
    assert!(parse("near somewhere a.org").unwrap_err().message.contains("somewhere"));
}
