//! HTTP/2 through a door: many requests on one connection, trailers, and a door that closes.

use std::time::Duration;

use http_body_util::Full;
use hyper::{Method, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::app::App;
use crate::caller::{get, one, request, two, whole};
use crate::ground::{Ground, until};

fn asked(at: std::net::SocketAddr, method: Method, path: &str) -> Request<Full<bytes::Bytes>> {
    Request::builder().method(method).uri(format!("http://{at}{path}")).body(Full::new("body".into())).unwrap()
}

#[tokio::test]
async fn requests_of_one_connection_are_held_and_go_on() {
    let (old, new) = (App::http(1, 1).await, App::http(2, 2).await);
    let (mut ground, at) = Ground::http(&old).await;
    let mut sender = two(at).await;
    let said = whole(sender.send_request(asked(at, Method::POST, "/trailers")).await.unwrap()).await.unwrap();
    assert_eq!(said.trailers.unwrap()["grpc-status"], "0");
    ground.hold(5_000, &[&old]);
    let mut answers = JoinSet::new();
    for n in 0..100 {
        let sending = sender.send_request(asked(at, Method::POST, &format!("/do/{n}")));
        answers.spawn(async move { whole(sending.await.unwrap()).await.unwrap() });
    }
    ground.waiting(100).await;
    ground.serve(&[&new]);
    for said in answers.join_all().await {
        assert_eq!((said.status.as_u16(), said.text()), (200, "copy2"));
    }
    assert_eq!(new.executed().len(), 100);
    assert!(new.accepted() <= 64, "they share streams: {}", new.accepted());
}

#[tokio::test]
async fn who_gives_up_one_request_frees_its_place() {
    let old = App::http(1, 1).await;
    let (mut ground, at) = Ground::http(&old).await;
    let mut sender = two(at).await;
    ground.hold(9_000, &[&old]);
    let sending = tokio::spawn(sender.send_request(asked(at, Method::POST, "/do/1")));
    ground.waiting(1).await;
    sending.abort();
    ground.waiting(0).await;
}

/// Reads frames of HTTP/2 until one of this type came; gives its payload.
async fn frame(stream: &mut TcpStream, wanted: u8) -> Vec<u8> {
    loop {
        let mut head = [0; 9];
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read_exact(&mut head)).await;
        read.expect("no such frame came").unwrap();
        let size = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; size];
        stream.read_exact(&mut payload).await.unwrap();
        if head[3] == wanted && head[4] & 1 == 0 {
            return payload;
        }
    }
}

#[tokio::test]
async fn row_13_an_idle_connection_gets_both_goaways_when_the_door_closes() {
    let app = App::http(1, 1).await;
    let (ground, at) = Ground::http(&app).await;
    let mut idle = TcpStream::connect(at).await.unwrap();
    idle.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    frame(&mut idle, 4).await;
    // One that is not idle: what is under way is not lost.
    let mut busy = two(at).await;
    let slow = tokio::spawn(busy.send_request(asked(at, Method::POST, "/slow/300")));
    until("the request", || (!app.executed().is_empty()).then_some(())).await;
    ground.doors.update(&[]);
    let goaway = frame(&mut idle, 7).await;
    assert_eq!(goaway[..4], [0x7f, 0xff, 0xff, 0xff], "first the highest number there is");
    let ping = frame(&mut idle, 6).await;
    idle.write_all(&[&b"\0\0\x08\x06\x01\0\0\0\0"[..], &ping].concat()).await.unwrap();
    let goaway = frame(&mut idle, 7).await;
    assert_eq!(goaway[..4], [0, 0, 0, 0], "then the real one");
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn a_door_that_closes_lets_requests_under_way_end() {
    let app = App::http(1, 1).await;
    let (mut ground, at) = Ground::http(&app).await;
    let mut idle = one(at).await;
    whole(idle.send_request(request(Method::GET, "/do/1", "")).await.unwrap()).await.unwrap();
    let slow = tokio::spawn(async move { get(at, "/slow/300").await });
    until("the request", || (app.executed().len() == 2).then_some(())).await;
    ground.hold(9_000, &[&app]);
    let held = tokio::spawn(async move { get(at, "/do/2").await });
    ground.waiting(1).await;
    ground.doors.update(&[]);
    let said = slow.await.unwrap();
    assert_eq!((said.status.as_u16(), said.headers["connection"].to_str().unwrap()), (200, "close"));
    assert_eq!(held.await.unwrap().reason(), "closed");
    until("the end of the idle connection", || idle.is_closed().then_some(())).await;
    assert!(TcpStream::connect(at).await.is_err(), "nobody listens any more");
    assert!(ground.doors.observed().is_empty());
}
