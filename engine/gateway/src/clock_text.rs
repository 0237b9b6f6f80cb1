//! Times as text: the `Date` header and the form that AWS's errors have.

use std::time::{Duration, UNIX_EPOCH};

use weir_protocol::model::Timestamp;

/// The `Date` header: `Thu, 22 Jan 2015 01:22:02 GMT`. Times past the year 9999 are shown as its
/// end.
pub(crate) fn http(time: Timestamp) -> String {
    const LAST: u64 = 253_402_300_799;
    let since = Duration::from_secs(time.as_secs().min(LAST));
    httpdate::fmt_http_date(UNIX_EPOCH + since)
}

/// As Java prints it: `Thu Jan 22 01:22:02 UTC 2015`.
pub(crate) fn java(time: Timestamp) -> String {
    let text = http(time);
    let parts: Vec<&str> = text.split([' ', ',']).filter(|p| !p.is_empty()).collect();
    let [weekday, day, month, year, clock, _gmt] = parts[..] else {
        unreachable!("an HTTP date has six parts: {text}")
    };
    format!("{weekday} {month} {day} {clock} UTC {year}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms() {
        let time = Timestamp::from_millis(1_421_889_722_999);
        assert_eq!(http(time), "Thu, 22 Jan 2015 01:22:02 GMT");
        assert_eq!(java(time), "Thu Jan 22 01:22:02 UTC 2015");
        assert!(http(Timestamp::from_millis(u64::MAX)).contains("9999"));
    }
}
