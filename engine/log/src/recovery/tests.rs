//! Folders that recovery must come to the same with however often it runs.

use weir_protocol::frame::FrameHeader;
use weir_protocol::limits::BLOCK_BYTES;
use weir_protocol::model::{ShardIndex, StreamId};
use weir_reactor::sim::{RunLimit, Sim, SimOptions};

use super::*;
use crate::segment::SegmentKind;

const SEGMENT_BYTES: u64 = 64 * 1024;
const IDENTITY: FolderIdentity = FolderIdentity {
    folder: 7,
    segment_bytes: SEGMENT_BYTES,
};
const SHARD: ShardId = ShardId::new(StreamId::new(7), ShardIndex(1));

fn at(epoch: u64, number: u64) -> Offset {
    Offset::new((epoch << 48) | number).unwrap()
}

/// Two blocks changed places, and the hole they left ends in an epoch behind the tip's.
#[test]
fn the_end_of_a_hole_names_an_epoch() {
    let mut tip = ShardTip::empty(SHARD);
    tip.next = at(0, 44);
    let before = epoch_after([&tip]);
    assert_eq!(before, Some(at(1, 0).epoch()));
    tip.holes = vec![Hole {
        from: at(0, 34),
        until: at(1, 34),
    }];
    assert_eq!(epoch_after([&tip]), Some(at(2, 0).epoch()));
}

/// A segment lost its header and all directories of its frames, and recovery sealed it. It was scanned
/// again by the next one, for what is left of a frame lies behind its end, and holes were found anew.
#[test]
fn a_sealed_segment_is_not_judged_again_for_what_lies_behind_its_end() {
    let block = BLOCK_BYTES as usize;
    let sim = Sim::new(1, SimOptions::default());
    let mut rotten = vec![0xff; block];
    rotten.resize(SEGMENT_BYTES as usize, 0);
    let frame = FrameHeader {
        last: false,
        folder: IDENTITY.folder,
        log: LogId(0),
        batches: 1,
        generation: 1,
        incarnation: 1,
        position: Position(SEGMENT_BYTES + 2 * block as u64),
        durable_mark: Position(SEGMENT_BYTES),
        frame_bytes: BLOCK_BYTES,
        batches_bytes: 1_000,
        directory_crc: 1,
    };
    frame.encode(&mut rotten[2 * block..3 * block]);
    // The segment after it is the third: what lay between is not there to say where it ended.
    let durable = Position(3 * SEGMENT_BYTES - u64::from(BLOCK_BYTES));
    let header = SegmentHeader {
        kind: SegmentKind::Log,
        folder: IDENTITY.folder,
        log: LogId(0),
        entries: 0,
        generation: 3,
        ordinal: 3,
        incarnation: 1,
        segment_bytes: SEGMENT_BYTES,
        previous_end: durable,
        durable_mark: durable,
        table_crc: 0,
    };
    let mut newest = header.encode(&[StartEntry {
        shard: SHARD,
        next: at(0, 44),
        last_arrival: Timestamp::ZERO,
    }]);
    newest.resize(SEGMENT_BYTES as usize, 0);
    for (slot, bytes) in [(0, rotten), (1, newest)] {
        let put = sim.disk().put_file(&slot_path(LogId(0), slot), &bytes);
        put.expect("there is room");
    }
    let reactor = sim.reactor();
    let recovered = sim.run(RunLimit::done(), async move {
        let ledger = LedgerState::default();
        let first = recover(&reactor, IDENTITY, LogId(0), 2, &ledger).await;
        let again = recover(&reactor, IDENTITY, LogId(0), 3, &ledger).await;
        (first.expect("no faults"), again.expect("no faults"))
    });
    let (first, again) = recovered.expect("it ran");
    assert_eq!(first.report.scanned, 2);
    let hole = Hole {
        from: Offset::ZERO,
        until: at(0, 44),
    };
    assert_eq!(first.shards[0].holes, [hole]);
    assert_eq!(again.report.scanned, 0);
    assert_eq!(again.shards, first.shards);
}
