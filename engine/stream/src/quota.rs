//! What a metered shard takes and gives per second.
//!
//! Owns: token buckets. Never: the clock; callers say what time it is.
//!
//! A bucket holds one second's worth. A request passes while anything is left and may take more
//! than that: the debt is paid back before the next one passes. So no request is too large, and
//! the rate over time is exact.

use std::time::Duration;

use weir_protocol::limits::{
    CONSUMER_READ_BYTES_PER_SECOND, SHARD_READ_BYTES_PER_SECOND, SHARD_READ_CALLS_PER_SECOND,
    SHARD_WRITE_BYTES_PER_SECOND, SHARD_WRITE_RECORDS_PER_SECOND,
};
use weir_reactor::Monotonic;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A token bucket of one second's worth.
#[derive(Debug, Clone)]
struct Bucket {
    per_second: u64,
    /// What is left, in units times nanoseconds: refilling divides nothing, so loses nothing.
    level: i128,
    filled: Monotonic,
}

impl Bucket {
    fn full(per_second: u64, now: Monotonic) -> Self {
        assert!(
            per_second > 0,
            "a quota of nothing is a refusal, not a bucket"
        );
        Self {
            per_second,
            level: i128::from(per_second * NANOS_PER_SECOND),
            filled: now,
        }
    }

    fn has_some(&mut self, now: Monotonic) -> bool {
        let elapsed = i128::from(now.0.saturating_sub(self.filled.0));
        let capacity = i128::from(self.per_second * NANOS_PER_SECOND);
        self.level = (self.level + elapsed * i128::from(self.per_second)).min(capacity);
        self.filled = self.filled.max(now);
        self.level > 0
    }

    /// How long until something is left; zero if something is.
    fn wait(&mut self, now: Monotonic) -> Duration {
        if self.has_some(now) {
            return Duration::ZERO;
        }
        let nanos = -self.level / i128::from(self.per_second) + 1;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn is_full(&mut self, now: Monotonic) -> bool {
        self.has_some(now) && self.level == i128::from(self.per_second * NANOS_PER_SECOND)
    }

    fn take(&mut self, units: u64) {
        self.level -= i128::from(units) * i128::from(NANOS_PER_SECOND);
    }
}

const _: () = assert!(SHARD_READ_BYTES_PER_SECOND < u64::MAX / NANOS_PER_SECOND);
const _: () = assert!(CONSUMER_READ_BYTES_PER_SECOND < u64::MAX / NANOS_PER_SECOND);

/// What producers may send to one shard.
#[derive(Debug, Clone)]
pub(crate) struct WriteQuota {
    bytes: Bucket,
    records: Bucket,
}

impl WriteQuota {
    pub(crate) fn new(now: Monotonic) -> Self {
        Self {
            bytes: Bucket::full(SHARD_WRITE_BYTES_PER_SECOND, now),
            records: Bucket::full(SHARD_WRITE_RECORDS_PER_SECOND, now),
        }
    }

    /// Whether a batch may pass now; the error names the quota that is used up. Takes nothing: an
    /// append that fails later costs nothing.
    pub(crate) fn admit(&mut self, now: Monotonic) -> Result<(), &'static str> {
        if !self.records.has_some(now) {
            return Err("records written");
        }
        if !self.bytes.has_some(now) {
            return Err("bytes written");
        }
        Ok(())
    }

    /// Charges a batch that [`Self::admit`] let pass.
    pub(crate) fn charge(&mut self, records: u64, bytes: u64) {
        self.records.take(records);
        self.bytes.take(bytes);
    }
}

/// What pollers together may get from one shard.
#[derive(Debug, Clone)]
pub(crate) struct ReadQuota {
    bytes: Bucket,
    calls: Bucket,
}

impl ReadQuota {
    pub(crate) fn new(now: Monotonic) -> Self {
        Self {
            bytes: Bucket::full(SHARD_READ_BYTES_PER_SECOND, now),
            calls: Bucket::full(SHARD_READ_CALLS_PER_SECOND, now),
        }
    }

    /// Charges one call, or names the quota that is used up.
    pub(crate) fn call(&mut self, now: Monotonic) -> Result<(), &'static str> {
        if !self.calls.has_some(now) {
            return Err("read calls");
        }
        if !self.bytes.has_some(now) {
            return Err("bytes read");
        }
        self.calls.take(1);
        Ok(())
    }

    /// Charges what a call returned.
    pub(crate) fn charge_bytes(&mut self, bytes: u64) {
        self.bytes.take(bytes);
    }
}

