//! What a run showed, and the verdict on it. The JSON object is the report itself; [`text`] words it
//! for people.

mod text;

use std::time::Duration;

use serde::Serialize;
use weir_protocol::wire::error::ErrorCode;
use weir_protocol::wire::response::StreamDescription;

pub(crate) use self::text::{milliseconds, thousands};
use crate::args::{Arrivals, Extent, Verify, Workload};
use crate::clock::nanoseconds;
use crate::histogram::Summary;
use crate::run::Loaded;
use crate::verify::{Verified, Wrong};

/// Why a run that ran is not a pass. The later ones outweigh the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Failure {
    /// Something was refused, or the asked rate was not held.
    Assertion,
    /// The generator missed its own schedule.
    Invalid,
    /// Lost, doubled, reordered or damaged.
    DataWrong,
}

impl Failure {
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Assertion => 3,
            Self::Invalid => 4,
            Self::DataWrong => 5,
        }
    }
}

/// What reading back gave.
pub(crate) struct Checked {
    /// What was found, and in how many shards.
    pub(crate) outcome: Result<(Verified, usize), Wrong>,
    pub(crate) elapsed: Duration,
}

#[derive(Debug, Serialize)]
struct Settings {
    server: String,
    stream: String,
    shards: usize,
    mode: &'static str,
    record_bytes: usize,
    batch_records: u32,
    connections: u32,
    in_flight: usize,
    threads: u32,
    pin: Option<usize>,
    rate: Option<u64>,
    arrivals: Option<Arrivals>,
    warmup_ns: u64,
    duration_ns: Option<u64>,
    total_batches: Option<u64>,
    retain_bytes: Option<u64>,
    max_lag_ns: Option<u64>,
    seed: u64,
    verify: Verify,
}

/// Acknowledged in the measured time, over its length.
#[derive(Debug, Serialize)]
struct Rate {
    records_per_second: f64,
    /// Bytes of record data, without keys and headers.
    bytes_per_second: f64,
    batches: u64,
    measured_ns: u64,
}

#[derive(Debug, Serialize)]
struct Refusal {
    code: String,
    records: u64,
}

#[derive(Debug, Default, Serialize)]
struct Verification {
    shards: usize,
    records_found: u64,
    records_trimmed: u64,
    records_unanswered: u64,
    records_foreign: u64,
    records_beyond_ledger: u64,
    elapsed_ns: u64,
    first_wrong: Option<String>,
}

/// A finished run. Counts are of records, warm-up included, where they do not say otherwise.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    schema: u32,
    verdict: Option<Failure>,
    exit_code: u8,
    reasons: Vec<String>,
    run: String,
    build: &'static str,
    settings: Settings,
    /// Open loop: latency runs from the intended send. Closed: from the real one.
    open_loop: bool,
    rate: Rate,
    records_acknowledged: u64,
    records_throttled: u64,
    /// Splits, merges, and rounds of a change of count while the load ran.
    reshards: u32,
    /// Refused by shards that were closed, and sent again to their children.
    records_rerouted: u64,
    refused: Vec<Refusal>,
    records_unsent: u64,
    latency_ns: Summary,
    service_ns: Summary,
    schedule_lag_ns: Option<Summary>,
    backlog_age_ns: u64,
    /// The busiest thread's part of the time on a CPU, from 0 to 1.
    generator_busy: Option<f64>,
    verification: Option<Verification>,
}

impl Report {
    pub(crate) fn new(
        work: &Workload,
        stream: &StreamDescription,
        shards: usize,
        loaded: Loaded,
        checked: Option<Checked>,
    ) -> Self {
        let batch = u64::from(work.shape.batch_records);
        let sums = &loaded.sums;
        let mut all = sums.warmup.clone();
        all.merge(&sums.measured);
        all.merge(&sums.drain);
        let mut timed = sums.measured.clone();
        timed.merge(&sums.drain);
        let finished = &loaded.finished;
        let last_answer = finished.iter().map(|f| f.last_answer).max().unwrap_or(0);
        let (batches, measured_ns) = match work.extent {
            Extent::Time(_) => (sums.measured.stored, sums.measured_ns),
            // All of the total counts, up to its last answer.
            Extent::Batches(_) => (
                timed.stored,
                last_answer.saturating_sub(nanoseconds(work.warmup)),
            ),
        };
        let per_second = batches as f64 * 1e9 / measured_ns.max(1) as f64;
        let refused = ErrorCode::ALL
            .iter()
            .map(|code| (code, all.refused_with(*code)))
            .filter(|(_, count)| *count > 0)
            .map(|(code, count)| Refusal {
                code: format!("{code:?}"),
                records: count * batch,
            });
        let mut report = Self {
            schema: 1,
            verdict: None,
            exit_code: 0,
            reasons: Vec::new(),
            run: format!("{:016x}", loaded.run),
            build: env!("CARGO_PKG_VERSION"),
            settings: Settings::of(work, stream, shards, loaded.connections),
            open_loop: work.rate.is_some(),
            rate: Rate {
                records_per_second: per_second * batch as f64,
                bytes_per_second: per_second * work.shape.data_bytes() as f64,
                batches,
                measured_ns,
            },
            records_acknowledged: all.stored * batch,
            records_throttled: all.throttled() * batch,
            reshards: loaded.reshards,
            records_rerouted: all.rerouted * batch,
            refused: refused.collect(),
            records_unsent: finished.iter().map(|f| f.unsent).sum::<u64>() * batch,
            latency_ns: timed.latency.summary(),
            service_ns: timed.service.summary(),
            schedule_lag_ns: work.rate.map(|_| timed.lag.summary()),
            backlog_age_ns: finished.iter().map(|f| f.backlog_age).max().unwrap_or(0),
            generator_busy: finished.iter().filter_map(|f| f.busy).reduce(f64::max),
            verification: checked.map(Verification::of),
        };
        report.judge(work, all.failed() * batch);
        report
    }

