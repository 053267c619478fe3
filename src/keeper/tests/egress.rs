//! What the forwarder takes and refuses, byte by byte.

#[path = "egress/http.rs"]
mod http_requests;
#[path = "egress/list.rs"]
mod lists;
#[path = "egress/pods.rs"]
mod pods;
#[path = "egress/tls.rs"]
mod tls_hellos;

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use crate::allow::{Entry, Network, Target};
use crate::egress::list::Allowed;
use crate::egress::lookup::{self, Missing};
use crate::egress::names::{Names, OWN};
use crate::egress::netlink::{self, Route, Rule};
use crate::egress::told::Told;
use crate::egress::{Forwarder, Wanted, count, reach, rules};
use crate::egress::{http, tls};
use crate::resolve::message;
use crate::{Subcommand, Words};

fn allowed(texts: &[&str]) -> Allowed {
    Allowed(texts.iter().map(|text| Entry::parse(text).unwrap()).collect())
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A question of this kind.
fn question(name: &str, kind: u8) -> Vec<u8> {
    let mut question = message::question(name, *b"id").unwrap();
    let at = question.len() - 3;
    question[at] = kind;
    question
}

/// The code of the answer, the address in it, and the name that was refused.
fn asked(names: &Names, name: &str, kind: u8) -> (u8, Option<Ipv4Addr>, Option<String>) {
    let question = question(name, kind);
    let (answer, refused) = names.answer(&question).unwrap();
    assert!(message::answers(&answer, &question));
    assert_eq!(answer[12..question.len()], question[12..]);
    let address = answer[question.len()..].last_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes));
    assert_eq!(answer[7], u8::from(address.is_some()));
    (message::code(&answer), address, refused.map(|refused| refused.name))
}

#[test]
fn names_that_are_allowed_have_an_address_each_and_others_do_not_exist() {
    let names = Names::new(allowed(&["a.org", "*.b.org:8443"]), OWN);
    let first = asked(&names, "a.org", 1).1.unwrap();
    assert_eq!(asked(&names, "A.oRG", 1), (0, Some(first), None));
    assert_eq!(names.name_at(first).as_deref(), Some("a.org"));
    let other = asked(&names, "x.b.org", 1).1.unwrap();
    assert_ne!(first, other);
    assert_eq!(names.name_at(other).as_deref(), Some("x.b.org"));
    for address in [OWN, Ipv4Addr::new(198, 18, 2, 0), Ipv4Addr::LOCALHOST, Ipv4Addr::BROADCAST] {
        assert_eq!(names.name_at(address), None, "{address}");
    }
    for (name, kind) in [("b.org", 1), ("evil.org", 1), ("a.org.evil.org", 28), ("x.a.org", 1)] {
        assert_eq!(asked(&names, name, kind), (3, None, Some(name.to_owned())), "{name}");
    }
    // Neither is there another address, nor a key (HTTPS), nor a text to learn anything from.
    for kind in [28, 65, 16, 255] {
        assert_eq!(asked(&names, "a.org", kind), (0, None, None), "{kind}");
    }
    assert_eq!(asked(&names, "evil.org", 16), (3, None, None), "nobody wanted to go there");
    assert_eq!(asked(&names, "a.b!.b.org", 1), (3, None, None), "it is no name");
}

#[test]
fn a_session_may_ask_for_so_many_names_and_those_that_are_written_out_stay() {
    let names = Names::new(allowed(&["*.b.org", "a.org"]), OWN);
    let codes = (0..1100).map(|n| asked(&names, &format!("x{n}.b.org"), 1).0);
    assert_eq!(codes.filter(|code| *code == 0).count(), 1023);
    assert_eq!(asked(&names, "a.org", 1).0, 0);
    assert_eq!(asked(&names, "x0.b.org", 1).0, 0);
    assert_eq!(asked(&names, "y.b.org", 1).0, 2);
}

#[test]
fn what_is_no_question_gets_no_name() {
    let names = Names::new(allowed(&["a.org"]), OWN);
    let plain = question("a.org", 1);
    let changed = |at: usize, byte: u8| {
        let mut question = plain.clone();
        question[at] = byte;
        names.answer(&question).map(|(answer, _)| message::code(&answer))
    };
    assert_eq!(changed(2, 0x81), None, "an answer");
    assert_eq!(changed(2, 0x28), Some(4), "an update");
    assert_eq!(changed(5, 2), Some(4), "two questions");
    assert_eq!(changed(12, 0xc0), Some(4), "a reference");
    assert_eq!(changed(plain.len() - 1, 3), Some(4), "another class");
    for end in 0..plain.len() {
        let answered = names.answer(&plain[..end]);
        assert!(answered.is_none_or(|(answer, _)| message::code(&answer) == 4), "cut at {end}");
    }
}

