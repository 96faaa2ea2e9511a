//! The relay: where two agents find no straight way to each other, packets of their tunnel go through the controller.
//!
//! Each datagram of an agent's relay connection is the id of a host and a packet; it goes on with the id of the sender,
//! which the sender's certificate names. The packets are the tunnel's own QUIC, encrypted between the agents: the relay
//! can lose them, nothing else. It holds nothing back for anybody: what a connection cannot take in time is lost, and the
//! tunnel sends it again, slower. It serves the agents that are connected to this controller; what is for a partner's
//! host goes to the partner's relay over a [`trunk`].

mod allowed;
#[cfg(test)]
mod tests;
mod trunk;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use chandler_engine::federation::trunk::{Hop, sends};
use chandler_engine::fleet::HostState;
use chandler_engine::model::Model;
use chandler_protocol::id::ID_BYTES;
use chandler_protocol::{HostId, PartyId};
use tokio::time::Instant;

use self::allowed::Allowed;
pub(crate) use self::allowed::Word;
pub(crate) use self::trunk::{End, TrunkCounts};
use super::listener::Shared;
use super::session::{CLOSE_REFUSED, CLOSE_REPLACED, authenticate};

/// How long what the model says of a sender is believed.
const BELIEVED: Duration = Duration::from_secs(1);
/// How soon the model is asked again about a host that a sender may not talk to: a grant may have come just now, and a
/// sender that names anybody shall not keep the controller busy.
const DOUBTED: Duration = Duration::from_millis(100);

/// The agents and the partners' relays that can be reached through this controller.
#[derive(Debug, Default)]
pub struct Relay {
    lines: Mutex<BTreeMap<HostId, quinn::Connection>>,
    trunks: Mutex<BTreeMap<PartyId, trunk::Trunk>>,
    counts: Counts,
}

/// What became of the packets.
#[derive(Debug, Default)]
struct Counts {
    /// Handed on.
    forwarded: AtomicU64,
    /// For a host that the sender may not talk to.
    refused: AtomicU64,
    /// For a host that is not connected, or too large for its path, or no packet at all, or there was no room.
    lost: AtomicU64,
}

impl Counts {
    fn now(&self) -> [u64; 3] {
        [&self.forwarded, &self.refused, &self.lost].map(|n| n.load(Ordering::Relaxed))
    }
}

/// Serves one agent's relay connection until it ends.
pub(super) async fn serve(connection: quinn::Connection, shared: Arc<Shared>) {
    let Some(host) = authenticate(&connection, &shared) else { return };
    let may = || sends(&shared.writer.snapshot(), host);
    let is_welcome = || !is_revoked(&shared.writer.snapshot(), host);
    shared.relay.carry(host, &connection, may, is_welcome).await;
}

impl Relay {
    /// Hands on what `host` sends to those that it may talk to, as long as it is welcome itself.
    async fn carry(
        &self,
        host: HostId,
        connection: &quinn::Connection,
        may: impl Fn() -> BTreeMap<HostId, BTreeSet<Hop>>,
        is_welcome: impl Fn() -> bool,
    ) {
        if let Some(old) = self.lines().insert(host, connection.clone()) {
            old.close(CLOSE_REPLACED, b"replaced by a newer connection");
        }
        let mut allowed = Allowed::new(may);
        let mut look = tokio::time::interval(BELIEVED);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = look.tick() => if !is_welcome() {
                    connection.close(CLOSE_REFUSED, b"revoked");
                },
                datagram = connection.read_datagram() => match datagram {
                    Ok(datagram) => self.forward(host, &datagram, &mut allowed),
                    Err(_) => break,
                }
            }
        }
        let mut lines = self.lines();
        if lines.get(&host).is_some_and(|l| l.stable_id() == connection.stable_id()) {
            lines.remove(&host);
        }
        drop(lines);
        let [forwarded, refused, lost] = self.counts.now();
        tracing::debug!(%host, forwarded, refused, lost, "a relay connection ended; packets of all hosts so far");
    }

    fn forward<F: Fn() -> BTreeMap<HostId, BTreeSet<Hop>>>(
        &self,
        from: HostId,
        datagram: &Bytes,
        allowed: &mut Allowed<F>,
    ) {
        let Some((id, packet)) = datagram.split_first_chunk::<ID_BYTES>() else { return count(&self.counts.lost) };
        let to = HostId::from_random(*id);
        let Some(hops) = allowed.hops_to(to, Instant::now()) else { return count(&self.counts.refused) };
        for hop in hops {
            let is_sent = match hop {
                Hop::Here => self.hand_on(from, to, packet),
                Hop::Partner(partner) => self.send_through(*partner, from, to, packet),
            };
            count(if is_sent { &self.counts.forwarded } else { &self.counts.lost });
        }
    }

    /// To a host of this controller.
    fn hand_on(&self, from: HostId, to: HostId, packet: &[u8]) -> bool {
        let line = self.lines().get(&to).cloned();
        line.is_some_and(|line| given(&line, &[from.as_bytes(), packet]))
    }

    fn lines(&self) -> MutexGuard<'_, BTreeMap<HostId, quinn::Connection>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts a datagram of these parts into a connection's buffer; says whether it went in without pushing another one out. A
/// full buffer loses its oldest packet.
fn given(connection: &quinn::Connection, parts: &[&[u8]]) -> bool {
    let mut datagram = BytesMut::with_capacity(parts.iter().map(|p| p.len()).sum());
    parts.iter().for_each(|part| datagram.put_slice(part));
    let has_room = connection.datagram_send_buffer_space() >= datagram.len();
    connection.send_datagram(datagram.freeze()).is_ok() && has_room
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn is_revoked(model: &Model, host: HostId) -> bool {
    model.hosts.get(&host).is_none_or(|h| h.state == HostState::Revoked)
}
