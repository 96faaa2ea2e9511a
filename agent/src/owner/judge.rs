//! What the fleet may use now, as a pure function of the rules, the pause, what is seen and the time.

use chandler_protocol::hours::{Hours, WEEK, moment, utc};
use chandler_protocol::{Micros, Timestamp};

use super::pause::Pause;
use super::rules::{Cap, Rules, Sense};

/// What feeds the computer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Power {
    /// It has no battery, or is on mains.
    #[default]
    Mains,
    /// Its battery, which has this charge in percent.
    Battery(u32),
    /// Cannot be told.
    Unknown,
}

/// What is seen of the owner. What is not known counts as use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Activity {
    /// For how long programs that are not the fleet's have used less of the processors than the rules allow.
    pub calm: Option<Micros>,
    /// How long ago a keyboard, a mouse or a terminal was used.
    pub input: Option<Micros>,
    /// Active sessions of people.
    pub sessions: Option<u32>,
    /// What feeds it.
    pub power: Power,
}

/// What the fleet may use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What is offered for new work: less than `allowed` when the end is near.
    pub offered: Cap,
    /// What may run now.
    pub allowed: Cap,
    /// Why it is not everything; empty when it is.
    pub why: String,
    /// When time alone changes it.
    pub until: Option<Timestamp>,
}

impl Verdict {
    /// Whether any software may run.
    pub fn may_run(&self) -> bool {
        !self.allowed.is_nothing()
    }

    /// Nothing runs.
    pub(super) fn nothing(why: String, until: Option<Timestamp>) -> Self {
        Self { offered: Cap::NOTHING, allowed: Cap::NOTHING, why, until }
    }
}

/// What the fleet may use now. The pause comes first, then the battery, the hours, and the caps.
pub fn judge(rules: &Rules, pause: Option<&Pause>, seen: &Activity, now: Timestamp) -> Verdict {
    let pause = pause.filter(|p| p.until.is_none_or(|until| now < until));
    if let Some(pause) = pause.filter(|p| p.from <= now) {
        return Verdict::nothing(paused(pause), pause.until);
    }
    if let Some(why) = low(rules, seen.power) {
        return Verdict::nothing(why, None);
    }
    let (open, turns) = hours(&rules.hours, now);
    if !open {
        let till = turns.map(|at| format!(" until {}", utc(at))).unwrap_or_default();
        return Verdict::nothing(format!("its owner needs the machine at these hours{till}"), turns);
    }
    let mut verdict = capped(rules, seen);
    // Whatever ends first: new work is not begun when it would have to leave at once.
    let near =
        turns.map(|end| (Timestamp(end.0.saturating_sub(rules.notice.0)), end, "the hours that its owner gives end"));
    let asked = pause.map(|p| (now, p.from, "its owner pauses it"));
    for (from, end, what) in [near, asked].into_iter().flatten() {
        let turn = if from <= now { end } else { from };
        if from <= now {
            verdict.offered = Cap::NOTHING;
            verdict.why = format!("{what} at {}", utc(end));
        }
        verdict.until = Some(verdict.until.map_or(turn, |until| until.min(turn)));
    }
    verdict
}

fn paused(pause: &Pause) -> String {
    let till = pause.until.map(|at| format!(" until {}", utc(at))).unwrap_or_default();
    let reason = if pause.reason.is_empty() { String::new() } else { format!(": {}", pause.reason) };
    format!("paused by its owner{till}{reason}")
}

/// Why there is too little power.
fn low(rules: &Rules, power: Power) -> Option<String> {
    let least = rules.battery_least?;
    match power {
        Power::Mains => None,
        Power::Battery(charge) if charge >= least => None,
        Power::Battery(charge) => Some(format!("on battery at {charge} %, its owner allows it from {least} %")),
        Power::Unknown => Some("on battery or not: that cannot be told, so it counts as low".to_owned()),
    }
}

/// The cap that holds now.
fn capped(rules: &Rules, seen: &Activity) -> Verdict {
    let cap = |cap: Cap, why: String| {
        let why = if cap == Cap::ALL { String::new() } else { why };
        Verdict { offered: cap, allowed: cap, why, until: None }
    };
    match used(rules, seen).filter(|_| rules.heed_use()) {
        Some(how) => cap(rules.in_use, format!("its owner uses the machine: {how}")),
        None => cap(rules.idle, "its owner gives this much".to_owned()),
    }
}

/// How it is seen that the owner uses the computer; `None`: the owner is away.
fn used(rules: &Rules, seen: &Activity) -> Option<&'static str> {
    let recent = |since: Option<Micros>, known, unknown| match since {
        None => Some(unknown),
        Some(since) => (since < rules.idle_after).then_some(known),
    };
    rules.senses.iter().find_map(|sense| match sense {
        Sense::Processor => recent(seen.calm, "other programs are at work", "what other programs use cannot be told"),
        Sense::Input => recent(seen.input, "keyboard, mouse or terminal", "whether a keyboard is used cannot be told"),
        Sense::Sessions => match seen.sessions {
            None => Some("who is logged in cannot be told"),
            Some(0) => None,
            Some(_) => Some("somebody is logged in"),
        },
    })
}

/// Whether a moment lies in one of these hours, and when that changes. No hours: always.
fn hours(all: &[Hours], now: Timestamp) -> (bool, Option<Timestamp>) {
    if all.is_empty() {
        return (true, None);
    }
    let covered = |at: Timestamp| all.iter().any(|h| h.cover(at));
    let is_open = covered(now);
    let mut turns: Vec<Timestamp> = Vec::new();
    for hours in all {
        for (from, to) in hours.stretches() {
            // This week and the next: hours come back within one.
            let both = [from, to].into_iter().flat_map(|m| [u32::from(m), u32::from(m) + u32::from(WEEK)]);
            turns.extend(both.filter_map(|minutes| moment(hours.zone(), now, minutes)));
        }
    }
    turns.sort_unstable();
    (is_open, turns.into_iter().find(|at| *at > now && covered(*at) != is_open))
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
