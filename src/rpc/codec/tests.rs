use std::time::{Duration, Instant};

use futures::StreamExt;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tokio_util::codec::FramedRead;

use super::super::arbitrary::{cut, cuts};
use super::super::raw::Raw;
use super::super::salvage::messages;
use super::partial::KEEP;
use super::*;

fn items<'b>(max_bytes: usize, pieces: impl IntoIterator<Item = &'b [u8]>) -> Vec<Item> {
    let mut codec = FrameCodec::new(max_bytes);
    let mut buffer = BytesMut::new();
    let mut items = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while let Some(item) = codec.decode(&mut buffer).unwrap() {
            items.push(item);
        }
    }
    while let Some(item) = codec.decode_eof(&mut buffer).unwrap() {
        items.push(item);
    }
    assert!(buffer.is_empty(), "{} bytes were left behind", buffer.len());
    items
}

/// The same by way of `next` and `last`.
fn items_of_pieces<'b>(max_bytes: usize, pieces: impl IntoIterator<Item = &'b [u8]>) -> Vec<Item> {
    let mut codec = FrameCodec::new(max_bytes);
    let mut items = Vec::new();
    for piece in pieces {
        let mut piece = Bytes::copy_from_slice(piece);
        while let Some(item) = codec.next(&mut piece) {
            items.push(item);
        }
        assert!(piece.is_empty(), "{} bytes were left behind", piece.len());
    }
    items.extend(std::iter::from_fn(|| codec.last()));
    items
}

/// Feeds as `FramedRead` does: room for one byte at least, then a read of whatever there is room for.
fn read_into(buffer: &mut BytesMut, source: &mut &[u8]) {
    buffer.reserve(1);
    let (now, later) = source.split_at(source.len().min(buffer.capacity() - buffer.len()));
    buffer.extend_from_slice(now);
    *source = later;
}

fn one_line(items: &[Item]) -> &Frame {
    match items {
        [Ok(frame)] => frame,
        other => panic!("expected one frame, got {other:?}"),
    }
}

fn too_long(limit: usize, id: Option<&str>, kind: Kind) -> Item {
    let id = id.map(|id| RawId::from_raw(Raw::parse(id).unwrap()).unwrap());
    Err(FrameError::TooLong { limit, id, kind })
}

#[test]
fn the_terminator_is_kept_as_it_came() {
    for (line, message, terminated) in [
        (&b"{}\n"[..], &b"{}"[..], true),
        (b"{} \r\n", b"{} ", true),
        (b"{}\r\r\n", b"{}\r", true),
        (b"{}", b"{}", false),
        (b"{}\r", b"{}\r", false),
    ] {
        let items = items(100, [line]);
        let frame = one_line(&items);
        assert_eq!(frame.wire(), line);
        assert_eq!(frame.message(), message);
        assert_eq!(frame.is_terminated(), terminated);
        assert_eq!(frame.clone().into_wire(), line);
    }
}

#[test]
fn a_blank_line_does_not_stall_the_one_behind_it() {
    let mut codec = FrameCodec::new(100);
    let mut buffer = BytesMut::from(&b"\n\r\n \t\n{}\n"[..]);
    let frame = codec.decode(&mut buffer).unwrap().unwrap().unwrap();
    assert_eq!(frame.message(), b"{}");
    assert_eq!(items(100, [&b"\n \r\n\t"[..]]), []);
}

#[test]
fn the_limit_counts_the_message_without_its_terminator() {
    for line in ["12345\n", "12345\r\n", "12345"] {
        for cuts in [&[1][..], &[6], &[100]] {
            assert_eq!(one_line(&items(5, cut(line.as_bytes(), cuts))).wire(), line.as_bytes());
        }
    }
    for line in ["123456\n", "123456\r\n", "123456", "12345\r", "12345\rx\n"] {
        for cuts in [&[1][..], &[6], &[100]] {
            assert_eq!(items(5, cut(line.as_bytes(), cuts)), [too_long(5, None, Kind::Other)], "{line:?}");
        }
    }
}

