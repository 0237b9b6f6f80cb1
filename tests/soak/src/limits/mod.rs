//! R6: the machine gives less than it did: room, descriptors, memory, processor, disk speed. Every
//! case is told under load and judged at its end: nothing acknowledged is lost, what can be read is
//! read, and writes go on when the limit is lifted.

mod control_group;
mod flood;
mod group;
mod process;
mod room;

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::folder;
use crate::rig::{Done, Order};
use crate::scene::Tally;

pub(crate) use self::control_group::are_there as groups_are_there;

/// A1: writes go on so soon after a limit was lifted.
const RESUMED_WITHIN: Duration = Duration::from_secs(1);
const SHARDS: u32 = 4;

/// What a case found out, beside that all is well.
struct Told {
    tally: Tally,
    /// How long it took until the first write after each lifting.
    resumed: Vec<Duration>,
    note: String,
}

type Case = (&'static str, fn(u64) -> Result<Told>);

/// Room on the disk.
pub(crate) fn disk(order: &Order) -> Result<Done> {
    room::prove(order.seed)?;
    const CASES: [Case; 2] = [("full", room::full), ("read-only", room::read_only)];
    run(order, "limits-disk", &CASES).map(|done| done.on("ext4"))
}

/// What a process may have.
pub(crate) fn process(order: &Order) -> Result<Done> {
    process::prove()?;
    const CASES: [Case; 4] = [
        ("descriptors", process::descriptors),
        ("file size at the start", process::small_files),
        ("file size while it runs", process::smaller_files),
        ("starts", process::starts),
    ];
    run(order, "limits-process", &CASES).map(|done| done.on(&filesystem()))
}

/// What a control group gives.
pub(crate) fn group(order: &Order) -> Result<Done> {
    group::prove(order.seed).context("limits-group was not proven")?;
    const CASES: [Case; 4] = [
        ("memory", group::enough_memory),
        ("too little memory", group::too_little_memory),
        ("processor", group::little_processor),
        ("disk speed", group::slow_disk),
    ];
    run(order, "limits-group", &CASES).map(|done| done.on(&filesystem()))
}

fn filesystem() -> String {
    folder::filesystem(std::path::Path::new(folder::PLACE))
}

fn run(order: &Order, rig: &str, cases: &[Case]) -> Result<Done> {
    let (mut all, mut resumed, mut notes) = (Tally::default(), Vec::new(), Vec::new());
    let mut count = 0;
    while count < order.count && !order.is_over() {
        let seed = order.seed + count;
        // The case follows from the seed, so that one number replays it.
        let (name, case) = cases[(seed % cases.len() as u64) as usize];
        let told = case(seed).with_context(|| {
            format!("{name}; replay: ./scripts/soak {rig} --seed {seed} --count 1")
        })?;
        all.add(told.tally);
        if let Some(late) = told.resumed.iter().find(|took| **took > RESUMED_WITHIN) {
            bail!(
                "{name}: writes went on {late:?} after the limit was lifted; replay: ./scripts/soak \
                 {rig} --seed {seed} --count 1"
            );
        }
        resumed.extend(told.resumed);
        notes.push(format!("{name}: {}", told.note));
        count += 1;
    }
    resumed.sort_unstable();
    let resumed = match (resumed.first(), resumed.last()) {
        (Some(first), Some(last)) => format!(
            "limits lifted {} times, writes went on after {} to {} ms; ",
            resumed.len(),
            first.as_millis(),
            last.as_millis()
        ),
        _ => String::new(),
    };
    notes.truncate(cases.len());
    let note = format!(
        "{resumed}{} batches acknowledged, {} refused, {} records judged, 0 lost; {}",
        all.acknowledged,
        all.refused,
        all.records,
        notes.join("; ")
    );
    Ok(Done::new(count, note))
}