/// What one subscribed consumer gets from one shard.
#[derive(Debug, Clone)]
pub(crate) struct ConsumerQuota {
    bytes: Bucket,
}

impl ConsumerQuota {
    pub(crate) fn new(now: Monotonic) -> Self {
        Self {
            bytes: Bucket::full(CONSUMER_READ_BYTES_PER_SECOND, now),
        }
    }

    /// How long until more may be given out; zero for now.
    pub(crate) fn wait(&mut self, now: Monotonic) -> Duration {
        self.bytes.wait(now)
    }

    /// Charges what was given out.
    pub(crate) fn charge(&mut self, bytes: u64) {
        self.bytes.take(bytes);
    }

    /// Whether nothing is owed: then a new quota would be no better.
    pub(crate) fn is_full(&mut self, now: Monotonic) -> bool {
        self.bytes.is_full(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    /// Offers `records` of `bytes` each every `step` and counts what passes within 30 seconds.
    fn flood(records: u64, bytes: u64, step: u64) -> (u64, u64) {
        let mut quota = WriteQuota::new(Monotonic(5));
        let (mut passed_records, mut passed_bytes) = (0, 0);
        let mut now = 5;
        while now < 5 + 30 * NANOS_PER_SECOND {
            while quota.admit(Monotonic(now)).is_ok() {
                quota.charge(records, bytes);
                passed_records += records;
                passed_bytes += bytes;
            }
            now += step;
        }
        (passed_records, passed_bytes)
    }

    #[test]
    fn a_thousand_records_a_second_pass_over_thirty_seconds() {
        // One second's worth is in the bucket at the start; the last refill comes a step early.
        let (records, _) = flood(1, 100, MILLISECOND);
        assert_eq!(records, 1_000 + 29_999);
        let (records, _) = flood(500, 50_000, MILLISECOND);
        assert!((31_000..31_500).contains(&records), "{records}");
    }

    #[test]
    fn a_mebibyte_a_second_passes_over_thirty_seconds() {
        let mebibyte = SHARD_WRITE_BYTES_PER_SECOND;
        let (_, bytes) = flood(1, 4096, MILLISECOND);
        let exact = mebibyte + 30 * mebibyte - mebibyte / 1000;
        assert!(bytes.abs_diff(exact) <= 4096, "{bytes} {exact}");
        // A record of the largest size puts the bucket into debt and waits for it.
        let (_, bytes) = flood(1, 1_048_576, MILLISECOND);
        assert!(bytes.abs_diff(exact) <= mebibyte, "{bytes} {exact}");
    }

    #[test]
    fn an_idle_shard_saves_one_second_only() {
        let mut quota = WriteQuota::new(Monotonic(0));
        let now = Monotonic(3_600 * NANOS_PER_SECOND);
        let mut passed = 0;
        while quota.admit(now).is_ok() {
            quota.charge(1, 10);
            passed += 1;
        }
        assert_eq!(passed, 1_000);
        assert_eq!(quota.admit(now), Err("records written"));
    }

    #[test]
    fn a_consumer_gets_two_mebibytes_a_second_and_is_told_how_long_to_wait() {
        let mut quota = ConsumerQuota::new(Monotonic(0));
        let (mut now, mut bytes) = (0, 0_u64);
        while now < 30 * NANOS_PER_SECOND {
            let wait = quota.wait(Monotonic(now));
            if wait.is_zero() {
                quota.charge(700_000);
                bytes += 700_000;
            } else {
                assert!(
                    !quota
                        .wait(Monotonic(now + wait.as_nanos() as u64 - 2))
                        .is_zero()
                );
                now += wait.as_nanos() as u64;
            }
        }
        let exact = 31 * CONSUMER_READ_BYTES_PER_SECOND;
        assert!(bytes.abs_diff(exact) <= 700_000, "{bytes} {exact}");
    }

    #[test]
    fn five_calls_a_second_and_ten_mebibytes_block_for_four_seconds() {
        let mut quota = ReadQuota::new(Monotonic(0));
        for _ in 0..5 {
            quota.call(Monotonic(0)).unwrap();
        }
        assert_eq!(quota.call(Monotonic(0)), Err("read calls"));
        let later = NANOS_PER_SECOND;
        quota.call(Monotonic(later)).unwrap();
        quota.charge_bytes(10 * 1024 * 1024);
        assert_eq!(
            quota.call(Monotonic(later + 4 * NANOS_PER_SECOND)),
            Err("bytes read")
        );
        quota
            .call(Monotonic(later + 4 * NANOS_PER_SECOND + 1))
            .unwrap();
    }
}
