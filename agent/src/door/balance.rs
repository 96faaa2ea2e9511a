//! Which copy gets the next request: the one with the least under way; one that keeps failing is left out for a while.
//! Pure.

use std::collections::BTreeMap;

use chandler_protocol::way::Backend;
use chandler_protocol::{AssignmentId, Micros};

/// Failures in a row that put a copy out.
const FAILURES: u32 = 5;
/// For how long the first time; each time in a row twice as long.
const OUT: Micros = Micros::from_secs(10);
/// But not longer than this.
const OUT_MAX: Micros = Micros::from_secs(300);
/// A copy that did well for so long after it came back begins anew.
const FORGIVEN: Micros = Micros::from_secs(60);
/// A copy that could not be reached is not asked again for this long, then twice as long, up to the second value.
const SHUT: Micros = Micros::from_millis(20);
const SHUT_MAX: Micros = Micros::from_millis(320);

/// What is known of the copies of one service.
#[derive(Debug, Default)]
pub(crate) struct Balance {
    copies: BTreeMap<AssignmentId, Copy>,
    /// Grows with each choice, so that copies with the same load take turns.
    turn: usize,
}

#[derive(Debug, Default)]
struct Copy {
    under_way: u32,
    long_lived: u32,
    failures: u32,
    /// How often it was put out in a row.
    outs: u32,
    out_until: Micros,
    /// How often in a row it could not be reached.
    shuts: u32,
    /// It is not asked before then, under this epoch or an older one.
    shut: Option<(u64, Micros)>,
}

impl Copy {
    fn is_shut(&self, epoch: u64, now: Micros) -> bool {
        self.shut.is_some_and(|(shut, until)| epoch <= shut && now < until)
    }
}

impl Balance {
    /// The copy for the next request, if any can be asked.
    pub(crate) fn choose(&mut self, backends: &[Backend], now: Micros) -> Option<Backend> {
        let known = |b: &Backend| self.copies.get(&b.assignment);
        let can = |b: &&Backend| known(b).is_none_or(|c| !c.is_shut(b.epoch, now));
        let well = |b: &&Backend| known(b).is_none_or(|c| c.out_until <= now);
        let any_well = backends.iter().filter(can).any(|b| well(&b));
        let open: Vec<&Backend> = backends.iter().filter(can).filter(|b| !any_well || well(b)).collect();
        let load = |b: &Backend| known(b).map_or(0, |c| c.under_way);
        let least = open.iter().map(|b| load(b)).min()?;
        let even: Vec<&Backend> = open.into_iter().filter(|b| load(b) == least).collect();
        let chosen = *even[self.turn % even.len()];
        self.turn = self.turn.wrapping_add(1);
        Some(chosen)
    }

    /// Whether any copy can be asked.
    pub(crate) fn any(&self, backends: &[Backend], now: Micros) -> bool {
        backends.iter().any(|b| self.copies.get(&b.assignment).is_none_or(|c| !c.is_shut(b.epoch, now)))
    }

    /// When the first of the copies that are not asked now is asked again.
    pub(crate) fn reopens(&self, backends: &[Backend], now: Micros) -> Option<Micros> {
        let shut = backends.iter().filter_map(|b| self.copies.get(&b.assignment)?.shut.map(|(_, until)| until));
        shut.filter(|until| *until > now).min()
    }

    /// A request goes to this copy.
    pub(crate) fn begin(&mut self, copy: AssignmentId) {
        let copy = self.copies.entry(copy).or_default();
        copy.under_way = copy.under_way.saturating_add(1);
    }

    /// One of them turned out to last until a side closes it.
    pub(crate) fn lasts(&mut self, copy: AssignmentId) {
        let copy = self.copies.entry(copy).or_default();
        copy.long_lived = copy.long_lived.saturating_add(1);
    }

    /// One came to its end.
    pub(crate) fn end(&mut self, id: AssignmentId, lasted: bool) {
        let Some(copy) = self.copies.get_mut(&id) else { return };
        copy.under_way = copy.under_way.saturating_sub(1);
        copy.long_lived = copy.long_lived.saturating_sub(u32::from(lasted));
    }

    /// Requests under way to a copy that end by themselves.
    pub(crate) fn short_lived(&self, copy: AssignmentId) -> u32 {
        self.copies.get(&copy).map_or(0, |c| c.under_way.saturating_sub(c.long_lived))
    }

    /// (under way, long-lived) by copy, in order, of those that have any.
    pub(crate) fn under_way(&self) -> impl Iterator<Item = (AssignmentId, u32, u32)> {
        self.copies.iter().filter(|(_, c)| c.under_way > 0).map(|(id, c)| (*id, c.under_way, c.long_lived))
    }

    /// A copy answered.
    pub(crate) fn did_well(&mut self, id: AssignmentId, now: Micros) {
        let Some(copy) = self.copies.get_mut(&id) else { return };
        copy.failures = 0;
        copy.shuts = 0;
        if copy.outs > 0 && now.0 - copy.out_until.0 >= FORGIVEN.0 {
            copy.outs = 0;
        }
    }

