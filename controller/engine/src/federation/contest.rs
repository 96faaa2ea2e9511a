//! Disputes between two controllers: opened by the buyer, mirrored by the seller, and decided at one place, the seller's.
//!
//! The buyer says what it contests with its countersignature, what it would pay, and what it has to say; all of it whole
//! and as often as it likes. The seller's controller decides once an offer meets what its own side would take, so that
//! two decisions at the same moment cannot differ. A partner can so decide against itself only: what a buyer offers it
//! pays, what a seller does not ask for any more it gives up.

#[cfg(test)]
mod cases;
mod sweep;

use chandler_protocol::text::{TEXT_MAX, clean};
use chandler_protocol::{MicroMoney, PartyId};
use serde::{Deserialize, Serialize};

pub use self::sweep::sweep;
use super::chain::Chain;
use super::lease::Side;
use crate::draft::Draft;
use crate::event::Noun;
use crate::finance::dispute::{self, Bidder, Dispute, DisputeError, DisputeId, DisputeState, Hold, STATEMENTS_MAX};
use crate::finance::receipt::{Head, RECEIPTS_MAX, Receipt};
use crate::finance::settlement::Reason;
use crate::model::Model;

/// Most disputes that are spoken of at once.
pub const WORDS_MAX: usize = RECEIPTS_MAX;

/// A receipt that its buyer contests, as it says so to the seller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Contested {
    /// Which.
    pub number: u64,
    /// How much of it.
    pub amount: MicroMoney,
    /// Why.
    pub reason: Reason,
}

/// How a dispute is, as one side tells the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DisputeWord {
    /// The receipt.
    pub number: u64,
    /// How much of it is contested.
    pub contested: MicroMoney,
    /// The buyer: how much of that it would pay. The seller: how much of it it would take.
    pub price: MicroMoney,
    /// How much of it the seller got, once it is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<MicroMoney>,
    /// What the side that speaks has to say, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<String>,
}

impl DisputeWord {
    fn of(dispute: &Dispute) -> Self {
        Self {
            number: dispute.id.receipt,
            contested: dispute.hold.contested,
            price: if dispute.id.ours { dispute.asked() } else { dispute.offered() },
            decided: dispute.decided.as_ref().map(|d| d.to_seller),
            said: dispute.statements(false).map(|e| e.text.clone()).collect(),
        }
    }
}

/// The disputes with a partner about its receipts, or about ours, in order of number.
fn of_partner(model: &Model, partner: PartyId, ours: bool, after: u64) -> impl Iterator<Item = &Dispute> {
    let from = DisputeId { partner, ours, receipt: after.saturating_add(1) };
    let to = DisputeId { partner, ours, receipt: u64::MAX };
    model.disputes.range(from..=to).map(|(_, d)| d.as_ref())
}

/// What the buyer contests of the receipts behind `after`, up to and with `upto`: what its countersignature says.
pub fn contested(model: &Model, partner: PartyId, after: u64, upto: u64) -> Vec<Contested> {
    let of = of_partner(model, partner, false, after).take_while(|d| d.id.receipt <= upto).take(WORDS_MAX);
    of.map(|d| Contested { number: d.id.receipt, amount: d.hold.contested, reason: d.reason }).collect()
}

/// Opens a dispute, once for each receipt; its money is held from now on.
pub(super) fn open(draft: &mut Draft<'_>, dispute: Dispute) {
    let Some(chain) = chain_of(draft, dispute.id) else { return };
    if draft.model.disputes.contains_key(&dispute.id) {
        return;
    }
    let contested = dispute.hold.contested;
    let text = format!("{contested} of receipt {} contested: {}", dispute.id.receipt, dispute.reason.sentence());
    told(draft, &dispute, "", text);
    draft.put(dispute);
    draft.put(Chain { sums: chain.sums.disputed(contested), ..chain });
}

fn chain_of(draft: &Draft<'_>, id: DisputeId) -> Option<Chain> {
    let side = if id.ours { Side::Sold } else { Side::Bought };
    draft.model.chains.get(&(id.partner, side)).map(|c| c.as_ref().clone())
}

fn told(draft: &mut Draft<'_>, dispute: &Dispute, from: &str, text: impl Into<String>) {
    let what = (Noun::Dispute, dispute.id.to_string(), dispute.lease.to_string());
    draft.event((what.0, what.1, &what.2), from, dispute.state.as_str(), text);
}

/// Keeps how a dispute is by now, with what follows from that.
fn keep(draft: &mut Draft<'_>, before: &Dispute, next: Dispute, text: impl Into<String>) {
    if *before == next {
        return;
    }
    if before.state != next.state {
        told(draft, &next, before.state.as_str(), text);
    }
    if let (None, Some(decision)) = (&before.decided, &next.decided)
        && let Some(chain) = chain_of(draft, next.id)
    {
        let sums = chain.sums.decided(next.hold.contested, decision.to_seller);
        draft.put(Chain { sums, ..chain });
    }
    draft.put(next);
}

