//! What a run found, for people and for programs.

use std::fmt::Write;

use serde_json::json;

use crate::disk::{DiskLimits, Rate};
use crate::machine::{Cpus, Machine};
use crate::samples::Percentiles;
use crate::small::{ANSWER_BYTES, CALLERS, REQUEST_BYTES};

/// Other work above this share of the machine shows in the numbers.
const OTHERS_PERCENT_MAX: f64 = 5.0;

#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) cpus: Cpus,
    /// Bytes written for W.
    pub(crate) bytes: u64,
    pub(crate) disk: DiskLimits,
    /// N, in bytes per second.
    pub(crate) stream: f64,
    pub(crate) round_trip: Percentiles,
}

impl Report {
    /// The lower of W and N: what a durable append over one connection cannot pass.
    fn ceiling(&self) -> f64 {
        self.disk.durable.bytes_per_second.min(self.stream)
    }

    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let gigabytes = |bytes: f64| format!("{:.2} GB/s", bytes / 1e9);
        let mut line = |name: &str, what: &str, value: &str, each: Option<Percentiles>| {
            let each = each.map_or(String::new(), |p| {
                let (p50, p99, max) = (micros(p.p50), micros(p.p99), micros(p.max));
                format!("p50 {p50} us   p99 {p99} us   max {max} us")
            });
            let text = format!("{name:<3}{what:<46}{value:>10}   {each}");
            let _ = writeln!(out, "{}", text.trim_end());
        };
        let disk = &self.disk;
        let rate = |r: &Rate| gigabytes(r.bytes_per_second);
        let w = &disk.durable;
        line(
            "W",
            "durable write, 512 KiB, 4 in flight",
            &rate(w),
            Some(w.each),
        );
        line(
            "N",
            "one TCP stream over loopback",
            &gigabytes(self.stream),
            None,
        );
        line(
            "R",
            "round trip of 1 KiB over loopback",
            "",
            Some(self.round_trip),
        );
        line(
            "C",
            "durable write, 4 KiB, 1 in flight",
            "",
            Some(disk.commit),
        );
        let small = format!("{:.0} /s", disk.small.calls_per_second);
        line(
            "S",
            "calls of 1,750 B, 32 callers, written together",
            &small,
            Some(disk.small.each),
        );
        let (one, two) = (&disk.read_one, &disk.read_two);
        line(
            "",
            "sequential read, 1 MiB, 1 in flight",
            &rate(one),
            Some(one.each),
        );
        line(
            "",
            "sequential read, 1 MiB, 2 in flight",
            &rate(two),
            Some(two.each),
        );
        line("", "min(W, N)", &gigabytes(self.ceiling()), None);
        let sum = format!("{} us", micros(disk.commit.p50 + self.round_trip.p50));
        line("", "C + R, p50", &sum, None);
        let _ = writeln!(
            out,
            "\nGB is 10^9 bytes. W wrote {:.1} GiB into recycled, written files with O_DIRECT and \
             O_DSYNC.\nkernel {}, CPUs {} and {}, load {} at the start; of the CPU time {:.1} % stolen, {:.1} % \
             used by other processes.",
            self.bytes as f64 / f64::from(1 << 30),
            self.machine.kernel,
            self.cpus.server,
            self.cpus.generator,
            self.machine.load,
            self.machine.steal_percent,
            self.machine.others_percent,
        );
        if self.machine.others_percent + self.machine.steal_percent > OTHERS_PERCENT_MAX {
            out.push_str(
                "The machine had other work: the rates are too low, the times too long.\n",
            );
        }
        if !self.cpus.are_two() {
            out.push_str("Both ends of the connection shared one CPU: N and R are too low.\n");
        }
        out
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        let each = |p: Percentiles| {
            json!({ "p50_us": p.p50 as f64 / 1e3, "p99_us": p.p99 as f64 / 1e3,
                    "max_us": p.max as f64 / 1e3 })
        };
        let rate =
            |r: Rate| json!({ "bytes_per_second": r.bytes_per_second, "each": each(r.each) });
        json!({
            "schema": "weir-limits/1",
            "w": rate(self.disk.durable),
            "w_bytes": self.bytes,
            "n": { "bytes_per_second": self.stream },
            "r": each(self.round_trip),
            "c": each(self.disk.commit),
            "s": { "calls_per_second": self.disk.small.calls_per_second,
                   "callers": CALLERS, "request_bytes": REQUEST_BYTES,
                   "answer_bytes": ANSWER_BYTES, "each": each(self.disk.small.each) },
            "read_one_in_flight": rate(self.disk.read_one),
            "read_two_in_flight": rate(self.disk.read_two),
            "machine": {
                "kernel": self.machine.kernel,
                "load": self.machine.load.parse::<f64>().ok(),
                "steal_percent": self.machine.steal_percent,
                "others_percent": self.machine.others_percent,
                "cpus": [self.cpus.server, self.cpus.generator],
            },
        })
    }
}

fn micros(nanoseconds: u64) -> String {
    format!("{:.0}", nanoseconds as f64 / 1e3)
}
