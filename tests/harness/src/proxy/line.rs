//! The datagrams under way, ordered by when they are due. Bounded: what does not fit is dropped and counted.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

use tokio::time::Instant;

use super::faults::{Chance, Faults, Way};

/// Most bytes under way at once. A test's links carry far less; more means that nobody reads.
pub const LINE_BYTES_MAX: usize = 16 << 20;
/// What a datagram under way costs beside its bytes, so that empty ones are bounded too.
const DATAGRAM_COST: usize = 128;

/// What happened to the datagrams that went one way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Came in.
    pub received: u64,
    /// Went out, duplicates included.
    pub delivered: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Sent twice.
    pub duplicated: u64,
    /// Held back behind others.
    pub reordered: u64,
    /// One bit flipped.
    pub corrupted: u64,
    /// Dropped because this way was cut.
    pub blocked: u64,
    /// Dropped because too much was under way or too many clients were known.
    pub overflowed: u64,
}

/// One datagram under way. `R` says where it leaves.
#[derive(Debug)]
struct Datagram<R> {
    due: Instant,
    /// Ties are broken by arrival.
    number: u64,
    way: Way,
    route: R,
    bytes: Box<[u8]>,
}

impl<R> PartialEq for Datagram<R> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl<R> Eq for Datagram<R> {}
impl<R> PartialOrd for Datagram<R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<R> Ord for Datagram<R> {
    /// Reversed: the heap gives its greatest first, and the earliest is wanted.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.due, other.number).cmp(&(self.due, self.number))
    }
}

/// One direction's chance and books.
#[derive(Debug)]
struct Lane {
    chance: Chance,
    counters: Counters,
    /// When the latest datagram that keeps its order is due.
    last_due: Option<Instant>,
}

impl Lane {
    fn new(seed: u64, way: Way) -> Self {
        Self { chance: Chance::new(seed, way), counters: Counters::default(), last_due: None }
    }
}

/// All that is under way, both ways.
#[derive(Debug)]
pub(super) struct Line<R> {
    heap: BinaryHeap<Datagram<R>>,
    bytes: usize,
    number: u64,
    to_upstream: Lane,
    to_client: Lane,
}

impl<R: Clone> Line<R> {
    /// An empty line.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            heap: BinaryHeap::new(),
            bytes: 0,
            number: 0,
            to_upstream: Lane::new(seed, Way::ToUpstream),
            to_client: Lane::new(seed, Way::ToClient),
        }
    }

    /// Books of one direction.
    pub(super) const fn counters(&self, way: Way) -> Counters {
        match way {
            Way::ToUpstream => self.to_upstream.counters,
            Way::ToClient => self.to_client.counters,
        }
    }

    const fn lane(&mut self, way: Way) -> &mut Lane {
        match way {
            Way::ToUpstream => &mut self.to_upstream,
            Way::ToClient => &mut self.to_client,
        }
    }

    /// A datagram that came in and has no place to go.
    pub(super) const fn refuse(&mut self, way: Way) {
        let counters = &mut self.lane(way).counters;
        counters.received += 1;
        counters.overflowed += 1;
    }

    /// A datagram came in: decides what becomes of it.
    pub(super) fn accept(&mut self, now: Instant, faults: &Faults, way: Way, route: &R, bytes: &[u8]) {
        let lane = self.lane(way);
        lane.counters.received += 1;
        if faults.blocks(way) {
            lane.counters.blocked += 1;
            return;
        }
        let fate = lane.chance.next(faults, bytes.len());
        if fate.lost {
            lane.counters.lost += 1;
            return;
        }
        let mut due = now + fate.latency;
        if fate.reordered {
            lane.counters.reordered += 1;
        } else {
            // A delay that was just lowered must not let later datagrams overtake.
            if faults.jitter == Duration::ZERO {
                due = lane.last_due.map_or(due, |last| last.max(due));
            }
            lane.last_due = Some(due);
        }
        let mut bytes: Box<[u8]> = bytes.into();
        if let Some(bit) = fate.flipped_bit {
            bytes[bit / 8] ^= 1 << (bit % 8);
            lane.counters.corrupted += 1;
        }
        if fate.duplicated {
            lane.counters.duplicated += 1;
            self.push(due, way, route.clone(), bytes.clone());
        }
        self.push(due, way, route.clone(), bytes);
    }

    fn push(&mut self, due: Instant, way: Way, route: R, bytes: Box<[u8]>) {
        let cost = bytes.len() + DATAGRAM_COST;
        if self.bytes + cost > LINE_BYTES_MAX {
            self.lane(way).counters.overflowed += 1;
            return;
        }
        self.bytes += cost;
        self.number += 1;
        self.heap.push(Datagram { due, number: self.number, way, route, bytes });
    }

    /// When the next datagram is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.heap.peek().map(|d| d.due)
    }

    /// The next datagram, if it is due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(R, Box<[u8]>)> {
        if self.next_due()? > now {
            return None;
        }
        let datagram = self.heap.pop()?;
        self.bytes -= datagram.bytes.len() + DATAGRAM_COST;
        self.lane(datagram.way).counters.delivered += 1;
        Some((datagram.route, datagram.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_when_the_delay_falls() {
        let (mut line, now) = (Line::new(1), Instant::now());
        let slow = Faults { delay: Duration::from_millis(50), ..Faults::default() };
        line.accept(now, &slow, Way::ToClient, &(), b"first");
        line.accept(now, &Faults::default(), Way::ToClient, &(), b"second");
        assert_eq!(line.pop(now), None);
        let later = now + Duration::from_millis(50);
        assert_eq!(line.pop(later), Some(((), (*b"first").into())));
        assert_eq!(line.pop(later), Some(((), (*b"second").into())));
        assert_eq!(line.pop(later), None);
    }

    #[test]
    fn a_reordered_datagram_is_overtaken() {
        let (mut line, now) = (Line::new(1), Instant::now());
        let reorder = Faults { reorder_ppm: 1_000_000, ..Faults::default() };
        line.accept(now, &reorder, Way::ToClient, &(), b"first");
        line.accept(now, &Faults::default(), Way::ToClient, &(), b"second");
        let later = now + Duration::from_secs(1);
        assert_eq!(line.pop(later), Some(((), (*b"second").into())));
        assert_eq!(line.pop(later), Some(((), (*b"first").into())));
    }

    #[test]
    fn what_is_under_way_is_bounded_and_books_balance() {
        let (mut line, now) = (Line::new(1), Instant::now());
        let faults = Faults { delay: Duration::from_secs(9), ..Faults::default() };
        let big = vec![0; 65_000];
        for _ in 0..300 {
            line.accept(now, &faults, Way::ToUpstream, &(), &big);
        }
        assert!(line.bytes <= LINE_BYTES_MAX);
        let later = now + Duration::from_secs(9);
        while line.pop(later).is_some() {}
        let counters = line.counters(Way::ToUpstream);
        assert!(counters.overflowed > 0);
        assert_eq!((counters.received, counters.delivered + counters.overflowed), (300, 300));
        assert_eq!(line.bytes, 0);
    }
}
