//! What happens to the slots of a log: eight bytes for each accident.

use weir_log::{LedgerState, fuzzing};
use weir_protocol::limits::BLOCK_BYTES;

use super::base::{Base, Slot};

/// Bytes of an accident: what, which slot, where (16 bits), and four more.
pub(super) const BYTES: usize = 8;
const SECTOR: usize = 512;
const BLOCK: usize = BLOCK_BYTES as usize;

pub(super) fn happen(
    bytes: &[u8],
    base: &Base,
    slots: &mut Vec<Slot>,
    ledger: &mut LedgerState,
    mended: bool,
) {
    if slots.is_empty() {
        return;
    }
    let slot = bytes[1] as usize % slots.len();
    let at = usize::from(u16::from_le_bytes([bytes[2], bytes[3]]));
    let value = [bytes[4], bytes[5], bytes[6], bytes[7]];
    let length = slots[slot].1.len();
    if length < BLOCK {
        return;
    }
    let sector = at / SECTOR * SECTOR % length;
    let block = at / BLOCK * BLOCK % length;
    match bytes[0] % 12 {
        0 => slots[slot].1[sector..(sector + SECTOR).min(length)].fill(0),
        1 => lose(base, slots, slot, sector, SECTOR),
        2 => lose(base, slots, slot, block, BLOCK),
        3 => slots[slot].1[at % length] ^= 1 << (value[0] % 8),
        4 => slots[slot].1[at % length..].fill(0),
        5 => {
            let rest = length - sector;
            lose(base, slots, slot, sector, rest);
        }
        6 => swap(slots, (slot, block), value),
        7 => {
            let end = (at % length + 4).min(length);
            let start = end - 4;
            slots[slot].1[start..end].copy_from_slice(&value);
        }
        // Of the first fields of a block, eight bytes: the numbers that recovery reckons with.
        8 => {
            let field = (block + usize::from(value[0] % 12) * 8).min(length - 8);
            let number = u64::from(value[1]) << (value[2] % 64);
            let number = number.wrapping_sub(u64::from(value[3]));
            slots[slot].1[field..field + 8].copy_from_slice(&number.to_le_bytes());
        }
        9 => slots[slot].1.truncate(at % length),
        10 => {
            slots.remove(slot);
            return;
        }
        // The catalog never heard of its newest segments.
        _ => {
            ledger.segments.pop();
            ledger.known_generation = ledger.segments.iter().copied().max().unwrap_or(0);
        }
    }
    if mended {
        fuzzing::mend(&mut slots[slot].1, block);
    }
}

/// A write that never reached the medium: what lay there before is there.
fn lose(base: &Base, slots: &mut [Slot], slot: usize, at: usize, bytes: usize) {
    let (path, new) = &mut slots[slot];
    let end = (at + bytes).min(new.len());
    match base.older.iter().find(|(older, _)| older == path) {
        Some((_, older)) if end <= older.len() => new[at..end].copy_from_slice(&older[at..end]),
        _ => new[at..end].fill(0),
    }
}

/// Two blocks change places, as after a misdirected write.
fn swap(slots: &mut [Slot], (slot, block): (usize, usize), value: [u8; 4]) {
    let other = value[0] as usize % slots.len();
    let length = slots[other].1.len();
    if length < BLOCK {
        return;
    }
    let place = usize::from(value[1]) * BLOCK % (length / BLOCK * BLOCK);
    if block + BLOCK > slots[slot].1.len() {
        return;
    }
    let one = slots[slot].1[block..block + BLOCK].to_vec();
    let two = slots[other].1[place..place + BLOCK].to_vec();
    slots[slot].1[block..block + BLOCK].copy_from_slice(&two);
    slots[other].1[place..place + BLOCK].copy_from_slice(&one);
}

/// One case for each accident at places that matter, in both logs, true and mended.
#[cfg(test)]
pub(crate) fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut out = vec![
        ("nothing_killed".into(), vec![0]),
        ("nothing_stopped".into(), vec![1]),
    ];
    for (switches, name) in [
        (0, "killed"),
        (1, "stopped"),
        (2, "killed_mended"),
        (3, "stopped_mended"),
    ] {
        for what in 0..12_u8 {
            let mut case = vec![switches];
            for (slot, place) in [(0_u8, 4096_u16), (1, 8192), (2, 0), (0, 61_440)] {
                let [low, high] = place.to_le_bytes();
                case.extend_from_slice(&[what, slot, low, high, 5, 9, 40, 1]);
            }
            out.push((format!("{name}_{what:02}"), case));
        }
    }
    out
}
