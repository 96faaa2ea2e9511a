//! The wire between controllers: by seed each word is lost, late, said twice, or overtaken by a later one.

use std::collections::{BTreeMap, BTreeSet};

use chandler_protocol::lease::LeaseGrant;
use chandler_protocol::{AssignmentId, HostId};

use super::super::{Catalogue, Contested, Demand, DisputeWord, LeaseWord, News, Orders, Taken};
use crate::finance::receipt::{Head, Receipt};

/// What a buyer asks of a seller.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    Catalogue,
    News,
    Lease(AssignmentId, Demand),
    /// Another size of a lease.
    Size(AssignmentId, Demand),
    End(AssignmentId),
    Orders(HostId, Orders),
    Grant(HostId, LeaseGrant),
    Receipts(u64),
    Countersign(Head, Vec<Contested>),
    Disputes(Vec<DisputeWord>),
    /// How a lease is that the seller was asked for in other words before.
    Look(AssignmentId),
    /// Receipts that the seller signed and does not know any more, with the end of its own chain.
    Restored(Vec<Receipt>, Head),
}

/// What the seller answers. An error is a refusal, in its words.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    Catalogue(Catalogue),
    News(News),
    Lease(AssignmentId, Result<LeaseWord, String>),
    /// Which demand it was, and the answer.
    Size(AssignmentId, u64, Result<LeaseWord, String>),
    Ended(AssignmentId),
    Holds(HostId, Orders, Result<Taken, String>),
    Receipts {
        receipts: Vec<Receipt>,
        head: Option<Head>,
        countersigned: u64,
    },
    Countersigned(Head, bool),
    /// What was said, and the answer.
    Disputes(Vec<DisputeWord>, Vec<DisputeWord>),
    Nothing,
}

/// What a call is about: of each there is one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum About {
    Catalogue,
    News,
    Lease(AssignmentId),
    Size(AssignmentId),
    End(AssignmentId),
    Orders(HostId),
    Grant(HostId, u64),
    Receipts,
    Countersign,
    Disputes,
    Look(AssignmentId),
    Restored,
}

impl Ask {
    pub(super) const fn about(&self) -> About {
        match self {
            Self::Catalogue => About::Catalogue,
            Self::News => About::News,
            Self::Lease(id, _) => About::Lease(*id),
            Self::Size(id, _) => About::Size(*id),
            Self::End(id) => About::End(*id),
            Self::Orders(host, _) => About::Orders(*host),
            Self::Grant(host, grant) => About::Grant(*host, grant.nonce),
            Self::Receipts(_) => About::Receipts,
            Self::Countersign(..) => About::Countersign,
            Self::Disputes(_) => About::Disputes,
            Self::Look(id) => About::Look(*id),
            Self::Restored(..) => About::Restored,
        }
    }
}

/// A word under way.
#[derive(Debug, Clone)]
pub(super) enum Word {
    Ask(Ask),
    Reply(About, Reply),
}

/// A word with where it goes. Calls are numbered, so that an answer is known to be to the last one.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub from: usize,
    pub to: usize,
    pub call: u64,
    pub word: Word,
}

/// Numbers that look like chance and are the same each time (xorshift64*).
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    /// From 0 to `below` - 1.
    pub(super) fn below(&mut self, below: u64) -> u64 {
        self.next() % below.max(1)
    }

    /// In so many of a hundred cases.
    pub(super) fn percent(&mut self, of_hundred: u64) -> bool {
        self.below(100) < of_hundred
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Weather {
    /// Of a hundred words so many are lost, and so many said twice.
    pub lost: u64,
    pub twice: u64,
    /// A word takes up to so many seconds.
    pub late: u64,
    /// An answer is taken in whenever it comes, though it is not waited for any more: a partner may play back old ones.
    pub replayed: bool,
}

/// The wire.
pub(super) struct Wire {
    pub dice: Dice,
    pub weather: Weather,
    /// Nothing passes between these two.
    pub cut: BTreeSet<(usize, usize)>,
    under_way: BTreeMap<(i64, u64), Letter>,
    count: u64,
    /// Words that were delivered.
    pub delivered: u64,
}

impl Wire {
    pub(super) fn new(seed: u64) -> Self {
        let (cut, under_way) = (BTreeSet::new(), BTreeMap::new());
        Self { dice: Dice::new(seed), weather: Weather::default(), cut, under_way, count: 0, delivered: 0 }
    }

    pub(super) fn send(&mut self, second: i64, letter: &Letter) {
        let copies = if self.dice.percent(self.weather.twice) { 2 } else { 1 };
        for _ in 0..copies {
            if self.dice.percent(self.weather.lost) {
                continue;
            }
            let late = i64::try_from(self.dice.below(self.weather.late + 1)).unwrap();
            self.count += 1;
            self.under_way.insert((second + late, self.count), letter.clone());
        }
    }

    /// The next word that arrives by now.
    pub(super) fn next(&mut self, second: i64) -> Option<Letter> {
        loop {
            let (key, _) = self.under_way.first_key_value().filter(|((at, _), _)| *at <= second)?;
            let key = *key;
            let letter = self.under_way.remove(&key)?;
            let (a, b) = (letter.from.min(letter.to), letter.from.max(letter.to));
            if !self.cut.contains(&(a, b)) {
                self.delivered += 1;
                return Some(letter);
            }
        }
    }
}
