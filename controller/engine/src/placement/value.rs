//! Values as they stand in an order file: exact, so that what is proposed can be pasted and then holds.

use chandler_protocol::{Bytes, MicroMoney, Micros, MilliCpu, Ppm};

use crate::finance::round_div;

/// A hundredth of the currency's unit.
const CENT: i64 = 10_000;

/// `whole.part` with at least `least` digits behind the point and no zeros behind those.
fn decimal(value: u64, scale: u32, least: usize) -> String {
    let unit = 10_u64.pow(scale);
    let part = format!("{:0width$}", value % unit, width = scale as usize);
    let kept = part.trim_end_matches('0').len().max(least);
    match &part[..kept] {
        "" => (value / unit).to_string(),
        part => format!("{}.{part}", value / unit),
    }
}

/// A duration: `850 us`, `53 ms`, `9.4 ms`, `1.2 s`.
pub(super) fn duration(span: Micros) -> String {
    match u64::try_from(span.0).unwrap_or(0) {
        0 => "0 ms".to_owned(),
        v if v < 1_000 => format!("{v} us"),
        v if v < 1_000_000 || v % 1_000 != 0 => format!("{} ms", decimal(v, 3, 0)),
        v => format!("{} s", decimal(v, 6, 0)),
    }
}

/// The duration rounded up to two or three digits, as a person would write it.
pub(super) fn readable_duration(span: Micros) -> Micros {
    let step = match span.0 {
        v if v < 1_000 => 1,
        v if v < 10_000 => 100,
        v if v < 1_000_000 => 1_000,
        v if v < 10_000_000 => 10_000,
        _ => 1_000_000,
    };
    Micros(span.0.max(0).saturating_add(step - 1) / step * step)
}

/// An amount: `11.20 EUR`.
pub(super) fn money(amount: MicroMoney, currency: &str) -> String {
    let sign = if amount.0 < 0 { "-" } else { "" };
    format!("{sign}{} {currency}", decimal(amount.0.unsigned_abs(), 6, 2))
}

/// A price for a sentence, to the nearest hundredth: `11.20 EUR/month`. Prices below that stay exact.
pub(super) fn price(amount: MicroMoney, currency: &str) -> String {
    let is_small = amount.0.unsigned_abs() < CENT.unsigned_abs();
    let cents = round_div(amount.0.into(), CENT.into());
    let rounded = i64::try_from(cents).unwrap_or(0).saturating_mul(CENT);
    monthly_cost(if is_small { amount } else { MicroMoney(rounded) }, currency)
}

/// An amount a month, exactly: `11.20 EUR/month`.
pub(super) fn monthly_cost(amount: MicroMoney, currency: &str) -> String {
    format!("{}/month", money(amount, currency))
}

/// The amount rounded up to a hundredth; amounts below that stay exact.
pub(super) fn readable_money(amount: MicroMoney) -> MicroMoney {
    if amount.0 < CENT { amount } else { MicroMoney(amount.0.saturating_add(CENT - 1) / CENT * CENT) }
}

/// The share rounded down to a hundredth of a percent; shares above 99.9 % stay exact, for there every digit
/// counts.
pub(super) const fn readable_share(share: Ppm) -> Ppm {
    if share.0 > 999_000 { share } else { Ppm(share.0 / 100 * 100) }
}

/// A number of cores: `0.5`.
pub(super) fn cores(cpu: MilliCpu) -> String {
    decimal(u64::from(cpu.0), 3, 0)
}

/// A size in the largest unit that divides it: `256 MiB`.
pub(super) fn size(bytes: Bytes) -> String {
    const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match UNITS.iter().find(|(bits, _)| bytes.0 >> bits > 0 && bytes.0.trailing_zeros() >= *bits) {
        Some((bits, unit)) => format!("{} {unit}", bytes.0 >> bits),
        None => format!("{} B", bytes.0),
    }
}

/// A list of countries: `["CH", "DE"]`.
pub(super) fn countries(list: &[String]) -> String {
    let quoted: Vec<_> = list.iter().map(|country| format!("\"{country}\"")).collect();
    format!("[{}]", quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_read_like_an_order_file() {
        let check = |shown: String, expect: &str| assert_eq!(shown, expect);
        check(duration(Micros(53_000)), "53 ms");
        check(duration(Micros(9_400)), "9.4 ms");
        check(duration(Micros(850)), "850 us");
        check(duration(Micros(1_200_000)), "1.2 s");
        check(monthly_cost(MicroMoney(11_200_000), "EUR"), "11.20 EUR/month");
        check(monthly_cost(MicroMoney(11_234_500), "EUR"), "11.2345 EUR/month");
        check(money(MicroMoney(-500_000), "CHF"), "-0.50 CHF");
        check(cores(MilliCpu(500)), "0.5");
        check(cores(MilliCpu(2_000)), "2");
        check(size(Bytes(1_536 << 20)), "1536 MiB");
        check(size(Bytes(0)), "0 B");
        check(countries(&["CH".to_owned(), "DE".to_owned()]), "[\"CH\", \"DE\"]");
    }

    #[test]
    fn sentences_show_hundredths() {
        assert_eq!(price(MicroMoney(17_999_610), "EUR"), "18.00 EUR/month");
        assert_eq!(price(MicroMoney(17_994_999), "EUR"), "17.99 EUR/month");
        assert_eq!(price(MicroMoney(1_234), "EUR"), "0.001234 EUR/month");
    }

    #[test]
    fn rounding_never_tightens() {
        assert_eq!(readable_duration(Micros(52_001)), Micros(53_000));
        assert_eq!(readable_duration(Micros(9_301)), Micros(9_400));
        assert_eq!(readable_money(MicroMoney(11_190_001)), MicroMoney(11_200_000));
        assert_eq!(readable_money(MicroMoney(123)), MicroMoney(123));
        assert_eq!(readable_share(Ppm(994_999)), Ppm(994_900));
        assert_eq!(readable_share(Ppm(999_987)), Ppm(999_987));
    }

    proptest! {
        /// What is shown is read back as the same number.
        #[test]
        fn texts_are_exact(us in 0_i64..7_200_000_000, ppm in 0_u32..=1_000_000, bytes in 0_u64..1 << 42) {
            prop_assert_eq!(duration(Micros(us)).parse(), Ok(Micros(us)));
            prop_assert_eq!(Ppm(ppm).to_string().parse(), Ok(Ppm(ppm)));
            let parsed: Bytes = size(Bytes(bytes)).parse().unwrap();
            prop_assert_eq!(parsed, Bytes(bytes));
            prop_assert!(readable_duration(Micros(us)) >= Micros(us));
        }
    }
}
