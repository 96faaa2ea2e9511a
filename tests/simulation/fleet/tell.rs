//! Tells what happened.

use chandler_engine::event::Event;

use super::Fleet;
use crate::air::EPOCH;

/// Events that are shown when a run fails.
const EVENTS_SHOWN: usize = 60;

/// Whoever sees a run fail wants to know which, and what happened last.
impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let events = self.events();
            let last = events.len().saturating_sub(EVENTS_SHOWN);
            let said = told(&events[last..]).join("\n");
            let (seed, log) = (self.seed, self.log.join("\n"));
            eprintln!("seed {seed} failed; again with CHANDLER_SEED={seed}\n{log}\nthe last events:\n{said}");
        }
    }
}

/// Events, a line each, with their simulated time.
pub(crate) fn told(events: &[Event]) -> Vec<String> {
    let line = |e: &Event| {
        let (noun, at) = (e.noun.as_str(), e.at.0 - EPOCH.0);
        format!("{at} {} {noun} {} {} {:?} to {:?}: {}", e.by, e.subject, e.name, e.from, e.to, e.reason)
    };
    events.iter().map(line).collect()
}
