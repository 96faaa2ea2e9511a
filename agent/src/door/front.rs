//! Where a door listens: the operating system's sockets in production, others in a simulation.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::opener::BoxedIo;

/// Connections that the system keeps until they are accepted. With the usual 1,024 some of 1,000 at once are lost.
const BACKLOG: u32 = 4_096;

/// Opens listeners.
#[async_trait]
pub trait Fronts: Send + Sync {
    /// Listens; port 0 takes any free one.
    ///
    /// # Errors
    /// The address is taken or not of this computer.
    async fn listen(&self, at: SocketAddr) -> io::Result<Box<dyn Front>>;
}

/// One listener.
#[async_trait]
pub trait Front: Send + Sync {
    /// Where.
    ///
    /// # Errors
    /// The system does not say.
    fn address(&self) -> io::Result<SocketAddr>;
    /// The next connection.
    ///
    /// # Errors
    /// That connection, or any, cannot be had now.
    async fn accept(&self) -> io::Result<Caller>;
}

/// An accepted connection.
pub struct Caller {
    /// Its bytes.
    pub io: BoxedIo,
    /// Tells when it is gone although nobody reads from it.
    pub line: Arc<dyn Line>,
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").finish_non_exhaustive()
    }
}

/// Tells when a connection is gone although nobody reads from it.
#[async_trait]
pub trait Line: Send + Sync {
    /// Waits until the caller has said that it sends no more. A caller of HTTP has left then.
    async fn ended(&self);
    /// Waits until the connection is broken both ways.
    async fn broken(&self);
}

/// A connection that cannot tell.
#[derive(Debug, Clone, Copy, Default)]
pub struct Untold;

#[async_trait]
impl Line for Untold {
    async fn ended(&self) {
        std::future::pending().await
    }
    async fn broken(&self) {
        std::future::pending().await
    }
}

/// The computer's own sockets.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFronts;

#[async_trait]
impl Fronts for RealFronts {
    async fn listen(&self, at: SocketAddr) -> io::Result<Box<dyn Front>> {
        let socket = if at.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Connections of an agent that ended a moment ago must not keep the address.
        socket.set_reuseaddr(true)?;
        socket.bind(at)?;
        Ok(Box::new(RealFront(socket.listen(BACKLOG)?)))
    }
}

struct RealFront(TcpListener);

#[async_trait]
impl Front for RealFront {
    fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    async fn accept(&self) -> io::Result<Caller> {
        let (stream, _) = self.0.accept().await?;
        stream.set_nodelay(true)?;
        let stream = Arc::new(stream);
        Ok(Caller { io: Box::new(Shared(stream.clone())), line: Arc::new(RealLine(stream)) })
    }
}

struct RealLine(Arc<TcpStream>);

#[async_trait]
impl Line for RealLine {
    async fn ended(&self) {
        // Waits for the end of reading without waiting for data: the system tells of it with the data, and nobody here
        // expects urgent data, which this interest is otherwise for. An error means the same.
        #[cfg(target_os = "linux")]
        let _ = self.0.ready(Interest::PRIORITY | Interest::ERROR).await;
        #[cfg(not(target_os = "linux"))]
        while self.0.ready(Interest::READABLE).await.is_ok_and(|r| !r.is_read_closed()) {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }

    async fn broken(&self) {
        let _ = self.0.ready(Interest::ERROR).await;
    }
}

/// A connection that is read and written here and watched there.
struct Shared(Arc<TcpStream>);

impl AsyncRead for Shared {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read_buf(buf) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other.map(|_| ())),
            }
        }
    }
}

impl AsyncWrite for Shared {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(buf) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write_vectored(bufs) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match rustix::net::shutdown(&*self.0, rustix::net::Shutdown::Write) {
            Err(rustix::io::Errno::NOTCONN) | Ok(()) => Poll::Ready(Ok(())),
            Err(e) => Poll::Ready(Err(e.into())),
        }
    }
}
