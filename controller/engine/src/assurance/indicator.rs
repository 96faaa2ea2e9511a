//! Service level indicators: what users felt at the front doors and what health checks found, in timeslices.
//!
//! A minute is the smallest slice. Minutes are kept in memory for six hours, hours for three days, months for the
//! contract. A slice's time is *bad* for as long as no copy was healthy, or in the share of its requests that failed,
//! whichever is more; time in which the controller could not see is in no slice. Time windows and thresholds of the
//! burn rate are those of "Alerting on SLOs", The Site Reliability Workbook, chapter 5.

use std::sync::Arc;

use chandler_protocol::way::{Histogram, ObservedDoor};
use chandler_protocol::{HostId, Micros, Ppm, ServiceId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::draft::Draft;
use crate::finance::month_of;
use crate::service::{Service, ServiceState};

/// A minute.
pub const MINUTE: Micros = Micros::from_secs(60);
/// Minutes that are kept.
const MINUTES: usize = 360;
/// Hours that are kept.
const HOURS: usize = 72;
/// Months that are kept.
const MONTHS: usize = 14;

/// What was measured in one stretch of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Time that was seen.
    pub seen: Micros,
    /// Of it, time that counts as down.
    pub bad: Micros,
    /// Requests at front doors.
    pub requests: u64,
    /// Of these, how many got no answer of the service.
    pub failed: u64,
    /// Answers whose time was measured.
    pub answers: u64,
    /// Of these, how many took longer than agreed.
    pub slow: u64,
}

impl Reading {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            seen: Micros(self.seen.0.saturating_add(other.seen.0)),
            bad: Micros(self.bad.0.saturating_add(other.bad.0)),
            requests: self.requests.saturating_add(other.requests),
            failed: self.failed.saturating_add(other.failed),
            answers: self.answers.saturating_add(other.answers),
            slow: self.slow.saturating_add(other.slow),
        }
    }

    /// Share of the time that counts as down; `None` when none was seen.
    pub fn bad_share(&self) -> Option<Ppm> {
        share(self.bad.0.unsigned_abs(), self.seen.0.unsigned_abs())
    }

    /// Share of the answers that took too long; `None` when there were none.
    pub fn slow_share(&self) -> Option<Ppm> {
        share(self.slow, self.answers)
    }

    const fn is_spotless(&self) -> bool {
        self.bad.0 == 0 && self.failed == 0 && self.slow == 0
    }
}

fn share(part: u64, of: u64) -> Option<Ppm> {
    let ppm = (u128::from(part) * 1_000_000).checked_div(u128::from(of))?;
    Some(Ppm(u32::try_from(ppm).unwrap_or(1_000_000).min(1_000_000)))
}

/// One slice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// When it began.
    pub start: Timestamp,
    /// What was measured in it.
    pub reading: Reading,
}

/// What was measured of one service. Minutes are not in the store: after a restart they begin anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Indicators {
    /// Which.
    pub service: ServiceId,
    /// The minute that goes on.
    #[serde(skip)]
    pub now: Slice,
    /// Times to the first byte of the minute that goes on, and of those before, newest last.
    #[serde(skip)]
    pub first_byte: Vec<Histogram>,
    /// Minutes that are over, newest last.
    #[serde(skip)]
    pub minutes: Vec<Slice>,
    /// Time seen up and down by health checks, at the start of this minute.
    #[serde(skip)]
    base: (Micros, Micros),
    /// Hours that are over, and the one that goes on, newest last.
    pub hours: Vec<Slice>,
    /// Months, the one that goes on last: `2026-11` and the sum of its minutes that are over.
    pub months: Vec<(String, Reading)>,
}

/// How many minutes of answer times are kept.
const ANSWER_MINUTES: usize = 60;

impl Indicators {
    /// Nothing measured yet.
    pub const fn new(service: ServiceId, start: Timestamp, base: (Micros, Micros)) -> Self {
        Self {
            service,
            now: Slice { start, reading: ZERO },
            first_byte: Vec::new(),
            minutes: Vec::new(),
            base,
            hours: Vec::new(),
            months: Vec::new(),
        }
    }

    /// The last `window`, with the minute that goes on. Longer than the minutes that are kept: by hours.
    pub fn last(&self, window: Micros, now: Timestamp) -> Reading {
        let from = Timestamp(now.0.saturating_sub(window.0));
        let kept = Micros(MINUTE.0 * i64::try_from(MINUTES).unwrap_or(i64::MAX));
        let slices = if window <= kept { &self.minutes } else { &self.hours };
        let past = slices.iter().filter(|s| s.start >= from).fold(ZERO, |sum, s| sum.plus(s.reading));
        if window <= kept { past.plus(self.now.reading) } else { past }
    }

    /// The month of `now` so far.
    pub fn month(&self, now: Timestamp) -> Reading {
        let month = month_of(now);
        let past = self.months.iter().find(|(m, _)| *m == month).map_or(ZERO, |(_, r)| *r);
        past.plus(self.now.reading)
    }

    /// The 95th percentile of the time to the first byte over the last hour; `None` when nothing was asked.
    pub fn p95(&self) -> Option<Micros> {
        let mut all = Histogram::default();
        self.first_byte.iter().for_each(|h| all.add(h));
        all.quantile(950_000)
    }

    /// The same with the time of the minute that goes on, up to `now`.
    #[must_use]
    pub fn up_to(&self, service: &Service, now: Timestamp, observable_since: Timestamp) -> Self {
        let mut own = self.clone();
        own.now.reading = own.timed(seen(service, now, observable_since));
        own
    }

