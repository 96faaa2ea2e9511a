//! The typed client against a stub: what it sends, what it makes of answers, and when it tries again.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

#[path = "support/stub.rs"]
mod stub;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use chandler_api::artifact::ArtifactPublish;
use chandler_api::client::{Client, ClientError, Content, Feed, all};
use chandler_api::page::PageQuery;
use chandler_api::party::{PartyCreate, PartyRole};
use chandler_api::problem::{NOT_FOUND, Problem};
use chandler_api::service::LogQuery;
use chandler_api::site::SiteUpdate;
use chandler_protocol::Digest;
use serde_json::json;
use stub::{Response, Stub};

fn party() -> serde_json::Value {
    json!({ "id": "p-000g40o40k30e21v", "name": "acme", "roles": ["customer"] })
}

fn client(stub: &Stub) -> Client {
    Client::new(&stub.url, Some("s3cret")).unwrap()
}

/// An address where nobody listens.
fn nobody() -> std::net::SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_controller_that_is_not_there_is_tried_three_times_over_two_seconds() {
    let address = nobody();
    let started = Instant::now();
    let error = Client::new(&format!("http://{address}"), None).unwrap().status().await.unwrap_err();
    assert_eq!(error.code(), "E0107");
    let text = error.to_string();
    // At least two seconds; a busy machine takes longer.
    assert!(text.starts_with(&format!("{address} refused the connection (3 tries, ")), "{text}");
    assert!(started.elapsed() >= Duration::from_secs(2));
}

#[tokio::test]
async fn a_post_that_found_nobody_arrives_once_somebody_listens() {
    let address = nobody();
    let late = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        Stub::on(TcpListener::bind(address).unwrap(), |_| Response::json(201, &party()))
    });
    let client = Client::new(&format!("http://{address}"), None).unwrap();
    let create = PartyCreate { name: "acme".to_owned(), roles: vec![PartyRole::Customer] };
    client.party_create(&create).await.unwrap();
    let requests = late.join().unwrap().requests();
    assert_eq!(requests.len(), 1);
    let key = requests[0].header("idempotency-key").unwrap();
    assert!(key.len() == 32 && key.bytes().all(|b| b.is_ascii_hexdigit()), "{key}");
    assert_eq!(serde_json::from_slice::<PartyCreate>(&requests[0].body).unwrap(), create);
}

#[tokio::test]
async fn a_change_without_a_key_is_tried_once() {
    let client = Client::new(&format!("http://{}", nobody()), None).unwrap();
    let error = client.site_update("x", &SiteUpdate::default(), "\"1\"").await.unwrap_err();
    assert!(error.to_string().contains("(1 try, "), "{error}");
}

#[tokio::test]
async fn each_post_has_its_own_key_and_signs_in() {
    let stub = Stub::start(|_| Response::json(201, &party()));
    let create = PartyCreate { name: "acme".to_owned(), roles: Vec::new() };
    for _ in 0..2 {
        client(&stub).party_create(&create).await.unwrap();
    }
    let requests = stub.requests();
    assert_ne!(requests[0].header("idempotency-key"), requests[1].header("idempotency-key"));
    assert_eq!(requests[0].header("authorization"), Some("Bearer s3cret"));
    assert!(!format!("{:?}", client(&stub)).contains("s3cret"));
}

#[tokio::test]
async fn errors_keep_what_the_controller_said() {
    let stub = Stub::start(|request| match request.route().as_str() {
        "GET /api/v1/parties/problem" => {
            let problem = Problem::new(NOT_FOUND, "no party is called problem");
            Response::json(404, &serde_json::to_value(problem).unwrap())
        }
        "GET /api/v1/parties/proxy" => Response::raw(502, b"<html>bad gateway</html>"),
        "GET /api/v1/parties/moved" => Response::raw(302, b"").with("location", "/api/v1/parties/elsewhere"),
        "GET /api/v1/parties/nonsense" => Response::raw(200, b"{\"id\": 7}"),
        other => panic!("{other} was asked for"),
    });
    let client = client(&stub);
    let error = client.party("problem").await.unwrap_err();
    assert!(matches!(&error, ClientError::Problem(p) if p.detail == "no party is called problem"), "{error:?}");
    assert_eq!(error.code(), "E0130");
    assert_eq!(client.party("proxy").await.unwrap_err().code(), "E0108");
    assert_eq!(client.party("moved").await.unwrap_err().code(), "E0100");
    assert!(matches!(client.party("nonsense").await.unwrap_err(), ClientError::Decode { .. }));
}

#[tokio::test]
async fn names_cannot_leave_their_place_in_the_path() {
    let stub = Stub::start(|_| Response::json(200, &party()));
    let client = client(&stub);
    client.party("a/b ?\u{fc}").await.unwrap();
    assert_eq!(stub.routes(), ["GET /api/v1/parties/a%2Fb%20%3F%C3%BC"]);
    for bad in ["", ".", ".."] {
        assert_eq!(client.party(bad).await.unwrap_err().code(), "E0130", "{bad:?}");
    }
    assert_eq!(stub.requests().len(), 1);
}

#[tokio::test]
async fn a_change_names_the_version_that_was_read() {
    let site = json!({
        "id": "s-000g40o40k30e21v", "name": "berlin-1", "owner": "lab", "role": "remote", "country": "DE", "hosts": 1,
        "rates": { "coreHour": { "micros": 1, "currency": "EUR" }, "gibHour": { "micros": 1, "currency": "EUR" } },
    });
    let stub = Stub::start(move |_| Response::json(200, &site).with("etag", "\"v7\""));
    let client = client(&stub);
    let read = client.site("berlin-1").await.unwrap();
    client.site_update("berlin-1", &SiteUpdate::default(), &read.etag).await.unwrap();
    let change = &stub.requests()[1];
    assert_eq!((change.route().as_str(), change.header("if-match")), ("PATCH /api/v1/sites/berlin-1", Some("\"v7\"")));
}

