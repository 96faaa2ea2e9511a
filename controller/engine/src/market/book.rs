//! The book: all lots of one moment, opened and checked once, however many demands are then cleared against them.

use chandler_protocol::{Digest, HostId, OfferId};

use super::canon::Canon;
use super::lot::{LotOffer, commitment};
use super::offer::check_rates;
use super::refusal::Refusal;
use crate::finance::AMOUNT_MAX;

/// A lot, with what is true of it for every demand.
#[derive(Debug, Clone)]
pub(super) struct Opened {
    pub(super) lot: LotOffer,
    leaf: Digest,
    /// Why nobody can buy it.
    pub(super) refused: Option<Refusal>,
}

/// All lots of one moment, by machine and offer: the order in which they came does not matter.
#[derive(Debug, Clone)]
pub struct Book {
    lots: Vec<Opened>,
    digest: Digest,
}

impl Book {
    /// Opens offers: each is held against its commitment, and of several for one machine only the first by id that
    /// stands by itself counts. Costs about as much as a clearing; [`Book::renew`] keeps it open.
    pub fn open(lots: impl IntoIterator<Item = LotOffer>) -> Self {
        let mut lots: Vec<Opened> = lots.into_iter().map(opened).collect();
        // The leaf last: even twice the same offer has one order only.
        lots.sort_unstable_by(|a, b| key(a).cmp(&key(b)).then_with(|| a.leaf.cmp(&b.leaf)));
        for same in lots.chunk_by_mut(|a, b| a.lot.host == b.lot.host) {
            refuse_second(same);
        }
        let digest = root(&lots);
        Self { lots, digest }
    }

    /// Puts a lot in place of all of the same machine and offer: when part of it was sold, or its rate changed.
    pub fn renew(&mut self, lot: LotOffer) {
        let host = lot.host;
        let (from, to) = self.range(host);
        let others = self.lots[from..to].iter().filter(|o| o.lot.offer != lot.offer).map(|o| o.lot.clone());
        let all: Vec<LotOffer> = others.chain([lot.clone()]).collect();
        self.lots.splice(from..to, Self::open(all).lots);
        self.digest = root(&self.lots);
    }

    /// The lots of one machine, by offer.
    pub fn of_host(&self, host: HostId) -> impl Iterator<Item = &LotOffer> {
        let (from, to) = self.range(host);
        self.lots[from..to].iter().map(|o| &o.lot)
    }

    fn range(&self, host: HostId) -> (usize, usize) {
        (self.lots.partition_point(|o| o.lot.host < host), self.lots.partition_point(|o| o.lot.host <= host))
    }

    /// How many lots there are.
    pub const fn len(&self) -> usize {
        self.lots.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.lots.is_empty()
    }

    /// The hash of the hashes of all lots, in their order.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    pub(super) fn lots(&self) -> &[Opened] {
        &self.lots
    }
}

const fn key(opened: &Opened) -> (HostId, OfferId, u64) {
    (opened.lot.host, opened.lot.offer, opened.lot.version)
}

fn opened(lot: LotOffer) -> Opened {
    let refused = if let Some(why) = &lot.closed {
        Some(Refusal::Closed(why.clone()))
    } else if check_rates(lot.rates).is_err() || !(0..=AMOUNT_MAX).contains(&lot.risk.0) {
        Some(Refusal::OutOfRange)
    } else if commitment(&lot) != lot.commitment {
        Some(Refusal::Commitment)
    } else {
        None
    };
    Opened { leaf: lot.leaf(), lot, refused }
}

/// Lets only the first good lot of a machine stand.
fn refuse_second(same: &mut [Opened]) {
    let mut first = None;
    for opened in same.iter_mut().filter(|o| o.refused.is_none()) {
        match first {
            None => first = Some(opened.lot.offer),
            Some(first) => opened.refused = Some(Refusal::SecondOffer { first }),
        }
    }
}

fn root(lots: &[Opened]) -> Digest {
    Canon::new("chandler.market.book.1").list(lots, |to, o| to.digest(o.leaf)).hash()
}
