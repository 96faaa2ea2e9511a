//! Connections without an end of their own: they stay on their copy, and when it moves they are ended and counted.

use std::time::Duration;

use chandler_protocol::workload::PortMode;
use hyper::Method;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::App;
use crate::caller::{one, request};
use crate::ground::{Ground, until};

async fn websocket(at: std::net::SocketAddr) -> TokioIo<hyper::upgrade::Upgraded> {
    let mut sender = one(at).await;
    let mut asked = request(Method::GET, "/ws", "");
    asked.headers_mut().insert("connection", "keep-alive, Upgrade".parse().unwrap());
    asked.headers_mut().insert("upgrade", "WebSocket".parse().unwrap());
    let response = sender.send_request(asked).await.unwrap();
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["upgrade"], "websocket");
    let mut io = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    assert_eq!(read(&mut io, 7).await, b"\x82\x05hello");
    io
}

async fn read(io: &mut (impl AsyncReadExt + Unpin), n: usize) -> Vec<u8> {
    let mut buffer = vec![0; n];
    tokio::time::timeout(Duration::from_secs(10), io.read_exact(&mut buffer)).await.expect("nothing came").unwrap();
    buffer
}

/// All that comes until the end.
async fn rest(io: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut buffer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), io.read_to_end(&mut buffer)).await.expect("no end came");
    buffer
}

const CLOSE_1012: &[u8] = b"\x88\x02\x03\xf4";

#[tokio::test]
async fn row_14_a_websocket_of_a_copy_that_moves_alone_is_told_to_come_again() {
    for dies in [true, false] {
        let (old, new) = (App::http(1, 1).await, App::http(2, 2).await);
        let (mut ground, at) = Ground::http(&old).await;
        let mut io = websocket(at).await;
        io.write_all(b"\x82\x02ab").await.unwrap();
        assert_eq!(read(&mut io, 4).await, b"\x82\x02ab", "bytes go both ways");
        let observed = ground.observed();
        assert_eq!(observed.under_way, [(old.backend.assignment, 1)]);
        assert_eq!(observed.long_lived, [(old.backend.assignment, 1)]);
        ground.hold(5_000, &[&old]);
        if dies {
            // Sealed: the software is stopped.
            old.kill();
        } else {
            // Out of sight: only the route tells that it has handed over.
            ground.serve(&[&new]);
        }
        assert_eq!(rest(&mut io).await, CLOSE_1012, "dies: {dies}");
        drop(io);
        until("the end", || ground.observed().under_way.is_empty().then_some(())).await;
        let counters = ground.observed().counters;
        assert_eq!((counters.cut, counters.stalls[0].cut, counters.failed), (1, 1, 0));
    }
}

#[tokio::test]
async fn row_14_the_close_comes_between_two_frames() {
    let (old, new) = (App::http(1, 1).await, App::http(2, 2).await);
    let (mut ground, at) = Ground::http(&old).await;
    let mut io = websocket(at).await;
    // The software is in the middle of a frame when the copy moves.
    io.write_all(b"\x82\x06abc").await.unwrap();
    assert_eq!(read(&mut io, 5).await, b"\x82\x06abc");
    ground.hold(5_000, &[&old]);
    ground.serve(&[&new]);
    let early = tokio::time::timeout(Duration::from_millis(100), io.read_u8()).await;
    assert!(early.is_err(), "something was put into the frame");
    io.write_all(b"def\x82\x03xyz").await.unwrap();
    let all = rest(&mut io).await;
    let frames = all.strip_suffix(CLOSE_1012).unwrap();
    assert!(frames == b"def" || frames == b"def\x82\x03xyz", "{frames:?}");
}

