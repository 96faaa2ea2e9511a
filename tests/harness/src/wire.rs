//! A bad wire for TCP: what goes over it is late, and now and then a connection is cut when a request went through and
//! its answer is on its way back. What is in it is not looked at, so that TLS passes.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// Most bytes that are passed on at once.
const PIECE: usize = 64 << 10;
/// The first words of a connection make it, and are let through: hello, and who each is.
const HANDSHAKE: u64 = 3;
/// Most connections at once; more are closed.
const CONNECTIONS_MAX: usize = 256;

/// How bad it is.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// Each piece takes up to so long.
    pub late: Duration,
    /// After so many of a hundred requests the connection is cut before the answer is back.
    pub cut_percent: u8,
}

/// A wire to one address. Ends when it is dropped.
#[derive(Debug)]
pub struct TcpWire {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    to: Mutex<Option<SocketAddr>>,
    weather: Weather,
    is_calm: AtomicBool,
    cuts: AtomicU64,
    chance: Mutex<StdRng>,
}

impl Drop for TcpWire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TcpWire {
    /// A wire that leads nowhere yet: see [`TcpWire::lead_to`].
    ///
    /// # Errors
    /// No address can be had on loopback.
    pub async fn start(weather: Weather, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            to: Mutex::new(None),
            weather,
            is_calm: AtomicBool::new(false),
            cuts: AtomicU64::new(0),
            chance: Mutex::new(StdRng::seed_from_u64(seed)),
        });
        let task = tokio::spawn(accept(listener, shared.clone())).abort_handle();
        Ok(Self { address, shared, task })
    }

    /// Where it begins.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it leads from now on.
    pub fn lead_to(&self, address: SocketAddr) {
        *self.shared.to.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }

    /// From now on nothing is late or cut.
    pub fn calm(&self) {
        self.shared.is_calm.store(true, Ordering::Relaxed);
    }

    /// How many connections were cut.
    pub fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn chance<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.chance.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn late(&self) {
        if self.is_calm.load(Ordering::Relaxed) || self.weather.late.is_zero() {
            return;
        }
        let most = u64::try_from(self.weather.late.as_micros()).unwrap_or(u64::MAX);
        let late = self.chance(|rng| rng.random_range(0..=most));
        tokio::time::sleep(Duration::from_micros(late)).await;
    }

    fn cuts_now(&self) -> bool {
        !self.is_calm.load(Ordering::Relaxed) && self.chance(|rng| rng.random_range(0..100)) < self.weather.cut_percent
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut lines = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        while lines.try_join_next().is_some() {}
        let to = *shared.to.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(to) = to.filter(|_| lines.len() < CONNECTIONS_MAX) else { continue };
        let shared = shared.clone();
        lines.spawn(async move {
            if let Ok(server) = TcpStream::connect(to).await {
                carry(client, server, &shared).await;
            }
        });
    }
}

/// One connection, until either side ends it or it is cut.
async fn carry(client: TcpStream, server: TcpStream, shared: &Shared) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let turn = Turn { cut: AtomicBool::new(false), is_new: AtomicBool::new(true) };
    tokio::join!(asked(from_client, to_server, shared, &turn), answered(from_server, to_client, shared, &turn));
}

/// How far the talk on a connection is.
#[derive(Debug)]
struct Turn {
    /// Nothing that the server says goes back any more.
    cut: AtomicBool,
    /// The server has spoken since the client did: what the client says now is another request, however many pieces it
    /// comes in.
    is_new: AtomicBool,
}

/// Passes on what the client says; sometimes decides that no answer to it comes back.
async fn asked(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared, turn: &Turn) {
    let (mut piece, mut count) = (vec![0; PIECE], 0_u64);
    while let Ok(n) = from.read(&mut piece).await {
        shared.late().await;
        count += 1;
        let is_new = turn.is_new.swap(false, Ordering::Relaxed);
        if n > 0 && is_new && count > HANDSHAKE && shared.cuts_now() {
            turn.cut.store(true, Ordering::Relaxed);
        }
        let Some(said) = piece.get(..n).filter(|said| !said.is_empty()) else { break };
        if to.write_all(said).await.is_err() {
            break;
        }
    }
}

/// Passes on what the server answers, unless it is cut: then the client gets nothing of it.
async fn answered(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared, turn: &Turn) {
    let mut piece = vec![0; PIECE];
    while let Ok(n) = from.read(&mut piece).await {
        turn.is_new.store(true, Ordering::Relaxed);
        if turn.cut.load(Ordering::Relaxed) {
            shared.cuts.fetch_add(1, Ordering::Relaxed);
            break;
        }
        shared.late().await;
        let Some(said) = piece.get(..n).filter(|said| !said.is_empty()) else { break };
        if to.write_all(said).await.is_err() {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers every word with the same, and counts them.
    async fn echo() -> (SocketAddr, Arc<AtomicU64>) {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
        let counted = count.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let counted = counted.clone();
                tokio::spawn(async move {
                    let mut word = [0; 4];
                    while stream.read_exact(&mut word).await.is_ok() {
                        counted.fetch_add(1, Ordering::Relaxed);
                        let _ = stream.write_all(&word).await;
                    }
                });
            }
        });
        (address, count)
    }

    async fn says(stream: &mut TcpStream) -> io::Result<[u8; 4]> {
        let mut word = [0; 4];
        stream.write_all(b"word").await?;
        stream.read_exact(&mut word).await?;
        Ok(word)
    }

    #[tokio::test]
    async fn a_request_goes_through_and_its_answer_is_cut_off() {
        let (address, count) = echo().await;
        let wire = TcpWire::start(Weather { late: Duration::ZERO, cut_percent: 100 }, 1).await.unwrap();
        wire.lead_to(address);
        let mut stream = TcpStream::connect(wire.address()).await.unwrap();
        for _ in 0..HANDSHAKE {
            assert_eq!(says(&mut stream).await.unwrap(), *b"word");
        }
        assert!(says(&mut stream).await.is_err());
        assert_eq!((count.load(Ordering::Relaxed), wire.cuts()), (HANDSHAKE + 1, 1), "the server has heard it");
        wire.calm();
        let mut stream = TcpStream::connect(wire.address()).await.unwrap();
        for _ in 0..20 {
            assert_eq!(says(&mut stream).await.unwrap(), *b"word");
        }
    }
}
