//! The rules of changing what a stream is set to, each with what it lets pass and what it refuses.

use weir_protocol::model::{HashKeyRange, ShardIndex, StreamId, StreamName, StreamQuota};

use super::*;
use crate::settings::{RecordDistribution, ShardMetrics, StreamSettings};
use crate::stream::Shard;

const HOUR_MS: u64 = 3_600_000;

fn stream() -> Stream {
    let shard = Shard {
        index: ShardIndex(0),
        range: HashKeyRange::divide(1).next().unwrap(),
        created: Timestamp::from_millis(5),
        opened: Timestamp::from_millis(5),
        core: 0,
        parent: None,
        adjacent_parent: None,
        closed: None,
    };
    let name = StreamName::new("logs").unwrap();
    Stream::of_shards(StreamId::new(1), name, vec![shard]).unwrap()
}

fn around() -> Surroundings {
    Surroundings {
        now: Timestamp::from_millis(1_000_000),
        expiry: Timestamp::from_millis(1_000_000),
        quota: QuotaSwitch::Mode,
        is_committed: false,
        is_instant: false,
    }
}

fn name(text: &str) -> ConsumerName {
    ConsumerName::new(text).unwrap()
}

fn tags(count: usize, prefix: &str) -> Tags {
    (0..count)
        .map(|i| (format!("{prefix}{i}"), "v".to_owned()))
        .collect()
}

fn make(stream: &Stream, change: &Change) -> Result<Stream, ControlError> {
    changed(stream, change, &around())
}

fn register_change(text: &str) -> Change {
    Change::RegisterConsumer {
        name: name(text),
        tags: Tags::new(),
    }
}

fn key(text: &str, created_secs: Option<u64>) -> ConsumerKey {
    ConsumerKey {
        name: name(text),
        created_secs,
    }
}

#[test]
fn retention_goes_only_the_way_it_is_told_to() {
    let stream = stream();
    let day = 24 * HOUR_MS;
    let longer = make(&stream, &Change::IncreaseRetention(day + HOUR_MS)).unwrap();
    assert_eq!(longer.retention_ms, day + HOUR_MS);
    assert_eq!(longer.status, StreamStatus::Active);
    // The present value is taken both ways.
    make(&longer, &Change::IncreaseRetention(day + HOUR_MS)).unwrap();
    make(&longer, &Change::DecreaseRetention(day + HOUR_MS)).unwrap();
    let present = day + HOUR_MS;
    assert_eq!(
        make(&longer, &Change::IncreaseRetention(day)),
        Err(ControlError::RetentionNotLonger {
            millis: day,
            present
        })
    );
    let millis = present + 1;
    assert_eq!(
        make(&longer, &Change::DecreaseRetention(millis)),
        Err(ControlError::RetentionNotShorter { millis, present })
    );
}

#[test]
fn what_expired_stays_expired_when_retention_grows() {
    let mut stream = stream();
    stream.retention_ms = 10_000;
    let grown = make(&stream, &Change::IncreaseRetention(24 * HOUR_MS)).unwrap();
    let gone = around().expiry.minus_millis(10_000);
    assert_eq!(grown.expired_before, gone);
    assert_eq!(grown.horizon(around().expiry), gone);
    // A shorter one and the former again: nothing comes back, and nothing more is lost.
    let shorter = Change::Settings(StreamChange {
        retention_ms: Some(500_000),
        ..StreamChange::default()
    });
    let shorter = make(&grown, &shorter).unwrap();
    assert_eq!(shorter.expired_before, gone);
    let again = make(&shorter, &Change::IncreaseRetention(24 * HOUR_MS)).unwrap();
    assert_eq!(again.expired_before, gone);
}

#[test]
fn fifty_tags_and_no_more() {
    let full = make(&stream(), &Change::Tag(tags(50, "a"))).unwrap();
    assert_eq!(full.settings.tags.len(), 50);
    assert_eq!(
        make(&full, &Change::Tag(tags(1, "b"))),
        Err(ControlError::TooManyTags { asked: 51 })
    );
    // Known keys only change their value.
    let again = Tags::from([("a0".to_owned(), "new".to_owned())]);
    let changed = make(&full, &Change::Tag(again)).unwrap();
    assert_eq!(changed.settings.tags["a0"], "new");
    let keys = vec!["a0".to_owned(), "unknown".to_owned()];
    let less = make(&full, &Change::Untag(keys)).unwrap();
    assert_eq!(less.settings.tags.len(), 49);
}

