//! What a server answers to an append.

use crate::bytes::{Reader, Writer};
use crate::limits::FRAME_BATCHES_MAX;
use crate::model::{Offset, Timestamp};
use crate::wire::error::ErrorCode;
use crate::wire::frame::{Correlation, FrameWriter};
use crate::wire::request::{Malformed, kind, offset};

/// What became of one batch of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOutcome {
    /// It is durable.
    Stored {
        /// Offset of its first record.
        first_offset: Offset,
        /// When the server took it in.
        arrival: Timestamp,
    },
    /// Nothing of it is stored.
    Refused {
        /// Why.
        code: ErrorCode,
        /// With `NotOwner`: the core to connect to.
        owner: u32,
        /// With `NotOwner` and `ShardClosed`: the version of the map that says so.
        map_version: u32,
    },
}

const OUTCOME_BYTES: usize = 24;

/// Appends the answer to an append to `out`, without a vector of outcomes in between.
pub fn encode_appended(
    outcomes: impl ExactSizeIterator<Item = AppendOutcome>,
    correlation: Correlation,
    out: &mut Vec<u8>,
) {
    let frame = FrameWriter::start(out, kind::APPEND | kind::ANSWER, correlation);
    let mut w = Writer::new(out);
    w.u32(outcomes.len() as u32);
    for outcome in outcomes {
        match outcome {
            AppendOutcome::Stored {
                first_offset,
                arrival,
            } => {
                w.u16(0)
                    .u16(0)
                    .u32(0)
                    .u64(first_offset.get())
                    .u64(arrival.as_millis());
            }
            AppendOutcome::Refused {
                code,
                owner,
                map_version,
            } => {
                w.u16(code.code())
                    .u16(0)
                    .u32(owner)
                    .u64(u64::from(map_version))
                    .u64(0);
            }
        }
    }
    frame.finish(out);
}

pub(super) fn decode_appended(r: &mut Reader<'_>) -> Result<Vec<AppendOutcome>, Malformed> {
    let count = r.u32()?;
    if count > FRAME_BATCHES_MAX || r.rest().len() != count as usize * OUTCOME_BYTES {
        return Err(Malformed::Value {
            what: "outcome count",
            found: u64::from(count),
        });
    }
    (0..count)
        .map(|_| {
            let code = r.u16()?;
            let _reserved = r.u16()?;
            let owner = r.u32()?;
            if code == 0 {
                return Ok(AppendOutcome::Stored {
                    first_offset: offset(r)?,
                    arrival: Timestamp::from_millis(r.u64()?),
                });
            }
            let map_version = r.u64()? as u32;
            let _reserved = r.u64()?;
            let found = u64::from(code);
            let code = ErrorCode::from_code(code).ok_or(Malformed::Value {
                what: "error code",
                found,
            })?;
            Ok(AppendOutcome::Refused {
                code,
                owner,
                map_version,
            })
        })
        .collect()
}