#[test]
fn an_overlong_line_gives_one_item_and_the_next_line_passes() {
    let line = |text: &str| format!("{text}\n{{}}\n").into_bytes();
    for (text, id, kind) in [
        (r#"{"jsonrpc":"2.0","id":"a","method":"x","params":{"id":1}}"#, Some("\"a\""), Kind::Request),
        (r#"{"jsonrpc":"2.0","result":{"id":1,"text":"0123456789"},"id":4}"#, Some("4"), Kind::Response),
        (r#"{"jsonrpc":"2.0","method":"x","params":{"id":1}}"#, None, Kind::Notification),
        ("01234567890123456789012345678901234567890", None, Kind::Other),
    ] {
        for cuts in [&[1][..], &[7], &[1_000]] {
            let items = items(40, cut(&line(text), cuts));
            assert_eq!(items.len(), 2, "{text}");
            assert_eq!(items[0], too_long(40, id, kind), "{text}");
            assert_eq!(one_line(&items[1..]).wire(), &b"{}\n"[..]);
        }
    }
}

#[test]
fn an_overlong_batch_gives_an_item_for_each_of_its_messages_that_has_an_id() {
    let batch = r#"[{"id":1,"result":"0123456789012345678901234567890"},{"method":"x"},7,{"id":"b","method":"x"},{"id":3,"error":{}}]"#;
    let expected = [
        too_long(40, Some("1"), Kind::Response),
        too_long(40, Some("\"b\""), Kind::Request),
        too_long(40, Some("3"), Kind::ErrorResponse),
    ];
    for cuts in [&[1][..], &[7], &[1_000]] {
        let line = format!("{batch}\n{{}}\n");
        let items = items(40, cut(line.as_bytes(), cuts));
        assert_eq!(items[..3], expected);
        assert_eq!(one_line(&items[3..]).wire(), &b"{}\n"[..]);
        assert_eq!(items_of_pieces(40, cut(batch.as_bytes(), cuts)), expected, "at the stream's end");
        let nameless = format!("[{}]\n", r#"{"method":"x"},"#.repeat(5));
        assert_eq!(items_of_pieces(40, cut(nameless.as_bytes(), cuts)), [too_long(40, None, Kind::Other)]);
    }
    let whole = r#"[{"id":1,"result":0},{"id":2,"result":0}]"#;
    let at_the_limit = format!("{whole}\r");
    let both = [1, 2].map(|id| too_long(whole.len(), Some(&id.to_string()), Kind::Response));
    assert_eq!(items_of_pieces(whole.len(), [at_the_limit.as_bytes()]), both, "a `\\r` is no end");
}

#[test]
fn an_endless_batch_takes_no_memory() {
    let mut codec = FrameCodec::new(1_000);
    let mut buffer = BytesMut::from(&b"["[..]);
    let message = br#"{"id":1,"result":{}},"#;
    let mut items = 0;
    for _ in 0..100_000 {
        let mut source = &message[..];
        while !source.is_empty() {
            read_into(&mut buffer, &mut source);
            assert!(buffer.capacity() <= 2 * READ, "capacity {}", buffer.capacity());
            while codec.decode(&mut buffer).unwrap().is_some() {
                items += 1;
            }
        }
    }
    assert_eq!(items, 100_000);
}

#[test]
fn an_endless_line_is_answered_as_soon_as_its_id_is_known() {
    let mut codec = FrameCodec::new(64);
    let mut buffer =
        BytesMut::from(&br#"{"id":1,"method":"x","params":"0123456789012345678901234567890123"#[..]);
    assert_eq!(buffer.len(), 65);
    assert_eq!(codec.decode(&mut buffer).unwrap(), Some(too_long(64, Some("1"), Kind::Request)));

    let mut buffer = BytesMut::new();
    let mut codec = FrameCodec::new(64);
    for _ in 0..100 {
        buffer.extend_from_slice(br#"{"params":["0123456789"],"#);
        assert_eq!(codec.decode(&mut buffer).unwrap(), None);
    }
    for _ in 0..99 {
        buffer.extend_from_slice(b"}");
    }
    buffer.extend_from_slice(br#","id":2,"#);
    assert_eq!(codec.decode(&mut buffer).unwrap(), Some(too_long(64, Some("2"), Kind::Request)));
    buffer.extend_from_slice(b"\"id\":3,\n");
    assert_eq!(codec.decode(&mut buffer).unwrap(), None);
}

#[test]
fn an_endless_line_takes_no_memory() {
    let limit = 64 * 1024;
    let filler = vec![b'x'; 1024 * 1024];
    for (start, answered_at_once) in [(&br#"{"id":1,"a":""#[..], true), (br#"{"a":""#, false)] {
        let mut codec = FrameCodec::new(limit);
        let mut buffer = BytesMut::from(start);
        let mut items = 0;
        for mebibyte in 0..64 {
            let mut source = filler.as_slice();
            while !source.is_empty() {
                read_into(&mut buffer, &mut source);
                assert!(buffer.capacity() <= 2 * READ, "capacity {}", buffer.capacity());
                assert!(codec.partial.room() <= KEEP, "capacity {}", codec.partial.room());
                items += usize::from(codec.decode(&mut buffer).unwrap().is_some());
            }
            assert_eq!(items, usize::from(answered_at_once), "after {mebibyte} MiB");
        }
        buffer.extend_from_slice(b"\"}\n{}\n");
        let rest: Vec<_> = std::iter::from_fn(|| codec.decode(&mut buffer).unwrap()).collect();
        assert_eq!(items + rest.len(), 2);
        assert_eq!(one_line(&rest[rest.len() - 1..]).message(), b"{}");
    }
}

#[test]
fn a_large_line_is_read_in_linear_time_within_its_bound_and_given_back() {
    let limit = 16 * 1024 * 1024;
    let mut line = vec![b'x'; limit];
    line.extend_from_slice(b"\n{}\n{");
    let mut codec = FrameCodec::new(limit);
    let mut buffer = BytesMut::new();
    let mut frames = Vec::new();
    let start = Instant::now();
    // Small pieces: scanning from the line's start each time would be half a terabyte.
    for piece in line.chunks(256) {
        let mut source = piece;
        while !source.is_empty() {
            read_into(&mut buffer, &mut source);
            assert!(buffer.capacity() <= 2 * READ, "capacity {}", buffer.capacity());
            assert!(codec.partial.room() <= limit + 2 + KEEP, "capacity {}", codec.partial.room());
            while let Some(item) = codec.decode(&mut buffer).unwrap() {
                frames.push(item.unwrap());
            }
        }
    }
    assert!(start.elapsed() < Duration::from_secs(20), "took {:?}", start.elapsed());
    assert_eq!(frames.iter().map(|frame| frame.wire().len()).collect::<Vec<_>>(), [limit + 1, 3]);
    assert_eq!(codec.partial.as_slice(), b"{");
    assert!(codec.partial.room() <= KEEP, "the reader still holds the large buffer");
}

#[test]
fn a_line_over_sixteen_times_the_buffer_goes_on_in_a_larger_mapping() {
    let line = vec![b'x'; 20 * KEEP];
    let mut codec = FrameCodec::new(usize::MAX);
    for piece in line.chunks(64 * 1024) {
        assert_eq!(codec.next(&mut Bytes::copy_from_slice(piece)), None);
        assert_eq!(codec.partial.as_slice()[0], b'x');
    }
    let frame = codec.next(&mut Bytes::from_static(b"\n")).unwrap().unwrap();
    assert!(frame.message() == line, "the bytes are the same");
}

#[test]
fn a_line_in_one_piece_is_not_copied() {
    let mut piece = Bytes::from_static(b"{}\n[1]\n[");
    let starts = [0, 3].map(|at| piece[at..].as_ptr());
    let mut codec = FrameCodec::new(100);
    for start in starts {
        assert_eq!(codec.next(&mut piece).unwrap().unwrap().wire().as_ptr(), start);
    }
    assert_eq!(codec.next(&mut piece), None);
    assert!(piece.is_empty());
    assert_eq!(codec.last().unwrap().unwrap().wire(), &b"["[..]);
}

#[test]
fn lines_in_several_pieces_share_one_buffer() {
    let mut codec = FrameCodec::new(100);
    let mut addresses = Vec::new();
    for _ in 0..3 {
        assert_eq!(codec.next(&mut Bytes::from_static(b"{\"a\":")), None);
        let frame = codec.next(&mut Bytes::from_static(b"1}\n")).unwrap().unwrap();
        assert_eq!(frame.wire(), &b"{\"a\":1}\n"[..]);
        addresses.push(frame.wire().as_ptr());
    }
    assert!(addresses.iter().all(|&address| address == addresses[0]), "{addresses:?}");
}

#[test]
fn a_reader_of_small_lines_always_has_room_for_a_large_read() {
    let mut codec = FrameCodec::new(100);
    let mut buffer = BytesMut::with_capacity(READ);
    for _ in 0..2 * READ {
        buffer.extend_from_slice(b"{}\n");
        assert!(codec.decode(&mut buffer).unwrap().is_some());
        assert_eq!(codec.decode(&mut buffer).unwrap(), None);
        assert_eq!(buffer.capacity(), READ);
    }
}

#[tokio::test]
async fn a_framed_reader_goes_on_behind_an_overlong_line() {
    let input = b"{\"id\":1,\"method\":\"0123456789\"}\n\n[1]\n[2]";
    let read: Vec<_> = FramedRead::with_capacity(&input[..], FrameCodec::new(10), 4)
        .map(|item| item.unwrap().map(|frame| frame.wire().to_vec()).map_err(|err| err.to_string()))
        .collect()
        .await;
    assert_eq!(
        read,
        [Err("line longer than 10 bytes".to_owned()), Ok(b"[1]\n".to_vec()), Ok(b"[2]".to_vec())]
    );
}

#[test]
fn debug_shows_no_body() {
    let items = items(100, [&b"secret\n"[..]]);
    assert_eq!(format!("{:?}", one_line(&items)), "Frame { bytes: 7, .. }");
}

#[derive(Debug, PartialEq)]
enum Model {
    Line(Vec<u8>),
    /// With so many items.
    TooLong(usize),
}

/// What a stream means, said without a codec: split on newlines, nothing else.
fn model(max_bytes: usize, input: &[u8]) -> Vec<Model> {
    let mut lines = Vec::new();
    for line in input.split_inclusive(|&byte| byte == b'\n') {
        let message = match line.strip_suffix(b"\n") {
            Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
            None => line,
        };
        if message.len() > max_bytes {
            lines.push(Model::TooLong(messages(message).count().max(1)));
        } else if !message.iter().all(u8::is_ascii_whitespace) {
            lines.push(Model::Line(line.to_vec()));
        }
    }
    lines
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let word = select(
        &[
            "\n",
            "\n",
            "\r\n",
            "\r",
            " ",
            "\t",
            "{",
            "}",
            "\"id\":1,",
            "[{\"id\":2,\"result\":0},",
            "\"id\":\"a\"",
            "{\"id\":",
            "12",
            ",",
            "\"method\":\"x\"",
            "\\",
            "\"",
        ][..],
    );
    let piece =
        prop_oneof![9 => word.prop_map(|word| word.as_bytes().to_vec()), 1 => vec(any::<u8>(), 0..20)];
    vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_cut_gives_the_same_items_and_they_are_the_lines(input in stream(), max_bytes in 0..40usize, cuts in cuts()) {
        let whole = items(max_bytes, [input.as_slice()]);
        prop_assert_eq!(&items(max_bytes, cut(&input, &cuts)), &whole);
        prop_assert_eq!(&items_of_pieces(max_bytes, cut(&input, &cuts)), &whole);
        let mut whole = whole.into_iter();
        for line in model(max_bytes, &input) {
            match line {
                Model::Line(line) => prop_assert_eq!(whole.next().unwrap().unwrap().into_wire(), line),
                Model::TooLong(items) => prop_assert!(whole.by_ref().take(items).filter(Result::is_err).count() == items),
            }
        }
        prop_assert_eq!(whole.next(), None);
    }

    #[test]
    fn within_the_limit_every_byte_but_blank_lines_passes(input in stream(), cuts in cuts()) {
        let passed: Vec<u8> = items(usize::MAX, cut(&input, &cuts))
            .into_iter()
            .flat_map(|item| item.unwrap().into_wire())
            .collect();
        let blank = |line: &&[u8]| line.iter().all(u8::is_ascii_whitespace);
        let expected: Vec<&[u8]> = input.split_inclusive(|&b| b == b'\n').filter(|line| !blank(line)).collect();
        prop_assert_eq!(passed, expected.concat());
    }
}
