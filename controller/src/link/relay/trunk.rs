//! Trunks: what goes to the relays of partners, and what comes from there.
//!
//! Each datagram is the id of the sending host, the id of the receiving one, and a packet. Nothing in it is believed: a
//! partner is who its certificate says, and each pair of hosts must be one that the model allows to this partner now.
//! A trunk carries as much as its connection's buffers hold; the rest is lost and counted, for each partner.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};

use bytes::Bytes;
use chandler_engine::federation::trunk::Hop;
use chandler_protocol::id::ID_BYTES;
use chandler_protocol::{HostId, PartyId};
use tokio::time::{Instant, MissedTickBehavior};

use super::allowed::{Heard, Word};
use super::{BELIEVED, CLOSE_REFUSED, CLOSE_REPLACED, Relay, count, given};

/// The packet that QUIC begins with, and with it every packet of a tunnel that is relayed.
const PACKET: usize = 1_200;

/// Who opened a trunk. There may be one of each: where both buy from each other, both dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// This controller.
    Dialled,
    /// The partner.
    Accepted,
}

/// The connections with one partner's relay, and what became of the packets since this controller was started.
#[derive(Debug, Default)]
pub(super) struct Trunk {
    dialled: Option<quinn::Connection>,
    accepted: Option<quinn::Connection>,
    tally: Arc<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    sent: AtomicU64,
    received: AtomicU64,
    refused: AtomicU64,
    lost: AtomicU64,
}

/// How the trunk to a partner does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TrunkCounts {
    /// Whether it stands.
    pub(crate) is_up: bool,
    /// Whether the way carries packets that are large enough for tunnels.
    pub(crate) is_wide: bool,
    /// Packets given to it.
    pub(crate) sent: u64,
    /// Packets that came from it and were handed on.
    pub(crate) received: u64,
    /// Packets that came from it between hosts that may not talk to each other.
    pub(crate) refused: u64,
    /// Packets of both ways for which there was no trunk, no host or no room, or that did not fit.
    pub(crate) lost: u64,
}

impl Trunk {
    fn end(&mut self, end: End) -> &mut Option<quinn::Connection> {
        match end {
            End::Dialled => &mut self.dialled,
            End::Accepted => &mut self.accepted,
        }
    }

    /// The connection to send by: any that lives.
    fn live(&self) -> Option<&quinn::Connection> {
        [&self.dialled, &self.accepted].into_iter().flatten().find(|c| c.close_reason().is_none())
    }
}

/// Whether a tunnel's packets fit into a connection's datagrams.
fn is_wide(connection: &quinn::Connection) -> bool {
    connection.max_datagram_size().is_some_and(|most| most >= PACKET + 2 * ID_BYTES)
}

impl Relay {
    /// Hands on what comes from a partner's relay, as long as the partner is welcome; what is for its hosts goes there
    /// meanwhile. `ask` says whom a host may hear from this partner; `None` when there is no such host.
    pub(crate) async fn carry_trunk(
        &self,
        partner: PartyId,
        end: End,
        connection: &quinn::Connection,
        ask: impl Fn(HostId) -> Option<Word>,
        is_welcome: impl Fn() -> bool,
    ) {
        let tally = {
            let mut trunks = self.trunks();
            let trunk = trunks.entry(partner).or_default();
            if let Some(old) = trunk.end(end).replace(connection.clone()) {
                old.close(CLOSE_REPLACED, b"replaced by a newer connection");
            }
            trunk.tally.clone()
        };
        let mut heard = Heard::new(ask);
        let mut look = tokio::time::interval(BELIEVED);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut was_wide = true;
        let why = loop {
            tokio::select! {
                biased;
                _ = look.tick() => {
                    if !is_welcome() {
                        connection.close(CLOSE_REFUSED, b"not a partner any more");
                    }
                    if std::mem::replace(&mut was_wide, is_wide(connection)) && !was_wide {
                        tracing::warn!(%partner, "the way to a partner's relay takes no packets of 1,280 bytes: tunnels \
                            do not fit through the trunk");
                    }
                }
                datagram = connection.read_datagram() => match datagram {
                    Ok(datagram) => self.hear(partner, &datagram, &mut heard, &tally),
                    Err(why) => break why,
                }
            }
        };
        let mut trunks = self.trunks();
        if let Some(trunk) = trunks.get_mut(&partner) {
            let slot = trunk.end(end);
            if slot.as_ref().is_some_and(|c| c.stable_id() == connection.stable_id()) {
                *slot = None;
            }
        }
        drop(trunks);
        let TrunkCounts { sent, received, refused, lost, .. } = self.trunk_counts(partner);
        tracing::info!(%partner, %why, sent, received, refused, lost, "a trunk ended; packets of this partner so far");
    }

    /// Takes one datagram of a partner.
    fn hear<F>(&self, partner: PartyId, datagram: &Bytes, heard: &mut Heard<F>, tally: &Tally)
    where
        F: Fn(HostId) -> Option<Word>,
    {
        let split = datagram.split_first_chunk::<ID_BYTES>();
        let split = split.and_then(|(from, rest)| Some((from, rest.split_first_chunk::<ID_BYTES>()?)));
        let Some((from, (to, packet))) = split.filter(|(_, (_, packet))| !packet.is_empty()) else {
            return count(&tally.lost);
        };
        let (from, to) = (HostId::from_random(*from), HostId::from_random(*to));
        match heard.hop_for(from, to, Instant::now()) {
            Some(Hop::Here) => count(if self.hand_on(from, to, packet) { &tally.received } else { &tally.lost }),
            Some(Hop::Partner(next)) if next != partner => {
                let is_sent = self.send_through(next, from, to, packet);
                count(if is_sent { &tally.received } else { &tally.lost });
            }
            Some(Hop::Partner(_)) | None => count(&tally.refused),
        }
    }

    /// To a partner's relay.
    pub(super) fn send_through(&self, partner: PartyId, from: HostId, to: HostId, packet: &[u8]) -> bool {
        let (connection, tally) = {
            let mut trunks = self.trunks();
            let trunk = trunks.entry(partner).or_default();
            (trunk.live().cloned(), trunk.tally.clone())
        };
        let is_sent = connection.is_some_and(|c| given(&c, &[from.as_bytes(), to.as_bytes(), packet]));
        count(if is_sent { &tally.sent } else { &tally.lost });
        is_sent
    }

    /// How the trunk to a partner does.
    pub(crate) fn trunk_counts(&self, partner: PartyId) -> TrunkCounts {
        let trunks = self.trunks();
        let Some(trunk) = trunks.get(&partner) else { return TrunkCounts::default() };
        let tally = &trunk.tally;
        let [sent, received, refused, lost] =
            [&tally.sent, &tally.received, &tally.refused, &tally.lost].map(|n| n.load(Ordering::Relaxed));
        let (is_up, is_wide) = (trunk.live().is_some(), trunk.live().is_some_and(is_wide));
        TrunkCounts { is_up, is_wide, sent, received, refused, lost }
    }

    fn trunks(&self) -> MutexGuard<'_, BTreeMap<PartyId, Trunk>> {
        self.trunks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
