//! A client of a store that is spoken to in lines: writes keys one after the other, remembers which were acknowledged, and
//! reconnects when it must.

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

/// How a store is spoken to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialect {
    /// Said first on each connection, and the line that answers it.
    pub(crate) hello: (&'static str, &'static str),
    /// Writes the value of one key.
    pub(crate) set: fn(usize) -> String,
    /// The line that acknowledges it.
    pub(crate) done: &'static str,
}

/// Redis, in its inline form.
pub(crate) const REDIS: Dialect =
    Dialect { hello: ("PING\r\n", "+PONG"), set: |n| format!("SET key:{n} value-{n}\r\n"), done: "+OK" };

/// SQLite's shell, with a write-ahead log that is on the disk before a write is acknowledged.
pub(crate) const SQLITE: Dialect = Dialect {
    hello: (
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE IF NOT EXISTS keys (n INTEGER PRIMARY KEY, v);\n",
        "wal",
    ),
    set: |n| format!("INSERT OR REPLACE INTO keys VALUES ({n}, 'value-{n}'); SELECT 'done';\n"),
    done: "done",
};

/// Writes the keys 1, 2, ... until it is stopped.
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
    pub(crate) async fn start(address: SocketAddr, dialect: Dialect) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let connection = connect(address, dialect).await?;
        let task = tokio::spawn(write(address, dialect, connection, stop.clone()));
        Ok(Self { stop, task })
    }

    pub(crate) async fn stop(self) -> anyhow::Result<Written> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await?
    }
}

async fn write(
    address: SocketAddr,
    dialect: Dialect,
    mut connection: BufReader<TcpStream>,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<Written> {
    let mut written = Written::default();
    while !stop.load(Ordering::Relaxed) {
        let n = written.acknowledged + 1;
        match tokio::time::timeout(TIMEOUT, ask(&mut connection, &(dialect.set)(n))).await {
            Ok(Ok(answer)) => {
                ensure!(answer == dialect.done, "the store says {answer}");
                written.acknowledged = n;
            }
            // The same key is written again: what was executed without being acknowledged stays one key.
            _ => {
                connection = connect(address, dialect).await?;
                written.reconnects += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(written)
}

async fn connect(address: SocketAddr, dialect: Dialect) -> anyhow::Result<BufReader<TcpStream>> {
    let mut connection = BufReader::new(TcpStream::connect(address).await?);
    let (hello, answer) = dialect.hello;
    let said = tokio::time::timeout(TIMEOUT, ask(&mut connection, hello)).await??;
    ensure!(said == answer, "the store says {said}");
    Ok(connection)
}

/// One command, one line of an answer.
async fn ask(connection: &mut BufReader<TcpStream>, command: &str) -> anyhow::Result<String> {
    connection.get_mut().write_all(command.as_bytes()).await?;
    let mut line = String::new();
    let read = connection.read_line(&mut line).await?;
    ensure!(read > 0, "the connection was closed");
    Ok(line.trim_end().to_owned())
}

/// How many of the keys from 1 to `last` have their value in Redis.
pub(crate) async fn read_redis(address: SocketAddr, last: usize) -> anyhow::Result<usize> {
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

/// The same in SQLite, of which every page is looked at.
pub(crate) async fn read_sqlite(address: SocketAddr, last: usize) -> anyhow::Result<usize> {
    let mut connection = connect(address, SQLITE).await?;
    let sound = ask(&mut connection, "PRAGMA integrity_check;\n").await?;
    ensure!(sound == "ok", "SQLite finds its file damaged: {sound}");
    let count = format!("SELECT count(*) FROM keys WHERE n <= {last} AND v = 'value-' || n;\n");
    ask(&mut connection, &count).await?.parse().context("a count")
}
