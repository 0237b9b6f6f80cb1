//! What the disk does wrong on purpose, and how often it did.

use std::time::Duration;

/// Where a commit frame names its log (docs/format.md); behind it stands how many batches it holds, which is
/// as small a number.
const LOG: std::ops::Range<usize> = 16..20;

/// What fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Reads,
    Writes,
    Flushes,
    /// Writes that begin with a commit frame of this log.
    Frames(u32),
}

/// What becomes of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Write {
    Done,
    Fails,
    /// It is answered as done, and is not: as with a server that does not look at the answer.
    Lost,
}

/// How the disk misbehaves; not at all at first.
#[derive(Debug, Default)]
pub(super) struct Faults {
    fails: Option<(What, u64)>,
    /// Nobody is told of writes that fail.
    silent: bool,
    /// Bytes per second; none is no limit.
    rate: Option<u64>,
    /// Every flush takes that long.
    flush: Duration,
    /// The next flush takes that long.
    stall: Duration,
    hits: u64,
}

impl Faults {
    fn fails(&mut self, hit: impl Fn(What) -> bool) -> bool {
        match &mut self.fails {
            Some((what, left)) if *left > 0 && hit(*what) => {
                *left -= 1;
                self.hits += 1;
                true
            }
            _ => false,
        }
    }

    pub(super) fn read(&mut self) -> bool {
        self.fails(|what| what == What::Reads)
    }

    /// What becomes of this write, and how long it takes.
    pub(super) fn write(&mut self, data: &[u8]) -> (Write, Duration) {
        let log = data.get(LOG).filter(|_| data.starts_with(b"WRF1"));
        let fails = self.fails(|what| match what {
            What::Writes => true,
            What::Reads | What::Flushes => false,
            What::Frames(of) => log == Some(&of.to_le_bytes()[..]),
        });
        let takes = self.rate.map_or(Duration::ZERO, |rate| {
            Duration::from_secs_f64(data.len() as f64 / rate as f64)
        });
        let write = match (fails, self.silent) {
            (false, _) => Write::Done,
            (true, false) => Write::Fails,
            (true, true) => Write::Lost,
        };
        (write, takes)
    }

    /// Whether this flush fails, and how long it takes.
    pub(super) fn flush(&mut self) -> (bool, Duration) {
        let fails = self.fails(|what| what == What::Flushes);
        let stall = std::mem::take(&mut self.stall);
        self.hits += u64::from(!stall.is_zero());
        (fails, stall.max(self.flush))
    }

    /// "fail reads 1", "fail writes 1", "fail flushes 3", "fail frames 0 9", "lose frames 0 9", "rate 2000000" (bytes per second),
    /// "flush 500" (us, each), "stall 5000" (ms, the next), "heal", "hits": answered with how many faults there were so far.
    pub(super) fn obey(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |word: &str| word.parse::<u64>().ok();
        let understood = match words[..] {
            ["fail", "writes", times] => number(times).map(|times| {
                self.fails = Some((What::Writes, times));
            }),
            ["fail", "reads", times] => number(times).map(|times| {
                self.fails = Some((What::Reads, times));
            }),
            ["fail", "flushes", times] => number(times).map(|times| {
                self.fails = Some((What::Flushes, times));
            }),
            [how @ ("fail" | "lose"), "frames", log, times] => {
                number(log).zip(number(times)).map(|(log, times)| {
                    self.fails = Some((What::Frames(log as u32), times));
                    self.silent = how == "lose";
                })
            }
            ["rate", rate] => number(rate).map(|rate| self.rate = Some(rate.max(1))),
            ["flush", us] => number(us).map(|us| self.flush = Duration::from_micros(us)),
            ["stall", ms] => number(ms).map(|ms| self.stall = Duration::from_millis(ms)),
            ["hits"] => Some(()),
            ["heal"] => {
                *self = Self {
                    hits: self.hits,
                    ..Self::default()
                };
                Some(())
            }
            _ => None,
        };
        match understood {
            Some(()) => format!("ok {}", self.hits),
            None => format!("not understood: {line}"),
        }
    }
}

#[cfg(test)]
mod proofs {
    use super::{Faults, LOG, Write};

    #[test]
    fn it_fails_what_it_is_told_and_as_often() {
        let mut faults = Faults::default();
        let mut frame = [0; 512];
        frame[..4].copy_from_slice(b"WRF1");
        frame[LOG.start] = 3;
        frame[LOG.end] = 2;
        assert_eq!(faults.obey("fail frames 3 2"), "ok 0");
        assert_eq!(faults.write(&[0; 512]).0, Write::Done);
        assert_eq!(faults.write(&frame).0, Write::Fails);
        frame[LOG.start] = 2;
        assert_eq!(faults.write(&frame).0, Write::Done);
        frame[LOG.start] = 3;
        assert_eq!(faults.write(&frame).0, Write::Fails);
        assert_eq!(faults.write(&frame).0, Write::Done);
        assert!(!faults.flush().0);
        assert_eq!(faults.obey("fail flushes 1"), "ok 2");
        assert!(!faults.read());
        assert!(faults.flush().0);
        assert_eq!(faults.obey("stall 40"), "ok 3");
        assert_eq!(faults.flush().1.as_millis(), 40);
        assert_eq!(faults.flush().1.as_millis(), 0);
        assert_eq!(faults.obey("rate 1024"), "ok 4");
        assert_eq!(faults.write(&frame).1.as_millis(), 500);
        assert_eq!(faults.obey("heal"), "ok 4");
        assert_eq!(faults.write(&frame).1.as_millis(), 0);
        assert_eq!(faults.obey("lose frames 3 1"), "ok 4");
        assert_eq!(faults.write(&frame).0, Write::Lost);
        assert_eq!(faults.obey("heal"), "ok 5");
        assert_eq!(faults.obey("fail"), "not understood: fail");
    }
}