#[tokio::test]
async fn a_websocket_stays_on_its_copy_while_that_drains() {
    let (old, new) = (App::http(1, 1).await, App::http(2, 2).await);
    let (mut ground, at) = Ground::http(&old).await;
    let mut io = websocket(at).await;
    ground.serve(&[&new]);
    io.write_all(b"\x82\x02ab").await.unwrap();
    assert_eq!(read(&mut io, 4).await, b"\x82\x02ab");
    assert_eq!(ground.observed().long_lived, [(old.backend.assignment, 1)]);
    io.shutdown().await.unwrap();
    drop(io);
    until("the end", || ground.observed().under_way.is_empty().then_some(())).await;
    assert_eq!(ground.observed().counters.cut, 0, "the client ended it");
}

#[tokio::test]
async fn events_are_long_lived() {
    let app = App::http(1, 1).await;
    let (ground, at) = Ground::http(&app).await;
    let mut sender = one(at).await;
    let response = sender.send_request(request(Method::GET, "/events", "")).await.unwrap();
    assert_eq!(ground.observed().long_lived, [(app.backend.assignment, 1)]);
    drop((response, sender));
    until("the end", || ground.observed().under_way.is_empty().then_some(())).await;
}

#[tokio::test]
async fn row_15_open_tcp_connections_are_reported_cut_and_new_ones_served() {
    let (old, new) = (App::echo(1, 1).await, App::echo(2, 2).await);
    let mut ground = Ground::new(PortMode::Tcp);
    ground.serve(&[&old]);
    let at = ground.address().await;
    let mut open = Vec::new();
    for _ in 0..10 {
        let mut stream = TcpStream::connect(at).await.unwrap();
        assert_eq!(read(&mut stream, 5).await, b"copy1");
        open.push(stream);
    }
    assert_eq!(ground.observed().long_lived, [(old.backend.assignment, 10)]);
    ground.hold(5_000, &[&old]);
    let mut fresh = Vec::new();
    for n in 0..10_u8 {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(&[n; 3]).await.unwrap();
        // One has said all it has to say and still listens.
        if n == 0 {
            stream.shutdown().await.unwrap();
        }
        fresh.push(stream);
    }
    ground.waiting(10).await;
    old.kill();
    for stream in &mut open {
        assert_eq!(rest(stream).await, b"");
    }
    ground.serve(&[&new]);
    for (n, stream) in (0..).zip(&mut fresh) {
        assert_eq!(read(stream, 8).await, [&b"copy2"[..], &[n; 3]].concat());
    }
    assert_eq!(rest(&mut fresh[0]).await, b"", "half-closed as the client did");
    drop(open);
    until("the end", || (ground.observed().under_way == [(new.backend.assignment, 9)]).then_some(())).await;
    let counters = ground.observed().counters;
    assert_eq!((counters.requests, counters.cut, counters.stalls[0].cut, counters.failed), (20, 10, 10, 0));
}

#[tokio::test]
async fn tcp_connections_to_a_copy_that_moved_out_of_sight_are_ended() {
    let (old, new) = (App::echo(1, 1).await, App::echo(2, 2).await);
    let mut ground = Ground::new(PortMode::Tcp);
    ground.serve(&[&old]);
    let mut stream = TcpStream::connect(ground.address().await).await.unwrap();
    assert_eq!(read(&mut stream, 5).await, b"copy1");
    ground.hold(5_000, &[&old]);
    ground.serve(&[&new]);
    assert_eq!(rest(&mut stream).await, b"");
    assert_eq!(ground.observed().counters.cut, 1);
}

#[tokio::test]
async fn many_bytes_go_through_intact() {
    let app = App::echo(1, 1).await;
    let mut ground = Ground::new(PortMode::Tcp);
    ground.serve(&[&app]);
    let stream = TcpStream::connect(ground.address().await).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let writer = tokio::spawn(async move {
        for n in 0..500_u32 {
            to.write_all(&n.to_le_bytes().repeat(16_384)).await.unwrap();
        }
        to.shutdown().await.unwrap();
    });
    assert_eq!(read(&mut from, 5).await, b"copy1");
    for n in 0..500_u32 {
        assert_eq!(read(&mut from, 65_536).await, n.to_le_bytes().repeat(16_384));
    }
    assert!(rest(&mut from).await.is_empty());
    writer.await.unwrap();
}
