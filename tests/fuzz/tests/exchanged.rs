//! First blocks of two slots that changed places: a misdirected write, and no record is lost by it.

use tests_fuzz::recovery::{Base, KILLED, STOPPED, recovered_with};

const BLOCK_BYTES: usize = 4096;

fn exchanged_headers_cost_nothing(base: &Base) {
    let sound = recovered_with(base, &base.slots).is_whole(base);
    assert!(sound > 0);
    for one in 0..base.slots.len() {
        for other in 0..one {
            let mut slots = base.slots.clone();
            let (before, after) = slots.split_at_mut(one);
            let (first, second) = (&mut before[other].1, &mut after[0].1);
            first[..BLOCK_BYTES].swap_with_slice(&mut second[..BLOCK_BYTES]);
            let found = recovered_with(base, &slots);
            found.is_true_to(base);
            let what = format!("{} and {}", slots[other].0, slots[one].0);
            assert!(found.error.is_none(), "{what}: {:?}", found.error);
            assert_eq!(found.is_whole(base), sound, "{what}");
        }
    }
}

#[test]
fn exchanged_headers_of_a_killed_server_cost_nothing() {
    exchanged_headers_cost_nothing(&KILLED);
}

#[test]
fn exchanged_headers_of_a_stopped_server_cost_nothing() {
    exchanged_headers_cost_nothing(&STOPPED);
}
