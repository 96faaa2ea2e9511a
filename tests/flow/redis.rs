//! A client of Redis: writes keys one after the other, remembers which were acknowledged, and reconnects when it must.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A write that is not acknowledged within this time is tried again on a new connection.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Writes `key:1`, `key:2`, ... until it is stopped.
#[derive(Debug)]
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    task: JoinHandle<anyhow::Result<Written>>,
}

/// What became of the writes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Written {
    /// Keys from 1 up to and with this were acknowledged.
    pub(crate) acknowledged: usize,
    /// How often a new connection was needed.
    pub(crate) reconnects: usize,
}

impl Writer {
    pub(crate) async fn start(address: SocketAddr) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let connection = BufReader::new(TcpStream::connect(address).await?);
        let task = tokio::spawn(write(address, connection, stop.clone()));
        Ok(Self { stop, task })
    }

    pub(crate) async fn stop(self) -> anyhow::Result<Written> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await?
    }
}

async fn write(
    address: SocketAddr,
    mut connection: BufReader<TcpStream>,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<Written> {
    let mut written = Written::default();
    while !stop.load(Ordering::Relaxed) {
        let n = written.acknowledged + 1;
        let set = format!("SET key:{n} value-{n}\r\n");
        match tokio::time::timeout(TIMEOUT, ask(&mut connection, &set)).await {
            Ok(Ok(answer)) => {
                ensure!(answer == "+OK", "Redis says {answer}");
                written.acknowledged = n;
            }
            // The same key is written again: what was executed without being acknowledged stays one key.
            _ => {
                connection = BufReader::new(TcpStream::connect(address).await?);
                written.reconnects += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(written)
}

/// One command in Redis' inline form, one line of an answer.
async fn ask(connection: &mut BufReader<TcpStream>, command: &str) -> anyhow::Result<String> {
    connection.get_mut().write_all(command.as_bytes()).await?;
    let mut line = String::new();
    let read = connection.read_line(&mut line).await?;
    ensure!(read > 0, "the connection was closed");
    Ok(line.trim_end().to_owned())
}

/// How many of the keys from 1 to `last` have their value.
pub(crate) async fn read_all(address: SocketAddr, last: usize) -> anyhow::Result<usize> {
    let mut connection = BufReader::new(TcpStream::connect(address).await?);
    let mut there = 0;
    for n in 1..=last {
        let head = ask(&mut connection, &format!("GET key:{n}\r\n")).await?;
        if head.starts_with("$-1") {
            continue;
        }
        let mut value = String::new();
        connection.read_line(&mut value).await.context("reading a value")?;
        there += usize::from(value.trim_end() == format!("value-{n}"));
    }
    Ok(there)
}
