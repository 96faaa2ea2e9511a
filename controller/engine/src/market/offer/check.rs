//! What an offer may say. Each refusal names the field as it stands in the API and says what to write.

use chandler_protocol::text::TEXT_MAX;
use chandler_protocol::{MicroMoney, Micros, MilliCpu, Ppm};

use super::window::{longest, stretches};
use super::{NOTICE_MAX, Offer, RATE_MAX, TERM_MAX, WINDOWS_MAX};
use crate::fleet::Capacity;
use crate::hours::{HOURS_FORM, Hours};
use crate::market::field::{FieldError, check_country, wrong};
use crate::site::Rates;

/// Shortest term that can be asked for.
const TERM_MIN: Micros = Micros::from_secs(60);

/// Whether an offer can be posted for a machine that gives `machine` to the fleet; of several, the smallest.
///
/// # Errors
/// The first field that cannot stand.
pub fn check(offer: &Offer, machine: Capacity) -> Result<(), FieldError> {
    check_rates(offer.asked)?;
    let nothing = offer.asked == Rates::default();
    if nothing && !offer.free {
        return Err(wrong("asked", "asks for nothing: write a rate, or free = true to give it away"));
    }
    if offer.free && !nothing {
        return Err(wrong("free", "the offer is free and asks for a rate: leave out one of them"));
    }
    check_capacity(offer.capacity, machine)?;
    check_windows(&offer.windows)?;
    check_terms(offer)?;
    check_country("residency", &offer.residency)?;
    if offer.availability > Ppm::ONE {
        return Err(wrong("availability", "is more than all of the time: write a share such as \"99 %\""));
    }
    if offer.version == 0 {
        return Err(wrong("version", "versions count from 1"));
    }
    if offer.reason.chars().count() > TEXT_MAX {
        return Err(wrong("reason", format!("is longer than {TEXT_MAX} characters: write less")));
    }
    Ok(())
}

/// Whether rates are amounts of at least 0 and at most [`RATE_MAX`].
///
/// # Errors
/// The first that is not.
pub fn check_rates(rates: Rates) -> Result<(), FieldError> {
    let Some((name, rate)) = rates.out_of_range(RATE_MAX) else { return Ok(()) };
    let field = match name {
        "coreHour" => "asked.coreHour",
        "gibHour" => "asked.gibHour",
        _ => "asked.gpuHour",
    };
    if rate.0 < 0 {
        return Err(wrong(field, "is negative: write an amount of at least 0"));
    }
    let most = MicroMoney(RATE_MAX);
    Err(wrong(field, format!("is {rate}, more than any machine is worth: write at most {most}")))
}

fn check_capacity(wanted: Option<Capacity>, machine: Capacity) -> Result<(), FieldError> {
    let (offered, source) = match wanted {
        Some(capacity) => (capacity, "write how much of each machine is offered, or leave capacity out for all of it"),
        None => (machine, "the machine gives nothing to the fleet: change what its agent offers first"),
    };
    if offered.cpu.0 == 0 {
        return Err(wrong("capacity.cpu", format!("is zero: {source}")));
    }
    if offered.memory.0 == 0 {
        return Err(wrong("capacity.memory", format!("is zero: {source}")));
    }
    let more = |what: String, has: String| format!("{what} is more than the machine gives: write at most {has}");
    let Capacity { cpu: MilliCpu(cpu), memory, gpus } = offered;
    if cpu > machine.cpu.0 {
        return Err(wrong("capacity.cpu", more(offered.cpu.to_string(), machine.cpu.to_string())));
    }
    if memory > machine.memory {
        return Err(wrong("capacity.memory", more(memory.to_string(), machine.memory.to_string())));
    }
    if gpus > machine.gpus {
        return Err(wrong("capacity.gpus", more(format!("{gpus} GPUs"), machine.gpus.to_string())));
    }
    Ok(())
}

fn check_windows(windows: &[Hours]) -> Result<(), FieldError> {
    let field = "windows";
    let Some(first) = windows.first() else {
        return Err(wrong(field, format!("is empty: {HOURS_FORM}; always is \"daily 00:00-24:00 UTC\"")));
    };
    if windows.len() > WINDOWS_MAX {
        return Err(wrong(field, format!("has {} entries: write at most {WINDOWS_MAX}", windows.len())));
    }
    if let Some(other) = windows.iter().find(|w| w.zone() != first.zone()) {
        let (a, b) = (first.zone(), other.zone());
        return Err(wrong(field, format!("are in {a} and in {b}: write all of them in one time zone")));
    }
    for (i, window) in windows.iter().enumerate() {
        for other in &windows[..i] {
            let both = stretches(&[window.clone(), other.clone()]);
            if both.windows(2).any(|pair| pair[1].0 < pair[0].1) {
                return Err(wrong(field, format!("\"{other}\" and \"{window}\" overlap: write each hour once")));
            }
        }
    }
    Ok(())
}

