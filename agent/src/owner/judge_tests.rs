//! Tables for the owner's rules.

use chandler_protocol::hours::parse_utc;
use chandler_protocol::{Bytes, MilliCpu};

use super::*;

const AWAY: Activity = Activity {
    calm: Some(Micros::from_secs(3_600)),
    input: Some(Micros::from_secs(3_600)),
    sessions: Some(0),
    power: Power::Mains,
};

fn time(text: &str) -> Timestamp {
    parse_utc(text).unwrap()
}

fn rules(text: &str) -> Rules {
    Rules::parse(text).unwrap()
}

/// Whether it may run, whether anything is offered, and when that changes.
fn short(verdict: &Verdict) -> (bool, bool, Option<Timestamp>) {
    (verdict.may_run(), !verdict.offered.is_nothing(), verdict.until)
}

#[test]
fn hours_end_with_notice_and_begin_by_themselves() {
    // Nights of working days; a Wednesday in Berlin, one hour ahead of UTC.
    let rules = rules("[when]\nhours = [\"Mon-Fri 18:00-08:00 Europe/Berlin\"]\nnotice = \"10 min\"");
    for (now, expect) in [
        ("2026-11-25T12:00:00Z", (false, false, "2026-11-25T17:00:00Z")),
        ("2026-11-25T17:00:00Z", (true, true, "2026-11-26T06:50:00Z")),
        ("2026-11-26T06:49:59Z", (true, true, "2026-11-26T06:50:00Z")),
        ("2026-11-26T06:50:00Z", (true, false, "2026-11-26T07:00:00Z")),
        ("2026-11-26T07:00:00Z", (false, false, "2026-11-26T17:00:00Z")),
        // The night of Friday ends on Saturday; the next begins on Monday, in another week.
        ("2026-11-28T08:00:00Z", (false, false, "2026-11-30T17:00:00Z")),
    ] {
        let verdict = judge(&rules, None, &AWAY, time(now));
        assert_eq!(short(&verdict), (expect.0, expect.1, Some(time(expect.2))), "{now}: {verdict:?}");
        assert_eq!(verdict.why.is_empty(), expect.1, "{verdict:?}");
    }
    let always = judge(&Rules::default(), None, &Activity::default(), Timestamp(0));
    assert_eq!(always, Verdict::default(), "without rules everything is allowed");
    let whole = self::rules("[when]\nhours = [\"daily 00:00-24:00 UTC\"]");
    assert_eq!(judge(&whole, None, &AWAY, time("2026-11-25T12:00:00Z")).until, None, "hours that touch do not end");
}

#[test]
fn a_pause_comes_before_everything_and_ends_by_itself() {
    let pause = |from, until| Pause { said: Timestamp(1), from, until, reason: "a game".into() };
    let second = Timestamp(1_000_000);
    let now = judge(&Rules::default(), Some(&pause(Timestamp(0), Some(second))), &AWAY, Timestamp(5));
    assert_eq!(short(&now), (false, false, Some(second)));
    assert!(now.why.contains("a game") && now.why.contains("1970-01-01"), "{now:?}");
    let over = judge(&Rules::default(), Some(&pause(Timestamp(0), Some(second))), &AWAY, second);
    assert_eq!(over, Verdict::default());
    let soon = judge(&Rules::default(), Some(&pause(second, None)), &AWAY, Timestamp(5));
    assert_eq!(short(&soon), (true, false, Some(second)), "nothing new is begun: {soon:?}");
    let ever = judge(&Rules::default(), Some(&pause(Timestamp(0), None)), &AWAY, Timestamp(i64::MAX));
    assert_eq!(short(&ever), (false, false, None));
}

#[test]
fn what_is_not_known_counts_as_use() {
    let rules = rules(
        "[caps]\nidle = { cpu = 4000 }\nin-use = { cpu = 500, memory = \"1 GiB\" }\n[use]\nsenses = [\"processor\", \"input\", \"sessions\"]\nidle-after = \"5 min\"",
    );
    let in_use = Cap { cpu: MilliCpu(500), memory: Bytes(1 << 30) };
    let idle = Cap { cpu: MilliCpu(4_000), ..Cap::ALL };
    let busy = Some(Micros::from_secs(299));
    for (seen, expect, why) in [
        (AWAY, idle, "gives this much"),
        (Activity { calm: None, ..AWAY }, in_use, "cannot be told"),
        (Activity { calm: busy, ..AWAY }, in_use, "other programs"),
        (Activity { input: None, ..AWAY }, in_use, "cannot be told"),
        (Activity { input: busy, ..AWAY }, in_use, "keyboard"),
        (Activity { sessions: None, ..AWAY }, in_use, "cannot be told"),
        (Activity { sessions: Some(1), ..AWAY }, in_use, "logged in"),
        (Activity { input: Some(Micros::from_secs(300)), ..AWAY }, idle, ""),
    ] {
        let verdict = judge(&rules, None, &seen, Timestamp(0));
        assert_eq!((verdict.offered, verdict.allowed), (expect, expect), "{seen:?}");
        assert!(verdict.why.contains(why), "{verdict:?}");
    }
    let deaf = Rules { senses: std::collections::BTreeSet::from([Sense::Processor]), ..rules };
    assert_eq!(judge(&deaf, None, &Activity { input: None, ..AWAY }, Timestamp(0)).allowed, idle, "only what is named");
}

#[test]
fn on_battery_it_runs_from_a_charge_on() {
    let some = rules("[battery]\nleast = 50");
    let never = rules("[battery]\nleast = 101");
    for (rules, power, expect) in [
        (&some, Power::Mains, true),
        (&some, Power::Battery(50), true),
        (&some, Power::Battery(49), false),
        (&some, Power::Unknown, false),
        (&never, Power::Battery(100), false),
        (&Rules::default(), Power::Battery(1), true),
        (&Rules::default(), Power::Unknown, true),
    ] {
        let verdict = judge(rules, None, &Activity { power, ..AWAY }, Timestamp(0));
        assert_eq!(verdict.may_run(), expect, "{power:?}: {verdict:?}");
    }
}
