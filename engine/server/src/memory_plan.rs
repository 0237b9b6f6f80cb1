//! Who gets how much of `--memory`.
//!
//! Owns: the shares; together with what nobody can count they are the whole. Never: how a share is
//! kept to. What is never given out is for the process itself and for what the allocator keeps of
//! freed memory. See docs/operations.md, *Memory*.

use weir_reactor::physical_memory_bytes;
use weir_stream::EngineMemory;

use crate::cli::failure::Failure;
use crate::units;

const MIB: u64 = 1024 * 1024;
/// The process before it serves anyone, the catalog, and the threads beside the cores.
const PROCESS_BYTES: u64 = 48 * MIB;
/// Of what is left, one part in so many is never given out: freed memory that the allocator could
/// not give back, and the ends of its pages.
const SLACK_PART: u64 = 10;
/// The least of `--memory` for each core, beside the process's.
const CORE_BYTES_MIN: u64 = 208 * MIB;
/// One frame of the binary protocol, which may go past the bound of those that come in.
const FRAME_BYTES: u64 = 16 * MIB;
/// What is kept beyond the records' share, for answers of the least length.
const LEAST_RECORDS_PART: u64 = 8;

/// One line of the plan: what it needs for the longest requests, and its part of what is more than
/// all need, in 64ths.
struct Need {
    least: u64,
    part: u64,
}

const fn need(least_mib: u64, part: u64) -> Need {
    let least = least_mib * MIB;
    Need { least, part }
}

const PARTS: u64 = 64;
/// Rings, stacks, counters, a few KiB for each shard.
const CORE_OWN: Need = need(10, 1);
const SEATS: Need = need(14, 6);
const AWAKE: Need = need(12, 3);
const RECEIVING: Need = need(4, 1);
const WAITING: Need = need(24, 6);
/// On their way to the disk: no more than what waits for it.
const FRAMES: Need = WAITING;
const HTTP: Need = need(40, 7);
const RECORDS: Need = need(9, 8);
const INTAKE: Need = need(40, 7);
const SPARE: Need = need(4, 3);
const FOOTERS: Need = need(1, 2);
const TAIL: Need = need(4, 14);
const ALL: [Need; 12] = [
    CORE_OWN, SEATS, AWAKE, RECEIVING, WAITING, FRAMES, HTTP, RECORDS, INTAKE, SPARE, FOOTERS, TAIL,
];

const fn least_bytes() -> u64 {
    let (mut all, mut at) = (0, 0);
    while at < ALL.len() {
        all += ALL[at].least;
        at += 1;
    }
    all
}

/// Memory assumed where the machine does not tell.
const MACHINE_BYTES_UNKNOWN: u64 = 2 << 30;

/// The shares, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemoryPlan {
    /// What all connections together may cost by being there.
    pub(crate) seats: usize,
    pub(crate) core: CoreMemory,
}

/// One core's shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CoreMemory {
    /// HTTP connections whose request is coming in or being answered.
    pub(crate) awake: usize,
    /// Long buffers that HTTP connections receive into.
    pub(crate) receiving: usize,
    /// HTTP requests, and short answers.
    pub(crate) http: usize,
    /// Records on their way to clients, beside what is kept for the least answers.
    pub(crate) records: usize,
    /// Frames of the binary protocol that are not whole, but for the one past the bound.
    pub(crate) intake: usize,
    pub(crate) engine: EngineMemory,
}

impl MemoryPlan {
    /// What the configuration says, or what the machine has: half of it, or the least that the cores
    /// need if that leaves the machine a quarter.
    pub(crate) fn choose(wanted: Option<u64>, cores: usize) -> Result<Self, Failure> {
        let machine = physical_memory_bytes().unwrap_or(MACHINE_BYTES_UNKNOWN);
        Self::choose_of(wanted, cores, machine)
    }

    fn choose_of(wanted: Option<u64>, cores: usize, machine: u64) -> Result<Self, Failure> {
        let least = Self::least(cores);
        let bytes = wanted.unwrap_or_else(|| (machine / 2).max(least.min(machine / 4 * 3)));
        Self::of(bytes, cores).ok_or_else(|| match wanted {
            Some(bytes) => Self::too_little(bytes, cores),
            None => Failure::could_not_run(format!(
                "{cores} cores need {} of memory at least, and this machine has {}: give fewer \
                 cores with --cores, or say --memory",
                units::show_size(least),
                units::show_size(machine),
            )),
        })
    }

