//! When a request was signed: moments as signatures write them.

use std::time::UNIX_EPOCH;

use weir_protocol::model::Timestamp;

use crate::clock_text;

/// `20150830T123600Z`.
pub(super) fn basic(time: Timestamp) -> String {
    let text = clock_text::http(time);
    let parts: Vec<&str> = text.split([' ', ',']).filter(|p| !p.is_empty()).collect();
    let [_weekday, day, month, year, clock, _gmt] = parts[..] else {
        unreachable!("an HTTP date has six parts: {text}")
    };
    let number = MONTHS.iter().position(|name| *name == month);
    let number = number.expect("an HTTP date has one of twelve months") + 1;
    format!("{year}{number:02}{day}T{}Z", clock.replace(':', ""))
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Reads either form that may be signed: `20150830T123600Z`, or an HTTP date. `None` if it is
/// neither, or before 1970.
pub(super) fn read(text: &str) -> Option<Timestamp> {
    if let Some(time) = read_basic(text.as_bytes()) {
        return Some(time);
    }
    let time = httpdate::parse_http_date(text).ok()?;
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::from_millis(since.as_millis() as u64))
}

fn read_basic(text: &[u8]) -> Option<Timestamp> {
    let (&[b'T'], &[b'Z']) = (text.get(8..9)?, text.get(15..)?) else {
        return None;
    };
    let number = |from: usize, to: usize| {
        text[from..to].iter().try_fold(0u64, |number, digit| {
            let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
            Some(number * 10 + u64::from(digit))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
    // A leap second is taken for the first one of the next minute.
    if year < 1970 || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_since_1970(year, month, day)?;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Some(Timestamp::from_millis(seconds * 1000))
}

fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let length = |month: u64| match month {
        2 if leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1..=12).contains(&month) || !(1..=length(month)).contains(&day) {
        return None;
    }
    // Leap years from year 0 up to and without this one, of which 477 were before 1970.
    let past = year - 1;
    let leaps = past / 4 - past / 100 + past / 400 - 477;
    let before: u64 = (1..month).map(length).sum();
    Some((year - 1970) * 365 + leaps + before + day - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_forms_are_read() {
        let time = Timestamp::from_millis(1_440_938_160_000);
        assert_eq!(read("20150830T123600Z"), Some(time));
        assert_eq!(read("Sun, 30 Aug 2015 12:36:00 GMT"), Some(time));
        assert_eq!(basic(time), "20150830T123600Z");
        for text in [
            "",
            "20150830",
            "20150830T123600",
            "20150830T123600ZZ",
            "20150230T123600Z",
            "20151330T123600Z",
            "20150830T243600Z",
            "2015083aT123600Z",
            "19690830T123600Z",
            "\u{e4}\u{e4}\u{e4}\u{e4}T123600Z",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seconds in 0u64..253_402_300_800) {
            let time = Timestamp::from_millis(seconds * 1000);
            prop_assert_eq!(read(&basic(time)), Some(time));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,20}") {
            let _either = read(&text);
        }
    }
}
