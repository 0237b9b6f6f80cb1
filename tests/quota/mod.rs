//! A provisioned shard takes what AWS's takes; an on-demand one what the machine gives.

use std::time::{Duration, Instant};

use weir_protocol::model::{ShardId, StreamMode, StreamQuota};
use weir_protocol::wire::error::ErrorCode;
use weir_protocol::wire::hello::CORE_ANY;
use weir_protocol::wire::request::{CreateRequest, Request, SetRequest};
use weir_protocol::wire::response::{AppendOutcome, StreamDescription};

use crate::harness::{Setup, Shape, Victim, Wire, alone, fill, name, temporary};

/// Records accepted and batches throttled while one connection sends all it can.
struct Taken {
    records: u64,
    bytes: u64,
    throttled: u64,
    time: Duration,
}

fn flood(victim: &Victim, mode: StreamMode, shape: &Shape, time: Duration) -> Taken {
    let mut wire = Wire::connect(victim.wire, CORE_ANY).unwrap();
    let stream = wire.create_as(CreateRequest {
        name: name(&format!("flood-{}-{}", mode.code(), shape.bytes.start())),
        shards: 1,
        mode,
        retention_ms: None,
        retain_bytes: None,
    });
    flood_stream(&mut wire, &stream, shape, time)
}

fn flood_stream(
    wire: &mut Wire,
    stream: &StreamDescription,
    shape: &Shape,
    time: Duration,
) -> Taken {
    let shard = ShardId::new(stream.id, stream.shards[0].index);
    let mut taken = Taken {
        records: 0,
        bytes: 0,
        throttled: 0,
        time: Duration::ZERO,
    };
    let began = Instant::now();
    let mut batch = Vec::new();
    for number in 0.. {
        if began.elapsed() >= time {
            break;
        }
        batch.clear();
        let records = fill(&mut batch, shard, stream.map_version, number, shape);
        match wire.append(&batch, 1).expect("a legal request")[0] {
            AppendOutcome::Stored { .. } => {
                taken.records += u64::from(records);
                // A record weighs its data and its key of six bytes.
                taken.bytes += u64::from(records) * (*shape.bytes.start() as u64 + 6);
            }
            AppendOutcome::Refused { code, .. } => {
                assert_eq!(code, ErrorCode::Throttled);
                taken.throttled += 1;
            }
        }
    }
    taken.time = began.elapsed();
    taken
}

fn near(what: &str, found: u64, per_second: f64, one_request: f64, time: Duration) {
    // One second's worth is there at the start, and the last request may go into debt.
    let most = per_second * (1.0 + time.as_secs_f64()) + one_request;
    let least = per_second * (1.0 + time.as_secs_f64()) * 0.95 - one_request;
    let found = found as f64;
    assert!(
        (least..=most).contains(&found),
        "{found} {what}, expected {least} to {most}"
    );
}

#[test]
fn a_provisioned_shard_is_metered_and_an_on_demand_one_is_not() {
    let _machine = alone();
    let folder = temporary("quota");
    let victim = Setup::new(folder.path()).start();
    let time = Duration::from_secs(4);

    let small = Shape {
        records: 20..=20,
        bytes: 50..=50,
    };
    let taken = flood(&victim, StreamMode::Provisioned, &small, time);
    near("records", taken.records, 1_000.0, 20.0, taken.time);
    assert!(taken.throttled > 0);

    let large = Shape {
        records: 2..=2,
        bytes: 20_000..=20_000,
    };
    let taken = flood(&victim, StreamMode::Provisioned, &large, time);
    near("bytes", taken.bytes, 1_048_576.0, 40_012.0, taken.time);
    assert!(taken.throttled > 0);

    let taken = flood(
        &victim,
        StreamMode::OnDemand,
        &small,
        Duration::from_secs(1),
    );
    assert_eq!(taken.throttled, 0);
    assert!(
        taken.records > 3_000,
        "{} records in a second",
        taken.records
    );
    victim.stop();
}

#[test]
fn the_quota_flag_overrides_the_mode() {
    let time = Duration::from_secs(1);
    let small = Shape {
        records: 20..=20,
        bytes: 50..=50,
    };
    for (flag, mode, is_metered) in [
        ("aws", StreamMode::OnDemand, true),
        ("off", StreamMode::Provisioned, false),
    ] {
        let folder = temporary("quota-flag");
        let victim = Setup::new(folder.path()).with("--quota", flag).start();
        let taken = flood(&victim, mode, &small, time);
        assert_eq!(
            taken.throttled > 0,
            is_metered,
            "--quota {flag}: {} records",
            taken.records
        );
        victim.stop();
    }
}

#[test]
fn a_streams_own_quota_goes_before_the_servers() {
    let folder = temporary("quota-stream");
    let victim = Setup::new(folder.path()).with("--quota", "off").start();
    let mut wire = Wire::connect(victim.wire, CORE_ANY).unwrap();
    let stream = wire.create("own", 1);
    let small = Shape {
        records: 20..=20,
        bytes: 50..=50,
    };
    for (quota, is_metered) in [
        (StreamQuota::Server, false),
        (StreamQuota::Aws, true),
        (StreamQuota::Off, false),
        (StreamQuota::Mode, false),
    ] {
        let set = Request::Set(SetRequest {
            name: name("own"),
            mode: None,
            retention_ms: None,
            retain_bytes: None,
            quota: Some(quota),
        });
        assert_eq!(wire.stream(&set).unwrap().quota, quota);
        let taken = flood_stream(&mut wire, &stream, &small, Duration::from_secs(1));
        let records = taken.records;
        assert_eq!(taken.throttled > 0, is_metered, "{quota:?}: {records}");
    }
    victim.stop();
}