    /// The least that so many cores can do with.
    pub(crate) fn least(cores: usize) -> u64 {
        PROCESS_BYTES + cores as u64 * CORE_BYTES_MIN
    }

    /// What is said of less.
    pub(crate) fn too_little(bytes: u64, cores: usize) -> Failure {
        let one = if cores == 1 { "core" } else { "cores" };
        Failure::usage(format!(
            "--memory {} is too little: at least {} are needed for {cores} {one}",
            units::show_size(bytes),
            units::show_size(Self::least(cores)),
        ))
    }

    /// Shares of `bytes` for so many cores; `None` if that is less than the least.
    pub(crate) fn of(bytes: u64, cores: usize) -> Option<Self> {
        if bytes < Self::least(cores) {
            return None;
        }
        let cores = cores as u64;
        let whole = (bytes - PROCESS_BYTES) / cores;
        let more = whole - whole / SLACK_PART - least_bytes();
        let share = |need: Need| need.least + more / PARTS * need.part;
        let size = |need: Need| share(need) as usize;
        let records = share(RECORDS);
        Some(Self {
            seats: (share(SEATS) * cores) as usize,
            core: CoreMemory {
                awake: size(AWAKE),
                receiving: size(RECEIVING),
                http: size(HTTP),
                records: (records - records.div_ceil(LEAST_RECORDS_PART + 1)) as usize,
                intake: (share(INTAKE) - FRAME_BYTES) as usize,
                engine: EngineMemory {
                    tail: size(TAIL),
                    waiting: size(WAITING),
                    spare: size(SPARE),
                    footers: size(FOOTERS),
                },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that a plan lets be held, and what it cannot count.
    fn most(plan: &MemoryPlan, cores: u64) -> u64 {
        let core = plan.core;
        let engine = core.engine;
        let counted = core.awake
            + core.receiving
            + core.http
            + core.records
            + core.records / LEAST_RECORDS_PART as usize
            + core.intake
            + engine.tail
            + 2 * engine.waiting
            + engine.spare
            + engine.footers;
        PROCESS_BYTES + plan.seats as u64 + cores * (counted as u64 + FRAME_BYTES + CORE_OWN.least)
    }

    #[test]
    fn the_shares_are_never_more_than_the_whole() {
        for cores in [1, 2, 3, 16, 256] {
            let least = MemoryPlan::least(cores);
            for bytes in [least, least + 1, least + 777_777, 2 * least, 100 * least] {
                let plan = MemoryPlan::of(bytes, cores).unwrap();
                let most = most(&plan, cores as u64);
                assert!(most < bytes, "{most} of {bytes} on {cores} cores");
                let counted = (bytes - PROCESS_BYTES) / 10 * 8 + PROCESS_BYTES;
                assert!(most > counted, "{most} of {bytes} is little: {plan:?}");
            }
            assert_eq!(MemoryPlan::of(least - 1, cores), None);
        }
    }

    #[test]
    fn who_says_nothing_gets_half_of_the_machine() {
        let two = MemoryPlan::least(2);
        let chosen = |machine| MemoryPlan::choose_of(None, 2, machine).ok();
        assert_eq!(chosen(1 << 40), MemoryPlan::of(1 << 39, 2));
        assert_eq!(chosen(two / 2 * 3), MemoryPlan::of(two, 2));
        assert_eq!(chosen(two), None);
        let error = MemoryPlan::choose_of(Some(two - 1), 2, 1 << 40).unwrap_err();
        assert!(error.to_string().contains("464MiB"), "{error}");
    }

    #[test]
    fn parts_are_parts_of_one() {
        assert_eq!(ALL.iter().map(|need| need.part).sum::<u64>(), PARTS);
        assert!(least_bytes() <= CORE_BYTES_MIN - CORE_BYTES_MIN / SLACK_PART);
    }

    #[test]
    fn the_least_takes_the_longest_requests() {
        let plan = MemoryPlan::of(MemoryPlan::least(1), 1).unwrap();
        let core = plan.core;
        assert!(core.engine.waiting as u64 > FRAME_BYTES);
        assert!(core.http as u64 > 2 * FRAME_BYTES);
        assert!(core.records as u64 >= 8 * MIB && core.intake as u64 >= 24 * MIB);
    }
}