#[tokio::test]
async fn all_pages_of_a_list_are_read() {
    let stub = Stub::start(|request| {
        let last = request.target.contains("pageToken=next%2B1");
        let page = if last {
            json!({ "items": [party()] })
        } else {
            json!({ "items": [party(), party()], "nextPageToken": "next+1" })
        };
        Response::json(200, &page)
    });
    let client = client(&stub);
    assert_eq!(all(|page| client.parties(page)).await.unwrap().len(), 3);
    assert_eq!(stub.requests().len(), 2);
    assert!(stub.requests()[0].target.ends_with("parties?limit=500"));
    client.parties(PageQuery::default()).await.unwrap();
    assert!(stub.requests()[2].target.ends_with("/parties"), "{}", stub.requests()[2].target);
}

#[tokio::test]
async fn files_are_sent_whole_and_absence_is_no_error() {
    let stub = Stub::start(|request| match request.method.as_str() {
        "GET" => Response::json(404, &serde_json::to_value(Problem::new(NOT_FOUND, "no such blob")).unwrap()),
        _ => Response::json(
            201,
            &json!({
                "digest": Digest([7; 32]).to_string(), "length": 3,
                "name": "n", "version": "1", "platform": "any", "size": "3 B", "publishedAt": "2026-11-22T09:14:00Z",
            }),
        ),
    });
    let client = client(&stub);
    let digest = Digest([7; 32]);
    assert_eq!(client.blob(&digest).await.unwrap(), None);
    let dir = std::env::temp_dir().join(format!("chandler-client-{}", std::process::id()));
    let content: Vec<u8> = (0..700_000_u32).map(|i| i.to_le_bytes()[0]).collect();
    std::fs::write(&dir, &content).unwrap();
    let put = client.blob_put(&digest, Content::file(&dir)).await;
    std::fs::remove_file(&dir).unwrap();
    put.unwrap();
    assert_eq!(stub.requests()[1].body, content);
    let what = ArtifactPublish { name: "n".to_owned(), version: "1".to_owned(), platform: "any".to_owned(), digest };
    client.artifact_publish(&what, b"tar".to_vec().into()).await.unwrap();
    let publish = &stub.requests()[2];
    assert_eq!(publish.header("content-type"), Some("application/x-tar"));
    assert!(publish.target.contains("name=n") && publish.target.contains(&format!("digest={digest}")));
    assert!(client.blob_put(&digest, Content::file("/nowhere/at/all")).await.is_err());
}

#[tokio::test]
async fn a_lost_event_stream_goes_on_after_the_last_event() {
    let event = |id: u64| {
        let event = json!({
            "id": id, "at": "2026-11-22T09:14:00Z", "by": "x", "noun": "host", "subject": "h-1", "name": "",
            "from": "", "to": "active", "reason": "",
        });
        format!("id: {id}\r\nevent: event\r\ndata: {event}\r\n\r\n")
    };
    let (first, second) = (format!(": hello\n\n{}{}", event(1), event(2)), format!("event: reset\n\n{}", event(9)));
    let stub = Stub::start(move |request| {
        let body = if request.header("last-event-id") == Some("0") { &first } else { &second };
        Response::raw(200, body.as_bytes()).with("content-type", "text/event-stream")
    });
    let client = client(&stub);
    let mut stream = client.event_stream(0);
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(match stream.next().await.unwrap() {
            Feed::Event(event) => event.id,
            Feed::Reset => 0,
        });
    }
    assert_eq!(seen, [1, 2, 0, 9]);
    assert_eq!(stub.requests()[1].header("last-event-id"), Some("2"));
    assert!(stub.requests()[1].target.contains("after=2"));
}

#[tokio::test]
async fn queries_and_outputs_reach_their_routes() {
    let stub = Stub::start(|request| match request.route().as_str() {
        "GET /api/v1/services/notes/logs" => {
            Response::json(200, &json!({ "host": "h", "offset": 5, "end": 6, "text": "x" }))
        }
        "GET /api/v1/services/svc-1/outputs/out/a%20b.txt" => Response::raw(200, b"bytes"),
        other => panic!("{other} was asked for"),
    });
    let client = client(&stub);
    let query = LogQuery { stream: Some("stderr".to_owned()), offset: Some(5) };
    assert_eq!(client.service_logs("notes", &query).await.unwrap().end, 6);
    let target = stub.requests()[0].target.clone();
    assert!(target.contains("stream=stderr") && target.contains("offset=5"), "{target}");
    let download = client.service_output("svc-1", "out/a b.txt").await.unwrap();
    assert_eq!(download.bytes(100).await.unwrap(), b"bytes");
    let download = client.service_output("svc-1", "out/a b.txt").await.unwrap();
    assert!(download.bytes(4).await.is_err());
}

#[test]
fn addresses_that_cannot_be_are_refused() {
    for bad in ["", "127.0.0.1:7480", "https://ctl.example", "http://user:pw@ctl.example", "ftp://ctl.example"] {
        assert!(Client::new(bad, None).is_err(), "{bad} was taken for an address");
    }
    assert!(Client::new("http://127.0.0.1:7480", Some("new\nline")).is_err());
}
