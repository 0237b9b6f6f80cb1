//! What a server answers.

mod append;
mod read;
mod stream;

use append::decode_appended;
use read::decode_read;
use stream::{decode_stream, decode_summary, encode_stream, encode_summary};

pub use append::{AppendOutcome, encode_appended};
pub use read::{ReadAnswer, RecordsWriter};
pub use stream::{SHARD_BYTES, ShardDescription, StreamDescription, StreamSummary};

use crate::bytes::{Reader, Writer};
use crate::limits::LIST_NAMES_MAX;
use crate::wire::error::WireError;
use crate::wire::frame::{Correlation, FrameWriter, WireFrame};
use crate::wire::request::{Malformed, end, kind};

/// An answer, its batches borrowed from the received bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response<'a> {
    /// What became of each batch, in the order they were sent.
    Appended(Vec<AppendOutcome>),
    /// Records of a shard.
    Records(ReadAnswer<'a>),
    /// A described, created or changed stream.
    Stream(StreamDescription),
    /// The stream is gone.
    Deleted,
    /// Streams in name order, and whether more follow.
    Streams {
        /// The streams.
        streams: Vec<StreamSummary>,
        /// Whether more follow.
        more: bool,
    },
    /// Nothing but an answer.
    Pong,
    /// The request was refused as a whole.
    Error(WireError),
}

impl<'a> Response<'a> {
    /// Gives an answering frame its meaning.
    pub fn decode(frame: &WireFrame<'a>) -> Result<Self, Malformed> {
        let mut r = Reader::new(frame.control);
        if frame.kind == kind::ERROR {
            return Ok(Self::Error(WireError::decode(&mut r)?));
        }
        if frame.kind & kind::ANSWER == 0 {
            return Err(Malformed::Kind { found: frame.kind });
        }
        let response = match frame.kind & !kind::ANSWER {
            kind::APPEND => Self::Appended(decode_appended(&mut r)?),
            kind::READ => Self::Records(decode_read(&mut r, frame.bulk)?),
            kind::DESCRIBE | kind::CREATE | kind::SET | kind::RESHARD => {
                Self::Stream(decode_stream(&mut r)?)
            }
            kind::DELETE => Self::Deleted,
            kind::LIST => {
                let more = r.u8()? != 0;
                let count = r.u32()?;
                if count > LIST_NAMES_MAX {
                    let found = u64::from(count);
                    return Err(Malformed::Value {
                        what: "stream count",
                        found,
                    });
                }
                let streams = (0..count)
                    .map(|_| decode_summary(&mut r))
                    .collect::<Result<_, _>>();
                Self::Streams {
                    streams: streams?,
                    more,
                }
            }
            kind::PING => Self::Pong,
            _ => return Err(Malformed::Kind { found: frame.kind }),
        };
        end(&r)?;
        Ok(response)
    }

    /// Appends the answer to a request of kind `request_kind` as one frame to `out`.
    pub fn encode(&self, request_kind: u16, correlation: Correlation, out: &mut Vec<u8>) {
        match self {
            Self::Appended(outcomes) => {
                return encode_appended(outcomes.iter().copied(), correlation, out);
            }
            Self::Records(answer) => {
                let writer = RecordsWriter::start(correlation, out);
                out.extend_from_slice(answer.batches);
                return writer.finish(answer, out);
            }
            _ => {}
        }
        let frame_kind = match self {
            Self::Error(_) => kind::ERROR,
            _ => request_kind | kind::ANSWER,
        };
        let frame = FrameWriter::start(out, frame_kind, correlation);
        match self {
            Self::Stream(stream) => encode_stream(stream, out),
            Self::Streams { streams, more } => {
                Writer::new(out)
                    .u8(u8::from(*more))
                    .u32(streams.len() as u32);
                for stream in streams {
                    encode_summary(stream, out);
                }
            }
            Self::Error(error) => error.encode(out),
            Self::Deleted | Self::Pong | Self::Appended(_) | Self::Records(_) => {}
        }
        frame.finish(out);
    }
}
