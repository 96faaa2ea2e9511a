//! Receipts: the use of leased capacity as the seller rated it, each bound to the one before by its hash.
//!
//! Seller and buyer keep the same chain. Who has its head, signed by both, can prove every link before it; nobody
//! can change, leave out or slip in one. A seller that was restored from a backup takes its lost links back from
//! the buyer by the same [`verify`].

#[cfg(test)]
mod cases;

use chandler_protocol::{AssignmentId, Digest, HostId, MicroMoney, Micros, Timestamp};
use serde::{Deserialize, Serialize};

use super::AMOUNT_MAX;
use super::rating::rate_cost_next;
use crate::fleet::Capacity;
use crate::site::Rates;

/// Most receipts that are taken at once.
pub const RECEIPTS_MAX: usize = 500;
/// Longest trust domain, in bytes: the longest DNS name.
pub const DOMAIN_MAX: usize = 253;

/// What the hashes are for: one key for each purpose, so that bytes of another purpose never give the same hash.
const LINK: &str = "chandler 2026 receipt of leased use, link of the chain";
const START: &str = "chandler 2026 receipt of leased use, start of the chain";

/// Who sells to whom. Each pair has a chain of its own, and each direction too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Parties {
    /// Trust domain of the controller that sells.
    pub seller: String,
    /// Trust domain of the controller that buys.
    pub buyer: String,
}

/// A stretch of use under a lease, as the seller rated it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeasedUse {
    /// The lease: the buyer's id of the assignment.
    pub lease: AssignmentId,
    /// Where it was measured.
    pub host: HostId,
    /// The host's count of its records: (host, sequence) is unique for ever.
    pub sequence: u64,
    /// The epoch it ran under.
    pub epoch: u64,
    /// What was metered before under the same rates and capacity: the amount continues from here.
    pub before: Micros,
    /// How long it ran.
    pub running: Micros,
    /// Processor time it used (shown, not paid for: what is reserved is).
    pub cpu: Micros,
    /// When the stretch ended, by the seller's clock.
    pub at: Timestamp,
    /// What was reserved for it.
    pub reserved: Capacity,
    /// The lease's rates.
    pub rates: Rates,
    /// What is owed for it.
    pub amount: MicroMoney,
}

impl LeasedUse {
    /// What these numbers come to: how the amount must have been found.
    pub fn rated(&self) -> MicroMoney {
        rate_cost_next(self.before, self.running, self.reserved, self.rates)
    }

    /// The first number that cannot be in any ledger.
    const fn unsound(&self) -> Option<&'static str> {
        if self.before.0 < 0 || self.running.0 < 0 || self.before.0.checked_add(self.running.0).is_none() {
            Some("running")
        } else if self.cpu.0 < 0 {
            Some("cpu")
        } else if self.amount.0 < 0 || self.amount.0 > AMOUNT_MAX {
            Some("amount")
        } else if self.rates.core_hour.0 < 0 || self.rates.gib_hour.0 < 0 || self.rates.gpu_hour.0 < 0 {
            Some("rates")
        } else {
            None
        }
    }
}

/// One link of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Counts the receipts of these two parties, from 1, without gaps.
    pub number: u64,
    /// Hash of the receipt before; of the first one the [`Head::start`] of the two.
    pub previous: Digest,
    /// Who sells to whom.
    pub parties: Parties,
    /// What was used.
    pub used: LeasedUse,
    /// BLAKE3 of all of the above, in the encoding of [`encode`].
    pub hash: Digest,
}

/// The end of a chain: what both parties sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Number of the last receipt; 0 before the first.
    pub number: u64,
    /// Its hash.
    pub hash: Digest,
}

impl Head {
    /// The head of the empty chain between two parties: it holds their names, so that no link fits another chain.
    pub fn start(parties: &Parties) -> Self {
        let mut bytes = Vec::new();
        field(&mut bytes, parties.seller.as_bytes());
        field(&mut bytes, parties.buyer.as_bytes());
        Self { number: 0, hash: Digest(blake3::derive_key(START, &bytes)) }
    }

    /// What is signed: the parties, the number and the hash, each field as in [`encode`].
    pub fn to_sign(&self, parties: &Parties) -> Vec<u8> {
        let mut bytes = Vec::new();
        field(&mut bytes, b"chandler receipts head");
        field(&mut bytes, parties.seller.as_bytes());
        field(&mut bytes, parties.buyer.as_bytes());
        field(&mut bytes, &self.number.to_be_bytes());
        field(&mut bytes, &self.hash.0);
        bytes
    }
}

/// What is wrong with a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// One or more before it are missing.
    #[error("receipts before it are missing")]
    Gap,
    /// It, or a later one, was taken already.
    #[error("it was taken before")]
    Repeat,
    /// Its hash is not that of what it says: something was changed after it was made.
    #[error("its hash is not that of what it says")]
    Changed,
    /// It follows another receipt than the one that is known: the other side's chain was rewritten.
    #[error("it follows another receipt than the one before it")]
    Previous,
    /// It is between others.
    #[error("it is not between these two parties")]
    Parties,
    /// A number in it can be in no ledger: the field is named.
    #[error("its {0} cannot be")]
    Unsound(&'static str),
}

