//! Samples on their way: delta-coded against what the controller has, kept while it is away, dropped when too many.

use std::collections::VecDeque;

use chandler_protocol::Micros;
use chandler_protocol::telemetry::{Readings, Sample, encode};

/// Samples kept while nobody takes them: an hour at ten seconds.
pub const BUFFER_MAX: usize = 360;
/// Samples in one message.
pub const BATCH_MAX: usize = 60;
/// Sent samples that may still become the base of a delta.
const BASES_MAX: usize = 64;

/// Samples on their way to the controller.
#[derive(Debug, Default)]
pub struct Buffer {
    waiting: VecDeque<(Micros, Readings)>,
    dropped: i64,
    /// Counts this connection's samples.
    sequence: u64,
    sent: VecDeque<(u64, Readings)>,
    base: Option<(u64, Readings)>,
}

impl Buffer {
    /// A sample was taken. The oldest is dropped when there are too many, and that is counted.
    pub fn push(&mut self, now: Micros, mut readings: Readings) {
        if self.waiting.len() >= BUFFER_MAX {
            self.waiting.pop_front();
            self.dropped += 1;
        }
        readings.dropped = self.dropped;
        self.waiting.push_back((now, readings));
    }

    /// A new connection: its controller knows nothing of what was sent before.
    pub fn connected(&mut self) {
        self.sequence = 0;
        self.sent.clear();
        self.base = None;
    }

    /// Whether something waits.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Samples to send now, oldest first.
    pub fn take(&mut self, now: Micros) -> Vec<Sample> {
        let count = self.waiting.len().min(BATCH_MAX);
        let mut samples = Vec::with_capacity(count);
        for (taken, readings) in self.waiting.drain(..count) {
            self.sequence += 1;
            let age = Micros((now.0 - taken.0).max(0));
            samples.push(encode(self.sequence, age, readings, self.base));
            if self.sent.len() >= BASES_MAX {
                self.sent.pop_front();
            }
            self.sent.push_back((self.sequence, readings));
        }
        samples
    }

    /// The controller has kept this sample: the next ones are differences from it.
    pub fn acknowledge(&mut self, sequence: u64) {
        if self.base.is_some_and(|(base, _)| sequence <= base) {
            return;
        }
        if let Some(found) = self.sent.iter().find(|(s, _)| *s == sequence) {
            self.base = Some(*found);
            self.sent.retain(|(s, _)| *s > sequence);
        }
    }
}

#[cfg(test)]
mod tests {
    use chandler_protocol::telemetry::decode;

    use super::*;

    fn reading(n: i64) -> Readings {
        Readings { load_centi: n, ..Readings::default() }
    }

    #[test]
    fn an_hour_is_kept_then_the_oldest_goes_and_is_counted() {
        let mut buffer = Buffer::default();
        for n in 0..400 {
            buffer.push(Micros::from_secs(n * 10), reading(n));
        }
        let mut got = Vec::new();
        while buffer.is_waiting() {
            let batch = buffer.take(Micros::from_secs(4_000));
            assert!(batch.len() <= BATCH_MAX);
            got.extend(batch);
        }
        assert_eq!(got.len(), BUFFER_MAX);
        let first = decode(&got[0], |_| None).unwrap();
        assert_eq!((first.load_centi, got[0].age), (40, Micros::from_secs(3_600)));
        assert_eq!(decode(got.last().unwrap(), |_| None).unwrap().dropped, 40);
    }

    #[test]
    fn deltas_are_against_what_was_acknowledged_on_this_connection() {
        let mut buffer = Buffer::default();
        let next = |buffer: &mut Buffer, n| {
            buffer.push(Micros(0), reading(n));
            buffer.take(Micros(0)).remove(0)
        };
        let one = next(&mut buffer, 10);
        assert_eq!((one.sequence, one.base), (1, 0));
        assert_eq!(next(&mut buffer, 11).base, 0, "nothing is acknowledged yet");
        buffer.acknowledge(1);
        let three = next(&mut buffer, 12);
        assert_eq!((three.sequence, three.base), (3, 1));
        assert_eq!(decode(&three, |s| (s == 1).then_some(reading(10))).unwrap(), reading(12));
        buffer.acknowledge(99);
        assert_eq!(next(&mut buffer, 13).base, 1, "what was never sent cannot be acknowledged");
        buffer.acknowledge(3);
        buffer.acknowledge(1);
        assert_eq!(next(&mut buffer, 14).base, 3, "an old acknowledgement changes nothing");
        buffer.connected();
        let fresh = next(&mut buffer, 15);
        assert_eq!((fresh.sequence, fresh.base), (1, 0));
    }
}
