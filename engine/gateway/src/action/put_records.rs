//! `PutRecords`: up to 500 records, split by shard once, stored before they are answered.
//!
//! Each shard's records become one batch, which its core admits or throttles as a whole.

mod split;

use weir_protocol::model::{SequenceNumber, ShardIndex};
use weir_reactor::Reactor;
use weir_stream::{AppendError, ShardBatch, Stored, Stream};

use self::split::{Place, Split};
use super::record::{ROUTES_MAX, SentRecord};
use super::shape;
use crate::call::Call;
use crate::error::{About, ErrorKind, ServiceError};
use crate::member::Members;
use crate::scan::PutRecordsCall;
use crate::stream_reference::StreamReference;
use crate::writer::Writer;

/// Stores the records and answers each one's fate, in the order they came.
pub(crate) async fn answer<R: Reactor>(
    call: Call<'_, R>,
    members: Members<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let records = read(members)?;
    let name = StreamReference::read(members).resolve()?;
    let stream = call.usable_stream(name)?;
    let split = Split::build(&records, &stream, &call)?;
    members.refuse_dry_run()?;
    store(call, &stream, &records, split).await
}

/// [`answer`] for a call that was read without a tree; `None` if there is anything about it that
/// the general way had better look at.
pub(crate) async fn answer_scanned<R: Reactor>(
    call: Call<'_, R>,
    sent: PutRecordsCall<'_>,
) -> Option<Result<Vec<u8>, ServiceError>> {
    let reference = StreamReference::new(sent.stream_name, sent.stream_arn);
    let stream = call.usable_stream(reference.resolve().ok()?).ok()?;
    let longest = stream.settings.record_bytes_max as usize;
    if sent.records.iter().any(|record| record.weight() > longest) {
        return None;
    }
    let split = Split::build(&sent.records, &stream, &call).ok()?;
    Some(store(call, &stream, &sent.records, split).await)
}

async fn store<R: Reactor>(
    call: Call<'_, R>,
    stream: &Stream,
    records: &[SentRecord<'_>],
    mut split: Split,
) -> Result<Vec<u8>, ServiceError> {
    let about = call.about(stream.name.as_str());
    let outcomes = append_all(
        &mut split,
        records,
        async |batches| call.engine.append(batches).await,
        // Every core knows the children by now.
        |moved| {
            let stream = call.stream_again(stream)?;
            Split::build(moved, &stream, &call)
        },
    )
    .await?;
    if let Some(refusal) = refused_whole(&split.shards, &outcomes, about) {
        return Err(refusal);
    }
    let out = call.writer(64 + 128 * split.places.len());
    Ok(write_answer(out, stream, &split, &outcomes, about))
}

/// Appends the batches, and the records whose shards were closed meanwhile again: one outcome for
/// each of `split.shards`, which grow with every round.
async fn append_all(
    split: &mut Split,
    records: &[SentRecord<'_>],
    append: impl AsyncFn(Vec<ShardBatch>) -> Vec<Result<Stored, AppendError>>,
    split_again: impl Fn(&[SentRecord<'_>]) -> Result<Split, ServiceError>,
) -> Result<Vec<Result<Stored, AppendError>>, ServiceError> {
    let mut outcomes = Vec::new();
    for round in 1..=ROUTES_MAX {
        let batches = std::mem::take(&mut split.batches);
        outcomes.extend(append(batches).await);
        if outcomes.len() != split.shards.len() {
            return Err(ServiceError::internal("the append was not answered"));
        }
        let moved = split.refused_by_closed_shards(&outcomes);
        if moved.is_empty() || round == ROUTES_MAX {
            break;
        }
        let again: Vec<SentRecord<'_>> = moved.iter().map(|at| records[*at]).collect();
        match split_again(&again) {
            Ok(again) => split.go_on(&moved, again),
            Err(refusal) if outcomes.iter().all(is_closed) => return Err(refusal),
            // A refusal of the call would have what is stored already sent again.
            Err(_) => break,
        }
    }
    Ok(outcomes)
}

fn is_closed(outcome: &Result<Stored, AppendError>) -> bool {
    matches!(outcome, Err(AppendError::ShardClosed { .. }))
}

fn read(members: Members<'_>) -> Result<Vec<SentRecord<'_>>, ServiceError> {
    let items = members.list("Records").unwrap_or_default().iter();
    items
        .map(|item| Ok(SentRecord::read(members.inner(item)?)))
        .collect()
}

/// What the call as a whole answers instead of a list: when nothing was stored and no quota was
/// the reason.
fn refused_whole(
    shards: &[ShardIndex],
    outcomes: &[Result<Stored, AppendError>],
    about: About<'_>,
) -> Option<ServiceError> {
    let mut first = None;
    for (shard, outcome) in shards.iter().zip(outcomes) {
        match outcome {
            Ok(_) | Err(AppendError::Throttled { .. }) => return None,
            // Its records went elsewhere.
            Err(AppendError::ShardClosed { .. }) => {}
            Err(error) => {
                first.get_or_insert((*shard, error));
            }
        }
    }
    first.map(|(shard, error)| about.append_refused(shard, error))
}

fn write_answer(
    mut out: Writer,
    stream: &Stream,
    split: &Split,
    outcomes: &[Result<Stored, AppendError>],
    about: About<'_>,
) -> Vec<u8> {
    let Split {
        shards,
        created,
        places,
        ..
    } = split;
    let is_failed = |place: &&Place| outcomes[place.slot as usize].is_err();
    let failed = places.iter().filter(is_failed).count();
    out.open_map();
    out.member("FailedRecordCount").number(failed as u64);
    out.member("Records").open_list();
    let names: Vec<String> = shards.iter().map(ToString::to_string).collect();
    for place in places {
        let index = shards[place.slot as usize];
        out.open_map();
        match &outcomes[place.slot as usize] {
            Ok(stored) => {
                let created = created[place.slot as usize];
                let offset = stored.first_offset + place.nth;
                let number = SequenceNumber::of_record(index, created, offset, stored.arrival);
                out.member("SequenceNumber")
                    .ascii(number.digits().as_bytes());
                out.member("ShardId")
                    .ascii(names[place.slot as usize].as_bytes());
            }
            Err(AppendError::Throttled { .. }) => {
                let code = ErrorKind::ProvisionedThroughputExceeded.name();
                out.member("ErrorCode").plain(code);
                out.member("ErrorMessage")
                    .text(&about.rate_exceeded_text(index));
            }
            Err(_) => {
                out.member("ErrorCode")
                    .plain(ErrorKind::InternalFailure.name());
                out.member("ErrorMessage").plain("Internal Service Failure");
            }
        }
        out.close_map();
    }
    out.close_list();
    shape::encryption_if_any(&mut out, stream);
    out.close_map();
    out.into_bytes()
}

#[cfg(test)]
mod tests;
