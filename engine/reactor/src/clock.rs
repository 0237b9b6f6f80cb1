//! The machine's clocks.
//!
//! Owns: the two times everything else is measured by. Never: virtual time (`sim`).

#![expect(unsafe_code, reason = "clock_gettime is a call of the C library")]

use crate::seam::{BootId, Monotonic};

/// Wall-clock time in milliseconds since 1970; 0 before that. May jump in both directions.
pub fn wall_ms() -> u64 {
    nanoseconds(libc::CLOCK_REALTIME) / 1_000_000
}

/// Time that never goes back and counts while the machine is suspended.
pub fn monotonic() -> Monotonic {
    Monotonic(nanoseconds(libc::CLOCK_BOOTTIME))
}

/// Which start of the machine [`monotonic`] counts from: the kernel's name for it, and how far a time
/// namespace puts its clock off. Not known where the kernel does not show it.
pub fn boot() -> BootId {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    // A kernel without time namespaces has no such file.
    let offsets = std::fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
    id.map_or(BootId::from_bits(0), |id| named(&id, &offsets))
}

fn named(id: &str, offsets: &str) -> BootId {
    let offset = offsets.lines().find(|line| line.starts_with("boottime"));
    let offset = offset.unwrap_or_default().split_whitespace().skip(1);
    let offset = offset.filter(|number| *number != "0");
    // Fowler, Noll and Vo's hash: of random digits it needs no better.
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let words = std::iter::once(id.trim()).chain(offset);
    BootId::from_bits(
        words
            .flat_map(|word| word.bytes().chain([0]))
            .fold(0xcbf2_9ce4_8422_2325, step),
    )
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
    fn a_boot_is_known_by_its_name_and_its_namespace() {
        let (id, none) = ("52a27c3a-a661\n", "monotonic 0 0\nboottime 0 0\n");
        let offset = "monotonic 7 0\nboottime 7 0\n";
        assert!(named(id, none).is_same(named(id, "")));
        assert!(!named(id, none).is_same(named(id, offset)));
        assert!(!named(id, none).is_same(named("62a27c3a-a661\n", none)));
        assert!(boot().is_same(boot()));
        let unknown = BootId::from_bits(0);
        assert!(!unknown.is_same(unknown));
    }

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
