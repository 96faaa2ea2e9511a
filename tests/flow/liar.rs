//! A partner that lies. It has a real seller's keys and answers where that seller is called; it passes every call on in its
//! caller's name, and a tongue of the test changes what is answered.

mod books;
mod caller;
mod disorder;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::serve::IncomingStream;
use chandler_tests::fleet::Fleet;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub(crate) use self::books::{Books, Lie};
pub(crate) use self::caller::Caller;
pub(crate) use self::disorder::Disorder;
use crate::partner_ground::{Ground, buyer, seller};

/// Largest body either way: an artifact.
const BODY_MAX: usize = 64 << 20;
/// What every path begins with.
const BASE: &str = "/federation/v1/";
/// Connections whose handshake is done and that nobody has taken yet.
const WAITING: usize = 64;

/// A call of the buyer's.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    /// Behind the base, without the query.
    pub(crate) path: String,
    /// What it says, if that is JSON.
    pub(crate) body: Value,
}

impl Asked {
    /// Whether it is this call.
    pub(crate) fn is(&self, method: &Method, path: &str) -> bool {
        self.method == *method && self.path == path
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
}

/// Who decides what is answered.
#[async_trait]
pub(crate) trait Tongue: Send + Sync {
    /// What is told instead of the real seller's answer.
    async fn tell(&self, asked: &Asked, answer: Answer) -> Answer;
}

/// A tongue that is a function.
pub(crate) struct Words<F>(pub(crate) F);

#[async_trait]
impl<F: Fn(&Asked, &mut Answer) + Send + Sync> Tongue for Words<F> {
    async fn tell(&self, asked: &Asked, mut answer: Answer) -> Answer {
        self.0(asked, &mut answer);
        answer
    }
}

/// The liar. Ends when it is dropped.
pub(crate) struct Liar {
    house: Arc<House>,
    task: AbortHandle,
}

struct House {
    /// Those in whose names it can call the real seller.
    callers: Mutex<Vec<Arc<Caller>>>,
    tongue: Arc<dyn Tongue>,
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Liar {
    /// A ground whose seller is a liar from the first call on, with the tongue that is made for the seller.
    pub(crate) async fn ground(
        grace: &'static str,
        tongue: impl FnOnce(&Fleet) -> Result<Arc<dyn Tongue>>,
    ) -> Result<(Ground, Self)> {
        let socket = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let there = vec!["--federation-advertise".to_owned(), socket.local_addr()?.to_string()];
        let beta = seller(grace, there).await?;
        let alpha = buyer(grace).await?;
        let house = Arc::new(House { callers: Mutex::default(), tongue: tongue(&beta)? });
        let acceptor = TlsAcceptor::from(Arc::new(caller::posing_as(&beta)?));
        let router = Router::new().fallback(pass_on).with_state(house.clone());
        let service = router.into_make_service_with_connect_info::<Shown>();
        let (taken, waiting) = mpsc::channel(WAITING);
        let door = Door { waiting, address: socket.local_addr()? };
        let task = tokio::spawn(async move {
            let serving = async { axum::serve(door, service).await };
            let _ = tokio::join!(accept(socket, acceptor, taken), serving);
        });
        let liar = Self { house, task: task.abort_handle() };
        liar.knows(&alpha, &beta)?;
        Ok((Ground::trading(alpha, beta).await?, liar))
    }

    /// Passes on the calls of this buyer too.
    pub(crate) fn knows(&self, buyer: &Fleet, seller: &Fleet) -> Result<()> {
        let caller = Arc::new(Caller::of(buyer, seller)?);
        self.house.callers.lock().unwrap_or_else(PoisonError::into_inner).push(caller);
        Ok(())
    }
}

/// The certificates that a caller showed.
#[derive(Debug, Clone, Default)]
struct Shown(Vec<Vec<u8>>);

impl Connected<IncomingStream<'_, Door>> for Shown {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        let chain = stream.io().get_ref().1.peer_certificates().unwrap_or_default();
        Self(chain.iter().map(|c| c.to_vec()).collect())
    }
}

impl House {
    fn caller(&self, shown: &Shown) -> Option<Arc<Caller>> {
        let callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        callers.iter().find(|c| shown.0.contains(&c.ca)).cloned()
    }
}

/// Does handshakes, side by side.
async fn accept(socket: TcpListener, acceptor: TlsAcceptor, taken: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>) {
    let mut handshakes = JoinSet::new();
    loop {
        let Ok((stream, from)) = socket.accept().await else { continue };
        while handshakes.try_join_next().is_some() {}
        let (acceptor, taken) = (acceptor.clone(), taken.clone());
        handshakes.spawn(async move {
            let _ = stream.set_nodelay(true);
            if let Ok(stream) = acceptor.accept(stream).await {
                let _ = taken.send((stream, from)).await;
            }
        });
    }
}

/// Connections whose handshake is done.
struct Door {
    waiting: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

impl axum::serve::Listener for Door {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.waiting.recv().await {
            Some(connection) => connection,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}

async fn pass_on(State(house): State<Arc<House>>, from: ConnectInfo<Shown>, request: Request) -> Response {
    match answered(&house, &from.0, request).await {
        Ok(response) => response,
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

async fn answered(house: &House, from: &Shown, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(Body::new(body), BODY_MAX).await?;
    let path = parts.uri.path_and_query().context("a call has a path")?.as_str();
    let media = parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let caller = house.caller(from).context("nobody knows the caller")?;
    let said = caller.call(parts.method.clone(), path, media, body.clone()).await?;
    let Some(known) = said.json() else {
        return Ok((said.status, [(header::CONTENT_TYPE, said.media)], said.body).into_response());
    };
    let asked = Asked {
        method: parts.method,
        path: parts.uri.path().trim_start_matches(BASE).to_owned(),
        body: json_of(&body),
    };
    let told = house.tongue.tell(&asked, Answer { status: said.status, body: known }).await;
    Ok((told.status, [(header::CONTENT_TYPE, said.media)], serde_json::to_vec(&told.body)?).into_response())
}

fn json_of(body: &Bytes) -> Value {
    serde_json::from_slice(body).unwrap_or_default()
}