#[test]
fn the_worlds_addresses_are_told_from_all_others() {
    for open in [
        "1.1.1.1",
        "203.0.113.5",
        "198.18.0.1",
        "172.32.0.1",
        "2606:4700::1",
        "::ffff:1.1.1.1",
        "64:ff9b::101:101",
    ] {
        assert_eq!(reach::kind(address(open)), None, "{open}");
    }
    for (closed, kind) in [
        ("10.0.0.1", "private"),
        ("172.17.0.1", "private"),
        ("192.168.1.1", "private"),
        ("100.100.100.200", "shared"),
        ("169.254.169.254", "link-local"),
        ("168.63.129.16", "metadata"),
        ("192.0.0.192", "metadata"),
        ("0.0.0.0", "unspecified"),
        ("127.0.0.1", "loopback"),
        ("224.0.0.1", "multicast"),
        ("255.255.255.255", "reserved"),
        ("::1", "loopback"),
        ("::", "loopback"),
        ("::10.0.0.1", "loopback"),
        ("fd00:ec2::254", "private"),
        ("fe80::1", "link-local"),
        ("ff02::1", "multicast"),
        ("::ffff:10.0.0.1", "private"),
        ("::ffff:127.0.0.1", "loopback"),
        ("64:ff9b::a9fe:a9fe", "link-local"),
        ("64:ff9b:1::1", "private"),
        ("2002:a00:1::1", "private"),
        ("2001:0:1::1", "tunnelled"),
    ] {
        assert_eq!(reach::kind(address(closed)), Some(kind), "{closed}");
    }
    assert!(reach::is_closed(address("127.0.0.1")) && reach::is_closed(address("::ffff:127.0.0.1")));
}

#[test]
fn what_the_daemon_has_behind_it_is_nobodys_to_reach() {
    let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                 eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                 eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
                 docker0\t00F01EAC\t00000000\t0001\t0\t0\t0\t00F0FFFF\t0\t0\t0\nrubbish\n";
    let inward = |text: &str| reach::leads_inward(table, text.parse().unwrap());
    assert!(inward("172.30.240.1") && inward("172.30.255.9"));
    assert!(!inward("172.17.0.9") && !inward("1.1.1.1") && !inward("172.30.239.1"));
}

