//! Sizes, durations and moments as people write them: always with their unit.
//!
//! Owns: the parsers behind the command line's values. Never: defaults.

use std::time::Duration;

use thiserror::Error;
use weir_protocol::model::Timestamp;

/// A size or a time that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnitError {
    /// A number alone: nobody can tell whether bytes or mebibytes were meant.
    #[error("\"{text}\" has no unit: write for example {example}")]
    NoUnit {
        /// What was found.
        text: String,
        /// What could have been meant.
        example: String,
    },
    /// Not a number and a known unit.
    #[error("\"{text}\" is not {what}: write a number and one of {units}")]
    Unreadable {
        /// What was found.
        text: String,
        /// What was expected.
        what: &'static str,
        /// The units known.
        units: &'static str,
    },
    /// More than can be counted.
    #[error("\"{text}\" is too large")]
    TooLarge {
        /// What was found.
        text: String,
    },
    /// Not a moment.
    #[error(
        "\"{text}\" is not a place to begin: write trim-horizon, latest, an age like -10m, a time \
         like 2026-11-23T04:12:00Z, or milliseconds since 1970"
    )]
    Moment {
        /// What was found.
        text: String,
    },
}

const SIZE_UNITS: &str = "B, KB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB (powers of 1024)";
const TIME_UNITS: &str = "ms, s, m, h, d";

/// Splits "1.5GiB" into thousandths of the number and the unit.
fn split(text: &str) -> Option<(u64, &str)> {
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 3 || fraction.contains('.') {
        return None;
    }
    let mut thousandths: u64 = whole.parse::<u64>().ok()?.checked_mul(1000)?;
    let mut place = 100;
    for digit in fraction.bytes() {
        thousandths = thousandths.checked_add(u64::from(digit - b'0') * place)?;
        place /= 10;
    }
    Some((thousandths, unit.trim_start()))
}

fn scaled(
    text: &str,
    what: &'static str,
    units: &'static str,
    default_unit: &str,
    factor: impl Fn(&str) -> Option<u64>,
) -> Result<u64, UnitError> {
    let unreadable = || UnitError::Unreadable {
        text: text.to_owned(),
        what,
        units,
    };
    let (thousandths, unit) = split(text.trim()).ok_or_else(unreadable)?;
    if unit.is_empty() {
        return Err(UnitError::NoUnit {
            text: text.to_owned(),
            example: format!("{}{default_unit}", text.trim()),
        });
    }
    let factor = factor(unit).ok_or_else(unreadable)?;
    let value = u128::from(thousandths) * u128::from(factor) / 1000;
    u64::try_from(value).map_err(|_| UnitError::TooLarge {
        text: text.to_owned(),
    })
}

/// Bytes from "64KiB", "8GB", "1.5GiB".
pub fn size(text: &str) -> Result<u64, UnitError> {
    scaled(text, "a size", SIZE_UNITS, "MiB", |unit| {
        Some(match unit {
            "B" => 1,
            "KB" | "kB" => 1000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            _ => return None,
        })
    })
}

/// Milliseconds from "250ms", "20s", "24h", "7d".
pub fn millis(text: &str) -> Result<u64, UnitError> {
    scaled(text, "a time", TIME_UNITS, "s", |unit| {
        Some(match unit {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        })
    })
}

/// A duration from "250ms", "20s", "24h".
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    millis(text).map(Duration::from_millis)
}

/// A moment of the past: "-10m", "2026-11-23T04:12:00Z", or milliseconds since 1970.
pub fn moment(text: &str, now: Timestamp) -> Result<Timestamp, UnitError> {
    let unreadable = || UnitError::Moment {
        text: text.to_owned(),
    };
    if let Some(age) = text.strip_prefix('-') {
        return Ok(now.minus_millis(millis(age)?));
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text
            .parse()
            .map(Timestamp::from_millis)
            .map_err(|_| unreadable());
    }
    calendar_moment(text).ok_or_else(unreadable)
}

