//! How a computer does: quantised readings, sent as the difference from the last sample both sides have.
//!
//! A full sample of 16 readings is about 45 bytes, a delta of a quiet machine 4 to 12: one bit mask of what
//! changed and a zigzag varint for each change (postcard's own integer form).

use serde::{Deserialize, Serialize};

use crate::Micros;

/// One reading of everything that is reported, in the unit its field names, already quantised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readings {
    /// Processor use of the whole machine, in permille of all cores.
    pub cpu_permille: i64,
    /// One-minute load average, in hundredths.
    pub load_centi: i64,
    /// Memory in use, in MiB.
    pub memory_used_mib: i64,
    /// Swap in use, in MiB.
    pub swap_used_mib: i64,
    /// Free space where the agent keeps its data, in MiB.
    pub disk_free_mib: i64,
    /// Received, in KiB a second.
    pub net_rx_kib_s: i64,
    /// Sent, in KiB a second.
    pub net_tx_kib_s: i64,
    /// Hottest sensor, in degrees Celsius; -1 when there is none.
    pub temperature_c: i64,
    /// Battery charge in percent; -1 when there is none.
    pub battery_percent: i64,
    /// 1 on mains, 0 on battery, -1 unknown.
    pub on_mains: i64,
    /// Seconds since boot, in tens.
    pub uptime_10s: i64,
    /// Processor use of the fleet's workloads, in permille of all cores.
    pub workload_cpu_permille: i64,
    /// Memory of the fleet's workloads, in MiB.
    pub workload_memory_mib: i64,
    /// Resident memory of the agent itself, in KiB.
    pub agent_memory_kib: i64,
    /// Processor time of the agent itself since it started, in milliseconds.
    pub agent_cpu_ms: i64,
    /// Samples dropped so far because a buffer was full.
    pub dropped: i64,
}

/// Readings in a [`Readings`].
pub const FIELDS: usize = 16;

impl Readings {
    /// The readings in declaration order. New ones are appended.
    pub const fn to_array(self) -> [i64; FIELDS] {
        [
            self.cpu_permille,
            self.load_centi,
            self.memory_used_mib,
            self.swap_used_mib,
            self.disk_free_mib,
            self.net_rx_kib_s,
            self.net_tx_kib_s,
            self.temperature_c,
            self.battery_percent,
            self.on_mains,
            self.uptime_10s,
            self.workload_cpu_permille,
            self.workload_memory_mib,
            self.agent_memory_kib,
            self.agent_cpu_ms,
            self.dropped,
        ]
    }

    /// The inverse of [`Self::to_array`].
    pub const fn from_array(v: [i64; FIELDS]) -> Self {
        Self {
            cpu_permille: v[0],
            load_centi: v[1],
            memory_used_mib: v[2],
            swap_used_mib: v[3],
            disk_free_mib: v[4],
            net_rx_kib_s: v[5],
            net_tx_kib_s: v[6],
            temperature_c: v[7],
            battery_percent: v[8],
            on_mains: v[9],
            uptime_10s: v[10],
            workload_cpu_permille: v[11],
            workload_memory_mib: v[12],
            agent_memory_kib: v[13],
            agent_cpu_ms: v[14],
            dropped: v[15],
        }
    }
}

/// One sample on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Counts this connection's samples, from 1.
    pub sequence: u64,
    /// The sample that the changes are against; 0: against all zeroes.
    pub base: u64,
    /// How long ago it was taken when it was sent.
    pub age: Micros,
    /// Bit `i` is set when reading `i` differs from the base.
    pub mask: u32,
    /// The differences, in order of the bits.
    pub changes: Vec<i64>,
}

/// Why a sample cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError {
    /// The receiver no longer has the base; the sender shall start from zero.
    #[error("telemetry base is unknown")]
    UnknownBase,
    /// Mask and changes do not fit together.
    #[error("telemetry sample is malformed")]
    Malformed,
}

/// `readings` as the difference from `base` (sequence and readings), or from zero.
pub fn encode(sequence: u64, age: Micros, readings: Readings, base: Option<(u64, Readings)>) -> Sample {
    let (base_sequence, base) = base.unwrap_or_default();
    let (mut mask, mut changes) = (0, Vec::new());
    for (i, (new, old)) in readings.to_array().into_iter().zip(base.to_array()).enumerate() {
        if new != old {
            mask |= 1 << i;
            changes.push(new.wrapping_sub(old));
        }
    }
    Sample { sequence, base: base_sequence, age, mask, changes }
}

/// The readings of `sample`; `base_of` gives the readings of an earlier sequence that the receiver kept.
///
/// # Errors
/// See [`DeltaError`].
pub fn decode(sample: &Sample, base_of: impl Fn(u64) -> Option<Readings>) -> Result<Readings, DeltaError> {
    let base =
        if sample.base == 0 { Readings::default() } else { base_of(sample.base).ok_or(DeltaError::UnknownBase)? };
    let mut values = base.to_array();
    let mut changes = sample.changes.iter();
    // Bits above the fields this build knows belong to a newer agent: their changes come last and are skipped.
    for (i, value) in values.iter_mut().enumerate() {
        if sample.mask & (1 << i) != 0 {
            *value = value.wrapping_add(*changes.next().ok_or(DeltaError::Malformed)?);
        }
    }
    let unknown = (sample.mask >> FIELDS).count_ones();
    if changes.count() != unknown as usize { Err(DeltaError::Malformed) } else { Ok(Readings::from_array(values)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn delta_round_trips(a in any::<[i64; FIELDS]>(), b in any::<[i64; FIELDS]>()) {
            let (a, b) = (Readings::from_array(a), Readings::from_array(b));
            let sample = encode(2, Micros::ZERO, b, Some((1, a)));
            prop_assert_eq!(decode(&sample, |s| (s == 1).then_some(a)), Ok(b));
            prop_assert_eq!(decode(&encode(1, Micros::ZERO, a, None), |_| None), Ok(a));
        }

        #[test]
        fn hostile_samples_never_panic(mask in any::<u32>(), changes in prop::collection::vec(any::<i64>(), 0..40)) {
            let _ = decode(&Sample { sequence: 1, base: 0, age: Micros::ZERO, mask, changes }, |_| None);
        }
    }

    #[test]
    fn a_quiet_machine_costs_few_bytes() {
        let base = Readings { cpu_permille: 31, memory_used_mib: 812, uptime_10s: 4_000, ..Readings::default() };
        let next = Readings { cpu_permille: 33, uptime_10s: 4_001, ..base };
        let sample = encode(9, Micros::ZERO, next, Some((8, base)));
        assert!(postcard::to_allocvec(&sample).unwrap().len() <= 12);
        assert_eq!(decode(&sample, |_| None), Err(DeltaError::UnknownBase));
    }
}
