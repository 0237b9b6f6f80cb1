//! The machine's clocks.
//!
//! Owns: the two times everything else is measured by. Never: virtual time (`sim`).

#![expect(unsafe_code, reason = "clock_gettime is a call of the C library")]

use crate::seam::Monotonic;

/// Wall-clock time in milliseconds since 1970; 0 before that. May jump in both directions.
pub fn wall_ms() -> u64 {
    nanoseconds(libc::CLOCK_REALTIME) / 1_000_000
}

/// Time that never goes back and counts while the machine is suspended.
pub fn monotonic() -> Monotonic {
    Monotonic(nanoseconds(libc::CLOCK_BOOTTIME))
}

/// Nanoseconds of processor time the calling thread has used: the busy part of a core's metric.
pub fn thread_cpu_ns() -> u64 {
    nanoseconds(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn nanoseconds(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec of our own; nothing is kept.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert!(result == 0, "every kernel with io_uring has clock {clock}");
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_go_on() {
        let (before, busy) = (monotonic(), thread_cpu_ns());
        let mut sum = 0_u64;
        for number in 0..1_000_000_u64 {
            sum = sum
                .wrapping_mul(31)
                .wrapping_add(std::hint::black_box(number));
        }
        std::hint::black_box(sum);
        assert!(monotonic() > before && thread_cpu_ns() > busy);
        assert!(wall_ms() > 1_700_000_000_000);
    }
}
