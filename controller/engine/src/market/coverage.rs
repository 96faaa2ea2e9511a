//! Back to back: whether what sites and partners promise covers what the customer was promised, and what the
//! difference costs as a risk.
//!
//! Money that is at risk is counted a month. Where promises differ in degree the share of the credit that nobody
//! backs is taken; where they differ in kind (another country) all of it.

#[cfg(test)]
mod cases;

use chandler_protocol::{MicroMoney, Micros, Ppm};
use serde::{Deserialize, Serialize};

use crate::availability::of_any;
use crate::placement::HOURS_PER_MONTH;
use crate::sla::Terms;

const MONTH: Micros = Micros::from_secs(HOURS_PER_MONTH * 3_600);

/// What the seller of one copy's capacity promises, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SuppliedTerms {
    /// How the seller, or its site, is called in sentences.
    pub name: String,
    /// The share of the time in which the machine is to be there.
    pub availability: Ppm,
    /// The 95th percentile of the way to it and its answer, as promised or measured; `None` when nobody says.
    pub p95: Option<Micros>,
    /// How long before it takes the machine back it says so.
    pub reclaim_notice: Micros,
    /// ISO 3166-1 alpha-2 code of the country it is in.
    pub residency: String,
    /// What it owes for a month in which it breaks its promise.
    pub credit: MicroMoney,
    /// Probability that it breaks its promise in a month, from its [`super::reputation::Standing`].
    pub breach: Ppm,
    /// Probability that the work is lost or has to go in a month, from there too.
    pub loss: Ppm,
}

/// What it costs when a promise to the customer is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exposure {
    /// What is owed to the customer for a month in which it is.
    pub credit: MicroMoney,
    /// How long it takes until the work runs somewhere else, from the moment that is decided.
    pub relocation: Micros,
}

/// An attribute of a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Attribute {
    /// How many copies there are.
    Replicas,
    /// In which countries.
    Residency,
    /// For how much of the time.
    Availability,
    /// How quick.
    Interactivity,
    /// How long before the capacity goes away.
    ReclaimNotice,
    /// What is paid when the promise is broken.
    Credit,
}

impl Attribute {
    /// As it stands in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replicas => "replicas",
            Self::Residency => "residency",
            Self::Availability => "availability",
            Self::Interactivity => "interactivity",
            Self::ReclaimNotice => "reclaimNotice",
            Self::Credit => "credit",
        }
    }
}

/// A promise to the customer that no promise of a seller covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// Of what.
    pub attribute: Attribute,
    /// What the customer was promised.
    pub promised: String,
    /// What the sellers promise.
    pub supplied: String,
    /// What to expect that it costs a month.
    pub risk: MicroMoney,
    /// In one sentence.
    pub text: String,
}

/// Whether the customer's promise is covered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// Whether it is: no gap.
    pub covered: bool,
    /// What is not.
    pub gaps: Vec<Gap>,
}

impl Coverage {
    /// What all gaps together cost a month, to expect: at most the whole credit, which is owed only once.
    pub fn risk(&self, exposure: &Exposure) -> MicroMoney {
        let sum = self.gaps.iter().fold(0, |sum: i64, g| sum.saturating_add(g.risk.0));
        MicroMoney(sum.min(exposure.credit.0.max(0)))
    }
}

/// Whether what the sellers of a service's copies promise covers what its customer was promised.
///
/// `supplied` has one entry for each copy; of more than `replicas` the worst are taken, for any of them may be those
/// that run. With fewer, the customer's terms are held against those that are there.
pub fn cover(customer: &Terms, exposure: &Exposure, supplied: &[SuppliedTerms], replicas: u32) -> Coverage {
    let wanted = usize::try_from(replicas).unwrap_or(usize::MAX);
    let copies = worst(supplied, wanted);
    let on =
        Comparison { customer, credit: i128::from(exposure.credit.0.max(0)), relocation: exposure.relocation, copies };
    let gaps =
        [on.replicas(wanted), on.residency(), on.availability(), on.interactivity(), on.reclaim_notice(), on.owed()];
    let gaps: Vec<_> = gaps.into_iter().flatten().collect();
    Coverage { covered: gaps.is_empty(), gaps }
}

/// So many of the copies that are there the least, whatever the order in which they were named.
fn worst(supplied: &[SuppliedTerms], count: usize) -> Vec<&SuppliedTerms> {
    let mut copies: Vec<_> = supplied.iter().collect();
    copies.sort_by(|a, b| (a.availability, &a.name).cmp(&(b.availability, &b.name)));
    copies.truncate(count);
    copies
}

struct Comparison<'a> {
    customer: &'a Terms,
    credit: i128,
    relocation: Micros,
    copies: Vec<&'a SuppliedTerms>,
}

