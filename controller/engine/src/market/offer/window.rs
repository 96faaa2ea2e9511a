//! Windows: the hours of the week in which an offer is there, taken together.

use chandler_protocol::{Micros, Timestamp};

use crate::hours::{Hours, WEEK, minute_of_week, moment};

const MINUTE: i64 = 60_000_000;

/// All stretches of the week, by their begin; those of two windows may touch. Minutes since Monday began.
pub(super) fn stretches(windows: &[Hours]) -> Vec<(u16, u16)> {
    let mut all: Vec<_> = windows.iter().flat_map(Hours::stretches).collect();
    all.sort_unstable();
    all
}

/// The same, with those that touch joined. One that goes past the week's end is joined with the one that begins
/// the week: it ends beyond [`WEEK`]. A whole week is `(0, WEEK)`.
fn joined(windows: &[Hours]) -> Vec<(u32, u32)> {
    let mut joined: Vec<(u32, u32)> = Vec::new();
    for (from, to) in stretches(windows) {
        let (from, to) = (u32::from(from), u32::from(to));
        match joined.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    let goes_on = joined.len() > 1
        && joined.first().is_some_and(|f| f.0 == 0)
        && joined.last().is_some_and(|l| l.1 == u32::from(WEEK));
    if goes_on {
        let first = joined.remove(0);
        if let Some(last) = joined.last_mut() {
            last.1 += first.1;
        }
    }
    joined
}

/// The longest time without a break; `None` when there is no break at all.
pub(super) fn longest(windows: &[Hours]) -> Option<Micros> {
    let all = joined(windows);
    if all == [(0, u32::from(WEEK))] {
        return None;
    }
    let minutes = all.iter().map(|(from, to)| to - from).max().unwrap_or(0);
    Some(Micros(i64::from(minutes) * MINUTE))
}

/// Until when the windows (of one time zone) stay open from a moment on: a reservation ends by then. `None` when they
/// are closed at that moment; the end of time when they never close.
pub fn open_until(windows: &[Hours], at: Timestamp) -> Option<Timestamp> {
    let zone = windows.first()?.zone();
    let now = u32::from(minute_of_week(zone, at)?);
    let all = joined(windows);
    if all == [(0, u32::from(WEEK))] {
        return Some(Timestamp(i64::MAX));
    }
    // The part of a stretch beyond the week's end lies at the week's begin.
    let around = all.iter().flat_map(|(from, to)| [(*from, *to, 0), (*from, *to, u32::from(WEEK))]);
    let (end, shift) =
        around.filter(|(from, to, s)| (*from..*to).contains(&(now + s))).map(|(_, to, s)| (to, s)).next()?;
    moment(zone, at, end - shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
    }

    #[test]
    fn a_window_ends_where_the_next_does_not_begin() {
        let check = |windows: &[&str], now: &str, expect: Option<&str>| {
            let windows: Vec<Hours> = windows.iter().map(|w| w.parse().unwrap()).collect();
            assert_eq!(open_until(&windows, at(now)), expect.map(at), "{windows:?} at {now}");
        };
        // 2026-11-25 is a Wednesday.
        check(&["daily 22:00-06:00 UTC"], "2026-11-25T23:10:30Z", Some("2026-11-26T06:00:00Z"));
        check(&["daily 22:00-06:00 UTC"], "2026-11-25T05:59:59Z", Some("2026-11-25T06:00:00Z"));
        check(&["daily 22:00-06:00 UTC"], "2026-11-25T06:00:00Z", None);
        check(&["Sun 22:00-06:00 UTC"], "2026-11-29T23:00:00Z", Some("2026-11-30T06:00:00Z"));
        check(&["Sun 22:00-06:00 UTC"], "2026-11-30T01:00:00Z", Some("2026-11-30T06:00:00Z"));
        check(&["Wed 08:00-12:00 UTC", "Wed 12:00-13:30 UTC"], "2026-11-25T09:00:00Z", Some("2026-11-25T13:30:00Z"));
        check(&["Mon-Fri 00:00-24:00 UTC"], "2026-11-25T09:00:00Z", Some("2026-11-28T00:00:00Z"));
        // Clocks go back at 01:00 UTC on 25 October 2026: that night in Berlin is an hour longer.
        check(&["daily 22:00-06:00 Europe/Berlin"], "2026-10-24T20:30:00Z", Some("2026-10-25T05:00:00Z"));
        let always: Vec<Hours> = vec!["daily 00:00-24:00 UTC".parse().unwrap()];
        assert_eq!(open_until(&always, at("2026-11-25T09:00:00Z")), Some(Timestamp(i64::MAX)));
        assert_eq!(open_until(&[], at("2026-11-25T09:00:00Z")), None);
    }
}
