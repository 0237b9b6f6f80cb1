//! Prints records: their bytes, or one JSON object each.

use std::io::{self, BufWriter, Write};

use serde::Serialize;
use weir_protocol::model::SequenceNumber;
use weir_protocol::wire::response::ShardDescription;

use super::records::Record;
use crate::cli::arguments::{Output, Tail};
use crate::units::calendar;

/// Prints records as asked.
pub(super) struct Printer<'a> {
    arguments: &'a Tail,
    out: BufWriter<io::StdoutLock<'static>>,
}

#[derive(Serialize)]
struct RecordJson<'a> {
    shard: String,
    sequence_number: String,
    arrival: String,
    partition_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

impl<'a> Printer<'a> {
    pub(super) fn new(arguments: &'a Tail) -> Self {
        Self {
            arguments,
            out: BufWriter::with_capacity(256 * 1024, io::stdout().lock()),
        }
    }

    pub(super) fn print(
        &mut self,
        shard: &ShardDescription,
        record: &Record<'_>,
    ) -> io::Result<()> {
        if self.arguments.show.output == Output::Json {
            serde_json::to_writer(&mut self.out, &record_json(shard, record))?;
        } else {
            if self.arguments.keys {
                self.out.write_all(record.key)?;
                self.out.write_all(b"\t")?;
            }
            self.out.write_all(record.data)?;
        }
        self.out.write_all(b"\n")
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn record_json<'a>(shard: &ShardDescription, record: &Record<'a>) -> RecordJson<'a> {
    let data = std::str::from_utf8(record.data);
    RecordJson {
        shard: shard.index.to_string(),
        sequence_number: SequenceNumber::of_record(
            shard.index,
            shard.created,
            record.offset,
            record.arrival,
        )
        .to_string(),
        arrival: calendar(record.arrival),
        partition_key: std::str::from_utf8(record.key).unwrap_or_default(),
        data: data.ok(),
        data_base64: data
            .is_err()
            .then(|| base64_simd::STANDARD.encode_to_string(record.data)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_protocol::model::{HashKeyRange, Offset, ShardIndex, Timestamp};

    #[test]
    fn json_keeps_bytes_that_are_no_text() {
        let shard = ShardDescription {
            index: ShardIndex(1),
            core: 0,
            range: HashKeyRange::ALL,
            created: Timestamp::from_millis(1_763_900_000_000),
            closed: false,
        };
        let record = |data| Record {
            offset: Offset::ZERO,
            arrival: Timestamp::from_millis(1_763_900_001_000),
            key: b"k",
            data,
        };
        let json = |data| serde_json::to_value(record_json(&shard, &record(data))).unwrap();
        let text = json("grüß".as_bytes());
        assert_eq!(text["data"], "grüß");
        assert!(text.get("data_base64").is_none());
        assert_eq!(text["shard"], "shardId-000000000001");
        assert_eq!(text["sequence_number"].as_str().unwrap().len(), 56);
        let bytes = json(b"\xff\x00");
        assert!(bytes.get("data").is_none());
        assert_eq!(bytes["data_base64"], "/wA=");
    }
}
