//! Settings that are stored and shown and do nothing: the log says so, once for each.
//!
//! Owns: what was said since the server started. Never: whether they are stored.

use crate::settings::ShardMetrics;
use crate::stream::Stream;

/// What a person may expect of a setting, and does not get.
const SENTENCES: [&str; 4] = [
    "an encryption key is stored and shown, and nothing is encrypted with it",
    "a resource policy is stored and shown, and not enforced",
    "metrics per shard are stored and shown, and sent nowhere: see the metrics port",
    "a warm throughput is stored and shown, and holds nothing ready",
];

/// What the log said already.
#[derive(Debug, Default)]
pub(crate) struct WithoutEffect {
    said: [bool; SENTENCES.len()],
}

impl WithoutEffect {
    /// Looks at a stream that was made or changed.
    pub(crate) fn look(&mut self, stream: &Stream) {
        for sentence in self.news(stream) {
            tracing::warn!(stream = %stream.name, "{sentence}");
        }
    }

    fn news(&mut self, stream: &Stream) -> Vec<&'static str> {
        let settings = &stream.settings;
        let has_policy = stream.consumers.iter().any(|c| c.policy.is_some());
        let found = [
            settings.encryption_key.is_some(),
            settings.policy.is_some() || has_policy,
            settings.monitoring != ShardMetrics::default(),
            settings.warm_throughput_mibps.is_some(),
        ];
        let mut news = Vec::new();
        for (nth, sentence) in SENTENCES.into_iter().enumerate() {
            if found[nth] && !self.said[nth] {
                self.said[nth] = true;
                news.push(sentence);
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use weir_protocol::model::{HashKeyRange, ShardIndex, StreamId, StreamName, Timestamp};

    use super::*;
    use crate::stream::Shard;

    #[test]
    fn each_is_said_once() {
        let shard = Shard {
            index: ShardIndex(0),
            range: HashKeyRange::divide(1).next().unwrap(),
            created: Timestamp::ZERO,
            opened: Timestamp::ZERO,
            core: 0,
            parent: None,
            adjacent_parent: None,
            closed: None,
        };
        let name = StreamName::new("logs").unwrap();
        let mut stream = Stream::of_shards(StreamId::new(1), name, vec![shard]).unwrap();
        let mut said = WithoutEffect::default();
        assert!(said.news(&stream).is_empty());
        stream.settings.encryption_key = Some("k".to_owned());
        stream.settings.monitoring = ShardMetrics::ALL;
        assert_eq!(said.news(&stream), [SENTENCES[0], SENTENCES[2]]);
        stream.settings.policy = Some("{}".to_owned());
        stream.settings.warm_throughput_mibps = Some(1);
        assert_eq!(said.news(&stream), [SENTENCES[1], SENTENCES[3]]);
        assert!(said.news(&stream).is_empty());
    }
}
