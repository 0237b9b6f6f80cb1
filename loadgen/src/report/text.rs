//! The report as a table and a sentence. MB is 10^6 bytes of record data, said where it stands.

use std::fmt::Write;

use super::{Failure, Report, Verification};
use crate::histogram::Summary;

impl Report {
    /// A table and a sentence.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let loop_kind = if self.open_loop {
            "from the intended send (open loop)"
        } else {
            "from the send (closed loop: a throughput run)"
        };
        let _ = writeln!(
            out,
            "{:<22}{:>12}{:>12}{:>12}{:>12}{:>12}",
            "per append call", "p50", "p90", "p99", "p99.9", "max"
        );
        row(&mut out, "latency", &self.latency_ns);
        row(&mut out, "service time", &self.service_ns);
        if let Some(lag) = &self.schedule_lag_ns {
            row(&mut out, "schedule lag", lag);
        }
        let _ = writeln!(
            out,
            "latency runs {loop_kind}, {} calls of {} records; MB is 10^6 bytes of record data",
            thousands(self.latency_ns.count),
            self.settings.batch_records
        );
        if self.reshards > 0 {
            let _ = writeln!(
                out,
                "the stream was resharded {} during the run: {} records were refused by closed shards \
                 and sent again to their children",
                times(self.reshards),
                thousands(self.records_rerouted)
            );
        }
        for refusal in &self.refused {
            let records = thousands(refusal.records);
            let _ = writeln!(out, "refused {}: {records} records", refusal.code);
        }
        if let Some(v) = &self.verification {
            let _ = writeln!(out, "{}", v.detail(self));
        }
        if let Some(busy) = self.generator_busy.filter(|busy| *busy > 0.95)
            && !self.open_loop
        {
            let _ = writeln!(
                out,
                "the generator's thread was {:.0} % busy: it may be the limit, not the server",
                busy * 100.0
            );
        }
        for reason in &self.reasons {
            let _ = writeln!(out, "{reason}");
        }
        let _ = write!(out, "{}", self.sentence());
        out
    }

    fn sentence(&self) -> String {
        let word = match self.verdict {
            None => "PASS",
            Some(Failure::Assertion) => "FAIL",
            Some(Failure::Invalid) => "INVALID",
            Some(Failure::DataWrong) => "DATA WRONG",
        };
        let verified = match &self.verification {
            Some(v) => format!(
                "verified {} of {} records",
                thousands(v.records_found),
                thousands(self.records_acknowledged)
            ),
            None => "nothing verified".to_owned(),
        };
        format!(
            "{word}  {} shards · {} records/s · {:.1} MB/s · p50 {} p99 {} p99.9 {} max {} · \
             durable · {} throttled · {verified}",
            thousands(self.settings.shards as u64),
            thousands(self.rate.records_per_second as u64),
            self.rate.bytes_per_second / 1e6,
            milliseconds(self.latency_ns.p50),
            milliseconds(self.latency_ns.p99),
            milliseconds(self.latency_ns.p99_9),
            milliseconds(self.latency_ns.max),
            thousands(self.records_throttled),
        )
    }
}

impl Verification {
    fn detail(&self, report: &Report) -> String {
        if self.first_wrong.is_some() {
            return "reading back stopped at the first wrong record".to_owned();
        }
        let seconds = self.elapsed_ns as f64 / 1e9;
        let bytes = self.records_found as f64 * report.settings.record_bytes as f64;
        let shards = if report.reshards == 0 {
            format!("{} of {} shards", self.shards, report.settings.shards)
        } else {
            format!("{} shards, parents before children,", self.shards)
        };
        let mut text = format!(
            "read back {} in {seconds:.1} s ({:.1} MB/s): no loss, no double, no reorder, no damage",
            shards,
            bytes / seconds.max(1e-9) / 1e6
        );
        for (count, what) in [
            (
                self.records_trimmed,
                "trimmed by retention before they were read",
            ),
            (self.records_unanswered, "stored without a clear answer"),
            (self.records_foreign, "of other writers, not judged"),
            (
                self.records_beyond_ledger,
                "beyond what the ledger notes, checksum and order only",
            ),
        ] {
            if count > 0 {
                let _ = write!(text, "; {} {what}", thousands(count));
            }
        }
        text
    }
}

fn row(out: &mut String, name: &str, times: &Summary) {
    let _ = write!(out, "{name:<22}");
    for value in [times.p50, times.p90, times.p99, times.p99_9, times.max] {
        let _ = write!(out, "{:>12}", milliseconds(value));
    }
    out.push('\n');
}

fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        count => format!("{} times", thousands(u64::from(count))),
    }
}

/// A number with its thousands apart.
pub(crate) fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Nanoseconds as milliseconds, finer below ten.
pub(crate) fn milliseconds(nanoseconds: u64) -> String {
    let value = nanoseconds as f64 / 1e6;
    if value < 10.0 {
        format!("{value:.3} ms")
    } else {
        format!("{value:.1} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(milliseconds(231_000), "0.231 ms");
        assert_eq!(milliseconds(1_170_000_000), "1170.0 ms");
    }
}
