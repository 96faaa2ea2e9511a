//! Hours of the week in a time zone, as people write them: `Mon-Fri 12:00-14:00 Europe/Berlin`.
//!
//! The zones are compiled in: what an hour means does not depend on the machine that asks.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Timestamp;

/// How to write them; stands in refusals.
pub const HOURS_FORM: &str =
    "write days, times and a time zone, such as \"Mon-Fri 12:00-14:00 Europe/Berlin\" or \"daily 22:00-06:00 UTC\"";

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const EVERY_DAY: u8 = 0b111_1111;
const DAY: u16 = 24 * 60;

/// A text that names no hours of the week. The message says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseHoursError(pub String);

/// Hours of the week. Those that end before they begin go on past midnight, into the day after the named one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// Bit 0 is Monday.
    days: u8,
    /// Minutes since midnight.
    from: u16,
    /// Minutes since midnight; 1,440 is the midnight that ends the day.
    to: u16,
    /// IANA name of the time zone.
    zone: String,
}

impl Hours {
    /// Whether a moment lies in them.
    pub fn cover(&self, at: Timestamp) -> bool {
        let Ok(at) = jiff::Timestamp::from_microsecond(at.0) else { return false };
        let zone = ZONES.get(&self.zone).unwrap_or(TimeZone::UTC);
        let local = zone.to_datetime(at);
        let minute = u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).unwrap_or(0);
        let today = local.weekday().to_monday_zero_offset();
        if self.from < self.to {
            return self.is_day(today) && (self.from..self.to).contains(&minute);
        }
        (self.is_day(today) && minute >= self.from) || (self.is_day((today + 6) % 7) && minute < self.to)
    }

    fn is_day(&self, day: i8) -> bool {
        self.days & (1 << day) != 0
    }

    /// IANA name of the time zone they are meant in.
    pub fn zone(&self) -> &str {
        &self.zone
    }

    /// What they are on a week's wall clock: from and to in minutes since the midnight in which Monday begins, `to` not
    /// included. Each is at least a minute long; what goes on past the week's end is cut in two there.
    pub fn stretches(&self) -> Vec<(u16, u16)> {
        let mut found = Vec::new();
        for day in (0..7_u16).filter(|day| self.days & (1 << day) != 0) {
            let begin = day * DAY + self.from;
            let end = day * DAY + if self.from < self.to { self.to } else { DAY + self.to };
            found.push((begin, end.min(WEEK)));
            if end > WEEK {
                found.push((0, end - WEEK));
            }
        }
        found
    }
}

/// Minutes of a week.
pub const WEEK: u16 = 7 * DAY;

/// The moment in which so many minutes of wall clock have passed since the Monday of the week of `at`, in a zone. An
/// hour that the clocks skip or repeat counts as they show it.
pub fn moment(zone: &str, at: Timestamp, minutes: u32) -> Option<Timestamp> {
    let zone = ZONES.get(zone).ok()?;
    let local = zone.to_datetime(jiff::Timestamp::from_microsecond(at.0).ok()?);
    let monday = local.date().checked_sub(jiff::Span::new().days(local.weekday().to_monday_zero_offset())).ok()?;
    let day = monday.checked_add(jiff::Span::new().days(i64::from(minutes / u32::from(DAY)))).ok()?;
    let rest = i64::from(minutes % u32::from(DAY));
    let then = day.to_datetime(jiff::civil::Time::midnight()).checked_add(jiff::Span::new().minutes(rest)).ok()?;
    Some(Timestamp(zone.to_timestamp(then).ok()?.as_microsecond()))
}

/// How many minutes of wall clock have passed since Monday began in a zone, at a moment. 0 to [`WEEK`] - 1.
pub fn minute_of_week(zone: &str, at: Timestamp) -> Option<u16> {
    let local = ZONES.get(zone).ok()?.to_datetime(jiff::Timestamp::from_microsecond(at.0).ok()?);
    let minute = i32::from(local.weekday().to_monday_zero_offset()) * i32::from(DAY)
        + i32::from(local.hour()) * 60
        + i32::from(local.minute());
    u16::try_from(minute).ok()
}

/// A moment as people write it, to the second: `2026-11-25T12:00:00Z`.
pub fn utc(at: Timestamp) -> String {
    let whole = at.0.div_euclid(1_000_000);
    jiff::Timestamp::from_second(whole).map_or_else(|_| "another age".to_owned(), |at| at.to_string())
}

/// The moment that [`utc`] writes so; `None` when the text is none.
pub fn parse_utc(text: &str) -> Option<Timestamp> {
    Some(Timestamp(text.parse::<jiff::Timestamp>().ok()?.as_microsecond()))
}

