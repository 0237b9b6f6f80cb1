//! The judge's own reading of a sequence number: the layout is public, the code is nobody else's.

/// A 56-digit decimal as four 64-bit words, the lowest first.
fn words(text: &str) -> Option<[u64; 4]> {
    let mut words = [0_u64; 4];
    if text.len() != 56 {
        return None;
    }
    for digit in text.bytes() {
        let mut carry = u128::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
        for word in &mut words {
            let product = u128::from(*word) * 10 + carry;
            *word = product as u64;
            carry = product >> 64;
        }
    }
    Some(words)
}

/// The index that a sequence number holds: sixteen hex digits above the lowest twenty.
pub(super) fn index(text: &str) -> Option<u64> {
    let words = words(text)?;
    Some(words[1] >> 16 | words[2] << 48)
}

/// The part of an index that rises when numbers may have been lost.
pub(super) fn epoch(index: u64) -> u64 {
    index.saturating_sub(1) >> 48
}

#[cfg(test)]
mod proofs {
    use weir_protocol::model::{Offset, SequenceNumber, ShardIndex, Timestamp};

    use super::{epoch, index};

    #[test]
    fn it_reads_what_the_protocol_writes() {
        for offset in [0, 1, 77, (1 << 48) - 1, 1 << 48, (3 << 48) + 12_345] {
            let number = SequenceNumber::of_record(
                ShardIndex(7),
                Timestamp::from_millis(1_700_000_000_000),
                Offset::new(offset).unwrap(),
                Timestamp::from_millis(1_700_000_123_000),
            );
            assert_eq!(index(&number.to_string()), Some(offset + 1));
            assert_eq!(epoch(offset + 1), offset >> 48);
        }
        assert_eq!(index("4959"), None);
    }
}
