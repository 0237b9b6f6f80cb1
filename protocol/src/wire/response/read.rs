//! What a server answers to a read.

use crate::bytes::{Reader, Writer};
use crate::model::Offset;
use crate::wire::frame::{Correlation, FrameWriter};
use crate::wire::request::{Malformed, kind, offset};

/// Records of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadAnswer<'a> {
    /// Where the next read begins.
    pub next: Offset,
    /// One past the newest durable record.
    pub tip: Offset,
    /// Age of the next unread record in milliseconds; 0 at the tip.
    pub behind_ms: u64,
    /// The shard is closed and this was its end.
    pub at_end: bool,
    /// How many batches there are. The first may begin before the offset that was asked for, the
    /// last may end after `next`: skip what is outside.
    pub count: u32,
    /// The batches, as their producers sent them.
    pub batches: &'a [u8],
}

const READ_ANSWER_BYTES: usize = 29;

/// Starts an answer of records: the caller appends the batches to `out` and then calls
/// [`RecordsWriter::finish`] with what it learned on the way.
pub struct RecordsWriter {
    frame: FrameWriter,
    control_at: usize,
}

impl RecordsWriter {
    /// Starts the frame at the end of `out` and makes room for its control part.
    pub fn start(correlation: Correlation, out: &mut Vec<u8>) -> Self {
        let mut frame = FrameWriter::start(out, kind::READ | kind::ANSWER, correlation);
        let control_at = out.len();
        out.resize(control_at + READ_ANSWER_BYTES, 0);
        frame.bulk(out);
        Self { frame, control_at }
    }

    /// Writes the control part; `answer.batches` is not looked at.
    pub fn finish(self, answer: &ReadAnswer<'_>, out: &mut [u8]) {
        let mut control = Vec::with_capacity(READ_ANSWER_BYTES);
        Writer::new(&mut control)
            .u64(answer.next.get())
            .u64(answer.tip.get())
            .u64(answer.behind_ms)
            .u8(u8::from(answer.at_end))
            .u32(answer.count);
        out[self.control_at..self.control_at + READ_ANSWER_BYTES].copy_from_slice(&control);
        self.frame.finish(out);
    }
}

pub(super) fn decode_read<'a>(
    r: &mut Reader<'_>,
    batches: &'a [u8],
) -> Result<ReadAnswer<'a>, Malformed> {
    Ok(ReadAnswer {
        next: offset(r)?,
        tip: offset(r)?,
        behind_ms: r.u64()?,
        at_end: r.u8()? != 0,
        count: r.u32()?,
        batches,
    })
}
