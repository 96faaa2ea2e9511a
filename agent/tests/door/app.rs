//! Software that is served through a door: it counts what it executed, and dies on request.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use chandler_protocol::way::Backend;
use chandler_protocol::{AssignmentId, HostId};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

type Body = BoxBody<Bytes, std::io::Error>;

/// One copy of a service.
pub(crate) struct App {
    pub(crate) backend: Backend,
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    serving: tokio::task::AbortHandle,
}

#[derive(Default)]
pub(crate) struct State {
    name: String,
    executed: Mutex<BTreeMap<String, u32>>,
    /// Connections that were accepted.
    accepted: Mutex<u32>,
    at_once: Mutex<(u32, u32)>,
    killed: watch::Sender<bool>,
}

impl App {
    /// HTTP/1.1 and HTTP/2.
    pub(crate) async fn http(n: u8, epoch: u64) -> Self {
        Self::start(n, epoch, None, |state, stream| async move {
            let service = service_fn(move |r| handle(state.clone(), r));
            let server = auto::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
        })
        .await
    }

    /// Says back every byte, with its name first.
    pub(crate) async fn echo(n: u8, epoch: u64) -> Self {
        Self::start(n, epoch, None, |state, mut stream| async move {
            let _ = stream.write_all(state.name.as_bytes()).await;
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
            let _ = write.shutdown().await;
        })
        .await
    }

    /// Anything, at a given address or a free one.
    pub(crate) async fn start<F: Future<Output = ()> + Send + 'static>(
        n: u8,
        epoch: u64,
        at: Option<SocketAddr>,
        serve: impl Fn(Arc<State>, tokio::net::TcpStream) -> F + Send + 'static,
    ) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(at.unwrap_or(([127, 0, 0, 1], 0).into())).unwrap();
        let listener: TcpListener = socket.listen(4_096).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State { name: format!("copy{n}"), ..State::default() });
        let shared = state.clone();
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                *shared.accepted.lock().unwrap() += 1;
                connections.spawn(serve(shared.clone(), stream));
                while connections.try_join_next().is_some() {}
            }
        });
        let backend =
            Backend { assignment: AssignmentId::from_random([n; 10]), epoch, host: HostId::from_random([n; 10]) };
        Self { backend, address, state, serving: serving.abort_handle() }
    }

    /// As when the process is killed: its connections end where they are.
    pub(crate) fn kill(&self) {
        self.serving.abort();
        self.state.killed.send_replace(true);
    }

    /// How often each request was executed.
    pub(crate) fn executed(&self) -> BTreeMap<String, u32> {
        self.state.executed.lock().unwrap().clone()
    }

    pub(crate) fn accepted(&self) -> u32 {
        *self.state.accepted.lock().unwrap()
    }

    /// The most that were executed at the same time.
    pub(crate) fn most_at_once(&self) -> u32 {
        self.state.at_once.lock().unwrap().1
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.kill();
    }
}

fn whole(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|e: Infallible| match e {}).boxed()
}

/// Gone in the middle.
#[derive(Debug, thiserror::Error)]
#[error("gone")]
struct Gone;

async fn handle(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Body>, Gone> {
    let path = request.uri().path().to_owned();
    let mut parts = path.trim_start_matches('/').split('/');
    let (what, which) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default().to_owned());
    let times = {
        let mut executed = state.executed.lock().unwrap();
        let times = executed.entry(path.clone()).or_default();
        *times += 1;
        *times
    };
    {
        let mut now = state.at_once.lock().unwrap();
        now.0 += 1;
        now.1 = now.1.max(now.0);
    }
    let answer = act(&state, what, &which, times, request).await;
    state.at_once.lock().unwrap().0 -= 1;
    answer
}

async fn act(
    state: &Arc<State>,
    what: &str,
    which: &str,
    times: u32,
    request: Request<Incoming>,
) -> Result<Response<Body>, Gone> {
    let mut response = Response::new(whole(state.name.clone()));
    match what {
        "echo" => *response.body_mut() = whole(request.collect().await.map_err(|_| Gone)?.to_bytes()),
        "busy" => tokio::time::sleep(Duration::from_millis(5)).await,
        "slow" => tokio::time::sleep(Duration::from_millis(which.parse().unwrap())).await,
        "die" => {
            let _ = request.collect().await;
            return Err(Gone);
        }
        "once" if times == 1 => {
            let _ = request.collect().await;
            return Err(Gone);
        }
        "status" => *response.status_mut() = StatusCode::from_bytes(which.as_bytes()).unwrap(),
        "half" => {
            let first = futures_util::stream::iter([Ok(Frame::data(Bytes::from(vec![b'x'; 500])))]);
            let then = futures_util::stream::once(async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Err(std::io::Error::other("gone"))
            });
            *response.body_mut() = BodyExt::boxed(StreamBody::new(futures_util::StreamExt::chain(first, then)));
            response.headers_mut().insert(header::CONTENT_LENGTH, 1_000.into());
        }
        "events" => {
            let never = futures_util::stream::pending::<Result<Frame<Bytes>, std::io::Error>>();
            *response.body_mut() = BodyExt::boxed(StreamBody::new(never));
            response.headers_mut().insert(header::CONTENT_TYPE, "text/event-stream".parse().unwrap());
        }
        "trailers" => {
            let mut trailers = hyper::HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            let frames = vec![Ok(Frame::data(Bytes::from(state.name.clone()))), Ok(Frame::trailers(trailers))];
            *response.body_mut() = BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)));
        }
        "head" => {
            let lines: Vec<_> =
                request.headers().iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
            *response.body_mut() = whole(lines.join("\n"));
        }
        "ws" => {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert(header::CONNECTION, "upgrade".parse().unwrap());
            response.headers_mut().insert(header::UPGRADE, "websocket".parse().unwrap());
            *response.body_mut() = whole("");
            tokio::spawn(talk(request, state.killed.subscribe()));
        }
        _ => {}
    }
    Ok(response)
}

/// Says a frame of 5 bytes at once, then says back all it hears.
async fn talk(request: Request<Incoming>, mut killed: watch::Receiver<bool>) {
    let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
    let mut io = TokioIo::new(upgraded);
    let _ = io.write_all(b"\x82\x05hello").await;
    let mut buffer = [0; 1_024];
    loop {
        let got = tokio::select! {
            biased;
            _ = killed.wait_for(|k| *k) => return,
            got = io.read(&mut buffer) => got,
        };
        let Ok(got @ 1..) = got else { return };
        let _ = io.write_all(&buffer[..got]).await;
    }
}
