//! The line to the relay as a socket: QUIC packets to another host go into datagrams of the connection to the relay.
//!
//! The tunnel's own QUIC runs over it as over UDP, so that the relay sees nothing but packets that it cannot read. A
//! host's address on this line is made from its id; no network routes it.

use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use chandler_protocol::HostId;
use chandler_protocol::id::ID_BYTES;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::sync::mpsc;

use crate::sync::lock;

/// Packets that wait for the endpoint; further ones are lost, as on any network.
const WAITING: usize = 1_024;
/// What an address on the line begins with: unique local, as nobody else uses it.
const PREFIX: [u8; 6] = [0xfd, 0x63, 0x68, 0x6e, 0x64, 0x6c];
/// Every host has one port there.
const PORT: u16 = 1;
/// The size of packet that QUIC begins with, and that a line must carry.
const PACKET: usize = 1_200;

/// The address of a host on the line.
pub(super) fn address_of(host: HostId) -> SocketAddr {
    let mut bytes = [0; 16];
    bytes[..PREFIX.len()].copy_from_slice(&PREFIX);
    bytes[PREFIX.len()..].copy_from_slice(host.as_bytes());
    SocketAddr::from((Ipv6Addr::from(bytes), PORT))
}

/// The host at an address on the line.
fn host_at(address: SocketAddr) -> Option<HostId> {
    let SocketAddr::V6(address) = address else { return None };
    let bytes = address.ip().octets();
    let id: [u8; ID_BYTES] = bytes.strip_prefix(PREFIX.as_slice())?.try_into().ok()?;
    Some(HostId::from_random(id))
}

/// The line of one host.
#[derive(Debug)]
pub(super) struct Line {
    me: HostId,
    connection: Mutex<Option<quinn::Connection>>,
    put: mpsc::Sender<(HostId, Bytes)>,
    taken: Mutex<mpsc::Receiver<(HostId, Bytes)>>,
}

impl Line {
    pub(super) fn new(me: HostId) -> Arc<Self> {
        let (put, taken) = mpsc::channel(WAITING);
        Arc::new(Self { me, connection: Mutex::default(), put, taken: Mutex::new(taken) })
    }

    /// The connection to the relay, or that there is none.
    pub(super) fn set(&self, connection: Option<quinn::Connection>) {
        *lock(&self.connection) = connection;
    }

    /// Whether packets of the size that QUIC begins with fit. Until the size of the path was found out they do not.
    pub(super) fn is_ready(&self) -> bool {
        let most = lock(&self.connection).as_ref().and_then(quinn::Connection::max_datagram_size);
        most.is_some_and(|most| most >= PACKET + ID_BYTES)
    }

    /// A datagram of the relay: from whom, and a packet.
    pub(super) fn take(&self, mut datagram: Bytes) {
        if datagram.len() <= ID_BYTES {
            return;
        }
        let packet = datagram.split_off(ID_BYTES);
        if let Ok(id) = <[u8; ID_BYTES]>::try_from(datagram.as_ref()) {
            // Without room it is lost: QUIC sends it again, slower.
            let _ = self.put.try_send((HostId::from_random(id), packet));
        }
    }
}

/// There is always room: what the relay's connection cannot take in time is lost, oldest first.
#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncUdpSocket for Line {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let (Some(host), Some(connection)) = (host_at(transmit.destination), lock(&self.connection).clone()) else {
            return Ok(());
        };
        let mut datagram = BytesMut::with_capacity(ID_BYTES + transmit.contents.len());
        datagram.put_slice(host.as_bytes());
        datagram.put_slice(transmit.contents);
        // Too large for the path, or the relay is gone: lost, as on any network.
        let _ = connection.send_datagram(datagram.freeze());
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut taken = lock(&self.taken);
        let mut count = 0;
        for (buffer, meta) in buffers.iter_mut().zip(meta) {
            let (host, packet) = match taken.poll_recv(cx) {
                Poll::Ready(Some(next)) => next,
                // The sender is this line's own: it does not go away first.
                Poll::Ready(None) | Poll::Pending => break,
            };
            let length = packet.len().min(buffer.len());
            buffer[..length].copy_from_slice(&packet[..length]);
            *meta = RecvMeta { addr: address_of(host), len: length, stride: length, ..RecvMeta::default() };
            count += 1;
        }
        if count == 0 { Poll::Pending } else { Poll::Ready(Ok(count)) }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(address_of(self.me))
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_on_the_line_is_its_host_and_nothing_else_is() {
        let host = HostId::from_random([1, 2, 3, 4, 5, 6, 7, 8, 9, 255]);
        assert_eq!(host_at(address_of(host)), Some(host));
        for other in ["[::1]:1", "127.0.0.1:1", "[fd00::1]:1"] {
            assert_eq!(host_at(other.parse().unwrap()), None, "{other}");
        }
    }
}
