//! Quantities as people write them: `250ms`, `1MiB`, `200k`.
//!
//! Owns: the units, and the refusal of a bare number where a unit is needed.

use std::time::Duration;

use thiserror::Error;

/// Text that is no quantity of the asked kind.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum UnitError {
    #[error("\"{text}\" has no unit: write {example}")]
    Bare { text: String, example: &'static str },
    #[error("\"{unit}\" is not a unit of {of}: write {example}")]
    Unknown {
        unit: String,
        of: &'static str,
        example: &'static str,
    },
    #[error("\"{text}\" does not begin with a number")]
    Number { text: String },
    #[error("\"{text}\" is out of bounds")]
    Bounds { text: String },
}

const TIMES: [(&str, f64); 6] = [
    ("us", 1e3),
    ("µs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

const SIZES: [(&str, f64); 10] = [
    ("B", 1.0),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("KiB", 1024.0),
    ("MiB", 1024.0 * 1024.0),
    ("GiB", 1024.0 * 1024.0 * 1024.0),
    ("TiB", 1024.0 * 1024.0 * 1024.0 * 1024.0),
];

const TIME_EXAMPLE: &str = "10s, 250ms or 2m";
const SIZE_EXAMPLE: &str = "8GB, 1MiB or 1000B";

/// A time with its unit, at most a year.
pub(crate) fn duration(text: &str) -> Result<Duration, UnitError> {
    let (number, unit) = split(text)?;
    let scale = scale(text, unit, &TIMES, "time", TIME_EXAMPLE)?;
    let nanos = bounded(text, number * scale, 366.0 * 24.0 * 3600e9)?;
    Ok(Duration::from_nanos(nanos))
}

/// A size with its unit, in bytes; below 2^53 bytes. MB is 10^6, MiB is 2^20.
pub(crate) fn bytes(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text)?;
    let scale = scale(text, unit, &SIZES, "size", SIZE_EXAMPLE)?;
    bounded(text, number * scale, (1_u64 << 53) as f64)
}

/// A size whose flag names bytes: a bare number is bytes, a unit is taken too.
pub(crate) fn bytes_or_bare(text: &str) -> Result<u64, UnitError> {
    match bytes(text) {
        Err(UnitError::Bare { .. }) => bytes(&format!("{text}B")),
        other => other,
    }
}

/// A number of things per second: `200000`, `200k`, `1.5M`.
pub(crate) fn count(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text)?;
    let scale = match unit {
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        _ => {
            return Err(UnitError::Unknown {
                unit: unit.to_owned(),
                of: "count",
                example: "200000, 200k or 1.5M",
            });
        }
    };
    bounded(text, number * scale, 1e12)
}

fn split(text: &str) -> Result<(f64, &str), UnitError> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number = number.parse().map_err(|_| UnitError::Number {
        text: text.to_owned(),
    })?;
    Ok((number, unit.trim()))
}

fn scale(
    text: &str,
    unit: &str,
    known: &[(&str, f64)],
    of: &'static str,
    example: &'static str,
) -> Result<f64, UnitError> {
    if unit.is_empty() {
        return Err(UnitError::Bare {
            text: text.to_owned(),
            example,
        });
    }
    let found = known.iter().find(|(name, _)| *name == unit);
    found
        .map(|(_, scale)| *scale)
        .ok_or_else(|| UnitError::Unknown {
            unit: unit.to_owned(),
            of,
            example,
        })
}

fn bounded(text: &str, value: f64, most: f64) -> Result<u64, UnitError> {
    if value.is_finite() && value <= most {
        Ok(value.round() as u64)
    } else {
        Err(UnitError::Bounds {
            text: text.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_carry_units() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        assert_eq!(bytes("8GB"), Ok(8_000_000_000));
        assert_eq!(bytes("1MiB"), Ok(1 << 20));
        assert_eq!(bytes_or_bare("1000"), Ok(1000));
        assert_eq!(bytes_or_bare("1KiB"), Ok(1024));
        assert_eq!(count("200k"), Ok(200_000));
        assert_eq!(count("7"), Ok(7));
    }

    #[test]
    fn bare_numbers_and_strange_units_are_refused_by_name() {
        let error = duration("10").unwrap_err().to_string();
        assert_eq!(error, "\"10\" has no unit: write 10s, 250ms or 2m");
        let error = bytes("8").unwrap_err().to_string();
        assert_eq!(error, "\"8\" has no unit: write 8GB, 1MiB or 1000B");
        assert!(duration("10MB").is_err());
        assert!(bytes("10s").is_err());
        for text in ["", "-1s", "s", "1e99s", "1.2.3s", "999999999999TB"] {
            assert!(duration(text).is_err() && bytes(text).is_err(), "{text}");
        }
    }
}
