//! Which server a client's first message names.

use crate::egress::tls::{Hello, hello, is_tls};

fn behind(length_bytes: usize, content: &[u8]) -> Vec<u8> {
    let length = u64::try_from(content.len()).unwrap().to_be_bytes();
    [&length[8 - length_bytes..], content].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &behind(2, content)].concat()
}

fn server_name(name: &str) -> Vec<u8> {
    extension(0, &behind(2, &[&[0][..], &behind(2, name.as_bytes())].concat()))
}

/// The message itself.
fn message(extensions: &[Vec<u8>]) -> Vec<u8> {
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0],
        &behind(2, &[0x13, 1]),
        &behind(1, &[0]),
        &behind(2, &extensions.concat()),
    ];
    [&[1][..], &behind(3, &body.concat())].concat()
}

/// In records of so many bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|piece| [&[22, 3, 1][..], &behind(2, piece)].concat()).collect()
}

fn named(name: &str) -> Hello {
    Hello::Named(name.to_owned())
}

#[test]
fn a_name_is_found_however_it_is_cut() {
    let message =
        message(&[extension(10, &[0, 2, 0, 29]), server_name("API.x.org"), extension(65037, &[0; 40])]);
    for size in [1, 7, 100, 4000] {
        let records = records(&message, size);
        assert!(is_tls(&records));
        assert_eq!(hello(&records), named("api.x.org"), "records of {size}");
        for end in 0..records.len() {
            assert_eq!(hello(&records[..end]), Hello::Unfinished, "{end} bytes of records of {size}");
        }
        // What follows is not looked at.
        assert_eq!(hello(&[&records[..], b"more"].concat()), named("api.x.org"));
    }
}

#[test]
fn without_a_name_it_is_nameless() {
    assert_eq!(hello(&records(&message(&[]), 4000)), Hello::Nameless);
    assert_eq!(hello(&records(&message(&[extension(16, b"\0\x03\x02h2")]), 4000)), Hello::Nameless);
}

#[test]
fn what_two_readers_could_read_differently_is_broken() {
    let one = server_name("a.org");
    let mut two_names = behind(2, &[&[0][..], &behind(2, b"a.org"), &[0], &behind(2, b"b.org")].concat());
    let other_kind = extension(0, &behind(2, &[&[1][..], &behind(2, b"a.org")].concat()));
    for wrong in [
        vec![one.clone(), server_name("b.org")],
        vec![extension(0, &two_names)],
        vec![other_kind],
        vec![extension(0, b"")],
        vec![one[..6].to_vec()],
        vec![server_name("\u{e4}"), vec![0]],
    ] {
        assert_eq!(hello(&records(&message(&wrong), 4000)), Hello::Broken, "{wrong:?}");
    }
    two_names.clear();
    let mut trailing = message(std::slice::from_ref(&one));
    trailing.push(9);
    trailing[3] += 1;
    assert_eq!(hello(&records(&trailing, 4000)), Hello::Broken, "something stands behind the extensions");
    let mut server = records(&message(&[one]), 4000);
    server[5] = 2;
    assert_eq!(hello(&server), Hello::Broken, "a server's message");
    for header in [[22, 2, 0, 0, 5], [22, 3, 1, 0, 0], [22, 3, 1, 255, 255], [23, 3, 1, 0, 5]] {
        assert_eq!(hello(&header), Hello::Broken, "{header:?}");
    }
    assert_eq!(hello(&[22, 3, 1, 0, 4, 1, 255, 255, 255]), Hello::Broken, "longer than any");
}
