//! Full load into a stream with a byte cap: the folder stays bounded.
//!
//! Twenty seconds in every run; the long form is
//! `WEIR_TEST_SOAK_SECONDS=600 cargo test -p tests byte_cap -- --nocapture`.

use std::time::Duration;

use weir_protocol::wire::request::ReadFrom;

use super::{create, plan, watch, went_well};
use crate::harness::{Load, Reader, Setup, alone, bytes_on_disk, mib, parse, temporary, wait_for};

/// Each of the four shards keeps a quarter of it.
const CAP_BYTES: u64 = 128 << 20;
/// Segments kept free, open or half dead, footers, the catalog.
const OVERHEAD_BYTES: u64 = 160 << 20;
/// The server looks once a second what may go.
const LATE: Duration = Duration::from_secs(2);

fn time() -> Duration {
    let asked = std::env::var("WEIR_TEST_SOAK_SECONDS").ok();
    let seconds = asked.map(|text| text.parse().expect("a number of seconds"));
    Duration::from_secs(seconds.unwrap_or(20))
}

#[test]
fn full_load_into_a_capped_stream_stays_within_its_folder() {
    let _machine = alone();
    let folder = temporary("byte-cap");
    let setup = Setup::new(folder.path()).with("--segment-bytes", "16MiB");
    let victim = setup.start();
    let stream = create(&victim, "capped", Some(CAP_BYTES));
    let load = Load::start(&plan(&victim, &stream, 1, None));
    let most = watch(&setup.data(), time());
    let noted = load.stop();
    went_well(&noted);
    let rate = noted.bytes / time().as_secs();
    println!(
        "{} MiB in {:?} with a cap of {} MiB: at most {} MiB on disk",
        mib(noted.bytes),
        time(),
        mib(CAP_BYTES),
        mib(most)
    );
    let rest = CAP_BYTES + OVERHEAD_BYTES;
    let bound = rest + rate * LATE.as_secs();
    assert!(
        noted.bytes > 2 * bound,
        "the bound shows something: {} bytes",
        noted.bytes
    );
    assert!(
        most <= bound,
        "{} MiB on disk, bound {}",
        mib(most),
        mib(bound)
    );
    let last = wait_for("the cap", Duration::from_secs(20), || {
        let now = bytes_on_disk(&setup.data());
        (now <= rest).then_some(now)
    });
    println!("{} MiB on disk when the load has ended", mib(last));

    // The newest records are there, about as many as the cap allows.
    let mut reader = Reader::new(victim.wire);
    let mut bytes = 0;
    for shard in 0..stream.shards.len() as u32 {
        let newest = noted.stored.iter().filter(|placed| placed.shard == shard);
        let newest = newest
            .max_by_key(|placed| placed.first)
            .expect("each shard got some");
        let mut last = None;
        reader.all(&stream, shard, ReadFrom::TrimHorizon, |record| {
            let content = parse(record.data).expect("a record of ours");
            bytes += record.data.len() as u64;
            last = Some(content.batch);
        });
        assert_eq!(
            last,
            Some(newest.batch),
            "shard {shard} ends with its newest batch"
        );
    }
    assert!(bytes > CAP_BYTES / 2, "{} MiB are readable", mib(bytes));
    victim.stop();
}
