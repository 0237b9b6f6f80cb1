//! Reads shards record by record, each on the core that owns it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;

use weir_protocol::batch::BatchView;
use weir_protocol::model::{Count, Offset, ShardId, Timestamp};
use weir_protocol::wire::error::WireError;
use weir_protocol::wire::request::{ReadFrom, ReadRequest, Request};
use weir_protocol::wire::response::{Response, StreamDescription};

use super::wire::Wire;

const READ_BYTES: u32 = 4 << 20;

/// A record, found at its number.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    pub(crate) offset: Offset,
    pub(crate) arrival: Timestamp,
    pub(crate) key: &'a [u8],
    pub(crate) data: &'a [u8],
}

/// Connections to the cores of one server.
#[derive(Debug)]
pub(crate) struct Reader {
    address: SocketAddr,
    wires: HashMap<u32, Wire>,
}

struct Part {
    next: Offset,
    tip: Offset,
    batches: Vec<u8>,
}

impl Reader {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            wires: HashMap::new(),
        }
    }

    fn read(&mut self, core: u32, request: ReadRequest) -> io::Result<Result<Part, WireError>> {
        let address = self.address;
        if let std::collections::hash_map::Entry::Vacant(vacant) = self.wires.entry(core) {
            vacant.insert(Wire::connect(address, core)?);
        }
        let wire = self.wires.get_mut(&core).expect("it was just put there");
        wire.call(&Request::Read(request), |response| match response {
            Response::Records(answer) => Ok(Part {
                next: answer.next,
                tip: answer.tip,
                batches: answer.batches.to_vec(),
            }),
            Response::Error(error) => Err(error),
            other => panic!("not an answer to a read: {other:?}"),
        })
    }

    /// One read that may wait `wait_ms` for records. `next` is where to go on.
    pub(crate) fn some(
        &mut self,
        stream: &StreamDescription,
        shard: u32,
        from: ReadFrom,
        wait_ms: u32,
        each: &mut dyn FnMut(&Found<'_>),
    ) -> io::Result<(Offset, Offset)> {
        let shard = &stream.shards[shard as usize];
        let request = ReadRequest {
            shard: ShardId::new(stream.id, shard.index),
            from,
            bytes_max: READ_BYTES,
            wait_ms,
        };
        let part = self.read(shard.core, request)?.map_err(io::Error::other)?;
        let asked = match from {
            ReadFrom::Offset(offset) => offset,
            _ => Offset::ZERO,
        };
        let mut rest = part.batches.as_slice();
        while !rest.is_empty() {
            let batch = BatchView::decode(rest).map_err(io::Error::other)?;
            let first = batch.header.first_offset;
            for (index, record) in (0..).zip(batch.records()) {
                let offset = first + Count(index);
                if offset >= asked && offset < part.next {
                    each(&Found {
                        offset,
                        arrival: batch.header.arrival,
                        key: record.key,
                        data: record.data,
                    });
                }
            }
            rest = &rest[batch.as_bytes().len()..];
        }
        Ok((part.next, part.tip))
    }

    /// Everything of a shard from `from` to the tip as of now; where to go on.
    #[track_caller]
    pub(crate) fn all(
        &mut self,
        stream: &StreamDescription,
        shard: u32,
        from: ReadFrom,
        mut each: impl FnMut(&Found<'_>),
    ) -> Offset {
        let mut until = None;
        let mut from = from;
        loop {
            let (next, tip) = self
                .some(stream, shard, from, 0, &mut each)
                .unwrap_or_else(|error| panic!("shard {shard} cannot be read: {error}"));
            if next >= *until.get_or_insert(tip) {
                return next;
            }
            if let ReadFrom::Offset(before) = from {
                assert!(
                    next > before,
                    "a read below the tip goes on: {next} of {tip}"
                );
            }
            from = ReadFrom::Offset(next);
        }
    }
}