#[test]
fn what_passes_through_updating_must_be_active_before() {
    let stream = stream();
    let passing = [
        Change::Mode {
            mode: StreamMode::Provisioned,
            warm_throughput_mibps: None,
        },
        Change::Encryption(Some("k".to_owned())),
        Change::WarmThroughput(5),
        Change::RecordBytesMax(RECORD_BYTES_CEILING),
        Change::Distribution(RecordDistribution::Auto),
    ];
    for change in passing {
        let updating = make(&stream, &change).unwrap();
        assert_eq!(updating.status, StreamStatus::Updating, "{change:?}");
        assert!(
            matches!(
                make(&updating, &change),
                Err(ControlError::NotActive {
                    status: StreamStatus::Updating,
                    ..
                })
            ),
            "{change:?}"
        );
        let mut around = around();
        around.is_instant = true;
        let instant = changed(&stream, &change, &around).unwrap();
        assert_eq!(instant.status, StreamStatus::Active);
    }
    let mut updating = stream.clone();
    updating.status = StreamStatus::Updating;
    let passed_by = [
        Change::IncreaseRetention(stream.retention_ms),
        Change::Tag(tags(1, "a")),
        Change::EnableMonitoring(ShardMetrics::ALL),
        Change::Policy(Some("{}".to_owned())),
        register_change("app"),
    ];
    for change in &passed_by {
        make(&updating, change).unwrap();
    }
    for status in [StreamStatus::Creating, StreamStatus::Deleting] {
        updating.status = status;
        for change in &passed_by {
            assert!(make(&updating, change).is_err(), "{change:?}");
        }
    }
}

#[test]
fn modes_are_counted_where_a_stream_is_as_awss() {
    let mut stream = stream();
    stream.settings.quota = StreamQuota::Aws;
    let change = |stream: &Stream, mode, at_ms| {
        let change = Change::Mode {
            mode,
            warm_throughput_mibps: None,
        };
        let around = Surroundings {
            now: Timestamp::from_millis(at_ms),
            is_instant: true,
            ..around()
        };
        changed(stream, &change, &around)
    };
    let first = change(&stream, StreamMode::Provisioned, 1_000).unwrap();
    // To the same mode is no change.
    let first = change(&first, StreamMode::Provisioned, 1_500).unwrap();
    let second = change(&first, StreamMode::OnDemand, 2_000).unwrap();
    assert!(matches!(
        change(&second, StreamMode::Provisioned, 3_000),
        Err(ControlError::ModeChangedOften { .. })
    ));
    change(&second, StreamMode::Provisioned, DAY_MS + 1_000).unwrap();
    let mut free = second;
    free.settings.quota = StreamQuota::Server;
    for _ in 0..9 {
        free = change(&free, StreamMode::Provisioned, 3_000).unwrap();
        free = change(&free, StreamMode::OnDemand, 3_000).unwrap();
    }
    assert_eq!(free.mode_changes.len(), STREAM_MODE_CHANGES_PER_DAY);
}

#[test]
fn warm_throughput_is_for_on_demand_streams() {
    let mut provisioned = stream();
    provisioned.mode = StreamMode::Provisioned;
    let refused = make(&provisioned, &Change::WarmThroughput(3));
    assert!(matches!(refused, Err(ControlError::NotOnDemand { .. })));
    let change = |mode| Change::Mode {
        mode,
        warm_throughput_mibps: Some(7),
    };
    let warm = make(&provisioned, &change(StreamMode::OnDemand)).unwrap();
    assert_eq!(warm.settings.warm_throughput_mibps, Some(7));
    assert!(make(&stream(), &change(StreamMode::Provisioned)).is_err());
}

#[test]
fn consumers_are_registered_up_to_their_limits() {
    let mut stream = stream();
    for i in 0..STREAM_CONSUMERS_CREATING_MAX {
        stream = make(&stream, &register_change(&format!("c{i:02}"))).unwrap();
    }
    assert!(matches!(
        make(&stream, &register_change("d")),
        Err(ControlError::TooManyConsumersCreating { .. })
    ));
    assert!(matches!(
        make(&stream, &register_change("c03")),
        Err(ControlError::ConsumerExists { .. })
    ));
    let mut around = around();
    around.is_instant = true;
    for consumer in &mut stream.consumers {
        consumer.status = ConsumerStatus::Active;
    }
    for i in STREAM_CONSUMERS_CREATING_MAX..STREAM_CONSUMERS_MAX {
        stream = changed(&stream, &register_change(&format!("a{i:02}")), &around).unwrap();
    }
    assert!(stream.consumers.is_sorted_by(|a, b| a.name < b.name));
    let limit = STREAM_CONSUMERS_MAX;
    let name = stream.name.clone();
    assert_eq!(
        changed(&stream, &register_change("z"), &around),
        Err(ControlError::TooManyConsumers { name, limit })
    );
    around.is_committed = true;
    let more = changed(&stream, &register_change("z"), &around).unwrap();
    assert_eq!(more.consumer("z").unwrap().status, ConsumerStatus::Active);
}

