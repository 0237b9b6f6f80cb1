//! Which core a shard lives on.
//!
//! Owns: one rule, a pure function of the shard and the number of cores. Never: state; after a
//! restart with another number of cores the same rule homes every shard anew.

use weir_protocol::model::{ShardIndex, StreamId};

/// The core of shard `index` of `stream`. A stream's shards are dealt round robin; where the round
/// begins depends on the stream, so that many small streams spread as well.
pub(crate) fn core_of(stream: StreamId, index: ShardIndex, cores: u32) -> u32 {
    assert!(cores > 0, "a folder is served by at least one core");
    ((spread(stream.get()) + u64::from(index.0)) % u64::from(cores)) as u32
}

/// Spreads neighbouring numbers (the finaliser of splitmix64); half the range, so that adding an
/// index cannot overflow.
fn spread(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) >> 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_streams_shards_are_dealt_evenly() {
        for cores in 1..=16 {
            for stream in 0..20 {
                let mut dealt = vec![0_u32; cores as usize];
                for index in 0..cores * 5 {
                    dealt[core_of(StreamId::new(stream), ShardIndex(index), cores) as usize] += 1;
                }
                assert!(dealt.iter().all(|count| *count == 5), "{dealt:?}");
            }
        }
    }

    #[test]
    fn many_streams_of_one_shard_spread() {
        let mut dealt = [0_u32; 8];
        for stream in 0..8_000 {
            dealt[core_of(StreamId::new(stream), ShardIndex(0), 8) as usize] += 1;
        }
        assert!(
            dealt.iter().all(|count| (900..1_100).contains(count)),
            "{dealt:?}"
        );
    }
}
