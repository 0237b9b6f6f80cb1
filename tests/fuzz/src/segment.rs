//! The structures of a segment: header and start table at the front, footer and trailer at the end.

use weir_log::fuzzing;
use weir_protocol::limits::BLOCK_BYTES;

const BLOCK: usize = BLOCK_BYTES as usize;
/// Bytes of the trailer's fields, and of the header's.
const FIELDS: usize = 96;

/// Pieces of a segment that is otherwise zeros, in four blocks: fields of the trailer, and what lies
/// in the blocks before it. The first byte says whether checksums are mended.
pub(crate) fn check(data: &[u8]) {
    let Some((&switches, rest)) = data.split_first() else {
        return;
    };
    let (trailer, front) = rest.split_at(rest.len().min(FIELDS));
    let mut file = vec![0; 4 * BLOCK];
    let length = front.len().min(3 * BLOCK);
    file[..length].copy_from_slice(&front[..length]);
    file[3 * BLOCK..3 * BLOCK + trailer.len()].copy_from_slice(trailer);
    if switches & 1 != 0 {
        fuzzing::mend(&mut file, 0);
        fuzzing::mend(&mut file, 3 * BLOCK);
    }
    fuzzing::segment(&file);
}

/// Real headers and trailers with their footers, true and cut.
#[cfg(test)]
pub(crate) fn seeds() -> Vec<(String, Vec<u8>)> {
    use crate::recovery::{KILLED, STOPPED};

    let mut out = Vec::new();
    for (name, base) in [("killed", &*KILLED), ("stopped", &*STOPPED)] {
        for (i, (_, bytes)) in base.slots.iter().enumerate().take(4) {
            let last = bytes.len() - BLOCK;
            let mut fields = bytes[last..last + FIELDS].to_vec();
            let footer_at = u64::from_le_bytes(fields[56..64].try_into().unwrap()) as usize;
            let mut header = vec![0];
            header.extend_from_slice(&fields);
            header.extend_from_slice(&bytes[..400]);
            out.push((format!("{name}_{i}_header"), header.clone()));
            header[0] = 1;
            out.push((format!("{name}_{i}_header_mended"), header));
            if (1..=2 * BLOCK).contains(&(last - footer_at.min(last))) {
                fields[56..64].fill(0);
                let mut footer = vec![1];
                footer.extend_from_slice(&fields);
                footer.extend_from_slice(&bytes[footer_at..footer_at + 700]);
                out.push((format!("{name}_{i}_footer_mended"), footer));
            }
        }
    }
    out
}
