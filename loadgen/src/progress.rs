//! Adds up what the threads hand over, and says so once a second.
//!
//! Owns: the lines on standard error and the sums of a run.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::mpsc::Receiver;

use crate::args::Shape;
use crate::report::{milliseconds, thousands};
use crate::tally::{Part, Piece, Tally};

/// The sums of a run.
#[derive(Debug)]
pub(crate) struct Sums {
    pub(crate) warmup: Tally,
    pub(crate) measured: Tally,
    pub(crate) drain: Tally,
    /// Length of the measured part in nanoseconds, the mean of the threads'.
    pub(crate) measured_ns: u64,
}

struct Line {
    threads: u32,
    length: u64,
    tally: Tally,
}

/// Takes pieces until every thread has dropped its sender.
pub(crate) fn collect(pieces: &Receiver<Piece>, threads: u32, shape: Shape) -> Sums {
    let mut sums = Sums {
        warmup: Tally::new(),
        measured: Tally::new(),
        drain: Tally::new(),
        measured_ns: 0,
    };
    let mut lines: BTreeMap<(Part, u64), Line> = BTreeMap::new();
    let mut shown_ns = 0;
    for piece in pieces {
        let sum = match piece.part {
            Part::Warmup => &mut sums.warmup,
            Part::Measured => &mut sums.measured,
            Part::Drain => &mut sums.drain,
        };
        sum.merge(&piece.tally);
        if piece.part == Part::Measured {
            sums.measured_ns += piece.length;
        }
        let line = lines
            .entry((piece.part, piece.index))
            .or_insert_with(|| Line {
                threads: 0,
                length: 0,
                tally: Tally::new(),
            });
        line.threads += 1;
        line.length = line.length.max(piece.length);
        line.tally.merge(&piece.tally);
        if line.threads == threads {
            shown_ns += line.length;
            // The rest after the last whole second has nothing to say.
            if piece.part != Part::Drain && line.length > 500_000_000 {
                eprintln!("{}", show(piece.part, shown_ns, line, shape));
            }
            lines.remove(&(piece.part, piece.index));
        }
    }
    sums.measured_ns /= u64::from(threads);
    sums
}

fn show(part: Part, until_ns: u64, line: &Line, shape: Shape) -> String {
    let seconds = line.length as f64 / 1e9;
    let records = line.tally.stored as f64 * f64::from(shape.batch_records) / seconds;
    let megabytes = line.tally.stored as f64 * shape.data_bytes() as f64 / seconds / 1e6;
    let times = line.tally.latency.summary();
    let mut text = format!(
        "{:>5.0}s  {:>12} rec/s  {megabytes:>8.1} MB/s  p50 {}  p99 {}  p99.9 {}  max {}  \
         throttled {}",
        until_ns as f64 / 1e9,
        thousands(records as u64),
        milliseconds(times.p50),
        milliseconds(times.p99),
        milliseconds(times.p99_9),
        milliseconds(times.max),
        thousands(line.tally.throttled() * u64::from(shape.batch_records)),
    );
    if line.tally.failed() > 0 {
        let _ = write!(text, "  refused {}", line.tally.failed());
    }
    if part == Part::Warmup {
        text += "  (warm-up)";
    }
    text
}
