//! Numbers with a unit, as integers: no bare `u64` or `f64` crosses a boundary.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that is not a quantity of the wanted kind. The message says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseUnitError(pub String);

macro_rules! number {
    ($($(#[$doc:meta])* $name:ident($int:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $int);
    )*};
}

number! {
    /// A moment: microseconds since 1970-01-01 UTC.
    Timestamp(i64);
    /// A length of time in microseconds.
    Micros(i64);
    /// Memory or disk, in bytes.
    Bytes(u64);
    /// Processor time per time: 1,000 is one core.
    MilliCpu(u32);
    /// A fraction in parts per million: 1,000,000 is all.
    Ppm(u32);
    /// Money in millionths of one unit of the controller's currency. Negative is a credit.
    MicroMoney(i64);
}

impl Timestamp {
    /// This moment and a length of time. Saturates.
    pub const fn after(self, span: Micros) -> Self {
        Self(self.0.saturating_add(span.0))
    }
    /// The time since an earlier moment; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Micros {
        let d = self.0.saturating_sub(earlier.0);
        Micros(if d < 0 { 0 } else { d })
    }
}

impl Micros {
    /// No time.
    pub const ZERO: Self = Self(0);
    /// Whole seconds. Saturates.
    pub const fn from_secs(s: i64) -> Self {
        Self(s.saturating_mul(1_000_000))
    }
    /// Whole milliseconds. Saturates.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms.saturating_mul(1_000))
    }
    /// As the standard library's type; negative becomes zero.
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_micros(u64::try_from(self.0).unwrap_or(0))
    }
    /// From the standard library's type. Saturates at 292,000 years.
    pub fn from_std(d: std::time::Duration) -> Self {
        Self(i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
    }
    /// Milliseconds, rounded down.
    pub const fn as_millis(self) -> i64 {
        self.0 / 1_000
    }
}

impl Ppm {
    /// All of it.
    pub const ONE: Self = Self(1_000_000);
}

/// Splits `"256 MiB"` into the number's digits and the unit behind it.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-')).unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

/// A non-negative decimal number, as an integer of `10^-scale`. Exact: never a float.
///
/// # Errors
/// Not a number, negative, more digits after the point than `scale`, or too large.
pub fn decimal(text: &str, scale: u32) -> Result<i64, ParseUnitError> {
    let bad = |why: &str| ParseUnitError(format!("{:?} {why}", clip(text)));
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || !whole.bytes().chain(part.bytes()).all(|b| b.is_ascii_digit()) {
        return Err(bad("is not a number of at least 0"));
    }
    let part = part.trim_end_matches('0');
    if part.len() > scale as usize {
        return Err(bad(&format!("has more than {scale} digits after the point")));
    }
    let mut value: i64 = whole.parse().map_err(|_| bad("is too large"))?;
    for digit in part.bytes().chain(std::iter::repeat(b'0')).take(scale as usize) {
        value = value
            .checked_mul(10)
            .and_then(|v| v.checked_add(i64::from(digit - b'0')))
            .ok_or_else(|| bad("is too large"))?;
    }
    Ok(value)
}

fn clip(text: &str) -> String {
    text.chars().take(40).collect()
}

impl FromStr for Micros {
    type Err = ParseUnitError;
    /// `"50 ms"`, `"1.5s"`, `"10 min"`, `"2 h"`, `"30 d"`.
    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        let (n, unit) = split(text);
        let factor: i64 = match unit {
            "us" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "min" | "m" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            _ => {
                return Err(ParseUnitError(format!(
                    "{:?} is not a duration: write a number and us, ms, s, min, h or d, such as \"50 ms\"",
                    clip(text)
                )));
            }
        };
        scaled(text, n, factor).map(Self)
    }
}

impl FromStr for Bytes {
    type Err = ParseUnitError;
    /// `"256 MiB"`, `"1.5 GiB"`, `"10 GB"`, `"512 B"`.
    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        let (n, unit) = split(text);
        let factor: i64 = match unit {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            _ => {
                return Err(ParseUnitError(format!(
                    "{:?} is not a size: write a number and B, KiB, MiB, GiB or TiB, such as \"256 MiB\"",
                    clip(text)
                )));
            }
        };
        Ok(Self(u64::try_from(scaled(text, n, factor)?).unwrap_or(0)))
    }
}

/// `n` (up to six digits after the point) times `factor`, rounded down to a whole number.
fn scaled(text: &str, n: &str, factor: i64) -> Result<i64, ParseUnitError> {
    let micro = decimal(n, 6)?;
    i64::try_from(i128::from(micro) * i128::from(factor) / 1_000_000)
        .map_err(|_| ParseUnitError(format!("{:?} is too large", clip(text))))
}

