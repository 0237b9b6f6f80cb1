//! One call of an action: who asks, and what the action may use to answer.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use weir_protocol::limits::RECORD_BYTES_MAX;
use weir_protocol::model::Timestamp;
use weir_reactor::Reactor;
use weir_stream::{Change, Changed, Consumer, ControlError, Engine, RecordDistribution, Stream};

use crate::encoding::Encoding;
use crate::error::{About, ServiceError};
use crate::http::{Ceiling, EventBody};
use crate::identity::Identity;
use crate::member::Members;
use crate::model::Ground;
use crate::read_budget::{Permit, ReadBudget};
use crate::seal::Seal;
use crate::stream_reference::StreamReference;
use crate::writer::Writer;

/// What an action answers with a 200.
pub(crate) enum Reply {
    /// A document, or nothing.
    Body(Vec<u8>),
    /// A document of records, and the memory they were allowed.
    Records(Vec<u8>, Permit),
    /// A stream of events.
    Events(EventBody),
}

/// What an action works with.
#[derive(Clone, Copy)]
pub(crate) struct Call<'c, R: Reactor> {
    pub(crate) engine: &'c Engine<R>,
    pub(crate) seal: &'c Seal,
    pub(crate) ids: &'c Ids,
    pub(crate) identity: &'c Identity,
    /// How the answer is written.
    pub(crate) encoding: Encoding,
    /// What bodies may hold.
    pub(crate) ceiling: &'c Rc<Ceiling>,
    /// What records on their way out may hold.
    pub(crate) budget: &'c Rc<ReadBudget>,
}

impl<R: Reactor> Call<'_, R> {
    /// Begins an answer of about `bytes`.
    pub(crate) fn writer(&self, bytes: usize) -> Writer {
        Writer::over(self.encoding, self.engine.spares().take(bytes))
    }

    /// What the checks may ask about the request's stream.
    pub(crate) fn ground<'a>(&'a self, members: Members<'a>) -> CallGround<'a, R> {
        CallGround {
            call: self,
            members,
        }
    }

    /// The wall clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.engine.wall()
    }

    /// The clock that tokens are made and judged by: it passes evenly whatever the wall clock does.
    pub(crate) fn token_time(&self) -> Timestamp {
        self.engine.steady()
    }

    /// The names for an error's text.
    pub(crate) fn about<'a>(&'a self, stream: &'a str) -> About<'a> {
        About {
            stream,
            account: &self.identity.account,
        }
    }

    /// The stream of this name, in any state.
    pub(crate) fn stream(&self, name: &str) -> Result<Arc<Stream>, ServiceError> {
        let streams = self.engine.streams();
        let found = streams.by_name(name).cloned();
        found.ok_or_else(|| self.about(name).not_found())
    }

    /// The same, and if a moment of creation is given, the stream must be the one made then and not
    /// another that has come into its name.
    pub(crate) fn stream_created(
        &self,
        name: &str,
        created_ms: Option<i64>,
    ) -> Result<Arc<Stream>, ServiceError> {
        let stream = self.stream(name)?;
        match created_ms {
            Some(given) if !is_moment(given, stream.created) => Err(self.about(name).not_found()),
            _ => Ok(stream),
        }
    }

    /// The stream of this name if it takes records. One that is being created or deleted is not
    /// found, as at AWS.
    pub(crate) fn usable_stream(&self, name: &str) -> Result<Arc<Stream>, ServiceError> {
        let stream = self.stream(name)?;
        if stream.is_usable() {
            Ok(stream)
        } else {
            Err(self.about(name).not_found())
        }
    }

    /// The same stream as it is by now, for the rest of a call that has found it: by its number,
    /// for another may have come into its name.
    pub(crate) fn stream_again(&self, stream: &Stream) -> Result<Arc<Stream>, ServiceError> {
        let streams = self.engine.streams();
        let found = streams.by_id(stream.id).filter(|found| found.is_usable());
        let gone = || self.about(stream.name.as_str()).not_found();
        found.cloned().ok_or_else(gone)
    }

    /// The consumer of this name, in any state; if a second is given, it must be the one it was
    /// registered in.
    pub(crate) fn consumer(
        &self,
        stream: &Stream,
        name: &str,
        created_secs: Option<u64>,
    ) -> Result<Consumer, ServiceError> {
        let same_time = |secs, consumer: &Consumer| secs == consumer.created.as_secs();
        let found = stream.consumer(name);
        found
            .filter(|consumer| created_secs.is_none_or(|secs| same_time(secs, consumer)))
            .cloned()
            .ok_or_else(|| self.about(stream.name.as_str()).consumer_not_found(name))
    }

    /// Changes the stream of this name.
    pub(crate) async fn change(&self, name: &str, change: Change) -> Result<Changed, ServiceError> {
        let stream = self.stream(name)?;
        let changed = self.engine.change_stream(&stream.name, change).await;
        changed.map_err(|error| self.control_refused(name, &error))
    }

    /// AWS's words for a refused change.
    pub(crate) fn control_refused(&self, name: &str, error: &ControlError) -> ServiceError {
        let region = &self.identity.region;
        self.about(name).control_refused(region, error)
    }
}