#[test]
fn a_consumer_is_found_by_name_and_second() {
    let stream = make(&stream(), &register_change("app")).unwrap();
    let other_time = Change::DeregisterConsumer(key("app", Some(1)));
    assert!(matches!(
        make(&stream, &other_time),
        Err(ControlError::ConsumerNotFound { .. })
    ));
    let its_own = Change::DeregisterConsumer(key("app", Some(1_000)));
    let leaving = make(&stream, &its_own).unwrap();
    let status = leaving.consumer("app").unwrap().status;
    assert_eq!(status, ConsumerStatus::Deleting);
    let mut around = around();
    around.is_instant = true;
    let gone = changed(&stream, &its_own, &around).unwrap();
    assert_eq!(gone.consumer("app"), None);

    let tagged = Change::TagConsumer(key("app", None), tags(2, "a"));
    let stream = registered("app");
    let tagged = make(&stream, &tagged).unwrap();
    let untag = Change::UntagConsumer(key("app", None), vec!["a1".to_owned()]);
    let untagged = make(&tagged, &untag).unwrap();
    assert_eq!(untagged.consumer("app").unwrap().tags, tags(1, "a"));
}

/// A stream with a consumer that is ACTIVE.
fn registered(consumer: &str) -> Stream {
    let mut around = around();
    around.is_instant = true;
    changed(&stream(), &register_change(consumer), &around).unwrap()
}

#[test]
fn a_consumer_on_its_way_takes_no_tags_and_no_policy() {
    let active = registered("app");
    let leave = Change::DeregisterConsumer(key("app", None));
    let on_their_way = [
        make(&stream(), &register_change("app")).unwrap(),
        make(&active, &leave).unwrap(),
    ];
    for change in [
        Change::TagConsumer(key("app", None), tags(1, "a")),
        Change::UntagConsumer(key("app", None), vec!["a0".to_owned()]),
        Change::ConsumerPolicy(key("app", None), Some("{}".to_owned())),
        Change::ConsumerPolicy(key("app", None), None),
    ] {
        for stream in &on_their_way {
            let consumer = name("app");
            let created = around().now;
            assert_eq!(
                make(stream, &change),
                Err(ControlError::ConsumerNotActive {
                    stream: stream.name.clone(),
                    consumer,
                    created,
                }),
                "{change:?}"
            );
        }
        let refused = make(&active, &change).err();
        assert!(
            matches!(refused, None | Some(ControlError::NoPolicy)),
            "{change:?}: {refused:?}"
        );
    }
}

#[test]
fn only_on_demand_streams_spread_their_records() {
    let mode = |mode| Change::Mode {
        mode,
        warm_throughput_mibps: None,
    };
    let mut around = around();
    around.is_instant = true;
    let spread = Change::Distribution(RecordDistribution::Auto);
    let provisioned = changed(&stream(), &mode(StreamMode::Provisioned), &around).unwrap();
    let name = provisioned.name.clone();
    assert_eq!(
        changed(&provisioned, &spread, &around),
        Err(ControlError::ProvisionedSpread { name })
    );
    let by_key = Change::Distribution(RecordDistribution::default());
    assert_eq!(
        changed(&provisioned, &by_key, &around).as_ref(),
        Ok(&provisioned)
    );
    let spreading = changed(&stream(), &spread, &around).unwrap();
    assert_eq!(spreading.settings.distribution, RecordDistribution::Auto);
    // Whoever changes the mode, the operator too.
    let by_operator = Change::Settings(StreamChange {
        mode: Some(StreamMode::Provisioned),
        ..StreamChange::default()
    });
    for change in [mode(StreamMode::Provisioned), by_operator] {
        let back = changed(&spreading, &change, &around).unwrap();
        assert_eq!(back.settings.distribution, RecordDistribution::default());
    }
}

#[test]
fn policies_come_and_go() {
    let stream = stream();
    assert_eq!(
        make(&stream, &Change::Policy(None)),
        Err(ControlError::NoPolicy)
    );
    let with = make(&stream, &Change::Policy(Some("{}".to_owned()))).unwrap();
    let without = make(&with, &Change::Policy(None)).unwrap();
    assert_eq!(without.settings, StreamSettings::default());
    let bytes = POLICY_BYTES_MAX + 1;
    assert_eq!(
        make(&stream, &Change::Policy(Some("x".repeat(bytes)))),
        Err(ControlError::PolicyTooLong { bytes })
    );
}

#[test]
fn warm_throughput_has_a_bound() {
    let mode = |mibps| Change::Mode {
        mode: StreamMode::OnDemand,
        warm_throughput_mibps: Some(mibps),
    };
    let most = WARM_THROUGHPUT_MIBPS_MAX;
    for change in [Change::WarmThroughput(most), mode(most)] {
        let after = make(&stream(), &change).unwrap();
        assert_eq!(after.settings.warm_throughput_mibps, Some(most));
    }
    let asked = most + 1;
    for change in [Change::WarmThroughput(asked), mode(asked)] {
        assert_eq!(
            make(&stream(), &change),
            Err(ControlError::WarmThroughput { asked })
        );
    }
}