fn check_terms(offer: &Offer) -> Result<(), FieldError> {
    let within = |field: &'static str, value: Micros, least: Micros, most: Micros| {
        if value >= least && value <= most {
            return Ok(());
        }
        Err(wrong(field, format!("is out of range: write a time from {least} to {most}")))
    };
    within("minTerm", offer.min_term, TERM_MIN, TERM_MAX)?;
    within("reclaimNotice", offer.reclaim_notice, Micros::ZERO, NOTICE_MAX)?;
    within("priceNotice", offer.price_notice, Micros::ZERO, NOTICE_MAX)?;
    if let Some(longest) = longest(&offer.windows)
        && offer.min_term > longest
    {
        return Err(wrong("minTerm", format!("no window is that long: write at most {longest}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use chandler_protocol::{Bytes, OfferId, PartyId, SiteId, Timestamp};
    use proptest::prelude::*;

    use super::super::OfferState;
    use super::*;

    const MACHINE: Capacity = Capacity { cpu: MilliCpu(4_000), memory: Bytes(8 << 30), gpus: 1 };

    fn offer() -> Offer {
        Offer {
            id: OfferId::from_random([1; 10]),
            site: SiteId::from_random([2; 10]),
            owner: PartyId::from_random([3; 10]),
            state: OfferState::Active,
            asked: Rates { core_hour: MicroMoney(8_000), gib_hour: MicroMoney(1_000), gpu_hour: MicroMoney(0) },
            free: false,
            capacity: None,
            windows: vec!["daily 22:00-06:00 Europe/Berlin".parse().unwrap()],
            min_term: Micros::from_secs(1_800),
            reclaim_notice: Micros::from_secs(600),
            residency: "DE".to_owned(),
            availability: Ppm(950_000),
            price_notice: Micros::from_secs(3_600),
            version: 1,
            posted_at: Timestamp(0),
            reason: String::new(),
            until: None,
        }
    }

    /// What is said about an offer after a change; empty if it is taken.
    fn said(change: impl FnOnce(&mut Offer)) -> String {
        let mut offer = offer();
        change(&mut offer);
        check(&offer, MACHINE).err().map_or_else(String::new, |e| e.to_string())
    }

    fn hours(all: &[&str]) -> Vec<Hours> {
        all.iter().map(|h| h.parse().unwrap()).collect()
    }

    #[test]
    fn an_honest_offer_is_taken() {
        assert_eq!(said(|_| {}), "");
        assert_eq!(said(|o| o.asked.gib_hour = MicroMoney(0)), "");
        assert_eq!(said(|o| (o.asked, o.free) = (Rates::default(), true)), "");
        assert_eq!(said(|o| o.capacity = Some(MACHINE)), "");
        assert_eq!(said(|o| o.windows = hours(&["Mon 08:00-12:00 UTC", "Mon 12:00-20:00 UTC"])), "");
        assert_eq!(said(|o| (o.windows, o.min_term) = (hours(&["daily 00:00-24:00"]), TERM_MAX)), "");
        assert_eq!(said(|o| o.reclaim_notice = Micros::ZERO), "");
    }

    #[test]
    fn a_refusal_names_the_field_and_what_to_write() {
        let refused = |expect: &str, change: &dyn Fn(&mut Offer)| {
            let text = said(change);
            assert!(text.starts_with(expect), "{expect:?} was said as {text:?}");
        };
        let cap = |cpu, memory| Some(Capacity { cpu: MilliCpu(cpu), memory: Bytes(memory), gpus: 0 });
        refused("asked.coreHour: is negative: write", &|o| o.asked.core_hour = MicroMoney(-1));
        refused("asked.gibHour: is 1000.01, more than", &|o| o.asked.gib_hour = MicroMoney(RATE_MAX + 10_000));
        refused("asked.coreHour: is 9223372036854.78", &|o| o.asked.core_hour = MicroMoney(i64::MAX));
        refused("asked.gpuHour: is negative: write", &|o| o.asked.gpu_hour = MicroMoney(i64::MIN));
        refused("asked.gpuHour: is 1000.01, more than", &|o| o.asked.gpu_hour = MicroMoney(RATE_MAX + 10_000));
        refused("capacity.gpus: 2 GPUs is more than the machine gives: write at most 1", &|o| {
            o.capacity = Some(Capacity { gpus: 2, ..MACHINE });
        });
        refused("asked: asks for nothing: write", &|o| o.asked = Rates::default());
        refused("free: the offer is free and asks", &|o| o.free = true);
        refused("capacity.cpu: is zero: write", &|o| o.capacity = cap(0, 1));
        refused("capacity.memory: is zero: write", &|o| o.capacity = cap(1, 0));
        refused("capacity.cpu: 4.001 cores is more", &|o| o.capacity = cap(4_001, 1));
        refused("capacity.memory: 16 GiB is more", &|o| o.capacity = cap(1, 16 << 30));
        refused("windows: is empty: write", &|o| o.windows.clear());
        refused("windows: \"Mon 08:00-12:00 UTC\" and \"Mon,Tue", &|o| {
            o.windows = hours(&["Mon 08:00-12:00 UTC", "Mon,Tue 11:59-13:00 UTC"]);
        });
        // Sunday's night goes on into the week's first hours.
        refused("windows: \"Sun 22:00-06:00 UTC\" and", &|o| {
            o.windows = hours(&["Sun 22:00-06:00 UTC", "Mon 05:00-07:00 UTC"]);
        });
        refused("windows: are in UTC and in Asia/Tokyo: write", &|o| {
            o.windows = hours(&["Mon 08:00-12:00 UTC", "Tue 08:00-12:00 Asia/Tokyo"]);
        });
        refused("windows: has 17 entries: write", &|o| o.windows = vec!["Mon 08:00-12:00".parse().unwrap(); 17]);
        refused("minTerm: is out of range: write", &|o| o.min_term = Micros(0));
        refused("minTerm: no window is that long: write at most 8 h", &|o| {
            o.min_term = Micros::from_secs(8 * 3_600 + 1)
        });
        refused("reclaimNotice: is out of range: write", &|o| o.reclaim_notice = Micros(-1));
        refused("priceNotice: is out of range: write", &|o| o.price_notice = Micros(i64::MAX));
        refused("residency: is no country: write", &|o| o.residency = "de".to_owned());
        refused("residency: is no country: write", &|o| o.residency = "\u{202e}".to_owned());
        refused("availability: is more", &|o| o.availability = Ppm(1_000_001));
        refused("version: versions count from 1", &|o| o.version = 0);
        refused("reason: is longer", &|o| o.reason = "x".repeat(TEXT_MAX + 1));
        let error = check(&offer(), Capacity::default()).unwrap_err();
        assert_eq!((error.field, error.what.contains("gives nothing")), ("capacity.cpu", true));
    }

    proptest! {
        /// Whatever numbers are sent: no panic, and what is taken is within the bounds.
        #[test]
        fn hostile_numbers_are_refused(
            core in any::<i64>(), gib in any::<i64>(), cpu in any::<u32>(), memory in any::<u64>(),
            term in any::<i64>(), reclaim in any::<i64>(), price in any::<i64>(), up in any::<u32>(),
            small in prop::array::uniform5(any::<bool>()),
        ) {
            let mut offer = offer();
            // Half of the numbers are made small, so that many offers get past the first check.
            let pick = |small: bool, value: i64| if small { value.rem_euclid(3_600_000_000) / 4 } else { value };
            offer.asked = Rates { core_hour: MicroMoney(pick(small[0], core)), gib_hour: MicroMoney(pick(small[0], gib)), gpu_hour: MicroMoney(0) };
            offer.capacity = Some(if small[1] { MACHINE } else { Capacity { cpu: MilliCpu(cpu), memory: Bytes(memory), gpus: 0 } });
            offer.min_term = Micros(pick(small[2], term));
            offer.reclaim_notice = Micros(pick(small[3], reclaim));
            offer.price_notice = Micros(pick(small[3], price));
            offer.availability = Ppm(if small[4] { up % 1_000_001 } else { up });
            if check(&offer, MACHINE).is_ok() {
                for rate in [offer.asked.core_hour, offer.asked.gib_hour] {
                    prop_assert!((0..=RATE_MAX).contains(&rate.0));
                }
                let capacity = offer.capacity.unwrap();
                prop_assert!(MACHINE.holds(capacity) && capacity.cpu.0 > 0 && capacity.memory.0 > 0);
                prop_assert!(offer.min_term > Micros::ZERO && offer.reclaim_notice >= Micros::ZERO);
                prop_assert!(offer.min_term <= TERM_MAX && offer.availability <= Ppm::ONE);
            }
        }
    }
}
