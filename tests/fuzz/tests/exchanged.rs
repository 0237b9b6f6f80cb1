//! Blocks that lie where others should, as after misdirected and lost writes: what recovery finds by
//! the rest costs nothing, and nothing is passed over in silence.

use tests_fuzz::recovery::{Base, KILLED, STOPPED, Slot, recovered_with};

const BLOCK_BYTES: usize = 4096;

/// Two blocks at the same place of their slots.
fn exchange(slots: &mut [Slot], one: usize, other: usize, block: usize) {
    let range = block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES;
    let (before, after) = slots.split_at_mut(one.max(other));
    let (first, second) = (&mut before[one.min(other)].1, &mut after[0].1);
    first[range.clone()].swap_with_slice(&mut second[range]);
}

/// How many records are served; what is not is refused.
fn served(base: &Base, slots: &[Slot], what: &str) -> usize {
    let found = recovered_with(base, slots);
    assert!(found.error.is_none(), "{what}: {:?}", found.error);
    found.is_true_to(base);
    found.is_whole(base)
}

fn bases() -> [(&'static str, &'static Base); 2] {
    [("killed", &KILLED), ("stopped", &STOPPED)]
}

/// Headers and trailers are there twice over: what lies between them tells whose they are.
#[test]
fn an_exchanged_block_costs_at_most_the_records_in_it() {
    for (name, base) in bases() {
        let sound = served(base, &base.slots, name);
        assert!(sound > 0);
        let blocks = base.slots[0].1.len() / BLOCK_BYTES;
        for block in 0..blocks {
            for one in 0..base.slots.len() {
                for other in 0..one {
                    let mut slots = base.slots.clone();
                    exchange(&mut slots, one, other, block);
                    let what = format!("{name}: blocks {block} of slots {one} and {other}");
                    let served = served(base, &slots, &what);
                    if block == 0 || block == blocks - 1 {
                        assert_eq!(served, sound, "{what}");
                    }
                }
            }
        }
    }
}

#[test]
fn three_exchanged_headers_cost_nothing() {
    for (name, base) in bases() {
        let sound = served(base, &base.slots, name);
        let all = 0..base.slots.len();
        for one in all.clone() {
            for other in all.clone().filter(|other| *other != one) {
                for third in (0..one).filter(|third| *third != other) {
                    let mut slots = base.slots.clone();
                    exchange(&mut slots, one, other, 0);
                    exchange(&mut slots, one, third, 0);
                    let what = format!("{name}: headers of slots {one}, {other} and {third}");
                    assert_eq!(served(base, &slots, &what), sound, "{what}");
                }
            }
        }
    }
}

/// The header of a slot's earlier life over the segment that it holds now.
#[test]
fn a_stale_header_costs_nothing() {
    for (name, base) in bases() {
        let sound = served(base, &base.slots, name);
        let mut stale = 0;
        for (slot, (path, bytes)) in base.slots.iter().enumerate() {
            let older = base.older.iter().find(|(older, _)| older == path);
            let Some((_, older)) = older.filter(|(_, older)| older[..80] != bytes[..80]) else {
                continue;
            };
            let mut slots = base.slots.clone();
            slots[slot].1[..BLOCK_BYTES].copy_from_slice(&older[..BLOCK_BYTES]);
            let what = format!("{name}: {path}");
            assert_eq!(served(base, &slots, &what), sound, "{what}");
            stale += 1;
        }
        assert!(stale > 0, "{name}: no slot had an earlier life");
    }
}
