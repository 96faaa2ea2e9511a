//! Who calls a controller with another's keys: over real sockets, with the certificates that its partners pinned.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use chandler_controller::federation::Identity;
use chandler_controller::federation::tls::{self, Anchors};
use chandler_controller::world::{SystemClock, SystemRandom};
use chandler_protocol::world::Clock;
use chandler_tests::fleet::Fleet;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{BASE, BODY_MAX};

/// The keys of a controller, out of its data directory.
pub(super) fn stolen(fleet: &Fleet) -> Result<Arc<Identity>> {
    Ok(Arc::new(Identity::open(&fleet.data_dir(), SystemClock.now(), Arc::new(SystemRandom))?))
}

/// How a controller's listener greets its partners.
pub(super) fn posing_as(fleet: &Fleet) -> Result<rustls::ServerConfig> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Ok(tls::listening(&stolen(fleet)?, &clock)?)
}

/// Calls one controller in another's name.
pub(crate) struct Caller {
    to: SocketAddr,
    tls: TlsConnector,
    /// The CA in whose name it calls.
    pub(super) ca: Vec<u8>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: StatusCode,
    pub(super) media: String,
    pub(super) body: Bytes,
}

impl Said {
    /// The answer, if it is JSON.
    pub(crate) fn json(&self) -> Option<Value> {
        self.media.contains("json").then(|| serde_json::from_slice(&self.body).ok()).flatten()
    }
}

impl Caller {
    /// Calls `seller` as `buyer` does.
    pub(crate) fn of(buyer: &Fleet, seller: &Fleet) -> Result<Self> {
        let (own, theirs) = (stolen(buyer)?, stolen(seller)?);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let tls = tls::calling(&own, &clock, Anchors::Pinned(vec![theirs.ca()]), &theirs.trust_domain())?;
        let to = seller.federation.context("it listens for partners")?;
        Ok(Self { to, tls: TlsConnector::from(Arc::new(tls)), ca: own.ca() })
    }

    /// One call on a connection of its own.
    pub(super) async fn call(&self, method: Method, path: &str, media: Option<&str>, body: Bytes) -> Result<Said> {
        let stream = TcpStream::connect(self.to).await?;
        stream.set_nodelay(true)?;
        let stream = self.tls.connect("controller".try_into()?, stream).await?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        let talk = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, self.to.to_string());
        if let Some(media) = media {
            request = request.header(header::CONTENT_TYPE, media);
        }
        let response = sender.send_request(request.body(Body::from(body))?).await?;
        let status = response.status();
        let media = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let media = media.unwrap_or("application/octet-stream").to_owned();
        let body = to_bytes(Body::new(response.into_body()), BODY_MAX).await?;
        talk.abort();
        Ok(Said { status, media, body })
    }

    /// Says or asks something in JSON; gives the status and the answer.
    pub(crate) async fn says(&self, method: Method, path: &str, body: &Value) -> Result<(StatusCode, Value)> {
        let body = if body.is_null() { Bytes::new() } else { serde_json::to_vec(body)?.into() };
        let said = self.call(method, &format!("{BASE}{path}"), Some("application/json"), body).await?;
        Ok((said.status, said.json().unwrap_or_default()))
    }
}
