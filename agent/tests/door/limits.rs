//! What may wait at a door, and who feels it when no more may.

use std::time::Duration;

use chandler_protocol::Bytes;
use chandler_protocol::workload::PortMode;
use hyper::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::app::App;
use crate::caller::{get, one, request, send, whole};
use crate::ground::Ground;

#[tokio::test]
async fn row_04_beyond_the_limit_nothing_is_read_and_nobody_is_sent_away() {
    let (old, new) = (App::http(1, 1).await, App::http(2, 2).await);
    let (mut ground, at) = Ground::http(&old).await;
    // Some are connected already, most come during the hold.
    let mut idle = Vec::new();
    for _ in 0..20 {
        let mut sender = one(at).await;
        whole(sender.send_request(request(Method::GET, "/warm", "")).await.unwrap()).await.unwrap();
        idle.push(sender);
    }
    ground.door.limits.bytes = Bytes(1 << 20);
    ground.hold(9_000, &[&old]);
    let mut clients = JoinSet::new();
    for n in 0..100_u8 {
        let body = vec![n; 256 << 10];
        if let Some(mut sender) = idle.pop() {
            clients.spawn(async move {
                let said = whole(sender.send_request(request(Method::POST, "/echo", body)).await.unwrap()).await;
                (n, said.unwrap())
            });
        } else {
            clients.spawn(async move { (n, send(at, Method::POST, "/echo", body).await.unwrap()) });
        }
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let waiting = ground.observed().waiting;
    assert!((10..=20).contains(&waiting), "{waiting} of 64 KiB each wait, 16 may");
    assert!(clients.try_join_next().is_none(), "nobody was sent away");
    ground.serve(&[&new]);
    for (n, said) in clients.join_all().await {
        assert_eq!(said.status, 200);
        assert!(said.body.len() == 256 << 10 && said.body.iter().all(|b| *b == n), "a body was damaged");
    }
    assert_eq!(ground.observed().counters.held_too_long, 0);
}

#[tokio::test]
async fn beyond_the_limit_of_requests_connections_are_left_to_the_system() {
    let (old, new) = (App::http(1, 1).await, App::http(2, 2).await);
    let (mut ground, at) = Ground::http(&old).await;
    ground.door.limits.requests = 10;
    ground.hold(9_000, &[&old]);
    let mut clients = JoinSet::new();
    for n in 0..200 {
        clients.spawn(async move { send(at, Method::POST, &format!("/do/{n}"), "x").await.unwrap().status });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let waiting = ground.observed().waiting;
    assert!((10..=12).contains(&waiting), "{waiting} wait, 10 may");
    ground.serve(&[&new]);
    assert!(clients.join_all().await.iter().all(|s| *s == 200));
    assert_eq!(new.executed().len(), 200);
}

#[tokio::test]
async fn row_11_a_large_body_is_held_back_at_its_sender_and_arrives_whole() {
    let (old, new) = (App::http(1, 1).await, App::http(2, 2).await);
    let (mut ground, at) = Ground::http(&old).await;
    ground.hold(9_000, &[&old]);
    // 1 MiB, whole, and one that no buffer on the way can hold.
    let small = tokio::spawn(async move { send(at, Method::POST, "/echo", vec![7; 1 << 20]).await.unwrap() });
    let mut stream = TcpStream::connect(at).await.unwrap();
    let size = 64 << 20;
    let head = format!("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = sent.clone();
    let writer = tokio::spawn(async move {
        for n in 0..size / 65_536 {
            write.write_all(&[u8::try_from(n % 251).unwrap(); 65_536]).await.unwrap();
            counted.fetch_add(65_536, std::sync::atomic::Ordering::Relaxed);
        }
        write
    });
    ground.waiting(2).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let held = sent.load(std::sync::atomic::Ordering::Relaxed);
    assert!(held < 16 << 20, "{held} bytes were taken although nothing may go on");
    ground.serve(&[&new]);
    let mut answer = Vec::new();
    read.read_to_end(&mut answer).await.unwrap();
    writer.await.unwrap();
    let body = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(answer.len() - body, size);
    let intact = answer[body..].chunks(65_536).enumerate().all(|(n, c)| c.iter().all(|b| usize::from(*b) == n % 251));
    assert!(intact);
    assert_eq!(small.await.unwrap().body, vec![7; 1 << 20]);
}

#[tokio::test]
async fn row_12_no_body_is_asked_for_before_its_request_may_go() {
    let (old, new) = (App::http(1, 1).await, App::http(2, 2).await);
    let (mut ground, at) = Ground::http(&old).await;
    ground.hold(9_000, &[&old]);
    let mut stream = TcpStream::connect(at).await.unwrap();
    let head = "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    ground.waiting(1).await;
    let mut buffer = [0; 1_024];
    let early = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut buffer)).await;
    assert!(early.is_err(), "{early:?} bytes came too early");
    ground.serve(&[&new]);
    let got = stream.read(&mut buffer).await.unwrap();
    assert!(buffer[..got].starts_with(b"HTTP/1.1 100 Continue\r\n\r\n"));
    stream.write_all(b"hello").await.unwrap();
    let mut text = String::new();
    while !text.ends_with("hello") {
        let got = stream.read(&mut buffer).await.unwrap();
        assert!(got > 0, "it ended after {text:?}");
        text.push_str(std::str::from_utf8(&buffer[..got]).unwrap());
    }
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_and_tried_again() {
    let app = App::http(1, 1).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let number = taken.local_addr().unwrap().port();
    let mut ground = Ground::new(PortMode::Http);
    ground.door.ports[0].number = Some(number);
    ground.serve(&[&app]);
    crate::ground::until("a message", || (!ground.observed().message.is_empty()).then_some(())).await;
    let observed = ground.observed();
    assert!(observed.message.contains(&format!("127.0.0.1:{number}")), "{}", observed.message);
    assert!(observed.addresses.is_empty() && ground.doors.addresses().is_empty());
    drop(taken);
    let at = ground.address().await;
    assert_eq!((at.port(), ground.observed().message.as_str()), (number, ""));
    assert_eq!(get(at, "/").await.status, 200);
}

#[tokio::test]
async fn others_on_the_network_reach_a_door_that_is_opened_to_them() {
    let app = App::http(1, 1).await;
    let mut ground = Ground::new(PortMode::Http);
    ground.serve(&[&app]);
    let alone = ground.address().await;
    // Another address of this computer stands for that of a network.
    ground.door.ports[0].lan = Some([127, 0, 0, 2].into());
    ground.update();
    crate::ground::until("both", || (ground.observed().addresses.len() == 2).then_some(())).await;
    let addresses: Vec<_> = ground.observed().addresses.into_iter().map(|(_, a)| a).collect();
    assert_eq!(addresses, [alone, ([127, 0, 0, 2], alone.port()).into()], "the number stays");
    for at in addresses {
        assert_eq!(get(at, "/").await.status, 200);
    }
    assert_eq!(ground.address().await, alone, "software on this computer uses the nearest one");
}
