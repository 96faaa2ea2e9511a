//! Months of the civil calendar (UTC), by arithmetic alone: the algorithms `civil_from_days` and
//! `days_from_civil` of Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".

use chandler_protocol::Timestamp;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Days from 1970-01-01 to a day of the proleptic Gregorian calendar.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is the last of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year and month of a day counted from 1970-01-01.
const fn civil_from_days(days: i64) -> (i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + if month <= 2 { 1 } else { 0 };
    (year, month)
}

/// The month a moment is in, as `2026-11`.
pub fn month_of(at: Timestamp) -> String {
    let (year, month) = civil_from_days(at.0.div_euclid(MICROS_PER_DAY));
    format!("{year:04}-{month:02}")
}

/// The first moment of a month written as `2026-11`, and the first moment behind it. `None` when it is no month
/// of the years 0000 to 9999.
pub fn month_range(month: &str) -> Option<(Timestamp, Timestamp)> {
    let (year, number) = month.split_once('-')?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if year.len() != 4 || number.len() != 2 || !digits(year) || !digits(number) {
        return None;
    }
    let (year, number): (i64, i64) = (year.parse().ok()?, number.parse().ok()?);
    if !(1..=12).contains(&number) {
        return None;
    }
    let first = |year, number| Timestamp(days_from_civil(year, number, 1) * MICROS_PER_DAY);
    let next = if number == 12 { first(year + 1, 1) } else { first(year, number + 1) };
    Some((first(year, number), next))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn months_begin_where_the_calendar_says() {
        let check = |month: &str, from: i64, days: i64| {
            let (start, end) = month_range(month).unwrap();
            assert_eq!(start.0, from * 1_000_000, "{month}");
            assert_eq!((end.0 - start.0) / MICROS_PER_DAY, days, "{month}");
        };
        check("1970-01", 0, 31);
        check("2026-11", 1_793_491_200, 30);
        check("2024-02", 1_706_745_600, 29);
        check("2100-02", 4_105_123_200, 28);
        check("2000-02", 949_363_200, 29);
        check("1969-12", -2_678_400, 31);
        for bad in ["", "2026", "2026-13", "2026-00", "26-11", "2026-1", "+026-11", "2026-11-01", "2026-1a"] {
            assert_eq!(month_range(bad), None, "{bad} was taken for a month");
        }
    }

    proptest! {
        /// Every moment lies in its month, up to the ends of what a timestamp can say.
        #[test]
        fn a_moment_lies_in_its_month(at in any::<i64>()) {
            let month = month_of(Timestamp(at));
            if let Some((start, end)) = month_range(&month) {
                prop_assert!((start.0..end.0).contains(&at), "{} not in {}", at, month);
            } else {
                let years_of_four_digits = -62_167_219_200_000_000..253_402_300_800_000_000;
                prop_assert!(!years_of_four_digits.contains(&at), "{}", month);
            }
        }
    }
}
