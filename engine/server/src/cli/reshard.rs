//! `weir stream split`, `merge` and `scale`: other shards for a stream.
//!
//! Owns: what is looked at before the server is asked, so that a refusal says what there is and what
//! to do, and waiting for the end of the change. Never: the change itself, which goes on in the
//! server whether or not anybody waits.

use std::time::Duration;

use weir_protocol::model::{HashKey, HashKeyRange, ShardIndex, StreamName, StreamStatus};
use weir_protocol::wire::request::{Request, ReshardRequest, ShardChange};
use weir_protocol::wire::response::{ShardDescription, StreamDescription};

use super::arguments::{ChangeArguments, Merge, Scale, Split};
use super::client::Client;
use super::control;
use super::failure::Failure;
use crate::units::{show_count, show_millis};

/// Neighbours that a refusal names at most: an open shard has two.
const NEIGHBOURS: usize = 2;

pub(crate) fn split(arguments: &Split) -> Result<(), Failure> {
    let name = &arguments.name;
    let (client, stream) = look(name, &arguments.change)?;
    let shard = open_shard(&stream, arguments.shard)?;
    let at = split_key(shard, arguments.at)?;
    let change = ShardChange::Split {
        shard: shard.index,
        at,
    };
    make(client, name, change, &arguments.change)
}

pub(crate) fn merge(arguments: &Merge) -> Result<(), Failure> {
    let name = &arguments.name;
    let (client, stream) = look(name, &arguments.change)?;
    let shard = open_shard(&stream, arguments.shard)?;
    let adjacent = open_shard(&stream, arguments.adjacent)?;
    if !touches(shard, adjacent) {
        return Err(Failure::could_not_run(format!(
            "{} and {} of stream {name} are not neighbours: {}",
            shard.index,
            adjacent.index,
            neighbours(&stream, shard)
        )));
    }
    let change = ShardChange::Merge {
        shard: shard.index,
        adjacent: adjacent.index,
    };
    make(client, name, change, &arguments.change)
}

pub(crate) fn scale(arguments: &Scale) -> Result<(), Failure> {
    let name = &arguments.name;
    let (client, _) = look(name, &arguments.change)?;
    let target = arguments.shards;
    let change = ShardChange::Count { target };
    make(client, name, change, &arguments.change)
}

/// A connection, and the stream if it may be changed now.
fn look(
    name: &StreamName,
    arguments: &ChangeArguments,
) -> Result<(Client, StreamDescription), Failure> {
    let mut client = Client::connect(&arguments.show.server.server)?;
    let stream = client.describe(name)?;
    if stream.status == StreamStatus::Active {
        return Ok((client, stream));
    }
    let status = stream.status.aws_name();
    Err(Failure::could_not_run(format!(
        "stream {name} is {status}, not ACTIVE: try again when \"weir stream describe {name}\" says \
         ACTIVE"
    )))
}

/// Asks for the change, waits for its end, and prints the shards.
fn make(
    mut client: Client,
    name: &StreamName,
    change: ShardChange,
    arguments: &ChangeArguments,
) -> Result<(), Failure> {
    let begun = client.stream(&Request::Reshard(ReshardRequest {
        name: name.clone(),
        change,
    }))?;
    if arguments.wait.is_zero() {
        return control::show(&begun, &arguments.show);
    }
    let stream = client.describe_settled(name, arguments.wait)?;
    judge(&stream, &begun, change, arguments.wait)?;
    control::show(&stream, &arguments.show)
}

/// Whether `stream` is what `change` makes of it.
fn judge(
    stream: &StreamDescription,
    begun: &StreamDescription,
    change: ShardChange,
    waited: Duration,
) -> Result<(), Failure> {
    let name = &stream.name;
    if stream.id != begun.id {
        return Err(Failure::could_not_run(format!(
            "stream {name} was deleted and created again meanwhile"
        )));
    }
    if stream.status != StreamStatus::Active {
        return Err(Failure::could_not_run(format!(
            "stream {name} is still {} after {}: the change goes on by itself, look with \"weir \
             stream describe {name}\"",
            stream.status.aws_name(),
            show_millis(waited.as_millis() as u64)
        )));
    }
    let is_open = |index| open(stream).any(|shard| shard.index == index);
    let is_done = match change {
        ShardChange::Split { shard, .. } => !is_open(shard),
        ShardChange::Merge { shard, adjacent } => !is_open(shard) && !is_open(adjacent),
        ShardChange::Count { target } => open(stream).count() == target as usize,
    };
    if is_done {
        return Ok(());
    }
    Err(Failure::could_not_run(format!(
        "stream {name} is ACTIVE with {} open shards, and not as asked: the server gave the change up, \
         its log says why, or somebody else changed the stream; look with \"weir stream describe \
         {name}\"",
        show_count(open(stream).count() as u64)
    )))
}

