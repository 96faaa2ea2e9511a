//! Criteria: what a customer or the provider would rather have, beyond what an SLA demands. They choose among places
//! that meet the SLA and never lead outside it.

use chandler_protocol::{Micros, SiteId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::fleet::Drain;
use crate::hours::Hours;
use crate::order::OwnerKind;

/// Most entries of [`Criteria::at`].
pub const TIMED_MAX: usize = 16;
/// Most windows of maintenance of one site.
pub const MAINTENANCE_MAX: usize = 32;
/// The most that a premium may be, in percent.
pub const PREMIUM_MAX: u32 = 1_000;

/// What a customer would rather have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Criteria {
    /// Whether it moves to where it is cheaper. Not said: when it clearly pays. `true`: as soon as it pays at all.
    /// `false`: never for money alone.
    pub cheaper: Option<bool>,
    /// Whose computers it rather runs on, the best first. Empty: all the same.
    pub prefer: Vec<OwnerKind>,
    /// The most that it may cost more there than elsewhere, in percent. Not said: as much as the SLA allows.
    pub premium_percent: Option<u32>,
    /// What holds at certain hours. The first that covers a moment decides.
    pub at: Vec<Timed>,
}

/// What a customer would rather have at certain hours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timed {
    /// When.
    pub when: Hours,
    /// Whose computers it rather runs on then, in place of [`Criteria::prefer`].
    #[serde(default)]
    pub prefer: Vec<OwnerKind>,
    /// How many copies shall run then, within the policy's own limits.
    #[serde(default)]
    pub replicas: Option<u32>,
    /// No move then that can wait.
    #[serde(default)]
    pub blackout: bool,
}

impl Criteria {
    fn timed(&self, now: Timestamp) -> impl Iterator<Item = &Timed> {
        self.at.iter().filter(move |t| t.when.cover(now))
    }

    /// Whose computers it rather runs on now, and the hours that say so, if hours do.
    pub fn preferred(&self, now: Timestamp) -> (&[OwnerKind], Option<&Hours>) {
        let timed = self.timed(now).find(|t| !t.prefer.is_empty());
        timed.map_or((&self.prefer, None), |t| (&t.prefer, Some(&t.when)))
    }

    /// The hours in which it shall not be moved now, if it is in such.
    pub fn blackout(&self, now: Timestamp) -> Option<&Hours> {
        self.timed(now).find(|t| t.blackout).map(|t| &t.when)
    }

    /// How many copies shall run now, if hours say so.
    pub fn replicas(&self, now: Timestamp) -> Option<u32> {
        self.timed(now).find_map(|t| t.replicas)
    }
}

/// What the provider would rather have, of one site or of the whole fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProviderCriteria {
    /// Of which site; of the whole fleet when absent.
    pub site: Option<SiteId>,
    /// The site shall be left, and no new work comes to it.
    pub drain: Option<Drain>,
    /// When the site is worked on.
    pub maintenance: Vec<Maintenance>,
    /// When the site's computers are there, as its owner says. Absent: always.
    pub hours: Option<Hours>,
    /// How long before maintenance, or before the end of its hours, the site is left.
    pub lead: Micros,
    /// The least that shall be left to the provider of a price, in percent of it. Fleet only.
    pub margin_floor_percent: Option<u32>,
    /// The provider's own computers come first where they cost at most this much more, in percent. Fleet only.
    pub own_first_percent: Option<u32>,
    /// Computers that are nearly empty are emptied where others have room. Fleet only.
    pub consolidate: bool,
}

impl Default for ProviderCriteria {
    fn default() -> Self {
        Self {
            site: None,
            drain: None,
            maintenance: Vec::new(),
            hours: None,
            lead: Micros::from_secs(1_800),
            margin_floor_percent: None,
            own_first_percent: None,
            consolidate: false,
        }
    }
}

/// A time in which a site is worked on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// When it begins.
    pub from: Timestamp,
    /// When it ends.
    pub to: Timestamp,
    /// What is done, in their words.
    pub reason: String,
}

/// Why a site takes no work now and is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed<'a> {
    /// It shall be left.
    Drained(&'a Drain),
    /// It is worked on, or will be soon.
    Maintenance(&'a Maintenance),
    /// Its owner's hours are over, or will be soon.
    Hours(&'a Hours),
}

impl ProviderCriteria {
    /// Why the site takes no work at a moment; `None` when it does.
    pub fn closed(&self, now: Timestamp) -> Option<Closed<'_>> {
        if let Some(drain) = &self.drain {
            return Some(Closed::Drained(drain));
        }
        let soon = now.after(self.lead);
        if let Some(window) = self.maintenance.iter().find(|m| m.from <= soon && now < m.to) {
            return Some(Closed::Maintenance(window));
        }
        let hours = self.hours.as_ref()?;
        (!hours.cover(now) || !hours.cover(soon)).then_some(Closed::Hours(hours))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    #[test]
    fn the_first_hours_that_cover_a_moment_decide() {
        let timed = |when: &str, prefer: &[OwnerKind], blackout| Timed {
            when: when.parse().unwrap(),
            prefer: prefer.to_vec(),
            replicas: None,
            blackout,
        };
        let criteria = Criteria {
            prefer: vec![OwnerKind::Provider],
            at: vec![
                timed("daily 02:00-04:00 UTC", &[], true),
                timed("daily 03:00-05:00 UTC", &[OwnerKind::Customer], false),
                timed("daily 00:00-24:00 UTC", &[OwnerKind::Remote], false),
            ],
            ..Criteria::default()
        };
        let at = |hour: i64| Timestamp(hour * HOUR);
        assert_eq!(criteria.preferred(at(3)).0, [OwnerKind::Customer]);
        assert_eq!(criteria.preferred(at(6)).0, [OwnerKind::Remote]);
        assert!(criteria.blackout(at(3)).is_some() && criteria.blackout(at(4)).is_none());
        assert_eq!(Criteria::default().preferred(at(0)), (&[][..], None));
    }

    #[test]
    fn a_site_is_left_before_it_closes_and_open_again_after() {
        let mut site = ProviderCriteria { lead: Micros(HOUR), ..ProviderCriteria::default() };
        let window = Maintenance { from: Timestamp(10 * HOUR), to: Timestamp(12 * HOUR), reason: "fans".to_owned() };
        site.maintenance.push(window);
        let closed = |site: &ProviderCriteria, hour: i64| site.closed(Timestamp(hour * HOUR)).is_some();
        assert_eq!([8, 9, 11, 12].map(|h| closed(&site, h)), [false, true, true, false]);
        site.maintenance.clear();
        site.hours = Some("daily 08:00-20:00 UTC".parse().unwrap());
        assert_eq!([7, 8, 18, 19, 20].map(|h| closed(&site, h)), [true, false, false, true, true]);
    }
}
