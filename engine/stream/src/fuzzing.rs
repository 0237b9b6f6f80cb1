//! A door for fuzzers: what a data folder's small texts may hold after a disk or a person changed them.
//!
//! Panics if a promise is broken. Never in a release: the feature `fuzzing` is for `tests/fuzz` alone.

use crate::catalog::{account, entry, given_up};
use crate::format;

/// A row's key where it is made of numbers.
const KEY: (u64, u32, u64) = (7, 1, 5);

/// One row of the catalog, or the FORMAT file: the first byte says which, and how many cores there are.
/// What is read is written as what reads the same.
pub fn catalog_row(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else {
        return;
    };
    match choice % 5 {
        0 => {
            let cores = u32::from(choice / 5) + 1;
            let Ok(stream) = entry::decode("logs", bytes, cores) else {
                return;
            };
            assert!(stream.shards.iter().all(|shard| shard.core < cores));
            let again = entry::encode(&stream);
            let read = entry::decode("logs", &again, cores).expect("our own row is read");
            assert_eq!(entry::encode(&read), again);
        }
        1 => {
            let Ok(settings) = account::decode(bytes) else {
                return;
            };
            let again = account::encode(&settings);
            let read = account::decode(&again).expect("our own row is read");
            assert_eq!(account::encode(&read), again);
        }
        2 => {
            let Ok(row) = given_up::decode_records(KEY, bytes) else {
                return;
            };
            let again = given_up::encode_records(&row);
            let read = given_up::decode_records(KEY, &again).expect("our own row is read");
            assert_eq!(given_up::encode_records(&read), again);
        }
        3 => {
            let key = (KEY.1, KEY.0);
            let Ok(row) = given_up::decode_segment(key, bytes) else {
                return;
            };
            let again = given_up::encode_segment(&row);
            let read = given_up::decode_segment(key, &again).expect("our own row is read");
            assert_eq!(given_up::encode_segment(&read), again);
        }
        _ => {
            if let Ok(identity) = format::parse(&String::from_utf8_lossy(bytes)) {
                assert!(format::is_segment_size(identity.segment_bytes));
            }
        }
    }
}

/// Rows as this build writes them, by name.
pub fn catalog_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let with = |choice: u8, text: &str| [&[choice], text.as_bytes()].concat();
    let stream = r#"{"version":1,"id":3,"status":"UPDATING","mode":"PROVISIONED","retention_ms":86400000,
        "created_ms":5,"map_version":2,"shards":[
        {"index":0,"start":"00000000000000000000000000000000","end":"ffffffffffffffffffffffffffffffff",
         "created_ms":5,"closed":{"at_ms":9,"next":12}},
        {"index":1,"start":"00000000000000000000000000000000","end":"7fffffffffffffffffffffffffffffff",
         "created_ms":9,"parent":0},
        {"index":2,"start":"80000000000000000000000000000000","end":"ffffffffffffffffffffffffffffffff",
         "created_ms":9,"parent":0}],
        "pending":{"count":{"target":4}}}"#;
    vec![
        ("stream", with(0, stream)),
        ("stream_four_cores", with(15, stream)),
        (
            "account",
            with(1, r#"{"version":1,"is_committed":true,"started_ms":7}"#),
        ),
        ("records", with(2, r#"{"version":1,"until":9,"found":{}}"#)),
        (
            "segment",
            with(
                3,
                r#"{"version":1,"fate":"set_aside","least_next":[[7,1,5]],"found":[]}"#,
            ),
        ),
        (
            "format",
            with(
                4,
                "weir folder format 1\nfolder 8f14e45fceea167a\nsegment-bytes 134217728\n",
            ),
        ),
    ]
}