impl FromStr for Hours {
    type Err = ParseHoursError;
    fn from_str(text: &str) -> Result<Self, ParseHoursError> {
        let bad = || ParseHoursError(format!("{:?} are no hours: {HOURS_FORM}", clip(text)));
        let mut words = text.split_whitespace();
        let (days, times, zone) = (words.next().ok_or_else(bad)?, words.next().ok_or_else(bad)?, words.next());
        if words.next().is_some() {
            return Err(bad());
        }
        let days = parse_days(days).ok_or_else(bad)?;
        let (from, to) = times.split_once('-').ok_or_else(bad)?;
        let (from, to) = (minute(from).ok_or_else(bad)?, minute(to).ok_or_else(bad)?);
        if from == to || from == DAY || to == 0 {
            return Err(bad());
        }
        let zone = zone.unwrap_or("UTC");
        let known = ZONES.get(zone).map_err(|_| {
            ParseHoursError(format!("{:?} is no time zone: write one such as Europe/Berlin or UTC", clip(zone)))
        })?;
        Ok(Self { days, from, to, zone: known.iana_name().unwrap_or("UTC").to_owned() })
    }
}

fn parse_days(text: &str) -> Option<u8> {
    if text.eq_ignore_ascii_case("daily") {
        return Some(EVERY_DAY);
    }
    let mut days = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        let mut at = first;
        days |= 1 << at;
        while at != last {
            at = (at + 1) % 7;
            days |= 1 << at;
        }
    }
    Some(days)
}

fn day(text: &str) -> Option<usize> {
    DAYS.iter().position(|d| d.eq_ignore_ascii_case(text))
}

fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let digits = |text: &str| (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(hour) || minute.len() != 2 || !digits(minute) {
        return None;
    }
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    let at = hour * 60 + minute;
    (minute < 60 && at <= DAY).then_some(at)
}

fn clip(text: &str) -> String {
    text.chars().take(60).collect()
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days == EVERY_DAY {
            f.write_str("daily")?;
        } else {
            let named = DAYS.iter().enumerate().filter(|(i, _)| self.days & (1 << i) != 0);
            f.write_str(&named.map(|(_, name)| *name).collect::<Vec<_>>().join(","))?;
        }
        let (from, to) = (self.from, self.to);
        write!(f, " {:02}:{:02}-{:02}:{:02} {}", from / 60, from % 60, to / 60, to % 60, self.zone)
    }
}

impl Serialize for Hours {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hours {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_the_one_on_the_wall_there() {
        let check = |hours: &str, moment: &str, expect| {
            let hours: Hours = hours.parse().unwrap();
            assert_eq!(hours.cover(parse_utc(moment).unwrap()), expect, "{hours} at {moment}");
            assert_eq!(hours.to_string().parse(), Ok(hours), "it is written as it is read");
        };
        // A Wednesday; Berlin is one hour ahead in winter and two in summer.
        check("Mon-Fri 12:00-14:00 Europe/Berlin", "2026-11-25T11:00:00Z", true);
        check("Mon-Fri 12:00-14:00 Europe/Berlin", "2026-11-25T10:59:59Z", false);
        check("Mon-Fri 12:00-14:00 Europe/Berlin", "2026-11-25T13:00:00Z", false);
        check("Mon-Fri 12:00-14:00 Europe/Berlin", "2026-07-22T10:00:00Z", true);
        check("Mon-Fri 12:00-14:00 Europe/Berlin", "2026-11-28T11:30:00Z", false);
        // Past midnight it is still the night of the named day.
        check("Fri 22:00-06:00 UTC", "2026-11-27T23:00:00Z", true);
        check("Fri 22:00-06:00 UTC", "2026-11-28T05:59:00Z", true);
        check("Fri 22:00-06:00 UTC", "2026-11-27T05:59:00Z", false);
        check("Sat,Sun 0:00-24:00", "2026-11-29T23:59:00Z", true);
        check("Sun-Mon 0:00-24:00", "2026-11-30T00:00:00Z", true);
        check("daily 00:00-12:00 asia/tokyo", "2026-11-24T15:00:00Z", true);
    }

    #[test]
    fn what_names_no_hours_is_refused_with_what_to_write() {
        for bad in [
            "",
            "daily",
            "Mon 12-14 UTC",
            "Mon 12:00-12:00 UTC",
            "Mon 12:60-13:00 UTC",
            "Mon 24:00-01:00 UTC",
            "Mon 23:00-00:00 UTC",
            "Mon 25:00-26:00 UTC",
            "Mon- 12:00-13:00 UTC",
            "Foo 12:00-13:00 UTC",
            "Mon 12:00-13:00 UTC x",
            "Mon +1:00-13:00 UTC",
            "Mon 12:00-13:00 Europe/Nowhere",
            "Mon 12:00-13:00 ../../etc/passwd",
        ] {
            let error = bad.parse::<Hours>().unwrap_err().to_string();
            assert!(error.contains("write"), "{bad:?} gave {error:?}");
        }
    }
}
