//! Every cut of a real segment's last 64 KiB, and every sector of it zeroed or never written: what
//! was durable is served or refused by a typed error, and nothing else is served.
//!
//! The segments have 64 KiB, so all of one is cut. A cut leaves zeros behind it, or what the slot
//! held in its earlier life. Two neighbouring cuts that leave the same bytes are one case.

use tests_fuzz::recovery::{Base, KILLED, STOPPED, recovered_with};

const SECTOR_BYTES: usize = 512;
/// Every this many-th byte length is cut, and every one with `WEIR_TEST_ALL`.
const STRIDE: usize = 7;

struct Tally {
    planned: usize,
    done: usize,
    served: usize,
    errors: usize,
}

/// The slot with the newest bytes that are not in the earlier life: the last one written.
fn newest(base: &Base) -> usize {
    let header = |slot: usize| &base.slots[slot].1[..80];
    let ordinal = |slot: usize| u64::from_le_bytes(header(slot)[32..40].try_into().unwrap());
    let is_log = |slot: &usize| header(*slot).starts_with(b"WRS1") && header(*slot)[6] == 1;
    let slots = (0..base.slots.len()).filter(is_log);
    slots
        .max_by_key(|slot| ordinal(*slot))
        .expect("a log has segments")
}

fn run(base: &Base, slot: usize, range: std::ops::Range<usize>, behind: &[u8], tally: &mut Tally) {
    tally.planned += 1;
    let mut slots = base.slots.clone();
    if slots[slot].1[range.clone()] == behind[range.clone()] {
        return;
    }
    slots[slot].1[range.clone()].copy_from_slice(&behind[range.clone()]);
    let found = recovered_with(base, &slots);
    found.is_true_to(base);
    tally.served += found.is_whole(base);
    tally.errors += usize::from(found.error.is_some());
    tally.done += 1;
}

fn cut_everywhere(name: &str, base: &Base, slot: usize) {
    let length = base.slots[slot].1.len();
    let zeros = vec![0; length];
    let older = base
        .older
        .iter()
        .find(|(path, _)| *path == base.slots[slot].0);
    let older = older.map_or(&zeros, |(_, bytes)| bytes);
    let stride = if std::env::var_os("WEIR_TEST_ALL").is_some() {
        1
    } else {
        STRIDE
    };
    for (what, behind) in [("zeros", &zeros), ("its earlier life", older)] {
        let mut tally = Tally {
            planned: 0,
            done: 0,
            served: 0,
            errors: 0,
        };
        let mut before = None;
        for at in (0..length).step_by(stride) {
            // From here to the last cut nothing changes: the same bytes as that one left.
            let same = |from: usize| base.slots[slot].1[from..at] == behind[from..at];
            if before.is_some_and(same) {
                tally.planned += 1;
            } else {
                run(base, slot, at..length, behind, &mut tally);
            }
            before = Some(at);
        }
        for at in (0..length).step_by(SECTOR_BYTES) {
            run(base, slot, at..at + SECTOR_BYTES, behind, &mut tally);
        }
        println!(
            "{name}, {what}: {} planned, {} of them differ and were run, {} records served, {} \
             recoveries refused",
            tally.planned, tally.done, tally.served, tally.errors
        );
        assert!(tally.served > 0, "a cut leaves something to be served");
    }
}

#[test]
fn cuts_of_the_newest_segment_of_a_killed_server() {
    cut_everywhere("unsealed", &KILLED, newest(&KILLED));
}

#[test]
fn cuts_of_the_newest_segment_of_a_stopped_server() {
    cut_everywhere("sealed", &STOPPED, newest(&STOPPED));
}

#[test]
fn cuts_of_the_segment_before() {
    let ordinal = |bytes: &[u8]| u64::from_le_bytes(bytes[32..40].try_into().unwrap());
    let newest = ordinal(&KILLED.slots[newest(&KILLED)].1);
    let before = KILLED.slots.iter().position(|(_, bytes)| {
        bytes.starts_with(b"WRS1") && bytes[6] == 1 && ordinal(bytes) + 1 == newest
    });
    cut_everywhere(
        "sealed, not the newest",
        &KILLED,
        before.expect("it was rolled"),
    );
}

/// A file cut short is no segment any more: the log stays shut, and says why.
#[test]
fn files_cut_short_are_refused_or_found_missing() {
    let slot = newest(&KILLED);
    for length in (0..65_536)
        .step_by(512)
        .chain(4_090..4_100)
        .chain(65_530..65_536)
    {
        let mut slots = KILLED.slots.clone();
        slots[slot].1.truncate(length);
        let found = recovered_with(&KILLED, &slots);
        found.is_true_to(&KILLED);
        if length >= 4096 {
            let error = found.error.expect("it is no segment").to_string();
            assert!(error.contains(&length.to_string()), "{error}");
        }
    }
}
