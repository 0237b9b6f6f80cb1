//! What the control plane says of a write that failed.

use std::time::Duration;

use weir_protocol::model::{StreamMode, StreamStatus, Timestamp};
use weir_reactor::sim::{RunLimit, Sim, SimOptions};

use super::*;
use crate::boot::open_in;
use crate::folder::{EngineMemory, FolderOptions};
use crate::settings::StreamSettings;

fn failure() -> Result<(), CatalogError> {
    Err(std::io::Error::other("the disk says no").into())
}

#[test]
fn a_write_that_failed_and_is_there_was_made() {
    let sim = Sim::new(1, SimOptions::default());
    let (reactor, disk) = (sim.reactor(), sim.disk());
    sim.run(RunLimit::done(), async move {
        let options = FolderOptions {
            path: "data".into(),
            cores: 1,
            segment_bytes: Some(256 << 10),
            memory: EngineMemory::default(),
            reserve_bytes: 0,
            quota: QuotaSwitch::Mode,
            state_delay: Duration::from_millis(5),
            account: "000000000000".to_owned(),
            region: "us-east-1".to_owned(),
        };
        let mut plane = open_in(&reactor, &disk, &options).await.unwrap().control;
        let create = CreateStream {
            name: StreamName::new("logs").unwrap(),
            shards: 3,
            mode: StreamMode::Provisioned,
            retention_ms: None,
            retain_bytes: None,
            settings: StreamSettings::default(),
        };
        let created =
            plane
                .model
                .create(&create, StreamStatus::Creating, Timestamp::from_millis(7));
        let (stream, next) = created.unwrap();

        let told = plane.settled(failure(), |model| model.holds(&stream)).await;
        assert!(matches!(told, Err(ControlError::CatalogFailed { .. })));
        assert!(plane.model.find(&stream.name).is_err());

        plane.catalog.put_stream(&stream, next).unwrap();
        let told = plane.settled(failure(), |model| model.holds(&stream)).await;
        told.unwrap();
        assert!(plane.model.holds(&stream));
        let mut other = stream.clone();
        other.status = StreamStatus::Active;
        assert!(!plane.model.holds(&other));
    })
    .unwrap();
}
