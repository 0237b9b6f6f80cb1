//! A deleted stream gives its bytes back although another stream's records lie between its own.

use std::thread;
use std::time::Duration;

use weir_protocol::wire::request::{ReadFrom, Request};

use super::{connect, create, plan, went_well};
use crate::harness::wait_for;
use crate::harness::{Load, Reader, Setup, alone, bytes_on_disk, mib, name, parse, temporary};

/// Segments that a log keeps free or open, its footers, the catalog.
const OVERHEAD_BYTES: u64 = 64 << 20;

#[test]
fn a_deleted_stream_gives_its_bytes_back_and_the_others_keep_theirs() {
    let _machine = alone();
    let folder = temporary("deletion");
    let setup = Setup::new(folder.path());
    let victim = setup.start();
    let kept = create(&victim, "kept", None);
    let gone = create(&victim, "gone", None);
    let small = Load::start(&plan(&victim, &kept, 1, Some(10_000_000)));
    let large = Load::start(&plan(&victim, &gone, 2, Some(60_000_000)));
    thread::sleep(Duration::from_secs(5));
    let (small, large) = (small.stop(), large.stop());
    went_well(&small);
    went_well(&large);
    let before = bytes_on_disk(&setup.data());
    assert!(
        before >= small.bytes + large.bytes,
        "what is acknowledged is on the disk"
    );

    let delete = Request::Delete(name("gone"));
    let deleted = connect(&victim).call(&delete, |response| format!("{response:?}"));
    assert_eq!(deleted.unwrap(), "Deleted");
    // Settled segments are at least half alive.
    let bound = 2 * small.bytes + OVERHEAD_BYTES;
    assert!(before > bound, "the bound shows something: {before} bytes");
    let after = wait_for(
        "the bytes of the deleted stream",
        Duration::from_mins(1),
        || {
            let now = bytes_on_disk(&setup.data());
            (now <= bound).then_some(now)
        },
    );
    println!(
        "kept {} MiB, deleted {} MiB: {} MiB on disk before, {} MiB after",
        mib(small.bytes),
        mib(large.bytes),
        mib(before),
        mib(after)
    );

    let count = |reader: &mut Reader| {
        let mut records = 0;
        for shard in 0..kept.shards.len() as u32 {
            reader.all(&kept, shard, ReadFrom::TrimHorizon, |record| {
                parse(record.data).expect("a record of the kept stream");
                records += 1;
            });
        }
        records
    };
    assert_eq!(count(&mut Reader::new(victim.wire)), small.records());
    // What was moved while the server ran is found by the next life too.
    victim.kill();
    let victim = setup.start();
    assert_eq!(count(&mut Reader::new(victim.wire)), small.records());
    victim.stop();
}