    /// The minute that goes on with the time that was seen in it.
    fn timed(&self, total: (Micros, Micros)) -> Reading {
        let (up, down) = ((total.0.0 - self.base.0.0).max(0), (total.1.0 - self.base.1.0).max(0));
        let asked = self.now.reading;
        let failed = share(asked.failed, asked.requests).map_or(0, |p| p.0);
        let by_requests = i128::from(up + down) * i128::from(failed) / 1_000_000;
        let bad = down.max(i64::try_from(by_requests).unwrap_or(0));
        Reading { seen: Micros(up + down), bad: Micros(bad), ..asked }
    }

    /// The minute is over; the next begins at `start`.
    fn turn(&mut self, start: Timestamp, base: (Micros, Micros)) {
        let over = std::mem::replace(&mut self.now, Slice { start, reading: ZERO });
        self.base = base;
        push(&mut self.minutes, over, MINUTES);
        let hour = Timestamp(over.start.0 - over.start.0.rem_euclid(MINUTE.0 * 60));
        match self.hours.last_mut().filter(|h| h.start == hour) {
            Some(last) => last.reading = last.reading.plus(over.reading),
            None => push(&mut self.hours, Slice { start: hour, reading: over.reading }, HOURS),
        }
        let month = month_of(over.start);
        match self.months.last_mut().filter(|(m, _)| *m == month) {
            Some((_, sum)) => *sum = sum.plus(over.reading),
            None => push(&mut self.months, (month, over.reading), MONTHS),
        }
        push(&mut self.first_byte, Histogram::default(), ANSWER_MINUTES);
    }
}

const ZERO: Reading = Reading { seen: Micros::ZERO, bad: Micros::ZERO, requests: 0, failed: 0, answers: 0, slow: 0 };

fn push<T>(list: &mut Vec<T>, item: T, most: usize) {
    if list.len() >= most {
        list.remove(0);
    }
    list.push(item);
}

/// Time seen up and down so far, by health checks.
fn seen(service: &Service, now: Timestamp, observable_since: Timestamp) -> (Micros, Micros) {
    let Some((up, _)) = service.measured.current else { return (service.measured.up, service.measured.down) };
    let all = super::measure(service.measured, up, now, observable_since);
    (all.up, all.down)
}

fn minute_of(now: Timestamp) -> Timestamp {
    Timestamp(now.0 - now.0.rem_euclid(MINUTE.0))
}

/// A door reported: what it counted since its last report is of this minute. To be called before the report takes the
/// place of the last one in the model.
pub fn seen_door(draft: &mut Draft<'_>, host: HostId, door: &ObservedDoor) {
    let Some(service) = draft.model.services.get(&door.service).cloned() else { return };
    let before = draft.model.doors.get(&(door.service, host)).filter(|b| b.opened == door.opened);
    let (new, old) = (&door.counters, before.map(|b| &b.counters));
    let more = |new: u64, old: Option<u64>| new.saturating_sub(old.unwrap_or(0));
    let answered = old.map_or_else(|| new.first_byte.clone(), |o| new.first_byte.since(&o.first_byte));
    let limit = crate::relocation::terms_of(draft, &service).p95_max;
    let mut own = current(draft, &service);
    let reading = Reading {
        requests: more(new.requests, old.map(|o| o.requests)),
        failed: more(new.failed, old.map(|o| o.failed)),
        answers: answered.total(),
        slow: limit.map_or(0, |limit| slower(&answered, limit)),
        ..ZERO
    };
    if reading == ZERO {
        return;
    }
    own.now.reading = own.now.reading.plus(reading);
    match own.first_byte.last_mut() {
        Some(last) => last.add(&answered),
        None => own.first_byte.push(answered),
    }
    draft.model.indicators.insert(own.service, Arc::new(own));
}

/// Times in classes that begin at the limit or above: what may have been in time counts as in time.
fn slower(times: &Histogram, limit: Micros) -> u64 {
    times.counts.iter().filter(|(class, _)| Histogram::floor(*class) >= limit).map(|(_, n)| n).sum()
}

fn current(draft: &Draft<'_>, service: &Service) -> Indicators {
    draft.model.indicators.get(&service.id).map_or_else(
        || {
            let base = seen(service, draft.now, draft.model.observable_since);
            Indicators::new(service.id, minute_of(draft.now), base)
        },
        |i| i.as_ref().clone(),
    )
}

/// Closes the minute of every service when it is over. What is spotless is written down once an hour, the rest at once.
pub fn turn(draft: &mut Draft<'_>) {
    let minute = minute_of(draft.now);
    let live: Vec<_> = draft.model.live.iter().filter_map(|id| draft.model.services.get(id)).cloned().collect();
    for service in live.iter().filter(|s| !s.is_task() && s.state == ServiceState::Active) {
        let mut own = current(draft, service);
        let base = seen(service, draft.now, draft.model.observable_since);
        if own.now.start == Timestamp(0) {
            // Read from the store: the minute begins now.
            (own.now.start, own.base) = (minute, base);
        }
        if own.now.start >= minute {
            draft.model.indicators.insert(own.service, Arc::new(own));
            continue;
        }
        own.now.reading = own.timed(base);
        let is_new_hour = own.hours.last().is_none_or(|h| minute.0 - h.start.0 >= MINUTE.0 * 60);
        let keep = is_new_hour || !own.now.reading.is_spotless();
        own.turn(minute, base);
        if keep {
            draft.put(own);
        } else {
            draft.model.indicators.insert(own.service, Arc::new(own));
        }
    }
}

#[cfg(test)]
#[path = "indicator_tests.rs"]
mod tests;