fn open(stream: &StreamDescription) -> impl Iterator<Item = &ShardDescription> {
    stream.shards.iter().filter(|shard| !shard.closed)
}

fn open_shard(stream: &StreamDescription, index: ShardIndex) -> Result<&ShardDescription, Failure> {
    let name = &stream.name;
    let look = format!("\"weir stream describe {name}\" lists the open ones");
    match stream.shards.iter().find(|shard| shard.index == index) {
        Some(shard) if !shard.closed => Ok(shard),
        Some(_) => Err(Failure::could_not_run(format!(
            "{index} of stream {name} is closed, it was split or merged before: {look}"
        ))),
        None => Err(Failure::could_not_run(format!(
            "stream {name} has no {index}: {look}"
        ))),
    }
}

/// Where to split: at what was asked for if it leaves both children two keys, else in the middle.
fn split_key(shard: &ShardDescription, asked: Option<HashKey>) -> Result<HashKey, Failure> {
    let HashKeyRange { start, end } = shard.range;
    let (index, width) = (shard.index, end.get() - start.get());
    // Two keys for the lower child, two for the upper one.
    if width < 3 {
        return Err(Failure::could_not_run(format!(
            "{index} takes the hash keys {start} to {end}: too few to be split"
        )));
    }
    let (least, most) = (start.get() + 2, end.get() - 1);
    match asked {
        None => Ok(HashKey::new(start.get() + width / 2 + 1)),
        Some(at) if (least..=most).contains(&at.get()) => Ok(at),
        Some(at) => Err(Failure::usage(format!(
            "--at {at} does not split {index}: expected {least} to {most}, or no --at for the middle"
        ))),
    }
}

fn touches(one: &ShardDescription, other: &ShardDescription) -> bool {
    let meets = |low: HashKeyRange, high: HashKeyRange| {
        low.end.get().checked_add(1) == Some(high.start.get())
    };
    meets(one.range, other.range) || meets(other.range, one.range)
}

fn neighbours(stream: &StreamDescription, shard: &ShardDescription) -> String {
    let found: Vec<_> = open(stream)
        .filter(|other| touches(shard, other))
        .take(NEIGHBOURS)
        .map(|other| other.index.to_string())
        .collect();
    match found.as_slice() {
        [] => format!("{} is the only open shard", shard.index),
        found => format!("next to {} is {}", shard.index, found.join(" and ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_protocol::model::Timestamp;

    fn shard(start: u128, end: u128) -> ShardDescription {
        ShardDescription {
            index: ShardIndex(7),
            core: 0,
            range: HashKeyRange {
                start: HashKey::new(start),
                end: HashKey::new(end),
            },
            created: Timestamp::ZERO,
            closed: false,
        }
    }

    #[test]
    fn the_middle_is_where_aws_divides() {
        let whole = shard(0, u128::MAX);
        assert_eq!(split_key(&whole, None), Ok(HashKey::new(1 << 127)));
        let parts: Vec<_> = HashKeyRange::divide(4).collect();
        let upper_half = shard(parts[2].start.get(), parts[3].end.get());
        assert_eq!(split_key(&upper_half, None), Ok(parts[3].start));
    }

    #[test]
    fn a_key_that_leaves_a_child_too_little_is_refused_with_what_is_expected() {
        let shard = shard(100, 200);
        for at in [102, 199] {
            assert_eq!(
                split_key(&shard, Some(HashKey::new(at))),
                Ok(HashKey::new(at))
            );
        }
        for at in [0, 100, 101, 200, 201] {
            let refused = split_key(&shard, Some(HashKey::new(at))).unwrap_err();
            assert_eq!(refused.exit, 2);
            assert!(
                refused.text.contains("expected 102 to 199"),
                "{}",
                refused.text
            );
        }
        assert_eq!(
            split_key(&self::shard(100, 103), None),
            Ok(HashKey::new(102))
        );
        assert_eq!(split_key(&self::shard(100, 102), None).unwrap_err().exit, 1);
    }

    #[test]
    fn only_shards_side_by_side_touch() {
        let (low, middle, high) = (shard(0, 9), shard(10, 19), shard(20, u128::MAX));
        assert!(touches(&low, &middle) && touches(&middle, &low) && touches(&middle, &high));
        assert!(!touches(&low, &high) && !touches(&high, &low) && !touches(&low, &low));
    }
}
