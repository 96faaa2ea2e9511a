//! The books of a seller that lies about use: a chain of receipts of its own, each link made from a real one, rebuilt and
//! signed with the seller's own key. It goes on from its lies, and insists on them until it gives in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use axum::http::{Method, StatusCode};
use chandler_controller::federation::Identity;
use chandler_engine::finance::receipt::{Head, LeasedUse, Receipt, append};
use chandler_protocol::{AssignmentId, Micros, MilliCpu};
use chandler_tests::fleet::Fleet;
use serde_json::{Value, json};

use super::caller::stolen;
use super::{Answer, Asked, Tongue};

/// What the signature under the end of a chain is for.
const CONTEXT: &str = "chandler receipts head";

/// What is untrue about a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Three times as much is said to have been reserved.
    Reserved,
    /// It is said to have run for so much longer.
    Longer(Micros),
    /// It is said to have been under another lease.
    Lease(AssignmentId),
}

/// The books.
pub(crate) struct Books {
    identity: Arc<Identity>,
    written: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    links: Vec<Receipt>,
    /// What the next receipt of a lease will be.
    planned: BTreeMap<AssignmentId, Lie>,
    /// By how much more, or less, was told of a lease than was measured.
    off: BTreeMap<AssignmentId, i64>,
    /// Numbers of the receipts that are lies.
    lies: BTreeSet<u64>,
    countersigned: u64,
    gives_in: bool,
}

impl Books {
    pub(crate) fn of(seller: &Fleet) -> Result<Self> {
        Ok(Self { identity: stolen(seller)?, written: Mutex::default() })
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next receipt of this lease will be a lie.
    pub(crate) fn lie(&self, lease: AssignmentId, lie: Lie) {
        self.written().planned.insert(lease, lie);
    }

    /// The receipts that are lies.
    pub(crate) fn lies(&self) -> Vec<Receipt> {
        let written = self.written();
        written.links.iter().filter(|r| written.lies.contains(&r.number)).cloned().collect()
    }

    /// How many links there are, and how many of them the buyer has signed.
    pub(crate) fn length(&self) -> (u64, u64) {
        let written = self.written();
        (written.links.len() as u64, written.countersigned)
    }

    /// From now on it takes nothing of what is contested.
    pub(crate) fn give_in(&self) {
        self.written().gives_in = true;
    }

    fn signed(&self, link: &Receipt) -> Result<Value> {
        let head = Head { number: link.number, hash: link.hash };
        let signature = self.identity.sign(CONTEXT, &head.to_sign(&link.parties))?;
        let signature: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(json!({ "head": head, "signature": signature }))
    }

    /// The seller's receipts as they stand in these books.
    fn receipts(&self, real: &Value) -> Result<Value> {
        let real: Vec<Receipt> = serde_json::from_value(real["receipts"].clone())?;
        let mut written = self.written();
        let Some(first) = real.first().map(|r| r.number) else {
            let end = written.links.last().map(|end| self.signed(end)).transpose()?;
            return Ok(json!({ "receipts": [], "head": end, "countersigned": written.countersigned }));
        };
        for receipt in &real {
            written.enter(receipt)?;
        }
        let from = usize::try_from(first - 1)?;
        let told = written.links.get(from..from + real.len()).context("links are entered in order")?;
        let (last, end) = (told.last().context("some are told")?, written.links.last().context("some are there")?);
        let part = if last.number == end.number { Value::Null } else { self.signed(last)? };
        Ok(json!({
            "receipts": told,
            "head": self.signed(end)?,
            "part": part,
            "countersigned": written.countersigned,
        }))
    }

    /// What it says about disputes: that each was decided in its favour, or, once it gives in, in the buyer's.
    fn disputes(&self, said: &Value) -> Value {
        let gives_in = self.written().gives_in;
        let words = said.as_array().into_iter().flatten().map(|word| {
            let got = if gives_in { json!(0) } else { word["contested"].clone() };
            json!({ "number": word["number"], "contested": word["contested"], "price": got, "decided": got,
                    "said": ["our meter says so"] })
        });
        words.collect()
    }
}

impl Written {
    /// Enters a real receipt, or what becomes of it, once.
    fn enter(&mut self, real: &Receipt) -> Result<()> {
        if real.number <= self.links.len() as u64 {
            return Ok(());
        }
        let head =
            self.links.last().map_or_else(|| Head::start(&real.parties), |l| Head { number: l.number, hash: l.hash });
        let off = self.off.get(&real.used.lease).copied().unwrap_or(0);
        let mut used = LeasedUse { before: Micros(real.used.before.0 + off), ..real.used };
        let lie = self.planned.remove(&used.lease);
        match lie {
            Some(Lie::Reserved) => used.reserved.cpu = MilliCpu(used.reserved.cpu.0 * 3),
            Some(Lie::Longer(more)) => {
                used.running = Micros(used.running.0 + more.0);
                *self.off.entry(used.lease).or_default() += more.0;
            }
            Some(Lie::Lease(other)) => {
                *self.off.entry(used.lease).or_default() -= used.running.0;
                used = LeasedUse { lease: other, before: Micros(0), ..used };
            }
            None => {}
        }
        used.amount = used.rated();
        let link = append(&real.parties, head, used)?;
        if lie.is_some() {
            self.lies.insert(link.number);
        }
        self.links.push(link);
        Ok(())
    }
}

#[async_trait]
impl Tongue for Books {
    async fn tell(&self, asked: &Asked, answer: Answer) -> Answer {
        let fine = |body| Answer { status: StatusCode::OK, body };
        if asked.is(&Method::GET, "receipts") && answer.status.is_success() {
            // An answer that the liar cannot make is no answer: its buyer asks again.
            let gone = |_| Answer { status: StatusCode::SERVICE_UNAVAILABLE, body: Value::Null };
            self.receipts(&answer.body).map_or_else(gone, fine)
        } else if asked.is(&Method::POST, "receipts/countersigned") {
            // The real seller knows no such link once there is a lie in the chain.
            let number = asked.body["head"]["number"].as_u64().unwrap_or(0);
            let mut written = self.written();
            written.countersigned = written.countersigned.max(number);
            fine(json!(true))
        } else if asked.is(&Method::POST, "disputes") {
            fine(self.disputes(&asked.body))
        } else {
            answer
        }
    }
}