    /// A copy could not be reached, or answered that it cannot answer. It is put out only while another one is left.
    pub(crate) fn failed(&mut self, id: AssignmentId, backends: &[Backend], now: Micros) {
        let others = backends.iter().filter(|b| b.assignment != id);
        let mut others = others.filter_map(|b| self.copies.get(&b.assignment).or(Some(&NEW)));
        let other_is_well = others.any(|c| c.out_until <= now);
        let copy = self.copies.entry(id).or_default();
        copy.failures = copy.failures.saturating_add(1);
        if copy.failures >= FAILURES && other_is_well && copy.out_until <= now {
            let time = OUT.0.saturating_mul(1 << copy.outs.min(10)).min(OUT_MAX.0);
            copy.out_until = Micros(now.0.saturating_add(time));
            copy.outs = copy.outs.saturating_add(1);
            copy.failures = 0;
        }
    }

    /// Nobody asks this copy for a short while, longer each time in a row: it cannot be reached.
    pub(crate) fn shut_briefly(&mut self, backend: &Backend, now: Micros) {
        let copy = self.copies.entry(backend.assignment).or_default();
        // Many requests find out at the same time; that is one finding.
        if copy.is_shut(backend.epoch, now) {
            return;
        }
        let time = SHUT.0.saturating_mul(1 << copy.shuts.min(8)).min(SHUT_MAX.0);
        copy.shuts = copy.shuts.saturating_add(1);
        copy.shut = Some((backend.epoch, Micros(now.0.saturating_add(time))));
    }

    /// Nobody asks this copy for `time`, unless a new route says otherwise: it said that it serves no more.
    pub(crate) fn shut_for(&mut self, backend: &Backend, time: Micros, now: Micros) {
        let copy = self.copies.entry(backend.assignment).or_default();
        copy.shut = Some((backend.epoch, Micros(now.0.saturating_add(time.0))));
    }

    /// A new route arrived: what copies said about the old one does not count, and those that are gone are forgotten.
    pub(crate) fn routed(&mut self, backends: &[Backend]) {
        for copy in self.copies.values_mut() {
            copy.shut = None;
            copy.shuts = 0;
        }
        self.copies.retain(|id, c| c.under_way > 0 || backends.iter().any(|b| b.assignment == *id));
    }
}

/// A copy of which nothing is known.
static NEW: Copy =
    Copy { under_way: 0, long_lived: 0, failures: 0, outs: 0, out_until: Micros::ZERO, shuts: 0, shut: None };

#[cfg(test)]
mod tests {
    use chandler_protocol::HostId;

    use super::*;

    fn backend(n: u8) -> Backend {
        Backend { assignment: AssignmentId::from_random([n; 10]), epoch: 3, host: HostId::from_random([n; 10]) }
    }

    fn s(n: i64) -> Micros {
        Micros::from_secs(n)
    }

    #[test]
    fn the_least_loaded_copy_is_chosen_and_equals_take_turns() {
        let (mut balance, copies) = (Balance::default(), [backend(1), backend(2), backend(3)]);
        let mut counts = [0; 3];
        for _ in 0..30 {
            let chosen = balance.choose(&copies, s(0)).unwrap();
            counts[copies.iter().position(|c| *c == chosen).unwrap()] += 1;
        }
        assert_eq!(counts, [10, 10, 10]);
        balance.begin(copies[0].assignment);
        balance.begin(copies[2].assignment);
        for _ in 0..5 {
            assert_eq!(balance.choose(&copies, s(0)), Some(copies[1]), "the idle one");
        }
        balance.end(copies[0].assignment, false);
        balance.begin(copies[1].assignment);
        assert_eq!(balance.choose(&copies, s(0)), Some(copies[0]));
    }

    #[test]
    fn a_failing_copy_is_out_for_longer_each_time_but_the_last_one_never_is() {
        let (mut balance, copies) = (Balance::default(), [backend(1), backend(2)]);
        let fail = |b: &mut Balance, c: usize, at| (0..5).for_each(|_| b.failed(copies[c].assignment, &copies, at));
        fail(&mut balance, 0, s(0));
        for _ in 0..4 {
            assert_eq!(balance.choose(&copies, s(9)), Some(copies[1]));
        }
        fail(&mut balance, 1, s(9));
        assert_eq!(balance.choose(&copies, s(9)), Some(copies[1]), "the only one left stays");
        assert!((0..2).any(|_| balance.choose(&copies, s(10)) == Some(copies[0])), "it came back");
        fail(&mut balance, 0, s(11));
        assert!((0..4).all(|_| balance.choose(&copies, s(30)) == Some(copies[1])), "twice as long");
        assert!((0..2).any(|_| balance.choose(&copies, s(31)) == Some(copies[0])));
        balance.did_well(copies[0].assignment, s(100));
        fail(&mut balance, 0, s(100));
        assert!((0..2).any(|_| balance.choose(&copies, s(110)) == Some(copies[0])), "it was forgiven");
    }

    #[test]
    fn a_copy_that_refused_is_asked_again_under_a_higher_epoch_or_after_its_time() {
        let (mut balance, copies) = (Balance::default(), [backend(1)]);
        balance.shut_for(&copies[0], s(1), s(0));
        assert!(!balance.any(&copies, s(0)));
        assert_eq!(balance.reopens(&copies, s(0)), Some(s(1)));
        assert!(balance.any(&copies, s(1)));
        let newer = [Backend { epoch: 4, ..copies[0] }];
        assert_eq!(balance.choose(&newer, s(0)), Some(newer[0]));
        balance.routed(&copies);
        assert!(balance.any(&copies, s(0)), "another route was made knowing better");
    }
}
