//! Retention of three seconds under load: the folder stays bounded, and a stream that keeps its
//! records for a day, written in between, has them all.

use std::time::Duration;

use weir_protocol::wire::request::ReadFrom;

use super::{connect, create, plan, watch, went_well};
use crate::harness::{
    Load, Reader, Setup, alone, bytes_on_disk, mib, parse, run, temporary, wait_for,
};

const RETENTION: Duration = Duration::from_secs(3);
const RATE: u64 = 40_000_000;
const OVERHEAD_BYTES: u64 = 128 << 20;

#[test]
fn records_that_expire_give_their_bytes_back_under_load() {
    let _machine = alone();
    let folder = temporary("retention");
    let setup = Setup::new(folder.path());
    let victim = setup.start();
    let create_short = ["create", "short", "--shards", "4", "--retention", "3s"];
    run(
        &mut victim.stream(&create_short),
        [],
        Duration::from_secs(20),
    )
    .succeeded();
    let short = connect(&victim).describe("short");
    assert_eq!(short.retention_ms, RETENTION.as_millis() as u64);
    let long = create(&victim, "long", None);
    let passing = Load::start(&plan(&victim, &short, 1, Some(RATE)));
    let staying = Load::start(&plan(&victim, &long, 2, Some(RATE / 20)));
    let most = watch(&setup.data(), Duration::from_secs(15));
    let (passing, staying) = (passing.stop(), staying.stop());
    went_well(&passing);
    went_well(&staying);

    // Twice what is alive, and what the log needs to work.
    let alive = RATE * RETENTION.as_secs() + staying.bytes;
    let bound = 2 * alive + OVERHEAD_BYTES;
    println!(
        "{} MiB written with 3 s of retention, {} MiB with a day: at most {} MiB on disk",
        mib(passing.bytes),
        mib(staying.bytes),
        mib(most)
    );
    assert!(
        passing.bytes > bound,
        "the bound shows something: {} bytes",
        passing.bytes
    );
    assert!(
        most <= bound,
        "{} MiB on disk, bound {}",
        mib(most),
        mib(bound)
    );

    let mut reader = Reader::new(victim.wire);
    wait_for("the end of what expired", Duration::from_secs(20), || {
        let mut left = 0;
        for shard in 0..short.shards.len() as u32 {
            reader.all(&short, shard, ReadFrom::TrimHorizon, |_| left += 1);
        }
        (left == 0).then_some(())
    });
    let last = wait_for("an almost empty folder", Duration::from_secs(30), || {
        let now = bytes_on_disk(&setup.data());
        (now <= 2 * staying.bytes + OVERHEAD_BYTES / 2).then_some(now)
    });
    println!("{} MiB on disk after all has expired", mib(last));
    let mut records = 0;
    for shard in 0..long.shards.len() as u32 {
        reader.all(&long, shard, ReadFrom::TrimHorizon, |record| {
            parse(record.data).expect("a record of the long stream");
            records += 1;
        });
    }
    assert_eq!(records, staying.records());
    victim.stop();
}
