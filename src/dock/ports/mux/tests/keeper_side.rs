//! The keeper itself, told in frames what a container's side is told.

use super::*;

/// The next frame that the container's side says.
async fn next_frame(stdout: &mut tokio::process::ChildStdout, heard: &mut BytesMut) -> (u32, Vec<u8>) {
    loop {
        if let Some((length, number, _)) = frames::decode(heard).unwrap() {
            return (number, heard.split_to(length).to_vec());
        }
        let read = tokio::io::AsyncReadExt::read_buf(stdout, heard);
        assert_ne!(tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap(), 0, "its end");
    }
}

#[tokio::test]
async fn the_containers_side_dials_no_more_than_it_has_room_for() {
    // It accepts nothing, and the kernel keeps none for it but the first.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    // A former run's connections may linger there.
    socket.set_reuse_address(true).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 22443)).into()).unwrap();
    socket.listen(0).unwrap();
    let _first = tokio::net::TcpStream::connect("127.0.0.1:22443").await.unwrap();
    let (mut child, _folder) = container(22444, 22443);
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut said = Vec::new();
    for at in 1..=600 {
        frames::encode(&mut said, 2 * at, &Frame::Open { port: 22443 });
        frames::encode(&mut said, 2 * at, &Frame::Reset { refused: false });
    }
    frames::encode(&mut said, 4000, &Frame::Open { port: 1 });
    stdin.write_all(&said).await.unwrap();
    let (mut heard, mut full) = (BytesMut::new(), 0);
    loop {
        let (number, said) = next_frame(&mut stdout, &mut heard).await;
        match frames::decode(&said).unwrap().unwrap().2 {
            Frame::Reset { refused: true } if number == 4000 => break,
            Frame::Reset { refused: false } => full += 1,
            frame => assert_eq!((number, frame), (0, Frame::Ready), "nobody says that nobody listens"),
        }
    }
    let threads = std::fs::read_dir(format!("/proc/{}/task", child.id().unwrap())).unwrap().count();
    assert!(threads <= CONNECTIONS + 1 && full >= 600 - CONNECTIONS, "{threads} threads, {full} sent away");
}

#[tokio::test]
async fn what_a_server_says_before_it_goes_waits_for_whoever_reads_slowly() {
    let (service, published) = listener().await;
    let (mut child, _folder) = container(22491, published);
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut said = Vec::new();
    frames::encode(&mut said, 2, &Frame::Open { port: published });
    frames::encode(&mut said, 2, &Frame::Finish);
    stdin.write_all(&said).await.unwrap();
    let (mut server, _) = service.accept().await.unwrap();
    assert_eq!(tokio::io::AsyncReadExt::read(&mut server, &mut [0; 1]).await.unwrap(), 0, "it has heard all");
    // More than may be under way, and less than the kernel takes at once.
    let all = noise(6)[..frames::WINDOW + 4096].to_vec();
    server.write_all(&all).await.unwrap();
    drop(server);
    let (mut heard, mut read, mut is_told) = (BytesMut::new(), Vec::new(), false);
    loop {
        let (_, frame) = next_frame(&mut stdout, &mut heard).await;
        match frames::decode(&frame).unwrap().unwrap().2 {
            Frame::Ready => {}
            Frame::Data(data) => read.extend_from_slice(data),
            Frame::Finish => break,
            frame => panic!("{frame:?} after {} bytes", read.len()),
        }
        if read.len() == frames::WINDOW && !is_told {
            is_told = true;
            // It looks at all of its connections in between.
            let mut others = Vec::new();
            for number in [4, 6, 8] {
                frames::encode(&mut others, number, &Frame::Open { port: 1 });
            }
            stdin.write_all(&others).await.unwrap();
            for _ in 0..3 {
                let (number, frame) = next_frame(&mut stdout, &mut heard).await;
                let frame = frames::decode(&frame).unwrap().unwrap().2;
                assert_eq!((number == 2, frame), (false, Frame::Reset { refused: true }));
            }
            let mut room = Vec::new();
            frames::encode(&mut room, 2, &Frame::Room(u32::try_from(frames::WINDOW).unwrap()));
            stdin.write_all(&room).await.unwrap();
        }
    }
    assert!(read == all && is_told, "{} of {} bytes", read.len(), all.len());
}