#[test]
fn a_name_leads_only_to_the_world_or_to_what_is_named() {
    let choose = |found: &[&str], list: &[&str]| {
        let found: Vec<_> = found.iter().map(|text| address(text)).collect();
        lookup::choose(&found, &allowed(list), 22)
            .map(|open| open.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let closed = |text: &str, kind| Err(Missing::Closed(address(text), kind));
    assert_eq!(choose(&["203.0.113.1", "10.0.0.1"], &["a.org"]), Ok(vec!["203.0.113.1".to_owned()]));
    assert_eq!(choose(&["10.0.0.1"], &["a.org"]), closed("10.0.0.1", "private"));
    assert_eq!(choose(&["10.0.0.1"], &["a.org", "10.0.0.0/24:22"]), Ok(vec!["10.0.0.1".to_owned()]));
    // Who has the name in hand chooses no port of it.
    assert_eq!(choose(&["10.0.0.1"], &["a.org:22", "10.0.0.0/24"]), closed("10.0.0.1", "private"));
    assert_eq!(choose(&["::ffff:169.254.169.254"], &["a.org"]), closed("169.254.169.254", "link-local"));
    assert_eq!(choose(&[], &["a.org"]), Err(Missing::Unknown));
    // Whatever a list says: no entry names it, and one that did would be of no account.
    let loopback = Target::Network(Network { address: address("127.0.0.0"), bits: 8 });
    let list = Allowed(vec![Entry { target: loopback, port: None }]);
    assert_eq!(
        lookup::choose(&[address("127.0.0.1")], &list, 443),
        Err(Missing::Closed(address("127.0.0.1"), "berth's own"))
    );
    assert_eq!(choose(&["127.0.0.1"], &["a.org"]), closed("127.0.0.1", "loopback"));
}

#[test]
fn both_kinds_of_addresses_are_tried_in_turn() {
    let addresses = |all: &[&str]| all.iter().map(|text| address(text)).collect::<Vec<_>>();
    let (old, new) = (addresses(&["203.0.113.1", "203.0.113.2", "203.0.113.3"]), addresses(&["2001:db8::1"]));
    let both = addresses(&["203.0.113.1", "2001:db8::1", "203.0.113.2", "203.0.113.3"]);
    assert_eq!(lookup::alternately(old, new.clone()), both);
    assert_eq!(lookup::alternately(Vec::new(), new.clone()), new);
}

#[test]
fn a_nameservers_answer_is_read_if_it_is_to_our_question() {
    let question = question("a.org", 1);
    let answer = |question: &[u8], records: &[u8], count: u8| {
        let mut answer = question.to_vec();
        (answer[2], answer[3], answer[7]) = (0x81, 0x80, count);
        answer.extend_from_slice(records);
        answer
    };
    // An alias, by a name of its own; then its address, and one of another kind.
    let records = b"\xc0\x0c\0\x05\0\x01\0\0\0\x01\0\x03\x01b\0\
                    \x01b\0\0\x01\0\x01\0\0\0\x01\0\x04\x01\x02\x03\x04\
                    \x01b\0\0\x1c\0\x01\0\0\0\x01\0\x10\x20\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\x01";
    let read = |answer: &[u8], kind| lookup::read(answer, &question, kind);
    let whole = answer(&question, records, 3);
    assert_eq!(read(&whole, 1), [address("1.2.3.4")]);
    assert_eq!(read(&whole, 28), [address("2001::1")]);
    for end in 0..whole.len() {
        // Nothing that is cut off is anything, and nothing panics.
        assert!(read(&whole[..end], 1).len() <= 1);
    }
    let forged = answer(&self::question("b.org", 1), records, 3);
    assert_eq!(read(&forged, 1), Vec::<IpAddr>::new());
    let mut failed = whole.clone();
    failed[3] = 0x83;
    assert_eq!(read(&failed, 1), Vec::<IpAddr>::new());
}

#[test]
fn the_kernel_is_told_of_routes_as_it_wants_to_be() {
    let network = Network { address: address("198.18.0.0"), bits: 16 };
    let local = netlink::message(7, Route::Local, network);
    assert_eq!(local.len(), 44);
    assert_eq!(local[..4], 44_u32.to_ne_bytes());
    assert_eq!(local[8..12], 7_u32.to_ne_bytes());
    assert_eq!(local[16..28], [2, 16, 0, 0, 255, 4, 254, 2, 0, 0, 0, 0]);
    assert_eq!(local[32..36], [198, 18, 0, 0]);
    let prohibited = netlink::message(1, Route::Prohibited, Network { address: address("fc00::"), bits: 7 });
    assert_eq!(prohibited[16..28], [10, 7, 0, 0, 254, 4, 0, 8, 0, 0, 0, 0]);
    let said = |number: u32, code: i32| {
        let mut said = [20_u32.to_ne_bytes(), [2, 0, 0, 0], number.to_ne_bytes(), [0; 4]].concat();
        said.extend(code.to_ne_bytes());
        netlink::answer(&said, 7).map_err(|error| error.raw_os_error())
    };
    assert_eq!((said(7, 0), said(7, -1)), (Ok(()), Err(Some(1))));
    assert_eq!((said(6, 0), said(7, i32::MIN), said(7, 1)), (Err(None), Err(Some(i32::MAX)), Err(None)));
    assert!(netlink::answer(&[], 7).is_err());
}

#[test]
fn each_refusal_has_a_line_and_a_number_and_there_is_an_end_of_them() {
    let told = Told::new(None);
    assert_eq!(told.text(), None);
    told.tell("api.x.org", "not in `allow`", Some("api.x.org"));
    told.tell("api.x.org", "not in `allow`", Some("api.x.org"));
    told.count(0, "api.x.org", "not in `allow`", Some("api.x.org"));
    told.tell("a\u{1b}[2J\tb\nc", "why\r", None);
    told.unrouted(4);
    let text = told.text().unwrap();
    assert_eq!(
        text,
        "2\tapi.x.org\tnot in `allow`\tapi.x.org\n1\ta?[2J?b?c\twhy?\t-\n\
         4\taddresses without a name\tonly names lead out\t-\n"
    );
    assert_eq!(told.text(), None, "nothing is new");
    (0..1000).for_each(|n| told.tell(&n.to_string(), &"x".repeat(999), None));
    let text = told.text().unwrap();
    assert_eq!(text.lines().count(), 50);
    assert!(text.ends_with("954\tothers\ttoo many to be told\t-\n") && text.len() < 64 << 10, "{text}");
}

#[test]
fn a_containers_options_say_what_it_may_reach() {
    let options = ["--grace", "7", "--allow", "a.org", "--allow", "*.b.org:1", "--told", "/x"];
    let wanted = Wanted::of(&options);
    assert_eq!(wanted.told(), Some(std::path::Path::new("/x")));
    let line = format!("hold --claim-within 5 {}", options.join(" "));
    let Ok(Subcommand::Hold(hold)) = super::parse(&line) else { panic!("{line}") };
    assert_eq!(hold.network, wanted);
    assert_eq!(Wanted::of(&["--grace", "7"]), Wanted::default());
    assert_ne!(Wanted::of(&["--lan"]), Wanted::default());
    let forwarder = |line: &str| Forwarder::parse(&mut Words(line.split(' ').map(Into::into)));
    assert!(forwarder("17 /x a.org *.b.org:1").is_ok() && forwarder("17 - a.org").is_ok());
    for wrong in ["", "x /x a.org", "17", "17 /x a.org:0"] {
        assert!(forwarder(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn attempts_without_a_route_are_counted() {
    let text =
        "Ip: Forwarding DefaultTTL OutDiscards OutNoRoutes ReasmTimeout\nIp: 1 64 0 12 0\nIcmp: InMsgs\n";
    assert_eq!(count(text), Some(12));
    assert_eq!(count("Ip: OutNoRoutes\n"), None);
}

proptest! {
    #[test]
    fn nothing_that_a_session_sends_panics(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        text in "(GET|CONNECT|\\PC| |\r\n|HTTP/1.1|Host:|:|/|\\[|a){0,30}",
        cut in 0..60_usize,
    ) {
        let names = Names::new(allowed(&["a.org", "*.b.org:1"]), OWN);
        let question = question("a.org", 1);
        for bytes in [&bytes[..], &[&[22, 3, 1, 0, 200, 1, 0, 0, 100, 3, 3], &bytes[..]].concat(), text.as_bytes()] {
            let _ = (tls::hello(bytes), http::opening(bytes), names.answer(bytes));
            let mut answer = question.clone();
            (answer[2], answer[7]) = (0x81, 9);
            answer.extend_from_slice(bytes);
            prop_assert!(lookup::read(&answer, &question, 1).len() <= 16);
            let mut asked = question.clone();
            asked.splice(12.min(cut).., bytes.iter().copied());
            let _ = (names.answer(&asked), netlink::answer(&asked, 7), count(&text));
        }
        let _ = http::authority(&text);
    }
}

#[test]
fn a_rule_is_for_one_address_and_in_front_of_all_routes() {
    let one = netlink::rule_message(3, Rule::Add, address("172.17.0.2"));
    // `nlmsghdr`, `fib_rule_hdr` (family, bits of the destination and of the source, …, table, action), FRA_SRC, FRA_PRIORITY.
    let expected = [
        &44u32.to_ne_bytes()[..],
        &32u16.to_ne_bytes(),
        &0x605u16.to_ne_bytes(),
        &3u32.to_ne_bytes(),
        &[0; 4],
        &[2, 0, 32, 0, 117, 0, 0, 1, 0, 0, 0, 0],
        &8u16.to_ne_bytes(),
        &2u16.to_ne_bytes(),
        &[172, 17, 0, 2],
        &8u16.to_ne_bytes(),
        &6u16.to_ne_bytes(),
        &100u32.to_ne_bytes(),
    ];
    assert_eq!(one, expected.concat());
    let gone = netlink::rule_message(1, Rule::Remove, address("fd00::2"));
    assert_eq!((&gone[4..8], gone[18]), (&[33u16.to_ne_bytes(), 5u16.to_ne_bytes()].concat()[..], 128));
}

#[test]
fn all_addresses_of_a_namespace_are_read_but_the_loopbacks() {
    let routes = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 127.0.0.1\n        /32 host LOCAL\n\
        \x20    |-- 172.17.0.0\n        /16 link UNICAST\n        |-- 172.17.0.2\n           /32 host LOCAL\n        |-- 172.17.255.255\n\
        \x20          /32 link BROADCAST\nLocal:\n        |-- 172.17.0.2\n           /32 host LOCAL\n";
    let ipv6 = "00000000000000000000000000000001 01 80 10 80       lo\n\
                fd000000000000000000000000000002 05 40 00 80     eth0\n";
    let found: Vec<_> = rules::addresses(routes, ipv6).into_iter().collect();
    assert_eq!(found, [address("172.17.0.2"), address("fd00::2")]);
    assert!(rules::addresses("", "").is_empty());
}
