//! Values as the API writes them: times, money, and texts with a unit.

use std::fmt;
use std::str::FromStr;

use chandler_protocol::unit::{ParseUnitError, decimal};
use chandler_protocol::{MicroMoney, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

/// A moment, written as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0.0) {
            Ok(t) => t.fmt(f),
            Err(_) => f.write_str("out of range"),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let t: jiff::Timestamp = text.parse().map_err(|_| {
            serde::de::Error::custom(format!("{text:?} is not a time: write it as 2026-11-22T09:14:00Z"))
        })?;
        Ok(Self(Timestamp(t.as_microsecond())))
    }
}

/// An amount of money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Money {
    /// Millionths of one unit of the currency. Negative is a credit.
    pub micros: i64,
    /// ISO 4217 code.
    pub currency: String,
}

impl Money {
    /// An amount in a currency.
    pub fn new(amount: MicroMoney, currency: &str) -> Self {
        Self { micros: amount.0, currency: currency.to_owned() }
    }

    /// The amount without its currency.
    pub const fn amount(&self) -> MicroMoney {
        MicroMoney(self.micros)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount(), self.currency)
    }
}

/// A quantity that is written as a text with its unit, such as `"50 ms"` or `"256 MiB"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity<T>(pub T);

impl<T: fmt::Display> Serialize for Quantity<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}

impl<'de, T: FromStr<Err = ParseUnitError>> Deserialize<'de> for Quantity<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// A duration kept exactly: written in the largest unit that divides it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub chandler_protocol::Micros);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(i64, &str); 5] =
            [(86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "min"), (1_000_000, "s"), (1_000, "ms")];
        let v = self.0.0;
        match UNITS.iter().find(|(n, _)| v >= *n && v % n == 0) {
            Some((n, unit)) => write!(f, "{} {unit}", v / n),
            None => write!(f, "{v} us"),
        }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// A size kept exactly: written in the largest binary unit that divides it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub chandler_protocol::Bytes);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        let v = self.0.0;
        match UNITS.iter().find(|(bits, _)| v >> bits > 0 && v.trailing_zeros() >= *bits) {
            Some((bits, unit)) => write!(f, "{} {unit}", v >> bits),
            None => write!(f, "{v} B"),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// An amount of data a second, written as `"50 MiB/s"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(pub Size);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

impl FromStr for Rate {
    type Err = ParseUnitError;
    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        let bad = || {
            let shown: String = text.chars().take(40).collect();
            ParseUnitError(format!("{shown:?} is not a rate: write a size and /s, such as \"50 MiB/s\""))
        };
        let size = text.trim().strip_suffix("/s").ok_or_else(bad)?;
        size.trim().parse().map(|size| Self(Size(size))).map_err(|_| bad())
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Money a month, written as `"30 EUR/month"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonthlyCost {
    /// The amount.
    pub amount: MicroMoney,
    /// ISO 4217 code.
    pub currency: String,
}

impl fmt::Display for MonthlyCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.amount.0 / 1_000_000, self.amount.0 % 1_000_000);
        let part = format!("{part:06}");
        let part = part.trim_end_matches('0');
        let dot = if part.is_empty() { "" } else { "." };
        write!(f, "{whole}{dot}{part} {}/month", self.currency)
    }
}

impl FromStr for MonthlyCost {
    type Err = ParseUnitError;
    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        let bad = || {
            ParseUnitError(format!(
                "{:?} is not a cost: write an amount, a currency and /month, such as \"30 EUR/month\"",
                text.chars().take(40).collect::<String>()
            ))
        };
        let body = text.trim().strip_suffix("/month").ok_or_else(bad)?.trim();
        let split = body.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(bad)?;
        let (number, currency) = body.split_at(split);
        if currency.len() != 3 || !currency.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(bad());
        }
        Ok(Self { amount: MicroMoney(decimal(number.trim(), 6)?), currency: currency.to_owned() })
    }
}

impl Serialize for MonthlyCost {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MonthlyCost {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip_exactly() {
        for text in ["30 EUR/month", "0.5 EUR/month", "11.2 CHF/month"] {
            assert_eq!(text.parse::<MonthlyCost>().unwrap().to_string(), text);
        }
        for bad in ["30", "30 EUR", "EUR/month", "-1 EUR/month", "1e9 EUR/month", "NaN EUR/month", "30 euro/month"] {
            assert!(bad.parse::<MonthlyCost>().is_err(), "{bad} was taken for a cost");
        }
        for (text, shown) in [("90 s", "90 s"), ("120 s", "2 min"), ("1500 ms", "1500 ms")] {
            assert_eq!(Span(text.parse().unwrap()).to_string(), shown);
        }
        assert_eq!("50 MiB/s".parse::<Rate>().unwrap().to_string(), "50 MiB/s");
        for bad in ["50 MiB", "50 MiB/min", "fast", "-1 MiB/s", "MiB/s"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad} was taken for a rate");
        }
        assert_eq!(Size("1536 MiB".parse().unwrap()).to_string(), "1536 MiB");
    }
}
