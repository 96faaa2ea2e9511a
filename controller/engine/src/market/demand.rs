//! Demands: what a buyer wants for one assignment, and which machines would do.

use std::borrow::Cow;

use chandler_protocol::{AssignmentId, Bytes, Digest, HostId, MicroMoney, MilliCpu, PartyId, Ppm};
use serde::{Deserialize, Serialize};

use super::canon::Canon;
use super::field::{FieldError, check_country, wrong};
use crate::finance::AMOUNT_MAX;
use crate::fleet::Capacity;

/// Most machines that a demand may name.
pub const CANDIDATES_MAX: usize = 10_000;
/// Most countries of a demand.
pub const COUNTRIES_MAX: usize = 64;
/// Most parties in a list of a demand.
pub const PARTIES_MAX: usize = 1_000;
/// Most that one demand may want: 100,000 cores, 100 TiB and 4,096 GPUs. At the highest rates that are taken, an hour of it is
/// still rated without being held at the most that an amount may be.
pub const WANTED_MAX: Capacity = Capacity { cpu: MilliCpu(100_000_000), memory: Bytes(100 << 40), gpus: 4_096 };

/// A machine that would do, as the buyer's own hard constraints say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Qualified {
    /// The machine.
    pub host: HostId,
    /// What the buyer reckons with on top of the rate, an hour: its transfer and its own risk. At least 0.
    pub extra: MicroMoney,
}

/// What a buyer wants for one assignment. Its id is the assignment's, so that the same demand twice is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// The buyer's assignment.
    pub id: AssignmentId,
    /// Who pays.
    pub buyer: PartyId,
    /// How much of one machine.
    pub wanted: Capacity,
    /// Most that the whole of `wanted` may cost an hour, at least 0. It bounds what is paid, so it is compared with the
    /// rate and not with the score: otherwise an owner could gain by a false rate.
    pub cap: MicroMoney,
    /// The machines that would do, 1 to [`CANDIDATES_MAX`], each once.
    pub candidates: Vec<Qualified>,
    /// Countries where data may stay; empty for all.
    pub countries: Vec<String>,
    /// Least availability.
    pub availability_min: Option<Ppm>,
    /// Owners that are left out.
    pub not_owners: Vec<PartyId>,
    /// Parties that are the buyer under another id, as the market knows: it writes this itself, whatever was sent.
    pub same: Vec<PartyId>,
}

impl Demand {
    /// Whether it can be cleared.
    ///
    /// # Errors
    /// The first field that cannot stand.
    pub fn check(&self) -> Result<(), FieldError> {
        self.ordered().check_ordered()
    }