/// Whether a client's moment is `moment`. Not every client keeps the milliseconds that it was told,
/// so a whole second is every moment in it.
fn is_moment(given_ms: i64, moment: Timestamp) -> bool {
    let Ok(given) = u64::try_from(given_ms).map(Timestamp::from_millis) else {
        return false;
    };
    let is_whole_second = given.as_millis().is_multiple_of(1_000);
    given == moment || (is_whole_second && given.as_secs() == moment.as_secs())
}

/// The stream that a request's records are for, looked at when a bound depends on it.
pub(crate) struct CallGround<'c, R: Reactor> {
    call: &'c Call<'c, R>,
    members: Members<'c>,
}

impl<R: Reactor> CallGround<'_, R> {
    fn stream(&self) -> Option<Arc<Stream>> {
        let name = StreamReference::read(self.members).resolve().ok()?;
        self.call.stream(name).ok()
    }
}

/// Whether the stream finds the shards of its records by itself.
pub(crate) fn spreads(stream: &Stream) -> bool {
    stream.settings.distribution == RecordDistribution::Auto
}

impl<R: Reactor> Ground for CallGround<'_, R> {
    fn spreads(&self) -> bool {
        self.stream().is_some_and(|stream| spreads(&stream))
    }

    fn record_bytes_max(&self) -> usize {
        let stream = self.stream();
        stream.map_or(RECORD_BYTES_MAX, |s| s.settings.record_bytes_max) as usize
    }
}

/// Numbers for request ids and nonces: a fast sequence (splitmix64) from a random start. Nothing
/// secret hangs on them; the seal's key does not come from here.
#[derive(Debug)]
pub(crate) struct Ids {
    state: Cell<u64>,
}

impl Ids {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            state: Cell::new(seed),
        }
    }

    /// The next number; repeats after 2^64.
    pub(crate) fn next(&self) -> u64 {
        let state = self.state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.state.set(state);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A UUID of version 4, as text.
    pub(crate) fn uuid(&self) -> [u8; 36] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let high = (self.next() & !0xf000) | 0x4000;
        let low = (self.next() & (u64::MAX >> 2)) | (1 << 63);
        let mut left = u128::from(high) << 64 | u128::from(low);
        let mut text = [b'-'; 36];
        for (at, digit) in text.iter_mut().enumerate() {
            if !matches!(at, 8 | 13 | 18 | 23) {
                *digit = HEX[(left >> 124) as usize];
                left <<= 4;
            }
        }
        text
    }

    /// The value of `x-amz-id-2`: 72 bytes in base64.
    pub(crate) fn extended(&self) -> [u8; 96] {
        let mut bytes = [0; 72];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes());
        }
        let mut text = [0; 96];
        let _text = base64_simd::STANDARD.encode(&bytes, base64_simd::Out::from_slice(&mut text));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_second_is_every_moment_in_it() {
        let moment = Timestamp::from_millis(1_763_900_000_123);
        for (given, same) in [
            (1_763_900_000_123, true),
            (1_763_900_000_000, true),
            (1_763_900_000_122, false),
            (1_763_900_001_000, false),
            (1_763_899_999_000, false),
            (0, false),
            (-1_763_900_000_123, false),
        ] {
            assert_eq!(is_moment(given, moment), same, "{given}");
        }
    }

    #[test]
    fn request_ids_are_uuids() {
        let ids = Ids::new(1);
        let (one, other) = (ids.uuid(), ids.uuid());
        assert_ne!(one, other);
        for id in [one, other] {
            let id = std::str::from_utf8(&id).unwrap();
            let parts: Vec<_> = id.split('-').collect();
            assert_eq!(
                parts.iter().map(|p| p.len()).collect::<Vec<_>>(),
                [8, 4, 4, 4, 12]
            );
            assert!(
                parts.concat().bytes().all(|b| b.is_ascii_hexdigit()),
                "{id}"
            );
            assert!(parts[2].starts_with('4'), "{id}");
            assert!(parts[3].starts_with(['8', '9', 'a', 'b']), "{id}");
        }
        let extended = ids.extended();
        assert_eq!(
            base64_simd::STANDARD.decode_to_vec(extended).unwrap().len(),
            72
        );
    }
}