/// "2026-11-23", "2026-11-23T04:12:00Z", "2026-11-23 04:12:00.5+01:00"; without a zone it is UTC.
fn calendar_moment(text: &str) -> Option<Timestamp> {
    let number = |from: usize, to: usize| -> Option<i64> {
        let part = text.get(from..to)?;
        part.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| part.parse().ok())?
    };
    let mark =
        |at: usize, wanted: &[u8]| text.as_bytes().get(at).is_some_and(|b| wanted.contains(b));
    if !mark(4, b"-") || !mark(7, b"-") {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let midnight = days_from_civil(year, month, day) * 86_400_000;
    if text.len() == 10 {
        return u64::try_from(midnight).ok().map(Timestamp::from_millis);
    }
    if !mark(10, b"T ") || !mark(13, b":") {
        return None;
    }
    let (hour, minute) = (number(11, 13)?, number(14, 16)?);
    let (mut second, mut at, mut thousandths) = (0, 16, 0);
    if mark(at, b":") {
        second = number(17, 19)?;
        at = 19;
        if mark(at, b".") {
            let digits = text[20..].bytes().take_while(u8::is_ascii_digit).count();
            let fraction = text.get(20..20 + digits)?;
            if fraction.is_empty() {
                return None;
            }
            thousandths = format!("{fraction:0<3}")[..3].parse().ok()?;
            at = 20 + digits;
        }
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let zone = &text[at..];
    let shift_minutes = match zone {
        "" | "Z" | "z" => 0,
        _ => {
            let sign = match zone.as_bytes()[0] {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            if hours.len() != 2 || minutes.len() != 2 {
                return None;
            }
            sign * (hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?)
        }
    };
    let seconds = hour * 3600 + minute * 60 + second - shift_minutes * 60;
    u64::try_from(midnight + seconds * 1000 + thousandths)
        .ok()
        .map(Timestamp::from_millis)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar; years run from March, so that the
/// leap day is a year's last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// "2026-11-23T04:12:00.123Z".
pub fn calendar(moment: Timestamp) -> String {
    let (seconds, millis) = (moment.as_millis() / 1000, moment.as_millis() % 1000);
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let shifted = days.cast_signed() + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Milliseconds as a person would write them: "24h", "90s", "250ms".
pub fn show_millis(millis: u64) -> String {
    for (factor, unit) in [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1000, "s"),
    ] {
        // Days only from two on: a retention of one day is "24h" everywhere at AWS.
        if millis >= factor && millis.is_multiple_of(factor) && (unit != "d" || millis > factor) {
            return format!("{}{unit}", millis / factor);
        }
    }
    format!("{millis}ms")
}

/// Bytes as a person would write them, exactly: "8GiB", "1500B".
pub fn show_size(bytes: u64) -> String {
    for (factor, unit) in [
        (1_u64 << 40, "TiB"),
        (1 << 30, "GiB"),
        (1 << 20, "MiB"),
        (1 << 10, "KiB"),
    ] {
        if bytes >= factor && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    format!("{bytes}B")
}

/// Bytes to one place behind the point: "19.3GiB"; for what was measured, not for what was asked.
pub fn show_size_about(bytes: u64) -> String {
    for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB")] {
        if bytes >> shift > 0 {
            let tenths = (u128::from(bytes) * 10) >> shift;
            return format!("{}.{}{unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{}KiB", bytes >> 10)
}

/// A number and what it counts: "1 record", "1,234 records".
pub fn show_counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", show_count(count))
}

/// A number with its thousands apart: "1,234,567".
pub fn show_count(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_carry_units() {
        for (text, bytes) in [
            ("1B", 1),
            ("64KiB", 65_536),
            ("1.5GiB", 1_610_612_736),
            ("8GB", 8_000_000_000),
            ("2 MiB", 2_097_152),
            ("0.5KB", 500),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        assert_eq!(
            size("64").unwrap_err().to_string(),
            "\"64\" has no unit: write for example 64MiB"
        );
        for text in [
            "",
            "MiB",
            "-1B",
            "1.2.3B",
            "1.2345B",
            "5 apples",
            "1k",
            "99999999999TiB",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_carry_units() {
        for (text, expected) in [
            ("5ms", 5),
            ("20s", 20_000),
            ("1.5h", 5_400_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(millis(text), Ok(expected), "{text}");
        }
        assert!(millis("10").unwrap_err().to_string().contains("10s"));
        assert!(millis("ten seconds").is_err());
        assert_eq!(duration("20ms"), Ok(Duration::from_millis(20)));
    }

    #[test]
    fn moments_are_ages_dates_or_milliseconds() {
        let now = Timestamp::from_millis(1_000_000);
        let at = |text| moment(text, now).map(Timestamp::as_millis);
        assert_eq!(at("-10m"), Ok(400_000));
        assert_eq!(at("-10d"), Ok(0));
        assert_eq!(at("1763900000123"), Ok(1_763_900_000_123));
        assert_eq!(at("1970-01-01T00:00:01Z"), Ok(1000));
        assert_eq!(at("2000-02-29"), Ok(951_782_400_000));
        assert_eq!(at("2026-11-23T04:12:00.25Z"), Ok(1_795_407_120_250));
        assert_eq!(at("2026-11-23T05:12:00.25+01:00"), Ok(1_795_407_120_250));
        assert_eq!(at("2026-11-23 04:12"), Ok(1_795_407_120_000));
        for text in [
            "",
            "-10",
            "yesterday",
            "2026-13-01",
            "2026-11-23T25:00:00Z",
            "2026-11-23Tü",
            "2026-11-23T04:12:00+1",
        ] {
            assert!(at(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_calendar_reads_back() {
        for millis in [
            0,
            951_782_400_000,
            951_868_799_999,
            1_795_407_120_250,
            4_102_444_800_000,
        ] {
            let moment_then = Timestamp::from_millis(millis);
            let text = calendar(moment_then);
            assert_eq!(moment(&text, Timestamp::ZERO), Ok(moment_then), "{text}");
        }
        assert_eq!(calendar(Timestamp::ZERO), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn values_are_shown_as_they_are_written() {
        assert_eq!(show_millis(86_400_000), "24h");
        assert_eq!(show_millis(604_800_000), "7d");
        assert_eq!(show_millis(20_000), "20s");
        assert_eq!(show_millis(1_001), "1001ms");
        assert_eq!(show_size(1 << 30), "1GiB");
        assert_eq!(show_size(1500), "1500B");
        assert_eq!(show_count(1_234_567), "1,234,567");
        assert_eq!(show_count(999), "999");
        assert_eq!(show_counted(1, "record"), "1 record");
        assert_eq!(show_counted(2_000, "line"), "2,000 lines");
        assert_eq!(show_size_about(20_723_517_030), "19.3GiB");
        assert_eq!(show_size_about(1 << 20), "1.0MiB");
        assert_eq!(show_size_about(5_000), "4KiB");
    }
}