impl FromStr for Ppm {
    type Err = ParseUnitError;
    /// `"99.5 %"`: at most four digits after the point.
    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        let (n, unit) = split(text);
        let value = if unit == "%" { decimal(n, 4).ok() } else { None };
        match value.and_then(|v| u32::try_from(v).ok()) {
            Some(v) if v <= 1_000_000 => Ok(Self(v)),
            _ => Err(ParseUnitError(format!(
                "{:?} is not a share: write a percentage from 0 to 100 with at most four digits after the point, such as \"99.5 %\"",
                clip(text)
            ))),
        }
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v = self.0;
        match v.abs() {
            0 => write!(f, "0 s"),
            a if a < 1_000 => write!(f, "{v} us"),
            a if a < 10_000 => write!(f, "{}.{:01} ms", v / 1_000, (a % 1_000) / 100),
            a if a < 1_000_000 => write!(f, "{} ms", v / 1_000),
            a if a < 60_000_000 => write!(f, "{}.{:01} s", v / 1_000_000, (a % 1_000_000) / 100_000),
            a if a < 3_600_000_000 => write!(f, "{} min", v / 60_000_000),
            a if a < 2 * 86_400_000_000 => write!(f, "{} h", v / 3_600_000_000),
            _ => write!(f, "{} d", v / 86_400_000_000),
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
        let mut step = 0;
        while step + 1 < UNITS.len() && self.0 >> (10 * (step + 1)) > 0 {
            step += 1;
        }
        let whole = self.0 >> (10 * step);
        let tenth = if step == 0 { 0 } else { ((self.0 >> (10 * (step - 1))) & 1023) * 10 / 1024 };
        if tenth == 0 { write!(f, "{whole} {}", UNITS[step]) } else { write!(f, "{whole}.{tenth} {}", UNITS[step]) }
    }
}

impl fmt::Display for Ppm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 10_000, self.0 % 10_000);
        if part == 0 {
            return write!(f, "{whole} %");
        }
        write!(f, "{whole}.{} %", format!("{part:04}").trim_end_matches('0'))
    }
}

impl fmt::Display for MilliCpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 1_000, self.0 % 1_000);
        if part == 0 {
            return write!(f, "{whole} cores");
        }
        write!(f, "{whole}.{} cores", format!("{part:03}").trim_end_matches('0'))
    }
}

impl fmt::Display for MicroMoney {
    /// Two digits after the point, rounded; below one unit as many as there are, for rates are small.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let a = self.0.unsigned_abs();
        if a > 0 && a < 1_000_000 {
            let digits = format!("{a:06}");
            return write!(f, "{sign}0.{:0<2}", digits.trim_end_matches('0'));
        }
        let cents = (a + 5_000) / 10_000;
        write!(f, "{sign}{}.{:02}", cents / 100, cents % 100)
    }
}

/// BLAKE3 of some bytes, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ParseUnitError;
    fn from_str(text: &str) -> Result<Self, ParseUnitError> {
        data_encoding::HEXLOWER
            .decode(text.as_bytes())
            .ok()
            .and_then(|b| b.try_into().ok())
            .map(Self)
            .ok_or_else(|| ParseUnitError(format!("{:?} is not a digest: expected 64 hexadecimal digits", clip(text))))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { self.0.serialize(s) }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
        } else {
            Ok(Self(<[u8; 32]>::deserialize(d)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: FromStr<Err = ParseUnitError> + fmt::Display>(input: &str, expect: &str) {
        let shown = match input.parse::<T>() {
            Ok(v) => v.to_string(),
            Err(e) => e.to_string(),
        };
        assert_eq!(shown, expect, "for {input:?}");
    }

    #[test]
    fn durations() {
        check::<Micros>("50 ms", "50 ms");
        check::<Micros>("1.5s", "1.5 s");
        check::<Micros>("2h", "2 h");
        check::<Micros>("-1 s", "\"-1\" is not a number of at least 0");
        check::<Micros>("99999999999999 d", "\"99999999999999\" is too large");
        check::<Micros>(
            "fast",
            "\"fast\" is not a duration: write a number and us, ms, s, min, h or d, such as \"50 ms\"",
        );
    }

    #[test]
    fn sizes() {
        check::<Bytes>("256 MiB", "256 MiB");
        check::<Bytes>("1.5GiB", "1.5 GiB");
        check::<Bytes>("0 B", "0 B");
        check::<Bytes>("12", "\"12\" is not a size: write a number and B, KiB, MiB, GiB or TiB, such as \"256 MiB\"");
    }

    #[test]
    fn shares() {
        check::<Ppm>("99.5 %", "99.5 %");
        check::<Ppm>("100%", "100 %");
        assert!("100.1 %".parse::<Ppm>().is_err());
        assert!("NaN %".parse::<Ppm>().is_err());
    }

    #[test]
    fn money_shows_what_is_there() {
        assert_eq!(MicroMoney(21_400_000).to_string(), "21.40");
        assert_eq!(MicroMoney(-1_500_000).to_string(), "-1.50");
        assert_eq!(MicroMoney(123).to_string(), "0.000123");
        assert_eq!(MicroMoney(18_000).to_string(), "0.018");
        assert_eq!(MicroMoney(500_000).to_string(), "0.50");
        assert_eq!(MicroMoney(3_456_789).to_string(), "3.46");
        assert_eq!(MicroMoney(0).to_string(), "0.00");
    }
}