/// This side says something about a dispute.
///
/// # Errors
/// See [`Dispute::say`]. `None`: there is no such dispute.
pub fn say(draft: &mut Draft<'_>, id: DisputeId, text: &str) -> Result<Option<Dispute>, DisputeError> {
    let Some(known) = draft.model.disputes.get(&id).cloned() else { return Ok(None) };
    let next = known.say(draft.by(), text, draft.now)?;
    keep(draft, &known, next.clone(), "something was said about it");
    Ok(Some(next))
}

/// This side names what it would settle for: what it would pay, or what it would take. What only costs itself is decided:
/// at once where it sold, with the seller's next word where it bought.
///
/// # Errors
/// See [`Dispute::propose`]. `None`: there is no such dispute.
pub fn propose(draft: &mut Draft<'_>, id: DisputeId, to_seller: MicroMoney) -> Result<Option<Dispute>, DisputeError> {
    let Some(known) = draft.model.disputes.get(&id).cloned() else { return Ok(None) };
    let bidder = if id.ours { Bidder::Seller } else { Bidder::Buyer };
    let next = known.propose(bidder, to_seller, draft.now)?;
    keep(draft, &known, next, format!("{to_seller} of {} would do", known.hold.contested));
    if id.ours {
        settle(draft, id);
    }
    Ok(draft.model.disputes.get(&id).map(|d| d.as_ref().clone()))
}

/// The buyer offers all of it.
pub(super) fn concede(draft: &mut Draft<'_>, id: DisputeId) {
    let Some(known) = draft.model.disputes.get(&id).cloned() else { return };
    if let Ok(next) = known.propose(Bidder::Buyer, known.hold.contested, draft.now) {
        keep(draft, &known, next, "it was signed before this controller was restored from a backup: it is paid");
    }
}

/// The seller's controller decides what both sides would settle for.
fn settle(draft: &mut Draft<'_>, id: DisputeId) {
    let Some(known) = draft.model.disputes.get(&id).cloned() else { return };
    let Some(to_seller) = known.deal() else { return };
    if let Ok(next) = known.decide(to_seller, draft.by(), draft.now) {
        keep(draft, &known, next, decision(to_seller, &known));
    }
}

fn decision(to_seller: MicroMoney, dispute: &Dispute) -> String {
    format!("decided: the seller gets {to_seller} of {}", dispute.hold.contested)
}

/// The seller takes in a countersignature, whose link and signature were checked, with what is contested of the receipts
/// behind the one before. Says whether anything is new.
///
/// # Errors
/// One sentence: it contests what it may not; nothing of it is taken.
pub fn countersign(
    draft: &mut Draft<'_>,
    buyer: PartyId,
    signed: (Head, Vec<u8>),
    contested: &[(Contested, Receipt)],
) -> Result<bool, String> {
    let Some(chain) = draft.model.chains.get(&(buyer, Side::Sold)).cloned() else { return Ok(false) };
    let (before, head) = (chain.countersigned(), signed.0);
    if head.number <= before {
        return Ok(false);
    }
    let mut found = Vec::new();
    for (word, receipt) in contested.iter().filter(|(word, _)| word.number > before) {
        if receipt.number != word.number || word.number > head.number {
            return Err(format!("receipt {}: only what is countersigned can be contested with it", word.number));
        }
        if word.amount.0 <= 0 || word.amount > receipt.used.amount {
            return Err(format!(
                "receipt {}: contest from 0.000001 to the {} it asks",
                word.number, receipt.used.amount
            ));
        }
        let owner = owner_of(&draft.model, receipt);
        let owner = owner.ok_or_else(|| format!("receipt {}: it is too old to be contested", word.number))?;
        let id = DisputeId { partner: buyer, ours: true, receipt: word.number };
        let hold = Hold { side: dispute::Side::Seller { owner }, partner: buyer, contested: word.amount };
        found.push(Dispute::open(id, receipt.used.lease, hold, word.reason, draft.now));
    }
    draft.put(Chain { signed: Some(signed), ..chain.as_ref().clone() });
    for dispute in found {
        open(draft, dispute);
    }
    Ok(true)
}

/// Whose machine it ran on.
fn owner_of(model: &Model, receipt: &Receipt) -> Option<PartyId> {
    let lease = model.leases.get(&receipt.used.lease).map(|l| l.site);
    let site = lease.or_else(|| model.hosts.get(&receipt.used.host).map(|h| h.site))?;
    model.sites.get(&site).map(|s| s.owner)
}

/// Everything that one side has to say about disputes behind a number that are not closed; at most [`WORDS_MAX`].
pub fn words(model: &Model, partner: PartyId, ours: bool, after: u64) -> Vec<DisputeWord> {
    let open = of_partner(model, partner, ours, after).filter(|d| d.state != DisputeState::Closed);
    open.take(WORDS_MAX).map(DisputeWord::of).collect()
}