    /// The same demand with its candidates by machine, as every function below wants it.
    pub(super) fn ordered(&self) -> Cow<'_, Self> {
        if self.candidates.is_sorted_by_key(|c| c.host) {
            return Cow::Borrowed(self);
        }
        let mut ordered = self.clone();
        ordered.candidates.sort_unstable_by_key(|c| c.host);
        Cow::Owned(ordered)
    }

    pub(super) fn check_ordered(&self) -> Result<(), FieldError> {
        if self.wanted.cpu.0 == 0 || self.wanted.memory.0 == 0 {
            return Err(wrong("wanted", "wants no processor or no memory: write more than 0 of both"));
        }
        if !WANTED_MAX.holds(self.wanted) {
            let Capacity { cpu, memory, gpus } = WANTED_MAX;
            let most = format!("{cpu}, {memory} and {gpus} GPUs");
            return Err(wrong("wanted", format!("is more than one machine has: write at most {most}")));
        }
        if !(0..=AMOUNT_MAX).contains(&self.cap.0) {
            let most = MicroMoney(AMOUNT_MAX);
            return Err(wrong("cap", format!("is out of range: write an amount of 0 to {most} an hour")));
        }
        self.check_candidates()?;
        if self.countries.len() > COUNTRIES_MAX {
            return Err(wrong("countries", format!("has too many entries: write at most {COUNTRIES_MAX}")));
        }
        self.countries.iter().try_for_each(|c| check_country("countries", c))?;
        if self.availability_min.is_some_and(|min| min > Ppm::ONE) {
            return Err(wrong("availabilityMin", "is more than all of the time: write a share such as \"99 %\""));
        }
        for (field, list) in [("notOwners", &self.not_owners), ("same", &self.same)] {
            if list.len() > PARTIES_MAX {
                return Err(wrong(field, format!("has too many entries: write at most {PARTIES_MAX}")));
            }
        }
        Ok(())
    }

    fn check_candidates(&self) -> Result<(), FieldError> {
        let field = "candidates";
        if self.candidates.is_empty() {
            return Err(wrong(field, "is empty: write at least one machine that would do"));
        }
        if self.candidates.len() > CANDIDATES_MAX {
            return Err(wrong(field, format!("has too many entries: write at most {CANDIDATES_MAX}")));
        }
        if let Some(bad) = self.candidates.iter().find(|c| !(0..=AMOUNT_MAX).contains(&c.extra.0)) {
            let (host, most) = (bad.host, MicroMoney(AMOUNT_MAX));
            return Err(wrong(
                field,
                format!("extra of {host} is out of range: write an amount of 0 to {most} an hour"),
            ));
        }
        match self.candidates.windows(2).find(|pair| pair[0].host == pair[1].host) {
            Some(twice) => Err(wrong(field, format!("{} stands there twice: write each machine once", twice[0].host))),
            None => Ok(()),
        }
    }

    /// Whether a party is the buyer.
    pub fn is_buyer(&self, party: PartyId) -> bool {
        self.buyer == party || self.same.contains(&party)
    }

    /// Its fields, in the order of the type.
    pub(super) fn write(&self, to: Canon) -> Canon {
        to.raw(self.id.as_bytes())
            .raw(self.buyer.as_bytes())
            .capacity(self.wanted)
            .money(self.cap)
            .list(&self.candidates, |to, c| to.raw(c.host.as_bytes()).money(c.extra))
            .list(&self.countries, |to, c| to.text(c))
            .optional(self.availability_min, |to, min| to.number(u64::from(min.0)))
            .list(&self.not_owners, |to, p| to.raw(p.as_bytes()))
            .list(&self.same, |to, p| to.raw(p.as_bytes()))
    }

    /// The hash of all of it, with the candidates by machine, in whatever order they were sent.
    pub fn digest(&self) -> Digest {
        let kinds = ["chandler.market.demand.1", "chandler.market.demand.2"];
        self.ordered().write(Canon::of(kinds, self.wanted.gpus > 0)).hash()
    }
}

#[cfg(test)]
mod tests {
    use super::super::example::demand;
    use super::*;

    #[test]
    fn a_demand_that_makes_no_sense_is_refused_by_its_field() {
        let refused = |expect: &str, change: &dyn Fn(&mut Demand)| {
            let mut demand = demand(5_000, &[(1, 0), (2, 0)]);
            assert_eq!(demand.check(), Ok(()));
            change(&mut demand);
            let text = demand.check().unwrap_err().to_string();
            assert!(text.starts_with(expect), "{expect:?} was said as {text:?}");
        };
        refused("wanted: wants no processor", &|d| d.wanted.cpu.0 = 0);
        refused("wanted: wants no processor or no memory", &|d| d.wanted.memory.0 = 0);
        refused("wanted: is more than", &|d| d.wanted.memory.0 = u64::MAX);
        refused("wanted: is more than", &|d| d.wanted.gpus = 4_097);
        refused("cap: is out of range: write", &|d| d.cap.0 = -1);
        refused("cap: is out of range: write", &|d| d.cap.0 = i64::MAX);
        refused("candidates: is empty: write", &|d| d.candidates.clear());
        refused("candidates: extra of h-", &|d| d.candidates[1].extra.0 = -1);
        refused("candidates: extra of h-", &|d| d.candidates[1].extra.0 = i64::MAX);
        refused("candidates: h-", &|d| d.candidates.push(d.candidates[1]));
        refused("candidates: has too many", &|d| d.candidates = vec![d.candidates[0]; CANDIDATES_MAX + 1]);
        refused("countries: is no country", &|d| d.countries = vec!["Switzerland".to_owned()]);
        refused("countries: has too many", &|d| d.countries = vec!["CH".to_owned(); COUNTRIES_MAX + 1]);
        refused("availabilityMin: is more", &|d| d.availability_min = Some(Ppm(u32::MAX)));
        refused("notOwners: has too many", &|d| d.not_owners = vec![d.buyer; PARTIES_MAX + 1]);
        refused("same: has too many", &|d| d.same = vec![d.buyer; PARTIES_MAX + 1]);
    }
}
