//! SubscribeToShard, for batches that are longer than an event.

use serde_json::json;

use crate::fan_out::{create, register, server};
use crate::subscriber::Subscriber;

/// A batch was read once for each event that was cut from it: 14 times one of 9 MB, and copied as
/// often if its shard was another core's.
#[test]
fn a_long_batch_is_read_once_for_all_its_events() {
    let server = server(2);
    let mut client = server.connect();
    create(&mut client, 2);
    let arn = register(&server, "app");
    // One record to a call of nine records has a number of its own.
    let record = |nth: usize, hash: u128| {
        let mut data = vec![b'x'; 1_000_000];
        data[0] = b'0' + nth as u8;
        let data = base64_simd::STANDARD.encode_to_string(data);
        json!({"PartitionKey": "k", "ExplicitHashKey": hash.to_string(), "Data": data})
    };
    for hash in [7, u128::MAX - 7] {
        let records: Vec<_> = (0..9).map(|nth| record(nth, hash)).collect();
        let put = client.call("PutRecords", json!({"StreamName": "s", "Records": records}));
        assert_eq!(put["FailedRecordCount"], 0);
    }
    // One of the shards is the core's that the connection is on, the other is not.
    for shard in 0..2 {
        let before = server.bytes_read();
        let position = json!({"Type": "TRIM_HORIZON"});
        let mut events = Subscriber::open(&server, &arn, shard, position);
        let mut numbers = Vec::new();
        while numbers.len() < 9 {
            for data in events.next_records().data() {
                assert_eq!(data.len(), 1_000_000);
                numbers.push(data.as_bytes()[0] - b'0');
            }
        }
        assert_eq!(numbers, (0..9).collect::<Vec<u8>>());
        // Once to see that it is long, and once with the memory that takes.
        let read = server.bytes_read() - before;
        assert!(read < 20_000_000, "{read} bytes for shard {shard}");
    }
}