/// Why a chain is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("receipt {number}: {what}")]
pub struct ChainError {
    /// The number that the first bad link says it has.
    pub number: u64,
    /// What is wrong with it.
    pub what: Fault,
}

/// The next link of the seller's chain.
///
/// # Errors
/// [`Fault::Unsound`]: a number could be in no ledger. [`Fault::Parties`]: a name is empty or longer than
/// [`DOMAIN_MAX`]. [`Fault::Gap`]: the chain is as long as a count can be.
pub fn append(parties: &Parties, head: Head, used: LeasedUse) -> Result<Receipt, ChainError> {
    let wrong = |what| ChainError { number: head.number.saturating_add(1), what };
    let number = head.number.checked_add(1).ok_or_else(|| wrong(Fault::Gap))?;
    if !are_named(parties) {
        return Err(wrong(Fault::Parties));
    }
    if let Some(name) = used.unsound() {
        return Err(wrong(Fault::Unsound(name)));
    }
    let mut receipt = Receipt { number, previous: head.hash, parties: parties.clone(), used, hash: Digest([0; 32]) };
    receipt.hash = hash(&receipt);
    Ok(receipt)
}

/// Checks that receipts continue a chain; gives its new head. Nothing is taken of a batch with a bad link.
///
/// It says nothing about whether what they claim is true: that is [`super::settlement::compare`].
///
/// # Errors
/// The first bad link, and what is wrong with it.
pub fn verify(parties: &Parties, after: Head, receipts: &[Receipt]) -> Result<Head, ChainError> {
    receipts.iter().try_fold(after, |head, receipt| {
        link(parties, head, receipt).map_err(|what| ChainError { number: receipt.number, what })
    })
}

fn link(parties: &Parties, head: Head, receipt: &Receipt) -> Result<Head, Fault> {
    if receipt.parties != *parties || !are_named(parties) {
        return Err(Fault::Parties);
    }
    if receipt.number <= head.number {
        return Err(Fault::Repeat);
    }
    if receipt.number - head.number != 1 {
        return Err(Fault::Gap);
    }
    if receipt.previous != head.hash {
        return Err(Fault::Previous);
    }
    if receipt.hash != hash(receipt) {
        return Err(Fault::Changed);
    }
    match receipt.used.unsound() {
        Some(name) => Err(Fault::Unsound(name)),
        None => Ok(Head { number: receipt.number, hash: receipt.hash }),
    }
}

const fn are_named(parties: &Parties) -> bool {
    let (seller, buyer) = (parties.seller.len(), parties.buyer.len());
    seller > 0 && seller <= DOMAIN_MAX && buyer > 0 && buyer <= DOMAIN_MAX
}

fn hash(receipt: &Receipt) -> Digest {
    Digest(blake3::derive_key(LINK, &encode(receipt)))
}

fn field(bytes: &mut Vec<u8>, value: &[u8]) {
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(value);
}

/// The bytes that are hashed, the same for everybody and for ever: each field as its length (four bytes, big end
/// first) and its value, in the order below; numbers big end first in the width of their type, text as UTF-8, ids as
/// their ten bytes. The list is append-only: a new field goes to the end and is left out while it has no value, so
/// that no old hash changes.
pub fn encode(receipt: &Receipt) -> Vec<u8> {
    let used = &receipt.used;
    let mut bytes = Vec::with_capacity(256);
    field(&mut bytes, &receipt.number.to_be_bytes());
    field(&mut bytes, &receipt.previous.0);
    field(&mut bytes, receipt.parties.seller.as_bytes());
    field(&mut bytes, receipt.parties.buyer.as_bytes());
    field(&mut bytes, used.lease.as_bytes());
    field(&mut bytes, used.host.as_bytes());
    field(&mut bytes, &used.sequence.to_be_bytes());
    field(&mut bytes, &used.epoch.to_be_bytes());
    field(&mut bytes, &used.before.0.to_be_bytes());
    field(&mut bytes, &used.running.0.to_be_bytes());
    field(&mut bytes, &used.cpu.0.to_be_bytes());
    field(&mut bytes, &used.at.0.to_be_bytes());
    field(&mut bytes, &used.reserved.cpu.0.to_be_bytes());
    field(&mut bytes, &used.reserved.memory.0.to_be_bytes());
    field(&mut bytes, &used.rates.core_hour.0.to_be_bytes());
    field(&mut bytes, &used.rates.gib_hour.0.to_be_bytes());
    field(&mut bytes, &used.amount.0.to_be_bytes());
    // Their widths differ, so that one alone is never taken for the other.
    if used.reserved.gpus > 0 {
        field(&mut bytes, &used.reserved.gpus.to_be_bytes());
    }
    if used.rates.gpu_hour.0 != 0 {
        field(&mut bytes, &used.rates.gpu_hour.0.to_be_bytes());
    }
    bytes
}