/// Takes in what the partner says; where it buys, decides what both would settle for. Gives what to answer: how each of
/// these is, also when it is closed by now, and the others that are not.
pub fn hear(draft: &mut Draft<'_>, buyer: PartyId, said: &[DisputeWord]) -> Vec<DisputeWord> {
    let mut answer = std::collections::BTreeMap::new();
    for word in said.iter().take(WORDS_MAX) {
        let id = DisputeId { partner: buyer, ours: true, receipt: word.number };
        listen(draft, id, word);
        settle(draft, id);
        close(draft, id, word.decided);
        if let Some(known) = draft.model.disputes.get(&id) {
            answer.insert(word.number, DisputeWord::of(known));
        }
    }
    for word in words(&draft.model, buyer, true, 0) {
        answer.entry(word.number).or_insert(word);
    }
    answer.into_values().take(2 * WORDS_MAX).collect()
}

/// Takes in the seller's answer to what was said. Gives what is left to say: that this side pays what it contested before
/// it was restored from a backup, and does not know of any more.
pub fn heard(draft: &mut Draft<'_>, seller: PartyId, said: &[DisputeWord], answer: &[DisputeWord]) -> Vec<DisputeWord> {
    let told = draft.model.chains.get(&(seller, Side::Bought)).map_or(0, |c| c.countersigned());
    let mut left = Vec::new();
    for word in answer.iter().take(2 * WORDS_MAX) {
        let id = DisputeId { partner: seller, ours: false, receipt: word.number };
        let Some(known) = draft.model.disputes.get(&id).cloned() else {
            if word.number <= told && word.decided.is_none() {
                left.push(DisputeWord { price: word.contested, said: Vec::new(), ..word.clone() });
            }
            continue;
        };
        listen(draft, id, word);
        // What the seller knows of less being contested was agreed, once, by a buyer that was restored since.
        let agreed = (known.hold.contested.0 - word.contested.0.max(0)).max(0);
        let decided = word.decided.map(|d| MicroMoney(d.0.saturating_add(agreed)));
        // More than was offered is no decision, whatever the seller says.
        if let Some(to_seller) = decided.filter(|d| known.decided.is_none() && *d <= known.offered())
            && let Some(now_known) = draft.model.disputes.get(&id).cloned()
            && let Ok(next) = now_known.decide(to_seller, draft.by(), draft.now)
        {
            keep(draft, &now_known, next, decision(to_seller, &known));
        }
        // The seller was told the decision, and has answered: both know.
        if said.iter().any(|s| s.number == word.number && s.decided.is_some()) {
            close(draft, id, word.decided);
        }
    }
    let unknown = said.iter().filter(|s| s.number <= told && answer.iter().all(|a| a.number != s.number));
    for word in unknown {
        agree(draft, DisputeId { partner: seller, ours: false, receipt: word.number });
    }
    left.truncate(WORDS_MAX);
    left
}

/// The seller knows of no dispute, and the buyer offers all of it: then it is agreed.
fn agree(draft: &mut Draft<'_>, id: DisputeId) {
    let Some(known) = draft.model.disputes.get(&id).cloned() else { return };
    let all = known.hold.contested;
    if known.decided.is_none()
        && known.offered() == all
        && let Ok(next) = known.decide(all, draft.by(), draft.now).and_then(|d| d.close(draft.now))
    {
        keep(draft, &known, next, decision(all, &known));
    }
}

/// What the other side says and would settle for. What it takes back is not heard.
fn listen(draft: &mut Draft<'_>, id: DisputeId, word: &DisputeWord) {
    let Some(known) = draft.model.disputes.get(&id).cloned() else { return };
    if known.decided.is_some() {
        return;
    }
    let mut next = known.as_ref().clone();
    let heard = known.statements(true).count();
    for text in word.said.iter().take(STATEMENTS_MAX).skip(heard) {
        let text = clean(text, TEXT_MAX);
        next = next.hear(draft.by(), &text, draft.now).unwrap_or(next);
    }
    let bidder = if id.ours { Bidder::Buyer } else { Bidder::Seller };
    next = next.propose(bidder, word.price.min(known.hold.contested), draft.now).unwrap_or(next);
    keep(draft, &known, next, "the other side had a word about it");
}

/// Both sides know the same decision.
fn close(draft: &mut Draft<'_>, id: DisputeId, theirs: Option<MicroMoney>) {
    let Some(known) = draft.model.disputes.get(&id).cloned() else { return };
    let own = known.decided.as_ref().map(|d| d.to_seller);
    if own.is_some()
        && own == theirs
        && let Ok(next) = known.close(draft.now)
    {
        keep(draft, &known, next, "both sides know the decision");
    }
}
