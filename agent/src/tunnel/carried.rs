//! A stream that somebody asked for: bytes both ways, each way with its own end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;

use super::link::Use;

/// What a stream is reset with when one end gives up in the middle.
pub(super) const RESET: u32 = 1;

/// Bytes to and from what was asked for.
///
/// Shutting down ends the own half cleanly and leaves the other half open. Dropping it before that tells the other end
/// that it was cut off, so that nobody takes a part for the whole.
#[derive(Debug)]
pub enum Carried {
    /// On another host.
    Tunnel(Stream),
    /// A workload on this host.
    Local(TcpStream),
    /// The state of a copy on this host.
    Pipe(DuplexStream),
}

/// A stream of a tunnel.
#[derive(Debug)]
pub struct Stream {
    pub(super) send: quinn::SendStream,
    pub(super) receive: quinn::RecvStream,
    pub(super) is_finished: bool,
    /// Keeps the connection from being closed as idle.
    _in_use: Use,
}

impl Stream {
    pub(super) fn new(send: quinn::SendStream, receive: quinn::RecvStream, in_use: Use) -> Self {
        Self { send, receive, is_finished: false, _in_use: in_use }
    }

    /// Ends the own half cleanly, once.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if !std::mem::replace(&mut self.is_finished, true) {
            self.send.finish()?;
        }
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.is_finished {
            // Left alone, quinn would end it as if it were whole.
            let _ = self.send.reset(RESET.into());
        }
    }
}

impl AsyncRead for Carried {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tunnel(stream) => AsyncRead::poll_read(Pin::new(&mut stream.receive), cx, buffer),
            Self::Local(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Pipe(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Carried {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tunnel(stream) => AsyncWrite::poll_write(Pin::new(&mut stream.send), cx, bytes),
            Self::Local(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Pipe(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            // A tunnel sends by itself; there is nothing to wait for.
            Self::Tunnel(_) => Poll::Ready(Ok(())),
            Self::Local(stream) => Pin::new(stream).poll_flush(cx),
            Self::Pipe(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tunnel(stream) => Poll::Ready(stream.finish()),
            Self::Local(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Pipe(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