impl Comparison<'_> {
    /// `part / whole` of the credit, rounded up.
    fn share(&self, part: i128, whole: i128) -> MicroMoney {
        let (whole, part) = (whole.max(1), part.clamp(0, whole.max(1)));
        MicroMoney(i64::try_from((self.credit * part + whole - 1) / whole).unwrap_or(i64::MAX))
    }

    fn replicas(&self, wanted: usize) -> Option<Gap> {
        let there = self.copies.len();
        (there < wanted).then(|| Gap {
            attribute: Attribute::Replicas,
            promised: wanted.to_string(),
            supplied: there.to_string(),
            risk: self.share((wanted - there) as i128, wanted as i128),
            text: format!("{wanted} copies are promised, and capacity is promised for {there}"),
        })
    }

    /// The credit is owed for certain where the work is in another country.
    fn residency(&self) -> Option<Gap> {
        let allowed = &self.customer.residency;
        let abroad = self.copies.iter().find(|c| !allowed.is_empty() && !allowed.contains(&c.residency))?;
        Some(Gap {
            attribute: Attribute::Residency,
            promised: allowed.join(", "),
            supplied: abroad.residency.clone(),
            risk: self.share(1, 1),
            text: format!(
                "{} is in {}, and the work is to stay in {}",
                abroad.name,
                abroad.residency,
                allowed.join(", ")
            ),
        })
    }

    /// Of the time in which all copies may be away though every seller keeps its promise, the share that the customer
    /// was not told of is backed by nobody.
    fn availability(&self) -> Option<Gap> {
        let promised = Ppm(self.customer.availability_min?.0.min(1_000_000));
        let shares: Vec<_> = self.copies.iter().map(|c| c.availability).collect();
        let supplied = of_any(&shares);
        let (allowed, away) = (1_000_000 - promised.0, 1_000_000 - supplied.0);
        (away > allowed).then(|| Gap {
            attribute: Attribute::Availability,
            promised: promised.to_string(),
            supplied: supplied.to_string(),
            risk: self.share(i128::from(away - allowed), i128::from(away)),
            text: format!(
                "{promised} are promised, and the sellers of {} promise {supplied} together: for {} a month it may be \
                 away without any of them owing anything",
                count(shares.len()),
                of_month(away - allowed),
            ),
        })
    }

    /// Any copy may be the one that answers: the slowest counts, or the first of which nothing is known.
    fn interactivity(&self) -> Option<Gap> {
        let max = self.customer.p95_max?;
        let unknown = self.copies.iter().find(|c| c.p95.is_none());
        if let Some(copy) = unknown {
            return Some(Gap {
                attribute: Attribute::Interactivity,
                promised: max.to_string(),
                supplied: String::new(),
                risk: self.share(copy.breach.0.into(), 1_000_000),
                text: format!("95 % within {max} are promised, and nothing is known of how quick {} is", copy.name),
            });
        }
        let (slowest, p95) = self.copies.iter().filter_map(|c| Some((c, c.p95?))).max_by_key(|(_, p95)| *p95)?;
        (p95 > max).then(|| Gap {
            attribute: Attribute::Interactivity,
            promised: max.to_string(),
            supplied: p95.to_string(),
            risk: self.share(i128::from(p95.0) - i128::from(max.0), i128::from(p95.0)),
            text: format!("95 % within {max} are promised, and {} needs {p95}", slowest.name),
        })
    }

    /// A single copy that is taken back sooner than another one runs is away in between. Of several copies, the others
    /// serve meanwhile.
    fn reclaim_notice(&self) -> Option<Gap> {
        let min = self.customer.availability_min?;
        let [copy] = self.copies[..] else { return None };
        let allowed = i128::from(MONTH.0) * i128::from(1_000_000 - min.0.min(1_000_000)) / 1_000_000;
        let gap = Micros(self.relocation.0.max(0).saturating_sub(copy.reclaim_notice.0.max(0)).max(0));
        (i128::from(gap.0) > allowed).then(|| Gap {
            attribute: Attribute::ReclaimNotice,
            promised: self.relocation.to_string(),
            supplied: copy.reclaim_notice.to_string(),
            risk: self.share(copy.loss.0.into(), 1_000_000),
            text: format!(
                "{} takes the machine back {} after it says so, and it takes {} until the work runs elsewhere: for \
                 {gap} it is away, more than {min} allow in a month",
                copy.name, copy.reclaim_notice, self.relocation
            ),
        })
    }

    /// What the sellers owe when all of them break their promises, against what the customer is owed then. Where they
    /// promise as much as the customer was promised, the promise is covered: that one of them may break it stands in its
    /// odds, and is priced by them.
    fn owed(&self) -> Option<Gap> {
        self.availability()?;
        let back = self.copies.iter().fold(0, |sum: i128, c| sum + i128::from(c.credit.0.max(0)));
        let lacking = self.credit - back;
        if lacking <= 0 {
            return None;
        }
        // Rounded up at each step: a risk is never too small.
        let all = self
            .copies
            .iter()
            .fold(1_000_000, |p: i128, c| (p * i128::from(c.breach.0.min(1_000_000)) + 999_999) / 1_000_000);
        let amount = |v: i128| MicroMoney(i64::try_from(v).unwrap_or(i64::MAX));
        let risk = (lacking * all + 999_999) / 1_000_000;
        Some(Gap {
            attribute: Attribute::Credit,
            promised: amount(self.credit).to_string(),
            supplied: amount(back).to_string(),
            risk: amount(risk),
            text: format!(
                "the customer is owed {} for a month below the promise, and the sellers of {} owe {} for it",
                amount(self.credit),
                count(self.copies.len()),
                amount(back)
            ),
        })
    }
}

fn count(copies: usize) -> String {
    if copies == 1 { "1 copy".to_owned() } else { format!("{copies} copies") }
}

/// A share of a month as a time.
fn of_month(share: u32) -> Micros {
    Micros(i64::try_from(i128::from(MONTH.0) * i128::from(share) / 1_000_000).unwrap_or(i64::MAX))
}