    fn fail(&mut self, failure: Failure, reason: String) {
        self.verdict = self.verdict.max(Some(failure));
        self.exit_code = self.verdict.map_or(0, Failure::exit_code);
        self.reasons.push(reason);
    }

    fn judge(&mut self, work: &Workload, failed: u64) {
        let wrong = self.verification.as_ref();
        if let Some(wrong) = wrong.and_then(|v| v.first_wrong.clone()) {
            self.fail(Failure::DataWrong, format!("data wrong: {wrong}"));
        }
        let limit = nanoseconds(work.max_lag);
        if let Some(lag) = self.schedule_lag_ns.filter(|lag| lag.max > limit) {
            let reason = format!(
                "the generator was {} late, --max-lag is {}",
                milliseconds(lag.max),
                milliseconds(limit)
            );
            self.fail(Failure::Invalid, reason);
        }
        if failed > 0 {
            let codes: Vec<_> = self.refused.iter().map(|r| r.code.as_str()).collect();
            let reason = format!(
                "{} records refused ({})",
                thousands(failed),
                codes.join(", ")
            );
            self.fail(Failure::Assertion, reason);
        }
        if self.open_loop && (self.records_unsent > 0 || self.backlog_age_ns > limit) {
            let reason = format!(
                "the server did not take the asked rate: the oldest due send had waited {} at the \
                 end, {} records were never sent",
                milliseconds(self.backlog_age_ns),
                thousands(self.records_unsent)
            );
            self.fail(Failure::Assertion, reason);
        }
        if self.rate.batches == 0 {
            let reason = "nothing was acknowledged in the measured time".to_owned();
            self.fail(Failure::Assertion, reason);
        }
    }

    /// Why the run is no pass; `None` if it is one.
    pub(crate) fn verdict(&self) -> Option<Failure> {
        self.verdict
    }

    /// One JSON object.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report has string keys only")
    }
}

impl Settings {
    fn of(work: &Workload, stream: &StreamDescription, shards: usize, connections: u32) -> Self {
        let open = work.rate.is_some();
        let (duration_ns, total_batches) = match work.extent {
            Extent::Time(time) => (Some(nanoseconds(time)), None),
            Extent::Batches(batches) => (None, Some(batches)),
        };
        Self {
            server: work.server.to_string(),
            stream: stream.name.to_string(),
            shards,
            mode: stream.mode.aws_name(),
            record_bytes: work.shape.record_bytes,
            batch_records: work.shape.batch_records,
            connections,
            in_flight: work.in_flight,
            threads: work.threads,
            pin: work.pin,
            rate: work.rate,
            arrivals: open.then_some(work.arrivals),
            warmup_ns: nanoseconds(work.warmup),
            duration_ns,
            total_batches,
            retain_bytes: (stream.retain_bytes > 0).then_some(stream.retain_bytes),
            max_lag_ns: open.then(|| nanoseconds(work.max_lag)),
            seed: work.seed,
            verify: work.verify,
        }
    }
}

impl Verification {
    fn of(checked: Checked) -> Self {
        let ((verified, shards), first_wrong) = match checked.outcome {
            Ok(found) => (found, None),
            Err(wrong) => ((Verified::default(), 0), Some(wrong.to_string())),
        };
        Self {
            shards,
            records_found: verified.found,
            records_trimmed: verified.trimmed,
            records_unanswered: verified.unanswered,
            records_foreign: verified.foreign,
            records_beyond_ledger: verified.beyond,
            elapsed_ns: nanoseconds(checked.elapsed),
            first_wrong,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worse_failures_outweigh() {
        assert!(Failure::DataWrong > Failure::Invalid && Failure::Invalid > Failure::Assertion);
        assert!(Some(Failure::Assertion) > None);
    }
}
