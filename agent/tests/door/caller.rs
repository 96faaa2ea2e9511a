//! Clients: one request on a new connection, many at once, and raw bytes.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// No test waits longer than this for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) body: Bytes,
}

impl Said {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The reason that a door gives for its own answers.
    pub(crate) fn reason(&self) -> &str {
        self.headers.get("chandler-door").map_or("", |v| v.to_str().unwrap())
    }
}

pub(crate) fn request(method: Method, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri(path).header("host", "notes.example");
    request.body(Full::new(body.into())).unwrap()
}

pub(crate) async fn whole(response: Response<Incoming>) -> hyper::Result<Said> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await?;
    let trailers = body.trailers().cloned();
    Ok(Said { status: parts.status, headers: parts.headers, trailers, body: body.to_bytes() })
}

/// A connection of HTTP/1.1.
pub(crate) async fn one(at: SocketAddr) -> http1::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(at).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    sender
}

/// A connection of HTTP/2.
pub(crate) async fn two(at: SocketAddr) -> http2::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(at).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// One request on a connection of its own.
pub(crate) async fn send(at: SocketAddr, method: Method, path: &str, body: impl Into<Bytes>) -> hyper::Result<Said> {
    let mut sender = one(at).await;
    let response = tokio::time::timeout(PATIENCE, sender.send_request(request(method, path, body))).await;
    whole(response.expect("no answer")?).await
}

pub(crate) async fn get(at: SocketAddr, path: &str) -> Said {
    send(at, Method::GET, path, "").await.unwrap()
}

pub(crate) async fn post(at: SocketAddr, path: &str) -> Said {
    send(at, Method::POST, path, "body").await.unwrap()
}
