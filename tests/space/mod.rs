//! The disk gets its bytes back: through deletion, through time, through caps.

mod byte_cap;
mod deletion;
mod retention;

use std::path::Path;
use std::time::{Duration, Instant};

use weir_protocol::model::StreamMode;
use weir_protocol::wire::hello::CORE_ANY;
use weir_protocol::wire::request::CreateRequest;
use weir_protocol::wire::response::StreamDescription;

use crate::harness::{Noted, Plan, Shape, Victim, Wire, bytes_on_disk, name};

fn connect(victim: &Victim) -> Wire {
    Wire::connect(victim.wire, CORE_ANY).expect("the server takes connections")
}

fn create(victim: &Victim, stream: &str, retain_bytes: Option<u64>) -> StreamDescription {
    connect(victim).create_as(CreateRequest {
        name: name(stream),
        shards: 4,
        mode: StreamMode::OnDemand,
        retention_ms: None,
        retain_bytes,
    })
}

/// Batches of about 64 KB, at a rate or as fast as they are taken.
fn plan(victim: &Victim, stream: &StreamDescription, number: u64, rate: Option<u64>) -> Plan {
    Plan {
        address: victim.wire,
        stream: stream.clone(),
        number,
        connections: 2,
        in_flight: 8,
        shape: Shape {
            records: 100..=150,
            bytes: 300..=700,
        },
        bytes_per_second: rate,
    }
}

/// The most that the folder weighed while it was watched.
fn watch(folder: &Path, time: Duration) -> u64 {
    let until = Instant::now() + time;
    let mut most = 0;
    while Instant::now() < until {
        most = bytes_on_disk(folder).max(most);
        std::thread::sleep(Duration::from_millis(100));
    }
    most
}

#[track_caller]
fn went_well(noted: &Noted) {
    assert!(noted.broken.is_empty(), "{:?}", noted.broken);
    assert!(noted.refused.is_empty(), "{:?}", noted.refused);
}
