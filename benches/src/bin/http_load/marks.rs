//! Marks: what the first record of a put carries, and when subscribers saw it.

use std::time::{Duration, Instant};

use base64_simd::STANDARD;
use hdrhistogram::Histogram;

use crate::arguments::Arguments;

/// Bytes of a mark: a word, then digits. Both are a multiple of three, so that base64 shows each by
/// itself.
pub(crate) const MARK_BYTES: usize = WORD.len() + DIGITS;
const WORD: &[u8; 9] = b"WEIR-MARK";
const DIGITS: usize = 15;
/// The same in base64.
pub(crate) const SHOWN_WORD: &[u8; 12] = b"V0VJUi1NQVJL";
const SHOWN_DIGITS: usize = DIGITS / 3 * 4;
pub(crate) const SHOWN_BYTES: usize = SHOWN_WORD.len() + SHOWN_DIGITS;

/// How long the last events may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// The mark of a put.
pub(crate) fn mark(number: usize) -> Vec<u8> {
    [&WORD[..], format!("{number:015}").as_bytes()].concat()
}

/// What is known of one put.
struct Mark {
    sent: Instant,
    answered: Option<Instant>,
    is_measured: bool,
    /// Subscribers that have seen it.
    seen: u32,
}

/// All marks, and the times that came of them.
pub(crate) struct Measure {
    marks: Vec<Mark>,
    /// From the answer to the event, in microseconds; an event that was there first counts as 0.
    delay: Histogram<u64>,
    /// From the put's sending to the event.
    whole: Histogram<u64>,
    /// From the put's sending to its answer.
    put: Histogram<u64>,
    before_answer: u64,
    bytes: u64,
}

impl Measure {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let histogram = || Histogram::new_with_bounds(1, 60_000_000, 3);
        Ok(Self {
            marks: Vec::new(),
            delay: histogram()?,
            whole: histogram()?,
            put: histogram()?,
            before_answer: 0,
            bytes: 0,
        })
    }

    /// The number of a put that is sent now.
    pub(crate) fn begin(&mut self, sent: Instant, is_measured: bool) -> usize {
        self.marks.push(Mark {
            sent,
            answered: None,
            is_measured,
            seen: 0,
        });
        self.marks.len() - 1
    }

    /// Bytes of event streams came.
    pub(crate) fn received(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// The answer to a put came.
    pub(crate) fn answered(&mut self, number: usize) {
        let now = Instant::now();
        let mark = &mut self.marks[number];
        mark.answered = Some(now);
        if mark.is_measured {
            self.put
                .saturating_record((now - mark.sent).as_micros() as u64);
        }
    }

    /// A mark that a subscriber has received, if it is whole and of this run.
    pub(crate) fn found(&mut self, shown: &[u8]) {
        let Some(digits) = shown.get(SHOWN_WORD.len()..SHOWN_BYTES) else {
            return;
        };
        let digits = STANDARD.decode_to_vec(digits).unwrap_or_default();
        let number = std::str::from_utf8(&digits)
            .ok()
            .and_then(|d| d.parse::<usize>().ok());
        let Some(mark) = number.and_then(|number| self.marks.get_mut(number)) else {
            return;
        };
        mark.seen += 1;
        if !mark.is_measured {
            return;
        }
        let now = Instant::now();
        self.whole
            .saturating_record((now - mark.sent).as_micros() as u64);
        let delay = mark.answered.map(|at| (now - at).as_micros() as u64);
        self.before_answer += u64::from(delay.is_none());
        self.delay.saturating_record(delay.unwrap_or(0));
    }

    /// Whether answers or events of measured puts are still to come, and may be waited for.
    pub(crate) fn owes(&self, arguments: &Arguments, now: Instant) -> bool {
        let is_due = |mark: &Mark| mark.seen < arguments.consumers && now < mark.sent + PATIENCE;
        self.marks.iter().rev().take(10_000).any(is_due)
    }

    pub(crate) fn text(&self, arguments: &Arguments, subscriptions: usize) -> String {
        let seconds = arguments.seconds as f64;
        let millis = |times: &Histogram<u64>, q: f64| times.value_at_quantile(q) as f64 / 1_000.0;
        let shown = |times: &Histogram<u64>| {
            format!(
                "p50 {:.2} ms, p99 {:.2} ms, max {:.1} ms",
                millis(times, 0.5),
                millis(times, 0.99),
                times.max() as f64 / 1_000.0
            )
        };
        let asked = arguments.rate;
        let asked = asked.map_or(String::new(), |rate| format!(" ({rate} asked for)"));
        let puts = self.put.len();
        format!(
            "SubscribeToShard: {subscriptions} subscriptions, {:.0} puts/s{asked} of {} records; event after \
             the put's answer {} ({} of {} came first); event after the put's sending {}; the put \
             itself {}; {} of {} events seen, {:.0} MB/s in",
            puts as f64 / seconds,
            arguments.records,
            shown(&self.delay),
            self.before_answer,
            self.delay.len(),
            shown(&self.whole),
            shown(&self.put),
            self.delay.len(),
            puts * u64::from(arguments.consumers),
            self.bytes as f64 / seconds / 1e6,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_shows_as_base64_of_its_own() {
        let mark = mark(42);
        assert_eq!(mark.len(), MARK_BYTES);
        let data = [&mark[..], b"and more"].concat();
        let shown = STANDARD.encode_to_string(&data);
        assert!(shown.as_bytes().starts_with(SHOWN_WORD));
    }
}
