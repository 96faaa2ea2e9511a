//! Back to back: whether what sites and partners promise covers what the customer was promised, and what the
//! difference costs as a risk.
//!
//! Money that is at risk is counted a month. Where promises differ in degree the share of the credit that nobody
//! backs is taken; where they differ in kind (another country) all of it.

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
/// `supplied` has one entry for each copy; of more than `replicas` the worst are taken, for any of them may be those that
/// run. With fewer, the customer's terms are held against those that are there.
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
                "{promised} are promised, and the sellers of {} promise {supplied} together: for {} a month it may be away without any of them owing anything",
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
                "{} takes the machine back {} after it says so, and it takes {} until the work runs elsewhere: for {gap} it is away, more than {min} allow in a month",
                copy.name, copy.reclaim_notice, self.relocation
            ),
        })
    }

    /// What the sellers owe when all of them break their promises, against what the customer is owed then.
    fn owed(&self) -> Option<Gap> {
        self.customer.availability_min?;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CREDIT: i64 = 10_000_000;

    fn seller(name: &str, availability: u32) -> SuppliedTerms {
        SuppliedTerms {
            name: name.to_owned(),
            availability: Ppm(availability),
            p95: Some(Micros::from_millis(30)),
            reclaim_notice: Micros::from_secs(600),
            residency: "DE".to_owned(),
            credit: MicroMoney(CREDIT),
            breach: Ppm(100_000),
            loss: Ppm(200_000),
        }
    }

    fn customer() -> Terms {
        Terms {
            availability_min: Some(Ppm(995_000)),
            p95_max: Some(Micros::from_millis(50)),
            residency: vec!["DE".to_owned(), "CH".to_owned()],
            ..Terms::default()
        }
    }

    fn exposure() -> Exposure {
        Exposure { credit: MicroMoney(CREDIT), relocation: Micros::from_secs(60) }
    }

    fn gaps(terms: &Terms, supplied: &[SuppliedTerms], replicas: u32) -> Vec<(Attribute, i64)> {
        let found = cover(terms, &exposure(), supplied, replicas);
        assert_eq!(found.covered, found.gaps.is_empty());
        assert!(found.risk(&exposure()).0 <= CREDIT);
        found.gaps.iter().map(|g| (g.attribute, g.risk.0)).collect()
    }

    #[test]
    fn a_promise_is_covered_by_one_that_is_as_good() {
        assert_eq!(gaps(&customer(), &[seller("one", 995_000)], 1), []);
        assert_eq!(gaps(&Terms::default(), &[seller("one", 1)], 1), [], "nothing was promised");
        // Two PCs of 95 % are there for 99.7 % of the time together.
        let two = [seller("one", 950_000), seller("two", 950_000)];
        assert_eq!(gaps(&customer(), &two, 2), []);
        // Half of the 1 % in which it may be away is backed by nobody.
        assert_eq!(gaps(&customer(), &[seller("one", 990_000)], 1), [(Attribute::Availability, CREDIT / 2)]);
        // Of three, any two may be those that run.
        let three = [seller("best", 999_999), seller("one", 900_000), seller("two", 900_000)];
        assert_eq!(gaps(&customer(), &three, 2)[0].0, Attribute::Availability);
    }

    #[test]
    fn each_other_gap_has_its_price() {
        let check = |spoil: fn(&mut SuppliedTerms), expect: (Attribute, i64)| {
            let mut one = seller("one", 999_000);
            spoil(&mut one);
            assert_eq!(gaps(&customer(), &[one], 1), [expect]);
        };
        check(|s| s.residency = "US".to_owned(), (Attribute::Residency, CREDIT));
        check(|s| s.p95 = Some(Micros::from_millis(100)), (Attribute::Interactivity, CREDIT / 2));
        check(|s| s.p95 = None, (Attribute::Interactivity, CREDIT / 10));
        check(|s| s.credit = MicroMoney(CREDIT / 2), (Attribute::Credit, CREDIT / 2 / 10));
        assert_eq!(
            gaps(&customer(), &[], 1),
            [(Attribute::Replicas, CREDIT), (Attribute::Availability, 9_950_000), (Attribute::Credit, CREDIT)]
        );
    }

    #[test]
    fn too_short_a_notice_costs_what_the_month_does_not_allow() {
        let mut sudden = seller("one", 999_000);
        sudden.reclaim_notice = Micros::ZERO;
        // A minute is within what 99.5 % allow in a month; five hours are not.
        assert_eq!(gaps(&customer(), std::slice::from_ref(&sudden), 1), []);
        let slow = Exposure { relocation: Micros::from_secs(5 * 3_600), ..exposure() };
        let found = cover(&customer(), &slow, std::slice::from_ref(&sudden), 1);
        assert_eq!((found.gaps[0].attribute, found.gaps[0].risk.0), (Attribute::ReclaimNotice, CREDIT / 5));
        assert!(found.gaps[0].text.contains("takes the machine back 0 s after it says so"), "{}", found.gaps[0].text);
        let two = [sudden, seller("two", 999_000)];
        assert!(cover(&customer(), &slow, &two, 2).covered, "another copy serves meanwhile");
    }

    #[test]
    fn a_gap_says_what_is_missing() {
        let found = cover(&customer(), &exposure(), &[seller("one", 990_000)], 1);
        assert_eq!(
            found.gaps[0].text,
            "99.5 % are promised, and the sellers of 1 copy promise 99 % together: for 3 h a month it may be away without any of them owing anything"
        );
    }

    fn any_seller() -> impl Strategy<Value = SuppliedTerms> {
        (any::<u32>(), any::<Option<i64>>(), any::<i64>(), any::<bool>(), any::<i64>(), any::<u32>(), any::<u32>())
            .prop_map(|(availability, p95, notice, is_abroad, credit, breach, loss)| SuppliedTerms {
                availability: Ppm(availability % 1_100_000),
                p95: p95.map(Micros),
                reclaim_notice: Micros(notice),
                residency: if is_abroad { "US" } else { "DE" }.to_owned(),
                credit: MicroMoney(credit),
                breach: Ppm(breach),
                loss: Ppm(loss),
                ..seller("one", 0)
            })
    }

    proptest! {
        /// Whatever sellers say, no gap costs less than nothing, all together cost no more than the credit, and a seller
        /// that promises less availability never costs less.
        #[test]
        fn a_weaker_promise_never_lowers_risk(
            sellers in prop::collection::vec(any_seller(), 0..5), replicas in any::<u32>(), less in 0_u32..500_000,
            credit in any::<i64>(), relocation in any::<i64>(), min in any::<u32>(), at in any::<prop::sample::Index>(),
        ) {
            let terms = Terms { availability_min: Some(Ppm(min)), ..customer() };
            let exposure = Exposure { credit: MicroMoney(credit), relocation: Micros(relocation) };
            let risk = |sellers: &[SuppliedTerms], replicas| {
                let found = cover(&terms, &exposure, sellers, replicas);
                assert!(found.gaps.iter().all(|g| (0..=credit.max(0)).contains(&g.risk.0)));
                found.gaps.iter().filter(|g| g.attribute == Attribute::Availability).map(|g| g.risk.0).sum::<i64>()
            };
            risk(&sellers, replicas);
            if !sellers.is_empty() {
                let all = u32::try_from(sellers.len()).unwrap();
                let mut weaker = sellers.clone();
                let share = &mut weaker[at.index(sellers.len())].availability.0;
                *share = share.saturating_sub(less);
                prop_assert!(risk(&weaker, all) >= risk(&sellers, all));
            }
        }
    }
}
