//! Bodies and headers that mean harm; and the stream of events, which must end when it shall.

use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{ACME, GLOBEX, OPERATOR, World, order, request};

#[tokio::test]
async fn hostile_bodies_are_refused() {
    let world = World::new().await;
    world.publish("notes", "1.0.0").await.expect(201);
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let mut unknown = order("x");
    unknown["software"]["colour"] = "red".into();
    let rows: Vec<(&str, Vec<u8>, &str)> = vec![
        ("orders", deep.clone().into_bytes(), "E0110"),
        ("orders", format!(r#"{{"name":"x","software":{deep}}}"#).into_bytes(), "E0110"),
        ("orders", vec![b' '; 17 << 20], "E0112"),
        ("parties", vec![b' '; (1 << 20) + 1], "E0112"),
        ("orders", b"\0".to_vec(), "E0110"),
        ("orders", vec![0xff, 0xfe], "E0110"),
        ("orders", Vec::new(), "E0110"),
        ("orders", unknown.to_string().into_bytes(), "E0110"),
        ("orders", br#"{"name":"a","name":"b","software":{"command":[]}}"#.to_vec(), "E0110"),
        ("parties", br#"{"name":"a\u0000b","roles":["customer"]}"#.to_vec(), "E0111"),
        ("orders", br#"{"name":"x","software":{"command":["x"],"limits":{"cpu":1e999}}}"#.to_vec(), "E0110"),
        (
            "orders",
            br#"{"name":"x","software":{"command":["x"],"limits":{"memory":"99999999999 TiB"}}}"#.to_vec(),
            "E0110",
        ),
    ];
    for (index, (path, body, code)) in rows.into_iter().enumerate() {
        // The operator names the customer, so that the body alone is what is wrong.
        let request = request("POST", &format!("/api/v1/{path}"), if path == "orders" { ACME } else { OPERATOR })
            .header("idempotency-key", format!("hostile-{index}"));
        let response = world.send(request.body(Body::from(body)).unwrap()).await;
        assert_eq!(response.code(), code, "row {index}: {}", response.text);
        assert!(response.text.len() < 4_096, "row {index} is answered at length");
    }
    assert!(world.writer.snapshot().orders.is_empty());
}

#[tokio::test]
async fn an_unknown_field_is_named() {
    let world = World::new().await;
    let mut unknown = order("x");
    unknown["software"]["limits"]["colour"] = "red".into();
    let response = world.post(ACME, "/api/v1/orders", unknown).await;
    response.refused("E0110");
    assert_eq!(response.body["errors"][0]["pointer"], "software.limits.colour");
}

#[tokio::test]
async fn a_broken_off_upload_leaves_nothing() {
    let world = World::new().await;
    let digest = blake3::hash(b"whole content").to_hex().to_string();
    let path = format!("/api/v1/blobs/{digest}");
    let pieces = futures_util::stream::iter([Ok("whole "), Err(std::io::Error::other("gone"))]);
    let response = world.send(request("PUT", &path, ACME).body(Body::from_stream(pieces)).unwrap()).await;
    response.refused("E0110");
    world.get(ACME, &path).await.refused("E0130");
    let huge = request("PUT", &path, ACME).header("content-length", (5_u64 << 30).to_string());
    world.send(huge.body(Body::empty()).unwrap()).await.refused("E0112");
    world.change("PUT", ACME, "/api/v1/blobs/xyz", None, Value::Null).await.refused("E0110");
}

#[tokio::test]
async fn a_web_page_under_a_foreign_name_is_refused() {
    let world = World::new().await;
    let page =
        request("GET", "/api/v1/orders", ACME).header("origin", "http://evil.example").header("host", "evil.example");
    world.send(page.body(Body::empty()).unwrap()).await.refused("E0121");
    let local =
        request("GET", "/api/v1/orders", ACME).header("origin", "http://localhost").header("host", "localhost:7480");
    let response = world.send(local.body(Body::empty()).unwrap()).await;
    assert_eq!(response.headers["x-content-type-options"], "nosniff");
    assert_eq!(response.headers["cache-control"], "no-store");
    response.expect(200);
}

/// Reads a stream of events until `enough` of its text says so.
async fn read_until(body: &mut axum::body::BodyDataStream, enough: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    let reading = async {
        while !enough(&text) {
            match body.next().await {
                Some(piece) => text.push_str(&String::from_utf8_lossy(&piece.unwrap())),
                None => break,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading).await.unwrap();
    text
}

#[tokio::test]
async fn events_stream_from_where_one_was_and_end_with_the_token() {
    let world = World::new().await;
    world.notes().await;
    let last = world.writer.snapshot().last_event;
    let stream = async |token: &str, after: u64| {
        let request = request("GET", "/api/v1/events/stream", token).header("last-event-id", after);
        let response = world.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        response.into_body().into_data_stream()
    };
    let ids = |text: &str| -> Vec<u64> {
        text.lines().filter_map(|l| l.strip_prefix("id: ")).map(|id| id.parse().unwrap()).collect()
    };
    let mut all = stream(OPERATOR, 0).await;
    let text = read_until(&mut all, |t| ids(t).last() == Some(&last)).await;
    assert_eq!(ids(&text), (1..=last).collect::<Vec<_>>());

    let (mut acme, mut globex) = (stream(ACME, last).await, stream(GLOBEX, last).await);
    world.post(GLOBEX, "/api/v1/orders", order("theirs")).await.expect(201);
    world.post(ACME, "/api/v1/orders", order("ours")).await.expect(201);
    let text = read_until(&mut acme, |t| t.contains("data: ") && t.ends_with("\n\n")).await;
    assert!(text.contains("\"ours\"") && !text.contains("theirs"), "{text}");
    let text = read_until(&mut globex, |t| t.contains("data: ") && t.ends_with("\n\n")).await;
    assert!(text.contains("\"theirs\"") && !text.contains("ours"), "{text}");

    let token = chandler_protocol::TokenId::from_random([2; 10]);
    world.change("DELETE", OPERATOR, &format!("/api/v1/tokens/{token}"), None, Value::Null).await;
    let rest = read_until(&mut globex, |_| false).await;
    assert!(!rest.contains("data: "), "{rest}");
}

#[tokio::test]
async fn the_server_stops_although_somebody_listens() {
    let world = World::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let state = world.state();
    let server = tokio::spawn(crate::api::serve(listener, state, async move {
        let _ = stopped.await;
    }));
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let ask =
        format!("GET /api/v1/events/stream HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {OPERATOR}\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut socket, ask.as_bytes()).await.unwrap();
    let mut head = [0_u8; 12];
    tokio::io::AsyncReadExt::read_exact(&mut socket, &mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(5), server).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn pages_of_events_follow_each_other() {
    let world = World::new().await;
    world.notes().await;
    let (mut after, mut seen) = (json!("0"), Vec::new());
    while let Some(from) = after.as_str() {
        let page = world.get(OPERATOR, &format!("/api/v1/events?limit=2&after={from}")).await.expect(200);
        seen.extend(page["items"].as_array().unwrap().iter().map(|e| e["id"].as_u64().unwrap()));
        after = page["nextPageToken"].clone();
    }
    assert_eq!(seen, (1..=world.writer.snapshot().last_event).collect::<Vec<_>>());
}
